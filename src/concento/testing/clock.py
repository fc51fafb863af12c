"""Time that moves when a test says so."""


class ManualClock:
    """A `model.clock.Clock` whose two readings only `advance` changes."""

    def __init__(self, monotonic_s: float = 1000.0, wall_s: float = 1_800_000_000.0) -> None:
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic_s

    def wall(self) -> float:
        """Unix time."""
        return self._wall_s

    def advance(self, seconds: float) -> None:
        """Let that much time pass, on both readings."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._monotonic_s += seconds
        self._wall_s += seconds
