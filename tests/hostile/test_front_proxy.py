"""The same behind nginx, which keeps one connection to the hub for all: nobody gets the reply of another.

What nginx makes of a hostile request, refuses or passes on, is its own affair. That both agree where each request ends
is ours: a victim's call right behind gets its own reply, and nothing runs whose answer went to nobody.
Source: hardening T12.
"""

import itertools
from collections.abc import Iterator

import pytest
from tests.front.corpus import Hostile
from tests.hostile.corpus import CORPUS
from tests.hostile.rig import Rig, healthy, nginx
from tests.hostile.wire import Wire

SMUGGLING = [hostile for hostile in CORPUS if hostile.threat == "T12"]
FAREWELL = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_nonces = (f"nonce-{number}" for number in itertools.count())


@pytest.fixture(scope="module", params=["on", "off"])
def proxy(rig: Rig, request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """nginx before the hub; with and without reading a request whole before it passes it on."""
    with nginx(rig.address, rig.folder / f"nginx-{request.param}", request.param) as address:
        rig.healthy = rig.server.hits()  # nginx was tried until it was up
        yield address


def test_there_are_enough_to_try() -> None:
    assert len(SMUGGLING) >= 60


@pytest.mark.parametrize("hostile", SMUGGLING, ids=lambda hostile: hostile.id)
def test_no_request_desyncs_the_hub_and_a_proxy(rig: Rig, proxy: tuple[str, int], hostile: Hostile) -> None:
    with Wire(proxy) as attacker, Wire(proxy) as victim:
        attacker.send(hostile.data + FAREWELL)
        own = [attacker.reply(bodiless=hostile.data.startswith(b"HEAD")), *iter(attacker.reply, None)]
        nonce = next(_nonces)
        victim.send(healthy(nonce))
        assert rig.answered(victim.reply(), nonce)
    rig.healthy += sum(reply is not None and b'"result"' in reply.body for reply in own)
    assert rig.server.hits() == rig.healthy
    assert rig.hub.runs
    assert rig.hub.complaints == []
