"""How often and how much may be called, as configured. `control.config` makes it; `policy.limits` applies it."""

from dataclasses import dataclass, field
from typing import Literal

Per = Literal["tool", "server", "user", "agent", "tenant", "global"]
"""What shares one limit: each tool, each server, each user (tenant and subject), each agent of a user's, each tenant,
or all calls together."""


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One limit. It counts the calls that its patterns match, separately for each `per`.

    A rate is smooth: `rate` calls in `per_s`, and `burst` more at once. `concurrency` is calls at a time. Quotas are
    calls a UTC day or month; from `soft` of one on, callers and operators are told.
    """

    name: str
    per: tuple[Per, ...] = ("user",)
    """Several: each combination has its own, such as each tool of each user."""
    patterns: tuple[str, ...] = ("*",)
    """Over `server.name`; a call that is about no server (a list) is matched by `*` alone."""
    subjects: tuple[str, ...] = ("*",)
    agents: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    """Only who is in one of these; empty: everybody."""
    rate: float | None = None
    per_s: float = 1.0
    burst: int = 0
    concurrency: int | None = None
    day: int | None = None
    month: int | None = None
    soft: float = 0.8
    place: str = field(default="", compare=False)
