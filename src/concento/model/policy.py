"""Who may call what, as configured: roles, rules and their conditions. `control.config` makes them, `policy` compiles.

Patterns match `server.name` (the server's own name of a tool or prompt, its own URI of a resource), as in views.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

ItemKind = Literal["tool", "prompt", "resource"]
"""What a rule can be about. Templates and skills count as resources."""

ENGINES = "concento.policies"
"""The entry points of other engines: `(options) -> Engine`."""

ALL_KINDS: tuple[ItemKind, ...] = ("tool", "prompt", "resource")


WORST: Mapping[str, bool] = MappingProxyType(
    {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": True}
)
"""What is assumed of a tool where what it says of itself does not count."""

_STEP = re.compile(r"([^.\[\]]+)|\[(\*|\d{1,6})\]")


def parse_path(path: str) -> tuple[str | int | None, ...]:
    """The steps of a path: members, places in a list, None for each of a list's. Errors: ValueError."""
    steps: list[str | int | None] = []
    at = 0
    while at < len(path):
        if steps and path[at] == ".":
            at += 1
        step = _STEP.match(path, at)
        if step is None or (step[1] is not None and steps and path[at - 1] != "."):
            break
        steps.append(step[1] if step[1] is not None else None if step[2] == "*" else int(step[2]))
        at = step.end()
    if at != len(path) or not steps:
        raise ValueError("expected a path such as filter.owner, items[*].path or ids[0]")
    return tuple(steps)


@dataclass(frozen=True, slots=True)
class Role:
    """What everybody in it may use: `members` are patterns over subjects; credentials name roles, too."""

    name: str
    allow: tuple[str, ...] = ()
    kinds: tuple[ItemKind, ...] = ALL_KINDS
    members: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    """Patterns over agents: whoever one of them acts for is in the role."""


@dataclass(frozen=True, slots=True)
class Test:
    """One test of a value. `op` says how; `value` is what it is held against (a compiled pattern for `matches`)."""

    op: Literal["eq", "ne", "in", "not_in", "lt", "le", "gt", "ge", "matches", "exists"]
    value: Any = True


@dataclass(frozen=True, slots=True)
class Hours:
    """Days (0 is Monday) and minutes of the day, in a time zone; a span may go past midnight."""

    days: frozenset[int] = frozenset(range(7))
    from_minute: int = 0
    to_minute: int = 24 * 60
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What has to hold, all of it. Those on the principal and on the tool's annotations are known before a call;
    arguments, time, network, metadata and CEL are looked at when one comes."""

    subjects: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    proofs: tuple[str, ...] = ()
    annotations: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    arguments: tuple[tuple[str, Test], ...] = ()
    """A path into the arguments, such as `filter.owner` or `items[*].path`, and what has to hold there."""
    time: Hours | None = None
    networks: tuple[str, ...] = ()
    meta: tuple[tuple[str, Test], ...] = ()
    cel: str | None = None


ANY = Conditions()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. A denial outweighs every grant.

    `advertise`: where only scopes are missing (`when.scopes`), the thing is listed, and calling it says which.
    """

    name: str
    effect: Literal["allow", "deny"]
    patterns: tuple[str, ...]
    kinds: tuple[ItemKind, ...] = ALL_KINDS
    when: Conditions = ANY
    unless: Conditions | None = None
    advertise: bool = False
    engine: str | None = None
    """Name of another engine, an entry point of `concento.policies`: it may only narrow."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """That engine's own settings."""
    place: str = field(default="", compare=False)
