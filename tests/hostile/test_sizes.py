"""What is huge is refused, or relayed, at a bounded cost in memory, and a neighbour is served all the while.

Source: hardening T26. How long each takes is printed under `pytest -s`, not asserted.
"""

import gzip
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.front.corpus import ENVELOPE, JSON, Hostile, call, request
from tests.hostile.corpus import CORPUS
from tests.hostile.rig import Rig, answers, healthy
from tests.hostile.wire import Wire

from concento.model.limits import BODIES_BYTES_MAX, BODY_BYTES_MAX, DEPTH_MAX, MIB

GROWTH_BYTES_MAX = 64 * MIB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process's memory in /proc")


def arguments(text: str) -> bytes:
    """A call with these arguments, as they are."""
    body = call(params={"name": "t", "arguments": "HERE", "_meta": ENVELOPE}).partition(b"\r\n\r\n")
    data = body[2].replace(b'"HERE"', text.encode())
    head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(data), body[0])
    return head + b"\r\n\r\n" + data


LARGE = [
    *(hostile for hostile in CORPUS if hostile.threat == "T26"),
    Hostile(
        "100 MB of body", "T26", request(b"", JSON, "Content-Length: 100000000", length=False) + b"x" * 10**8, 413, True
    ),
    Hostile(
        "a bomb of 1 GiB",
        "T26",
        request(gzip.compress(bytes(64 * MIB)) * 16, JSON, "Content-Encoding: gzip"),
        415,
        True,
    ),
    Hostile(
        "a string of 4 MiB for a name",
        "T26",
        call(params={"name": "x" * (4 * 10**6), "_meta": ENVELOPE}),
        400,
        False,
        -32020,
    ),
]
ALLOWED = {
    "an argument of 4 MiB": arguments(json.dumps({"text": "x" * (BODY_BYTES_MAX - 1000)})),
    "an argument of 2 million escapes": arguments('{"text":"' + "\\n" * 1_900_000 + '"}'),
    "9,000 members": arguments(json.dumps({f"k{number}": number for number in range(9000)})),
    "100,000 numbers": arguments(json.dumps({"text": "x", "n": list(range(100_000))})),
    "as deep as is allowed": arguments('{"text":"x","n":' + "[" * (DEPTH_MAX - 4) + "]" * (DEPTH_MAX - 4) + "}"),
}


@contextmanager
def bounded(rig: Rig) -> Iterator[None]:
    """What happens within costs the hub `GROWTH_BYTES_MAX` at its peak, and a neighbour is answered throughout."""
    process = Path(f"/proc/{rig.hub.pid}")
    (process / "clear_refs").write_text("5")  # the peak begins anew
    before = kib(process, "VmRSS")
    over = threading.Event()
    served: list[bool] = []

    def neighbour() -> None:
        with Wire(rig.address) as wire:
            while not over.is_set() or not served:
                nonce = f"neighbour-{len(served)}"
                wire.send(healthy(nonce))
                served.append(answers(wire.reply(), nonce))

    beside = threading.Thread(target=neighbour)
    beside.start()
    began_s = time.monotonic()
    try:
        yield
    finally:
        took_s = time.monotonic() - began_s
        over.set()
        beside.join()
    growth = 1024 * (kib(process, "VmHWM") - before)
    print(f"{took_s * 1000:.0f} ms, {growth / MIB:.1f} MiB, {len(served)} calls beside")
    assert all(served)
    assert growth < GROWTH_BYTES_MAX
    assert rig.hub.runs
    assert rig.hub.complaints == []


def kib(process: Path, field: str) -> int:
    return int(re.findall(rf"{field}:\s+(\d+) kB", (process / "status").read_text())[0])


@pytest.mark.parametrize("hostile", LARGE, ids=lambda hostile: hostile.id)
def test_a_huge_request_is_refused_at_a_bounded_cost(rig: Rig, hostile: Hostile) -> None:
    with bounded(rig), Wire(rig.address) as wire:
        wire.send(hostile.data)
        reply = wire.reply()
        assert reply is not None
        assert (reply.status, reply.code) == (hostile.status, hostile.code)


@pytest.mark.parametrize("data", ALLOWED.values(), ids=ALLOWED)
def test_a_large_request_within_the_limits_is_answered_at_a_bounded_cost(rig: Rig, data: bytes) -> None:
    with bounded(rig), Wire(rig.address) as wire:
        wire.send(data)
        reply = wire.reply()
        assert reply is not None
        assert reply.status == 200


def test_a_number_that_the_server_cannot_read_is_the_servers_to_refuse(rig: Rig) -> None:
    with bounded(rig), Wire(rig.address) as wire:
        wire.send(arguments('{"text":"x","n":' + "9" * 5000 + "}"))
        reply = wire.reply()
        assert reply is not None
        assert (reply.status, reply.code) == (400, -32700)


def test_bodies_under_way_are_bounded_together(rig: Rig) -> None:
    """100 of 4 MiB are 400 MiB, more than may be held at a time; whoever asks for little is served all the same."""
    data = arguments(json.dumps({"text": "x" * (BODY_BYTES_MAX - 1000)}))
    wires = [Wire(rig.address) for _ in range(100)]
    try:
        process = Path(f"/proc/{rig.hub.pid}")
        (process / "clear_refs").write_text("5")
        before = kib(process, "VmRSS")
        for wire in wires:
            wire.send(data[:-1])
        with Wire(rig.address) as neighbour:
            neighbour.send(healthy("neighbour"))
            assert answers(neighbour.reply(), "neighbour")
        growth = 1024 * (kib(process, "VmHWM") - before)
        print(f"{growth / MIB:.1f} MiB")
        assert growth < BODIES_BYTES_MAX + GROWTH_BYTES_MAX
        refused = wires[-1].reply()
        assert refused is not None
        assert (refused.status, refused.code) == (503, -31004)
        wires[0].send(data[-1:])
        first = wires[0].reply()
        assert first is not None
        assert first.status == 200
    finally:
        for wire in wires:
            wire.__exit__()
    with Wire(rig.address) as wire:
        wire.send(healthy("after"))
        assert answers(wire.reply(), "after")
