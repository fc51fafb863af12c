"""Connections that are opened and say nothing: no address takes the place of the others.

Source: hardening T27.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.hostile.rig import Rig, answers, healthy
from tests.hostile.wire import Wire

from concento.model.limits import CONNECTIONS_PER_ADDRESS_MAX

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a second loopback address unasked")


def flood(rig: Rig, stack: ExitStack, count: int) -> list[Wire]:
    """Open so many connections from one address; the hub has seen them all when this returns."""
    wires = [stack.enter_context(Wire(rig.address, HERE)) for _ in range(count)]
    with Wire(rig.admin) as operator:
        operator.send(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert operator.reply() is not None
    return wires


def serves(rig: Rig, source: str) -> bool:
    """Whether a new connection from an address gets a call answered."""
    with Wire(rig.address, source) as wire:
        wire.send(healthy("n"))
        return answers(wire.reply(), "n")


def test_a_soft_limit_on_open_files_is_no_limit_on_agents(tmp_path: Path) -> None:
    rig = Rig(tmp_path, files_max="-S -n 300")
    try:
        with ExitStack() as stack:
            flood(rig, stack, 600)
            assert serves(rig, HERE)
        assert rig.hub.complaints == []
    finally:
        rig.end()


@linux
def test_where_files_are_few_one_address_takes_no_more_than_half_of_them(tmp_path: Path) -> None:
    rig = Rig(tmp_path, files_max="-n 300")
    try:
        with ExitStack() as stack:
            held = flood(rig, stack, 400)
            assert not serves(rig, HERE)
            assert serves(rig, ELSEWHERE)
            held[0].send(healthy("held"))
            assert answers(held[0].reply(), "held")
        assert rig.hub.complaints == []
    finally:
        rig.end()


@linux
@pytest.mark.long
def test_one_address_gets_its_cap_and_no_connection_more(rig: Rig) -> None:
    with ExitStack() as stack:
        held = flood(rig, stack, CONNECTIONS_PER_ADDRESS_MAX)
        assert not serves(rig, HERE)
        assert serves(rig, ELSEWHERE)
        for wire in (held[0], held[-1]):
            wire.send(healthy("held"))
            assert answers(wire.reply(), "held")
