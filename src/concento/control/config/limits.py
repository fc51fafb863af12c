"""Limits: what may stand in `limits:`, and the values it is read as."""

import re
from collections.abc import Mapping
from typing import Final

from ...model.limiting import LimitRule, Per
from ...model.policy import Role
from .document import Node, ScalarNode
from .kinds import Choice, Entries, Items, Key, Keys, Number, Parsed, Reader, Schema, Table, Text, Whole, WithPlace
from .policy import AGENTS, PATTERNS, SUBJECTS
from .problems import Problems, unknown

_PERS: Final[tuple[Per, ...]] = ("tool", "server", "user", "agent", "tenant", "global")
_SPANS: Final[Mapping[str, float]] = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class _OneOrMore:
    """A word, or a list of them."""

    def __init__(self, word: Choice[Per]) -> None:
        self._word = word
        self._words = Items(word, "such as [user, tool]")

    def read(self, node: Node, reader: Reader) -> tuple[Per, ...]:
        """The words."""
        return (self._word.read(node, reader),) if isinstance(node, ScalarNode) else self._words.read(node, reader)

    def schema(self) -> Schema:
        """Either."""
        return {"anyOf": [self._word.schema(), self._words.schema()]}

    def accepts(self) -> str:
        """Either."""
        return f"{self._word.accepts()}, or a list of them"


def _rate(text: str) -> tuple[float, float]:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)/([smhd])", text)
    if match is None or float(match[1]) == 0:
        raise ValueError("expected a rate such as 10/s, 100/m, 1000/h or 5000/d")
    return float(match[1]), _SPANS[match[2]]


PER: Final = Key(
    "per",
    _OneOrMore(Choice(_PERS)),
    "What has a count of its own: each tool, server, user, agent of a user's, tenant, or all calls together. Several: "
    "each combination.",
    LimitRule("").per,
    example="[user, tool]",
)
MATCH: Final = Key("match", PATTERNS, "Calls it is about; all if left out.", example='["search.*"]')
IN_ROLES: Final = Key(
    "roles", Items(WithPlace(Text("a role")), "such as [guest]"), "Only whoever is in one of these.", example="[reader]"
)
RATE: Final = Key(
    "rate",
    Parsed(Text("a rate, such as 10/s"), _rate),
    "Calls in a second, minute, hour or day, evenly.",
    example="10/s",
)
BURST: Final = Key("burst", Whole(0, 1_000_000), "Calls that may come at once beyond that.", 0, example="20")
CONCURRENCY: Final = Key("concurrency", Whole(1, 1_000_000), "Calls at a time.", example="4")
DAY: Final = Key("day", Whole(1, 10**12), "Calls a day, which begins at midnight UTC.", example="10000")
MONTH: Final = Key("month", Whole(1, 10**12), "Calls a month, in UTC.", example="200000")
SOFT: Final = Key(
    "soft",
    Number(0, 1, above=True),
    "From this part of a quota on, callers are told that it runs out.",
    0.8,
    example="0.9",
)
LIMITS: Final = Key(
    "limits",
    Entries(
        Keys("a limit", PER, MATCH, SUBJECTS, AGENTS, IN_ROLES, RATE, BURST, CONCURRENCY, DAY, MONTH, SOFT),
        "limit",
        r"[^\x00-\x1f]{1,64}",
        "a name of at most 64 characters",
    ),
    "How often and how much may be called. A call that fans out to N servers counts N times.",
    example="{each user: {per: user, rate: 10/s, burst: 20}}",
)


def build_limits(table: Table, roles: Mapping[str, Role], file: str, problems: Problems) -> tuple[LimitRule, ...]:
    """The limits. `roles` are those that may be named."""
    limits = []
    for name, (limit, place) in (table.get(LIMITS) or {}).items():
        if not limit.given(RATE, CONCURRENCY, DAY, MONTH) and not limit.is_misspelt:
            problems.add(place, f"the limit {name!r} limits nothing: give it 'rate', 'concurrency', 'day' or 'month'")
        if limit.given(BURST) and not limit.given(RATE):
            problems.add(limit.place_of(BURST), "'burst' has no effect without 'rate'")
        if limit.given(SOFT) and not limit.given(DAY, MONTH):
            problems.add(limit.place_of(SOFT), "'soft' has no effect without 'day' or 'month'")
        named = limit.get(IN_ROLES) or ()
        for role, where in named:
            if roles and role not in roles:
                problems.add(where, unknown("role", role, roles))
        rate = limit.get(RATE)
        limits.append(
            LimitRule(
                name,
                limit[PER],
                tuple(pattern for pattern, _ in limit.get(MATCH) or ()) or ("*",),
                limit.get(SUBJECTS) or ("*",),
                limit.get(AGENTS) or (),
                tuple(role for role, _ in named),
                None if rate is None else rate[0],
                1.0 if rate is None else rate[1],
                limit[BURST],
                limit.get(CONCURRENCY),
                limit.get(DAY),
                limit.get(MONTH),
                limit[SOFT],
                place=f"{file}:{place.line}",
            )
        )
    return tuple(limits)
