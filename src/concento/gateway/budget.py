"""Which calls may be made again though they may have run, and how many at a time: so they never become the load.

To go on to another server when nothing was sent costs no server anything, and is not counted. Source: hardening R12.
"""

from collections.abc import Callable
from typing import Final

from ..catalog.view import Binding
from ..policy.hints import counted_annotations
from ..upstream.places import Line

SHARE: Final = 0.2
"""Of the calls in flight."""
LEAST: Final = 3
"""So many in any case."""
LINE_MAX: Final = 1000
"""Repetitions that may wait."""


def is_repeatable(binding: Binding) -> bool:
    """Whether a tool may run twice: because the operator says so, or it says so itself and its server is trusted."""
    override = binding.server.tools.get(binding.own)
    if override is not None and override.repeatable is not None:
        return override.repeatable
    if binding.entry is None:
        return False
    said = counted_annotations(binding.entry.own_raw, binding.server.trust_hints)
    return said["readOnlyHint"] or said["idempotentHint"]


class Budget:
    """The repetitions of a hub that are under way. One for which there is no room waits in line: it is not lost."""

    def __init__(self, in_flight: Callable[[], int]) -> None:
        self._in_flight = in_flight
        self._line = Line()
        self.taken = 0

    async def take(self) -> bool:
        """Begin one, as soon as there is room; False if too many wait already. It ends with `leave`."""
        while self.taken >= max(LEAST, int(SHARE * self._in_flight())):
            if len(self._line) >= LINE_MAX:
                return False
            await self._line.wait(self._line.next)
        self.taken += 1
        return True

    def leave(self, count: int) -> None:
        """End so many."""
        self.taken -= count
        for _ in range(count):
            self._line.next()
