"""Input asked of a legacy agent: each question goes as a request on the stream of the call that needs it.

Inside, a call that needs input ends with questions and is made anew with the answers; an agent of the session era is
asked while its one request stays open. This is where the one becomes the other.
Source: specification 2025-11-25, client/elicitation, client/sampling, client/roots; 2026-07-28, basic/patterns/mrtr.
"""

import asyncio
import itertools
from collections.abc import Callable

import msgspec
from msgspec import Raw, structs

from ..gateway.call import Gateway
from ..model.call import INPUT_REQUIRED, Answer, Call, Failure, Notify, Reply, Result
from ..model.errors import BadReply, InvalidRequest, TimedOut
from ..model.limits import INPUT_WAIT_S, ROUNDS_MAX, STATE_ONLY_PAUSE_S
from ..protocol.jsonrpc import EMPTY_OBJECT, Message, encode_notification, encode_request, raw, read_object, read_string

Send = Callable[[bytes], None]
"""Writes a message on a stream of the agent's; must not block."""


class Asking:
    """The open questions of one session."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._numbers = itertools.count(1)
        self._open: dict[bytes, asyncio.Future[Answer]] = {}

    async def go_on(self, call: Call, asked: Result, notify: Notify | None, send: Send | None) -> Reply:
        """Ask the agent on `send` what the server of a call wants to know, and call again, until there is an answer.

        Errors: any `CallError`; InvalidRequest, if the agent left no way to ask it.
        """
        pages: list[str] = []
        for _ in range(ROUNDS_MAX):
            members = read_object(asked.raw) or {}
            call = structs.replace(call, state=read_string(members.get("requestState")))
            questions = read_object(members.get("inputRequests", EMPTY_OBJECT)) or {}
            try:
                answers = await self.ask_all(questions, pages, send)
                reply = await self._gateway.call(structs.replace(call, answers=answers), notify)
            except BaseException:
                self._gateway.abandon(call)  # of no effect where the answers have arrived
                raise
            if not isinstance(reply, Result) or reply.kind != INPUT_REQUIRED:
                for page in pages:
                    _tell_done(page, send)
                return reply
            asked = reply
        last = read_string((read_object(asked.raw) or {}).get("requestState"))
        self._gateway.abandon(structs.replace(call, state=last))
        raise BadReply(f"The server asked for input {ROUNDS_MAX} times during one call", outcome="failed")

    async def ask_all(self, questions: dict[str, Raw], pages: list[str], send: Send | None) -> dict[str, Answer]:
        """The agent's answers. The ids of pages it was to open are added to `pages`. Errors: as `go_on`."""
        if not questions:
            await asyncio.sleep(STATE_ONLY_PAUSE_S)  # the server asks for patience only
            return {}
        if send is None:
            raise InvalidRequest(
                "The server asks for input, and this request leaves no way to ask the agent: "
                "it must accept text/event-stream or open the session's stream"
            )
        asked: list[tuple[str, bytes]] = []
        loop = asyncio.get_running_loop()
        try:
            for key, question in questions.items():
                id = f"concento-{next(self._numbers)}"
                raw_id = bytes(raw(id))
                asked.append((key, raw_id))
                self._open[raw_id] = loop.create_future()
                members = read_object(question) or {}
                params = read_object(members.get("params", EMPTY_OBJECT)) or {}
                if read_string(params.get("mode")) == "url":
                    params["elicitationId"] = raw(id)
                    pages.append(id)
                send(encode_request(id, read_string(members.get("method")) or "", params))
            async with asyncio.timeout(INPUT_WAIT_S):
                return {key: await self._open[raw_id] for key, raw_id in asked}
        except TimeoutError:
            raise TimedOut(f"The agent did not answer what it was asked within {INPUT_WAIT_S:g} s") from None
        finally:
            for _, raw_id in asked:
                waiting = self._open.pop(raw_id)
                if not waiting.done() or waiting.cancelled():  # nobody waits for it any more
                    send(encode_notification("notifications/cancelled", {"requestId": Raw(raw_id)}))

    def take(self, message: Message) -> None:
        """Take a response of the agent's; one to nothing that was asked is ignored."""
        waiting = self._open.get(message.id or b"")
        if waiting is None or waiting.done():
            return
        result = message.params.get("result")
        if result is not None:
            waiting.set_result(result)
            return
        try:
            error = msgspec.json.decode(message.params.get("error", EMPTY_OBJECT), type=_Error)
        except msgspec.DecodeError:
            error = _Error()
        waiting.set_result(Failure(error.code, error.message))


class _Error(msgspec.Struct):
    code: int = -32603
    message: str = "The agent answered with an error"


def _tell_done(page: str, send: Send | None) -> None:
    if send is not None:
        send(encode_notification("notifications/elicitation/complete", {"elicitationId": page}))
