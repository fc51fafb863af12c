"""Limits: what may stand in `limits:`, and the values it is read as."""

import re
from collections.abc import Collection, Mapping
from typing import Final

from ...model.limiting import LimitRule, Per
from ...model.policy import Role
from .document import Node, ScalarNode
from .kinds import Choice, Entries, Items, Key, Keys, Number, Parsed, Reader, Schema, Table, Text, Whole, WithPlace
from .policy import AGENTS, PATTERNS, SUBJECTS
from .problems import Place, Problems, unknown

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
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?/ ?([smhd])", text)
    if match is None:
        raise ValueError("expected a rate such as 10/s, 100/m, 1000/h or 5000/d")
    if float(match[1]) == 0:
        raise ValueError("a rate of 0 lets nothing through; say that in `policies`, or give a rate such as 10/s")
    return float(match[1]), _SPANS[match[2]]


PER: Final = Key(
    "per",
    _OneOrMore(Choice(_PERS)),
    "What has a count of its own: each tool, server, user, agent of a user's, tenant, or all calls together. Several: "
    "each combination.",
    LimitRule("").per,
    example="[user, tool]",
)
MATCH: Final = Key(
    "match",
    PATTERNS,
    "Calls it is about: patterns over `server.name`. All if left out; a call to no server, such as a list, is matched "
    "by `*` alone.",
    example='["search.*"]',
)
IN_ROLES: Final = Key(
    "roles", Items(WithPlace(Text("a role")), "such as [guest]"), "Only whoever is in one of these.", example="[reader]"
)
RATE: Final = Key(
    "rate",
    Parsed(Text("a rate, such as 10/s"), _rate),
    "Calls in a second, minute, hour or day (`10/s`, `100/m`, `1000/h`, `5000/d`), evenly spread.",
    example="10/s",
)
BURST: Final = Key(
    "burst", Whole(0, 1_000_000), "How many more may come at once, after a time with fewer.", 0, example="20"
)
CONCURRENCY: Final = Key("concurrency", Whole(1, 1_000_000), "Calls at a time.", example="4")
DAY: Final = Key("day", Whole(1, 10**12), "Calls a day, which begins at midnight UTC.", example="10000")
MONTH: Final = Key("month", Whole(1, 10**12), "Calls a month, in UTC.", example="200000")
SOFT: Final = Key(
    "soft",
    Number(0, 1, above=True),
    "From this part of a quota on, callers are told with each result that it runs out.",
    LimitRule("").soft,
    example="0.9",
)
LIMITS: Final = Key(
    "limits",
    Entries(
        Keys("a limit", PER, MATCH, SUBJECTS, AGENTS, IN_ROLES, RATE, BURST, CONCURRENCY, DAY, MONTH, SOFT),
        "limit",
        r"[^\x00-\x1f\x7f]{1,64}",
        "a name of at most 64 characters",
    ),
    "How often and how much may be called, by names that are told to whoever is refused. A call that fans out to N "
    "servers counts N times.",
    example="{each user: {per: user, rate: 10/s, burst: 20}}",
)


def build_limits(
    table: Table, roles: Mapping[str, Role], file: str, problems: Problems, servers: Collection[str] | None = None
) -> tuple[LimitRule, ...]:
    """The limits. `roles` are those that may be named, `servers` the aliases; None: any."""
    return tuple(
        _limit(name, limit, place, roles, file, problems, servers)
        for name, (limit, place) in (table.get(LIMITS) or {}).items()
    )


def _limit(
    name: str,
    limit: Table,
    place: Place,
    roles: Mapping[str, Role],
    file: str,
    problems: Problems,
    servers: Collection[str] | None,
) -> LimitRule:
    if not limit.given(RATE, CONCURRENCY, DAY, MONTH) and not limit.is_misspelt:
        problems.add(place, f"the limit {name!r} limits nothing: give it 'rate', 'concurrency', 'day' or 'month'")
    _refuse_idle(limit, problems)
    named, patterns = limit.get(IN_ROLES) or (), limit.get(MATCH) or ()
    for role, where in named:
        if roles and role not in roles:
            problems.add(where, unknown("role", role, roles))
    for pattern, where in patterns:
        alias = pattern.partition(".")[0]
        if servers is not None and not set(alias) & set("*?") and alias not in servers:
            problems.add(where, unknown("server", alias, servers))
    rate, per_s = limit.get(RATE) or (None, LimitRule("").per_s)
    return LimitRule(
        name,
        limit[PER],
        tuple(pattern for pattern, _ in patterns) or LimitRule("").patterns,
        limit.get(SUBJECTS) or LimitRule("").subjects,
        limit.get(AGENTS) or (),
        tuple(role for role, _ in named),
        rate,
        per_s,
        limit[BURST],
        limit.get(CONCURRENCY),
        limit.get(DAY),
        limit.get(MONTH),
        limit[SOFT],
        place=place.in_file(file),
    )


def _refuse_idle(limit: Table, problems: Problems) -> None:
    """Refuse what would do nothing."""
    if limit.given(BURST) and not limit.given(RATE):
        problems.add(limit.place_of(BURST), "'burst' has no effect without 'rate'")
    if limit.given(SOFT) and not limit.given(DAY, MONTH):
        problems.add(limit.place_of(SOFT), "'soft' has no effect without 'day' or 'month'")
    day, month = limit.get(DAY), limit.get(MONTH)
    if day is not None and month is not None and day >= month:
        problems.add(limit.place_of(DAY), f"{day} calls a day have no effect with {month} a month; lower 'day'")
    per = limit[PER]
    if "global" in per and len(per) > 1:
        others = ", ".join(one for one in per if one != "global")
        problems.add(limit.place_of(PER), f"'global' counts all calls together; it has no effect beside {others}")
    elif len(set(per)) < len(per):
        problems.add(limit.place_of(PER), "the same word stands here twice")
