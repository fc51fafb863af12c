"""Messages that have to arrive: kept until they did, tried again with growing pauses, for a day at most. Pure."""

from collections.abc import Container, Iterable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from .notify import Delivery

OUTBOX_MAX: Final = 500
"""Messages that wait, in all. Beyond it the oldest goes, and is counted."""
RETRY_S: Final = 5.0
RETRY_S_MAX: Final = 900.0
GIVE_UP_S: Final = 86_400.0


class Waiting(Struct, frozen=True, omit_defaults=True):
    """A message that has not arrived yet."""

    delivery: Delivery
    tries: int = 0
    next_s: float = 0.0
    problem: str = ""
    """Why it did not, the last time."""


class Outbox(Struct):
    """All of them, the oldest first."""

    waiting: dict[str, Waiting] = {}

    def add(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Take messages. What is here already stays as it is. Returns those that had to go for want of room."""
        for delivery in deliveries:
            self.waiting.setdefault(delivery.id, Waiting(delivery))
        return [self.waiting.pop(next(iter(self.waiting))).delivery for _ in range(len(self.waiting) - OUTBOX_MAX)]

    def due(self, now_s: float, busy: Container[str]) -> Iterator[Waiting]:
        """The next one for each channel that sends none now. Of one incident, none passes another on the way."""
        taken: set[str] = set()
        stuck: set[tuple[str, str]] = set()
        for waiting in self.waiting.values():
            channel, incident = waiting.delivery.channel, waiting.delivery.incident
            if channel in busy or channel in taken or (channel, incident) in stuck:
                continue
            if waiting.next_s > now_s:
                stuck.add((channel, incident))
                continue
            taken.add(channel)
            yield waiting

    def arrived(self, id: str) -> None:
        """A message did arrive."""
        self.waiting.pop(id, None)

    def failed(self, id: str, problem: str, now_s: float, draw: float, pause_s: float = 0.0) -> Delivery | None:
        """A message did not arrive. `draw`: from 0 to 1; `pause_s`: what the other side asked for. Returns it if it
        is given up."""
        waiting = self.waiting.get(id)
        if waiting is None:
            return None
        if now_s - waiting.delivery.at_s >= GIVE_UP_S:
            return self.waiting.pop(id).delivery
        own_s = min(RETRY_S_MAX, RETRY_S * 2.0 ** min(waiting.tries, 10)) * (0.75 + 0.5 * draw)
        next_s = now_s + max(own_s, min(pause_s, RETRY_S_MAX))
        self.waiting[id] = replace(waiting, tries=waiting.tries + 1, next_s=next_s, problem=problem)
        return None

    def forget(self, channels: Container[str]) -> list[Delivery]:
        """Drop what is for channels that are no more; returns it."""
        gone = [id for id, waiting in self.waiting.items() if waiting.delivery.channel not in channels]
        return [self.waiting.pop(id).delivery for id in gone]
