"""What was sent to legacy agents on event streams, kept for a while: who lost a stream goes on with it where it broke.

Every stream of a session has a log; an event's id names the log and the place in it. The logs of a hub share one bound:
the oldest events of any go first. Source: specification 2025-11-25, basic/transports (resumability); R15, R26.
"""

import asyncio
from collections import OrderedDict, deque
from typing import Final

from ..model.limits import REPLAY_BYTES_MAX, REPLAY_EVENTS_MAX
from .http import Exchange

_RETRY_MS: Final = 1000
"""How long an agent should wait before it comes back for a stream that broke."""

_LOGS_MAX: Final = 64
"""Streams of one session that can be come back to."""


class EventStore:
    """All kept events of a hub, in the order they were sent."""

    def __init__(self) -> None:
        self.bytes_max = REPLAY_BYTES_MAX
        self.events_max = REPLAY_EVENTS_MAX
        self._order: deque[EventLog] = deque()
        self._bytes = 0

    def kept(self, log: "EventLog", size: int) -> None:
        """An event was kept: forget the oldest ones that are too many now."""
        self._order.append(log)
        self._bytes += size
        while self._bytes > self.bytes_max or len(self._order) > self.events_max:
            self._bytes -= self._order.popleft().forget_oldest()


class SessionLogs:
    """The streams of one session. `primes`: its agent is given an id to come back with before any event."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self.primes = False
        self._logs: OrderedDict[str, EventLog] = OrderedDict()
        self._names = 0

    def add(self, log: "EventLog") -> str:
        """Name a stream that begins, so that it can be found; the oldest one is forgotten where there are too many."""
        if len(self._logs) >= _LOGS_MAX:
            self._logs.popitem(last=False)
        self._names += 1
        name = str(self._names)
        self._logs[name] = log
        return name

    def find(self, event_id: str) -> "tuple[EventLog, int] | None":
        """The stream that an event was sent on, and its place there."""
        name, _, place = event_id.partition("-")
        log = self._logs.get(name)
        return (log, int(place)) if log is not None and place.isdecimal() and len(place) < 12 else None


class EventLog:
    """One stream: what was sent on it, and who reads it now, which may be another connection than it began on.

    It costs next to nothing until the stream begins, which for most replies it never does.
    """

    __slots__ = ("_count", "_end", "_events", "_finished", "_logs", "_name", "_reader")

    def __init__(self, logs: SessionLogs, exchange: Exchange) -> None:
        self._finished = False
        self._end: asyncio.Event | None = None
        self._logs = logs
        self._reader: Exchange = exchange
        self._name = ""
        self._count = 0
        exchange.primer = self._named

    def _named(self) -> bytes:
        """The stream is opened: give it a name, and the agent what it needs to come back."""
        self._name = self._logs.add(self)
        self._events: deque[tuple[int, bytes]] = deque()
        return b"retry: %d\nid: %b-0\ndata: \n\n" % (_RETRY_MS, self._name.encode()) if self._logs.primes else b""

    def begin(self) -> None:
        """Begin the stream without an event, so that the agent can come back for what takes long."""
        self._reader.open_stream()

    def event(self, data: bytes) -> None:
        """Send an event, and keep it."""
        self._reader.open_stream()
        if not self._name:
            return  # the agent left before it had anything to come back with
        self._count += 1
        self._events.append((self._count, data))
        self._logs.store.kept(self, len(data))
        self._reader.event(data, id=f"{self._name}-{self._count}")

    def finish(self, reply: bytes | None) -> None:
        """Send the reply: whole, if the stream never began, else as its last event."""
        if not self._name:
            self._reader.reply(202 if reply is None else 200, reply or b"")
            return
        if reply is not None:
            self.event(reply)
        self._finished = True
        self._reader.end()
        if self._end is not None:
            self._end.set()

    def read_on(self, exchange: Exchange, after: int) -> None:
        """Send a connection what came after an event, and go on with it from there."""
        exchange.open_stream()
        for number, data in tuple(self._events):
            if number > after:
                exchange.event(data, id=f"{self._name}-{number}")
        self._reader.end()  # a message goes on one stream only
        self._reader = exchange
        if self._finished:
            exchange.end()

    async def finished(self) -> None:
        """Wait for its last event."""
        self._end = self._end or asyncio.Event()
        if not self._finished:
            await self._end.wait()

    def forget_oldest(self) -> int:
        """Drop the oldest event; returns its size."""
        return len(self._events.popleft()[1])
