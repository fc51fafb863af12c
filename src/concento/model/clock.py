"""Time as an argument, so that every deadline and backoff can be tested by hand."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of time, in seconds."""

    def monotonic(self) -> float:
        """Never jumps; for deadlines, backoff, ages."""
        ...

    def wall(self) -> float:
        """Unix time; for records and expiry that others see."""
        ...


class SystemClock:
    """The machine's own clocks."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
