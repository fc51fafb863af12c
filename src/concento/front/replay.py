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
            oldest = next((name for name, kept in self._logs.items() if kept.has_ended), next(iter(self._logs)))
            del self._logs[oldest]
        self._names += 1
        name = str(self._names)
        self._logs[name] = log
        return name

    def find(self, event_id: str) -> "tuple[EventLog, int] | None":
        """The stream that an event was sent on, and its place there; None if what came after it is no longer kept."""
        name, _, place = event_id.partition("-")
        log = self._logs.get(name)
        if log is None or not place.isdecimal() or len(place) >= 12 or not log.follows(int(place)):
            return None
        return log, int(place)


class EventLog:
    """One stream: what was sent on it, and who reads it now, which may be another connection than it began on.

    It costs next to nothing until the stream begins, which for most replies it never does.
    """

    __slots__ = ("_change", "_count", "_events", "_finished", "_logs", "_name", "_reader")

    def __init__(self, logs: SessionLogs, exchange: Exchange) -> None:
        self._finished = False
        self._change: asyncio.Event | None = None
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
            self._reader.primer = None  # a cycle for the collector to find otherwise, once a call
            reader = self._reader
            reader.reply(202 if reply is None else reader.status, reply or b"", reader.headers)
            return
        if reply is not None:
            self.event(reply)
        self._finish()

    def read_on(self, exchange: Exchange, after: int) -> None:
        """Send a connection what came after an event, and go on with it from there."""
        exchange.open_stream()
        for number, data in tuple(self._events):
            if number > after:
                exchange.event(data, id=f"{self._name}-{number}")
        self._reader.end()  # a message goes on one stream only
        self._reader = exchange
        self._changed()
        if self._finished:
            exchange.end()

    @property
    def has_ended(self) -> bool:
        """Whether its last event was sent."""
        return self._finished

    @property
    def is_read(self) -> bool:
        """Whether somebody reads it right now."""
        return not self._reader.ended

    def follows(self, place: int) -> bool:
        """Whether all that came after a place is still kept."""
        return place >= self._count - len(self._events)

    def cut(self) -> None:
        """Nothing more will be sent on it, the reply neither."""
        if self._name:
            self._finish()

    async def read_by(self, exchange: Exchange) -> None:
        """Wait until it ends, or somebody else reads it."""
        self._change = self._change or asyncio.Event()
        while self._reader is exchange and not self._finished:
            self._change.clear()
            await self._change.wait()

    def _finish(self) -> None:
        self._finished = True
        self._reader.end()
        self._changed()

    def _changed(self) -> None:
        if self._change is not None:
            self._change.set()

    def forget_oldest(self) -> int:
        """Drop the oldest event; returns its size."""
        return len(self._events.popleft()[1])
