"""Agents that send a byte now and then, in every part of a request: each is cut, and no healthy call fails meanwhile.

Source: hardening T27. The hub is a process with the real clock, so this takes the five seconds that a head may take.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import cast

import pytest
from tests.front.corpus import HEALTHY
from tests.hostile.rig import Rig, answers, healthy
from tests.hostile.wire import parse

EVERY_S = 0.5
WAIT_S = 60.0
HEALTHY_CALLS_MIN = 20

HEAD, _, BODY = HEALTHY.partition(b"\r\n\r\n")
CHUNKED = HEAD[: HEAD.index(b"Content-Length")] + b"Transfer-Encoding: chunked\r\n\r\n"
ALIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def ever(data: bytes) -> Iterator[bytes]:
    return itertools.cycle(bytes([byte]) for byte in data)


DRIPS = {
    "the first line": (b"GET /", b"a"),
    "a field's name": (b"GET /mcp HTTP/1.1\r\nX-", b"a"),
    "a field's value": (b"GET /mcp HTTP/1.1\r\nX: ", b"a"),
    "one field after the other": (b"GET /mcp HTTP/1.1\r\n", b"X: a\r\n"),
    "a body": (HEAD + b"\r\n\r\n", BODY),
    "the end of a body that came fast": (
        HEAD[: HEAD.index(b"Content-Length")] + b"Content-Length: 200000\r\n\r\n" + b" " * 100_000,
        b" ",
    ),
    "chunks": (CHUNKED, b"1\r\na\r\n"),
    "a chunk's size": (CHUNKED, b"0"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: a\r\n"),
    "the second request": (ALIVE + b"GET /", b"a"),
    "nothing at all after a head's first line": (b"GET /mcp HTTP/1.1\r\n", b""),
}
"""What is sent at once, and what is dripped then, byte by byte, over and over."""


class Dripper(asyncio.Protocol):
    """One slow agent; `ended` has all that it was answered."""

    def __init__(self, start: bytes, drip: bytes) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._start = start
        self._drip = ever(drip)
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._start)
        self._next()

    def _next(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(next(self._drip, b""))
            asyncio.get_running_loop().call_later(EVERY_S, self._next)

    def data_received(self, data: bytes) -> None:
        self._heard += data

    def eof_received(self) -> None:
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(self._heard)


async def calls(rig: Rig, over: asyncio.Event) -> list[bool]:
    """Call until it is over, over new connections and kept ones: which calls were answered as they should be."""
    reader, writer = await asyncio.open_connection(*rig.address)
    results: list[bool] = []
    while not over.is_set() or len(results) < HEALTHY_CALLS_MIN:
        nonce = f"call-{len(results)}"
        if len(results) % 10 == 9:
            writer.close()
            reader, writer = await asyncio.open_connection(*rig.address)
        writer.write(healthy(nonce))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        results.append(answers(parse(head + await reader.readexactly(length)), nonce))
    writer.close()
    return results


async def attack(rig: Rig, count: int) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        beside = group.create_task(calls(rig, over))
        kinds = list(itertools.islice(itertools.cycle(DRIPS), count))
        drippers = []
        for kind in kinds:
            _, dripper = await loop.create_connection(lambda kind=kind: Dripper(*DRIPS[kind]), *rig.address)  # type: ignore[misc]
            drippers.append(dripper)
        heard = await asyncio.gather(*(dripper.ended for dripper in drippers))
        over.set()
    cut = Counter(kind for kind, text in zip(kinds, heard, strict=True) if text.count(b"HTTP/1.1 408 ") == 1)
    assert cut == Counter(kinds)
    assert all(beside.result())
    print(f"{count} drippers were cut while {len(beside.result())} healthy calls were answered")
    assert rig.hub.runs
    assert rig.hub.complaints == []


async def test_two_hundred_drippers_are_cut_and_no_healthy_call_fails(rig: Rig) -> None:
    await attack(rig, 200)


@pytest.mark.long
async def test_two_thousand_drippers_are_cut_and_no_healthy_call_fails(rig: Rig) -> None:
    await attack(rig, 2000)
