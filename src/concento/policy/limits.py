"""How often and how much may be called: smooth rates, calls at a time, quotas a day and a month.

Everything is decided in process, in less than a microsecond a limit, on the monotonic clock; only quotas know what day
it is, and are kept in the state store. A keeper shared by several hubs can take this one's place: `enter` and what it
returns are the whole contract. Source: hardening T28, T29, R20.
"""

import calendar
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from ..catalog.patterns import Patterns
from ..model.clock import Clock
from ..model.errors import RateLimited
from ..model.limiting import LimitRule, Per
from ..model.principal import Principal
from ..store.contract import Store
from .globs import acts, matches

SPACE: Final = "quotas"
KEYS_MAX: Final = 100_000
"""Callers, tools and so on that one limit counts apart. Beyond that those that owe nothing are forgotten, and if all
owe, new ones share a place."""
_SELECTIONS_MAX: Final = 20_000
_BUSY_RETRY_S: Final = 1.0
_REST: Final = ("\0rest",)
"""Where those are counted for whom there is no place of their own."""

_DAY, _MONTH = 0, 1
_WORDS: Final = ("day", "month")

_Key = tuple[str | None, ...]


class Lease(Protocol):
    """What a call holds while it runs."""

    told: str | None
    """What its caller should know: a quota that is nearly used up."""

    def leave(self) -> None:
        """The call is over. To say so twice does nothing."""
        ...


class LimitKeeper(Protocol):
    """Who decides. One that is shared by several hubs answers from the share it was given last."""

    def enter(self, principal: Principal, server: str | None, tool: str | None, cost: int = 1) -> Lease:
        """Let a call in, or none of it. Errors: RateLimited."""
        ...


class _Free:
    """A lease of a call that holds nothing back."""

    told: str | None = None

    def leave(self) -> None:
        return None


_FREE: Final = _Free()


class _Told:
    """A lease of a call that holds nothing back, whose caller is told something."""

    def __init__(self, told: str) -> None:
        self.told: str | None = told

    def leave(self) -> None:
        return None


class _Held:
    """A lease that counts among the calls at a time."""

    __slots__ = ("_cost", "_places", "told")

    def __init__(self, places: "list[tuple[_Limit, _Key]]", cost: int, told: str | None) -> None:
        self._places = places
        self._cost = cost
        self.told = told

    def leave(self) -> None:
        places, self._places = self._places, []
        for limit, key in places:
            left = limit.running[key] - self._cost
            if left > 0:
                limit.running[key] = left
            else:
                del limit.running[key]


class _Used(Struct):
    """What is used of a quota: which period, and how much."""

    period: str
    count: int = 0


class _Limit:
    """One limit: its rule, and what each of those it counts apart has used."""

    def __init__(self, rule: LimitRule, tenant: str) -> None:
        self.rule = rule
        self.tenant = tenant
        self.patterns = Patterns(rule.patterns)
        self.everything = "*" in rule.patterns
        self.interval_s = rule.per_s / rule.rate if rule.rate else 0.0
        self.slack_s = self.interval_s * rule.burst
        self.due_s: dict[_Key, float] = {}
        """When each would owe nothing any more (GCRA's theoretical arrival time)."""
        self.running: dict[_Key, int] = {}
        self.used: dict[_Key, list[_Used]] = {}
        sizes = ((_DAY, rule.day), (_MONTH, rule.month))
        self.quotas = tuple((place, size) for place, size in sizes if size is not None)
        self.refused = 0

    def wait_s(self, key: _Key, now_s: float, cost: int) -> float:
        """How long a call has to wait. One that costs more than may come at once waits as long as one that costs that,
        and owes the rest."""
        due_s = self.due_s.get(key, 0.0)
        if due_s < now_s:
            due_s = now_s
        if cost > 1:
            due_s += self.interval_s * min(cost - 1, self.rule.burst)
        return due_s - self.slack_s - now_s

    def counts(self, principal: Principal, roles: frozenset[str], server: str | None, tool: str | None) -> bool:
        """Whether it is about a call at all."""
        rule = self.rule
        if self.tenant and principal.tenant != self.tenant:
            return False
        if not self.everything and (server is None or not self.patterns.matches(server.rpartition("/")[2], tool or "")):
            return False
        if rule.subjects != ("*",) and not matches(rule.subjects, principal.subject):
            return False
        if rule.agents and not acts(rule.agents, principal):
            return False
        return not rule.roles or not roles.isdisjoint(rule.roles)

    def key(self, principal: Principal, server: str | None, tool: str | None) -> _Key | None:
        """Whom it counts a call for; None if it has nobody for this one (a list is of no tool)."""
        parts: list[str | None] = []
        for per in self.rule.per:
            if per in ("tool", "server") and server is None:
                return None
            parts += _PART[per](principal, server, tool)
        return tuple(parts)


