"""What is kept of how much was used: one row a day and key, and the settings of that."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

Part = Literal["", "asked", "copy", "kept", "unsent"]
"""What a call is beside itself. `asked`: it ended with a question, and goes on as another; `copy`: of a call, to a
server that is tried; `kept`: answered as one before it with the same key; `unsent`: no server saw it."""

OTHER: Final = "other"
"""Who or what is counted together beyond the bound on keys."""

BYTES_PER_TOKEN: Final = 4
"""An estimate: nothing here knows the agent's tokenizer."""


class RowKey(NamedTuple):
    """Whose calls, of what, ending how. `day`: days since 1970 in UTC, by when a call ended."""

    day: int
    tenant: str
    subject: str
    server: str
    tool: str
    arm: str
    method: str
    outcome: str
    part: str
    price: str
    """The price that the calls were metered at; empty: they cost nothing."""


class Row(NamedTuple):
    """What was used under a key. `cost` is in `PARTS` of the price's currency."""

    key: RowKey
    calls: int = 0
    attempts: int = 0
    us: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    tokens: int = 0
    cost: int = 0


def arm_text(arm: tuple[str, str] | None) -> str:
    """An arm of an experiment, such as `web_search: brave.search`."""
    return f"{arm[0]}: {arm[1]}" if arm is not None else ""


@dataclass(frozen=True, slots=True)
class Metering:
    """Whether usage is kept, where and for how long."""

    mode: Literal["on", "off"] = "on"
    path: Path | None = None
    """The SQLite file; None: `usage.db` in the state folder."""
    keep_days: int | None = None
    """None: for ever."""
