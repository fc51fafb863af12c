"""The last traces, to be looked at with nothing else installed: bounded, in memory, written down every few seconds.

Errors and slow calls have room of their own, so that a busy hub does not push them out. What is written is one value of
the state store for each flush; once there are many, they become one again.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from ...store.contract import Store
from .span import Trace, decode, encode

SPACE: Final = "traces"
BYTES_MAX: Final = 16 * 1024 * 1024
"""Of all kept traces together, half of it for errors and slow calls."""
FLUSH_S: Final = 5.0
VALUES_MAX: Final = 32
_Kept = tuple[int, bytes]

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[tuple[int, bool, bytes]]).decode


class _Ring:
    """The last traces of one kind, by their numbers."""

    def __init__(self) -> None:
        self.count_max = 0
        self.kept: deque[_Kept] = deque()
        self._bytes = 0

    def add(self, number: int, data: bytes) -> None:
        self.kept.append((number, data))
        self._bytes += len(data)
        self.trim()

    def trim(self) -> None:
        while self.kept and (len(self.kept) > self.count_max or self._bytes > BYTES_MAX // 2):
            self._bytes -= len(self.kept.popleft()[1])


class KeptTraces:
    """The embedded store of recent traces."""

    def __init__(self) -> None:
        self._rest = _Ring()
        self._reserve = _Ring()
        self._number = 0
        self._written = 0
        """Traces up to this number are in the store."""
        self._values: list[str] = []
        self._flushed_s = float("-inf")
        self.is_written = False
        """Whether they outlive the process: of several that share a state store, one at a time writes."""

    def __len__(self) -> int:
        return len(self._rest.kept) + len(self._reserve.kept)

    def configure(self, keep: int) -> None:
        """Keep so many, and half as many errors and slow calls beside."""
        self._rest.count_max = keep
        self._reserve.count_max = (keep + 1) // 2
        for ring in (self._rest, self._reserve):
            ring.trim()

    def add(self, trace: Trace) -> None:
        """Keep a trace in place of the oldest one."""
        self._number += 1
        (self._rest if trace.reason == "sampled" else self._reserve).add(self._number, encode(trace))

    def newest(self) -> Iterator[Trace]:
        """All of them, those that ended last first. It may be used from another thread."""
        both = sorted([*tuple(self._rest.kept), *tuple(self._reserve.kept)], reverse=True)
        return (decode(data) for _, data in both)

    # -- over restarts

    async def load(self, store: Store) -> None:
        """Go on with what was kept before the last start; what can't be read any more is forgotten."""
        values = await store.items(SPACE)
        self._values = sorted(values)
        for key in self._values:
            for number, is_reserved, data in _opened(values[key]):
                self._number = max(self._number, number)
                (self._reserve if is_reserved else self._rest).add(number, data)
        self._written = self._number

    async def flush(self, store: Store, now_s: float) -> None:
        """Write down what came since the last time, at most every `FLUSH_S`. A kill takes no more than that."""
        if not self.is_written or self._number == self._written or now_s - self._flushed_s < FLUSH_S:
            return
        self._flushed_s = now_s
        is_full = len(self._values) >= VALUES_MAX
        since = 0 if is_full else self._written
        fresh = [
            (number, ring is self._reserve, data)
            for ring in (self._rest, self._reserve)
            for number, data in tuple(ring.kept)
            if number > since
        ]
        self._written = self._number
        key = f"{self._number:016x}"
        await store.put(SPACE, key, await asyncio.to_thread(_closed, fresh))
        if is_full:
            for old in self._values:
                await store.delete(SPACE, old)
            self._values = []
        self._values.append(key)


def _closed(traces: list[tuple[int, bool, bytes]]) -> bytes:
    return zlib.compress(_pack(sorted(traces)), 1)


def _opened(value: bytes) -> list[tuple[int, bool, bytes]]:
    try:
        found = _unpack(zlib.decompress(value))
        for _, _, data in found:
            decode(data)
        return found
    except (zlib.error, msgspec.DecodeError):
        return []  # of another version, or damaged
