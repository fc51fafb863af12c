"""How many calls may be made again at a time, of those that may have run: so that repetitions never become the load.

To go on to another server when nothing was sent costs no server anything, and is not counted. Source: hardening R12.
"""

from collections.abc import Callable
from typing import Final

SHARE: Final = 0.2
"""Of the calls in flight."""
LEAST: Final = 3
"""So many in any case."""


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
