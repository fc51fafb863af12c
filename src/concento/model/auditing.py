"""What is recorded of calls, how surely and for how long, as configured.

`control.config` makes it; `observe.audit` applies it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit record.

    `batched`: a call waits for nothing; what a kill takes of the last 100 ms shows as a gap. `strict`: that a call will
    be made is on disk before anything is sent. `off`: nothing is recorded.
    """

    mode: Literal["off", "batched", "strict"] = "batched"
    path: Path | None = None
    """The SQLite file; None: `audit.db` in the state folder."""
    arguments: Literal["digest", "full"] = "digest"
    redact: tuple[str, ...] = ()
    """Names of members whose values are never recorded with full arguments, beside the built-in ones."""
    keep_days: float | None = 90.0
    size_max_mb: int | None = 1024
    """Beyond either, the oldest records go; the chain goes on from what is noted of them."""
    stream: str | None = None
    """Also to `file:PATH` (JSON lines) or `syslog:HOST:PORT`, `syslog:/dev/log`."""
    anchor: Path | None = None
    """A file, on another disk best, that gets the head of the chain each minute: it shows a cut tail."""