_PART: Final[Mapping[Per, Any]] = {
    "tool": lambda principal, server, tool: (server, tool),
    "server": lambda principal, server, tool: (server,),
    "user": lambda principal, server, tool: (principal.tenant, principal.subject),
    "agent": lambda principal, server, tool: (principal.tenant, principal.subject, principal.agent),
    "tenant": lambda principal, server, tool: (principal.tenant,),
    "global": lambda principal, server, tool: (),
}

_Selected = list[tuple[_Limit, _Key]]


class Limits:
    """All limits of a hub. Implements `LimitKeeper`."""

    def __init__(
        self,
        clock: Clock,
        store: Store | None,
        roles_of: Callable[[Principal], frozenset[str]] = lambda principal: principal.roles,
    ) -> None:
        self._clock = clock
        self._roles_of = roles_of
        self._store = store
        self._limits: list[_Limit] = []
        self._kept: dict[str, dict[str, list[_Used]]] = {}
        """What the store had of quotas, until the limit it belongs to is configured."""
        self._unwritten: set[_Limit] = set()
        self._selections: dict[tuple[int, str | None, str | None], tuple[Principal, _Selected]] = {}
        self._period = ("", "")
        self._period_until_s = 0.0

    # -- configuration and keeping

    def configure(self, rules: Mapping[str, Sequence[LimitRule]]) -> None:
        """Make these the limits, the operator's under "". What is used of one that stays as it was stays used."""
        before = {(limit.tenant, limit.rule): limit for limit in self._limits}
        self._limits = []
        for tenant, of_tenant in rules.items():
            for rule in of_tenant:
                limit = before.get((tenant, rule)) or _Limit(rule, tenant)
                kept = self._kept.pop(_name(limit), None)
                if kept:
                    limit.used = {tuple(msgspec.json.decode(key)): used for key, used in kept.items()}
                self._limits.append(limit)
        self._selections.clear()

    async def load(self) -> None:
        """Read what was used of quotas."""
        if self._store is not None:
            for name, value in (await self._store.items(SPACE)).items():
                try:
                    self._kept[name] = msgspec.msgpack.decode(value, type=dict[str, list[_Used]])
                except msgspec.DecodeError:
                    continue  # what can't be read is counted anew

    async def flush(self) -> None:
        """Write what was used of quotas since the last time."""
        unwritten, self._unwritten = self._unwritten, set()
        for limit in unwritten:
            if self._store is not None:
                used = {msgspec.json.encode(key).decode(): value for key, value in limit.used.items()}
                await self._store.put(SPACE, _name(limit), msgspec.msgpack.encode(used))

    # -- deciding

    def enter(self, principal: Principal, server: str | None, tool: str | None, cost: int = 1) -> Lease:
        """Let a call in, or none of it: one that a limit refuses uses up nothing of the others. `server` is a key.

        Errors: RateLimited, with the time after which it would be let in.
        """
        selected = self._selected(principal, server, tool)
        if not selected:
            return _FREE
        now_s = self._clock.monotonic()
        held: _Selected | None = None
        told: str | None = None
        counted = False
        for limit, key in selected:
            rule = limit.rule
            if rule.rate is not None:
                wait_s = limit.wait_s(key, now_s, cost)
                if wait_s > 1e-9:
                    raise self._refuse(limit, f"{rule.rate:g} calls {_span(rule.per_s)}", wait_s)
            if rule.concurrency is not None:
                if limit.running.get(key, 0) + cost > rule.concurrency:
                    raise self._refuse(limit, f"{rule.concurrency} calls at a time", _BUSY_RETRY_S)
                held = held or []
                held.append((limit, key))
            if rule.day is not None or rule.month is not None:
                counted = True
                told = self._check_quotas(limit, key, cost) or told
        for limit, key in selected:
            if limit.interval_s:
                due_s = limit.due_s.get(key, 0.0)
                limit.due_s[key] = (due_s if due_s > now_s else now_s) + limit.interval_s * cost
        if held is not None:
            for limit, key in held:
                limit.running[key] = limit.running.get(key, 0) + cost
        if counted:
            self._count(selected, cost)
        if held is not None:
            return _Held(held, cost, told)
        return _FREE if told is None else _Told(told)

    def _selected(self, principal: Principal, server: str | None, tool: str | None) -> _Selected:
        """The limits that are about a call, and whom each counts it for."""
        if not self._limits:
            return []
        name = (id(principal), server, tool)
        known = self._selections.get(name)
        if known is not None and known[0] is principal:
            return known[1]
        selected: _Selected = []
        roles = self._roles_of(principal)
        for limit in self._limits:
            if limit.counts(principal, roles, server, tool) and (key := limit.key(principal, server, tool)) is not None:
                selected.append((limit, self._placed(limit, key)))
        if len(self._selections) >= _SELECTIONS_MAX:
            self._selections.clear()
        self._selections[name] = (principal, selected)
        return selected

    def _placed(self, limit: _Limit, key: _Key) -> _Key:
        """The key, if there is a place for it."""
        if key in limit.due_s or key in limit.used or len(limit.due_s) + len(limit.used) < KEYS_MAX:
            return key
        now_s = self._clock.monotonic()
        limit.due_s = {one: due_s for one, due_s in limit.due_s.items() if due_s > now_s}
        for place, _ in limit.quotas:
            period = self._periods()[place]
            limit.used = {one: used for one, used in limit.used.items() if used[place].period == period}
        return key if len(limit.due_s) + len(limit.used) < KEYS_MAX else _REST

    def _check_quotas(self, limit: _Limit, key: _Key, cost: int) -> str | None:
        """What a caller is told of quotas that are nearly used up. Errors: RateLimited."""
        told = None
        used = limit.used.get(key)
        periods = self._periods()
        for place, size in limit.quotas:
            count = used[place].count if used is not None and used[place].period == periods[place] else 0
            if count + cost > size:
                raise self._refuse(limit, f"{size} calls a {_WORDS[place]}", self._period_ends_s(place))
            if count + cost > size * limit.rule.soft:
                told = f"{count + cost} of {size} calls of this {_WORDS[place]} are used up (limit {limit.rule.name!r})"
        return told

    def _count(self, selected: _Selected, cost: int) -> None:
        for limit, key in selected:
            if not limit.quotas:
                continue
            of_key = limit.used.get(key)
            if of_key is None:
                of_key = limit.used[key] = [_Used(""), _Used("")]
            periods = self._periods()
            for place, _ in limit.quotas:
                used = of_key[place]
                if used.period != periods[place]:
                    used.period, used.count = periods[place], 0
                used.count += cost
            self._unwritten.add(limit)

    def _refuse(self, limit: _Limit, what: str, wait_s: float) -> RateLimited:
        limit.refused += 1
        error = RateLimited(f"The limit {limit.rule.name!r} is {what}", retry_after_s=max(wait_s, 0.001))
        error.limit = limit.rule.name
        return error

    def _periods(self) -> tuple[str, str]:
        """The day and the month it is. A clock that is set back does not bring one back: what is used stays used."""
        wall_s = self._clock.wall()
        if wall_s >= self._period_until_s:
            now = time.gmtime(wall_s)
            self._period_until_s = (wall_s // 86_400 + 1) * 86_400
            self._period = (time.strftime("%Y-%m-%d", now), time.strftime("%Y-%m", now))
        return self._period

    def _period_ends_s(self, place: int) -> float:
        """Seconds until a quota begins anew."""
        day_s = self._period_until_s - self._clock.wall()
        if place == _DAY:
            return day_s
        year, month = (int(part) for part in self._period[_MONTH].split("-"))
        return calendar.timegm((year + month // 12, month % 12 + 1, 1, 0, 0, 0)) - self._clock.wall()

    # -- being looked at

    def describe(self, principal: Principal, server: str | None, tool: str | None) -> list[str]:
        """Which limits are about a call, and how much of each is left, for people. Nothing is used up."""
        now_s = self._clock.monotonic()
        told = []
        for limit, key in self._selected(principal, server, tool):
            rule = limit.rule
            parts = []
            if rule.rate is not None:
                free_s = limit.slack_s - max(0.0, limit.due_s.get(key, 0.0) - now_s)
                left = max(0, int(free_s / limit.interval_s + 1e-9) + 1)
                parts.append(f"{rule.rate:g} {_span(rule.per_s)}, {left} at once now")
            if rule.concurrency is not None:
                parts.append(f"{rule.concurrency} at a time, {rule.concurrency - limit.running.get(key, 0)} free")
            for place, size in limit.quotas:
                used = limit.used.get(key)
                current = used is not None and used[place].period == self._periods()[place]
                count = used[place].count if used is not None and current else 0
                parts.append(f"{size} a {_WORDS[place]}, {size - count} left")
            told.append(f"{rule.name}: {'; '.join(parts)} (for each {', '.join(rule.per)})")
        return told

    def readings(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        """How often each limit refused."""
        for limit in self._limits:
            labels = {"limit": limit.rule.name, "tenant": limit.tenant}
            yield "concento_limit_refused", "Calls that a limit refused", labels, limit.refused


def _name(limit: _Limit) -> str:
    rule = limit.rule
    return msgspec.json.encode([limit.tenant, rule.name, rule.per, rule.patterns, rule.day, rule.month]).decode()


def _span(seconds: float) -> str:
    return {1.0: "a second", 60.0: "a minute", 3600.0: "an hour", 86_400.0: "a day"}.get(seconds, f"{seconds:g} s")
