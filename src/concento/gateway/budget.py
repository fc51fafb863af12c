"""Which calls may be made again though they may have run, and how many at a time: so they never become the load.

To go on to another server when nothing was sent costs no server anything, and is not counted. Source: hardening R12.
"""

from collections.abc import Callable
from typing import Final

from ..catalog.view import Binding
from ..policy.hints import counted_annotations

SHARE: Final = 0.2
"""Of the calls in flight."""
LEAST: Final = 3
"""So many in any case."""


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
    """The repetitions of a hub that are under way."""

    def __init__(self, in_flight: Callable[[], int]) -> None:
        self._in_flight = in_flight
        self.taken = 0
        self.refused = 0
        """Repetitions that there was no room for, since the start."""

    def take(self) -> bool:
        """Begin one, if there is room. Whoever begins one ends it with `give_back`."""
        if self.taken >= max(LEAST, int(SHARE * self._in_flight())):
            self.refused += 1
            return False
        self.taken += 1
        return True

    def give_back(self, count: int) -> None:
        """End so many."""
        self.taken -= count
