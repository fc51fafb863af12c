"""Every hostile request against `concento serve` as a process of its own, with a server of the official SDK behind it.

Each gets exactly its status and code, reaches no server, and leaves the connection either closed or in step: a healthy
request written right behind it gets its own reply or none. Source: hardening T8 to T12, T20, T26; scoreboard S2.
"""

import itertools

import pytest
from tests.front.corpus import Hostile
from tests.hostile.corpus import CORPUS
from tests.hostile.rig import Rig, healthy
from tests.hostile.wire import Wire, ask

_nonces = (f"nonce-{number}" for number in itertools.count())


ALIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_every_threat_of_the_wire_is_in_the_corpus() -> None:
    assert {hostile.threat for hostile in CORPUS} == {"T7", "T8", "T9", "T10", "T11", "T12", "T20", "T26"}
    assert len({hostile.id for hostile in CORPUS}) == len(CORPUS)
    assert len({hostile.data for hostile in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("hostile", CORPUS, ids=lambda hostile: hostile.id)
def test_a_hostile_request_is_refused_exactly_and_desyncs_nothing(rig: Rig, hostile: Hostile) -> None:
    nonce = next(_nonces)
    with Wire(rig.address) as wire:
        wire.send(hostile.data if hostile.endless else hostile.data + healthy(nonce))
        reply = wire.reply()
        assert reply is not None
        assert (reply.status, reply.code) == (hostile.status, hostile.code)
        assert b"Traceback" not in reply.body
        closes = reply.fields.get("connection") == "close"
        assert closes == hostile.closes
        assert wire.ends() if closes else rig.answered(wire.reply(), nonce)
    if closes:
        assert ask(rig.address, ALIVE).status == 200
    assert rig.server.hits() == rig.healthy
    assert rig.hub.runs
    assert rig.hub.complaints == []


def test_after_all_of_them_nothing_more_has_run_than_was_healthy(rig: Rig) -> None:
    assert rig.answered(ask(rig.address, healthy("last")), "last")
    assert rig.server.hits() == rig.healthy == rig.server.names["echo"]
    assert rig.server.names.keys() == {"echo"}
