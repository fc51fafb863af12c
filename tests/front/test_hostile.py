"""Every hostile request gets its status and reaches nobody, and the next agent is served as if nothing had been.

Source: hardening T8 to T12, T20, T26; scoreboard S2.
"""

import json
from typing import Any, cast

import pytest
from tests.front.conftest import listening, open_to_all
from tests.front.corpus import CORPUS, HEALTHY, Hostile

from concento.front.agent import AgentFront
from concento.front.answers import modern_error
from concento.front.http import Exchange
from concento.front.identity.hosts import Hosts
from concento.front.parser import HttpRequest
from concento.model.call import ALL
from concento.model.errors import CallError
from concento.model.principal import ANONYMOUS
from concento.protocol import modern
from concento.protocol.jsonrpc import Rejection, parse

NOBODY = cast(Any, None)


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 200
    assert len({hostile.data for hostile in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("hostile", CORPUS, ids=lambda hostile: hostile.id)
async def test_a_hostile_request_is_refused_and_harms_nobody(hostile: Hostile) -> None:
    reached: list[object] = []

    async def serve(request: HttpRequest, exchange: Exchange) -> None:
        message = parse(request.body)
        if isinstance(message, Rejection):
            exchange.reply(modern.status(message.error), modern_error(message.id, message.error))
            return
        try:
            call = modern.lift(message, request.head.protocol(), ALL, ANONYMOUS)
        except CallError as error:
            exchange.reply(modern.status(error), modern_error(message.id, error))
            return
        reached.append(call)
        exchange.reply(200, b"{}")

    admit = AgentFront(NOBODY, NOBODY, NOBODY, NOBODY, Hosts(["localhost"]), open_to_all(), NOBODY, lambda: True).admit
    async with listening(serve, admit) as front:
        wire = await front.connect()
        wire.send(hostile.data)
        status, fields, body = await wire.reply()
        assert status == hostile.status
        error = json.loads(body)
        assert error["error"]["code"] == hostile.code
        assert "Traceback" not in body.decode()
        assert (fields.get("connection") == "close") == hostile.closes
        if hostile.closes:
            assert await wire.rest() == b""
        else:
            wire.send(HEALTHY)
            assert (await wire.reply())[0] == 200
            assert reached.pop()
        assert reached == []
        assert (await front.ask(HEALTHY))[0] == 200
        assert len(reached) == 1
        assert sum(front.listener.refusals.values()) == (0 if hostile.id.startswith(AFTER_THE_HEAD) else 1)


AFTER_THE_HEAD = ("body: ", "mirror: ", "envelope: ")
"""What is refused only once the body was read."""
