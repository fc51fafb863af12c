"""The facts of one call, gathered while it runs and handed on once when it ends.

Log line, metric and (later) audit, span and usage are made from the same record, so they can't disagree.
"""

import random
from collections.abc import Callable, Sequence
from typing import Literal

from ..model import meta
from ..model.call import Call, Failure, Reply
from ..model.clock import Clock, SystemClock
from ..model.errors import CallError
from ..protocol.jsonrpc import read_string

End = Literal["ok", "tool_error", "error", "refused", "cancelled"]


class Record:
    """One call, from parsing to its end. Written by `gateway` only; sinks read it after `close`."""

    __slots__ = (
        "attempts",
        "call",
        "code",
        "duration_s",
        "end",
        "replica",
        "reply_bytes",
        "server",
        "started_s",
        "tool",
        "trace_id",
        "wall_s",
    )

    def __init__(self, call: Call, now_s: float, wall_s: float) -> None:
        self.call = call
        self.started_s = now_s
        self.wall_s = wall_s
        self.trace_id = _trace_id(call)
        self.server: str | None = None
        self.tool: str | None = None
        self.attempts = 0
        self.replica = 0
        self.end: End = "error"
        self.code: int | None = None
        self.reply_bytes = 0
        self.duration_s = 0.0

    def replied(self, reply: Reply) -> None:
        """The server answered."""
        if isinstance(reply, Failure):
            self.end, self.code = "error", reply.code
        else:
            self.reply_bytes = memoryview(reply.raw).nbytes
            self.end = "tool_error" if reply.failed else "ok"

    def failed(self, error: CallError) -> None:
        """The hub had to answer itself."""
        self.end = "refused" if error.fault in ("caller", "policy") else "error"
        self.code = error.code

    def cancelled(self) -> None:
        """The agent gave up, or went away."""
        self.end = "cancelled"


Sink = Callable[[Record], None]
"""Takes a closed record; must not block or raise."""


class Records:
    """Opens records and hands the closed ones to every sink."""

    def __init__(self, sinks: Sequence[Sink], clock: Clock | None = None) -> None:
        self._sinks = tuple(sinks)
        self._clock = clock or SystemClock()
        self._monotonic = self._clock.monotonic
        self.wall = self._clock.wall
        self.in_flight = 0

    def open(self, call: Call) -> Record:
        """Begin the record of a call."""
        self.in_flight += 1
        return Record(call, self._monotonic(), self._clock.wall())

    def close(self, record: Record) -> None:
        """The call ended: hand its record on."""
        self.in_flight -= 1
        record.duration_s = self._monotonic() - record.started_s
        for sink in self._sinks:
            sink(record)


def _trace_id(call: Call) -> str:
    """The caller's trace id (W3C traceparent in `_meta`), or a new one."""
    parent = read_string(call.meta.get(meta.TRACEPARENT))
    if parent is not None and len(parent) >= 55 and parent[2] == parent[35] == "-":
        return parent[3:35]
    return f"{random.getrandbits(128):032x}"
