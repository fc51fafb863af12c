"""How long a replica's replies took lately: a moving average that the last ones make, and that fades without any.

If it did not fade, a replica that was slow once would get no call any more, and nobody would see that it is quick
again.
"""

from typing import Final

SHARE: Final = 0.2
"""What one reply counts."""
HALF_S: Final = 10.0
"""After so long without a reply, half of it is left."""


class Latency:
    """The average of one replica, in seconds."""

    __slots__ = ("_s", "_since_s")

    def __init__(self) -> None:
        self._s = 0.0
        self._since_s = 0.0

    def note(self, took_s: float, now_s: float) -> None:
        """A reply came."""
        known_s = self.at(now_s)
        self._s = took_s if not known_s else known_s + SHARE * (took_s - known_s)
        self._since_s = now_s

    def at(self, now_s: float) -> float:
        """What it is at a moment; 0 while nothing is known."""
        return self._s * 0.5 ** (max(0.0, now_s - self._since_s) / HALF_S) if self._s else 0.0
