"""Which calls spans are made of, and how many traces are kept, as configured.

`control.config` makes it; `observe.traces` applies it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Traces:
    """Errors and slow calls always; of the rest a part, and a few a second so that there is something to look at."""

    keep: int = 1000
    """Traces kept to be looked at, beside half as many of errors and slow calls."""
    slow_ms: float = 1000.0
    """A call that takes longer is kept in any case."""
    sample: float = 0.01
    """Which part of the other calls is kept, from 0 to 1; a caller that says whether it keeps its own decides that."""
    few_a_second: int = 10
    """Of calls that nobody decided about, so many a second are kept whatever `sample` says."""
