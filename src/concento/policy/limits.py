"""How often and how much may be called: smooth rates, calls at a time, quotas a day and a month.

Everything is decided in process, in about a microsecond, on the monotonic clock; only quotas know what day it is, and
are kept in the state store. Which limits are about a call, and where it is counted, is found once for each caller and
tool and remembered. Source: hardening T28, T29, R20.

Read next: `limit_buckets.py` (what was used), `limit_rules.py` (what is counted where), `limit_quotas.py` (periods).
"""

import sys
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, Protocol

import msgspec

from ..model.clock import Clock
from ..model.errors import RateLimited
from ..model.limiting import LimitRule, Per
from ..model.limits import LABELS_MAX
from ..model.principal import Principal
from ..store.contract import Store
from . import limit_texts as texts
from .limit_buckets import BUCKETS_MAX, Bucket, Table
from .limit_quotas import Calendar, Count, Row
from .limit_rules import NAME_CHARS_MAX, BucketKey, Scope, shortened

SPACE: Final = "quotas"
"""Where quotas are kept in the store: a row for each bucket."""
WRITES_MAX: Final = 1000
"""Rows that a flush beside running calls should write at a time."""
CHOICES_MAX: Final = 20_000
"""Callers and tools for which it is remembered which limits are about them."""
BUSY_RETRY_S: Final = 1.0
"""When to come back to a cap on calls at a time: nobody knows when one ends."""
_TIDIED: Final = 1000
"""Buckets that a flush looks at, to drop those that are idle."""

_encode = msgspec.msgpack.Encoder().encode
_row = msgspec.msgpack.Decoder(Row).decode
_name = msgspec.json.Decoder(tuple[str, str, tuple[Per, ...], BucketKey]).decode

Reading = tuple[str, str, dict[str, str], float]
"""One gauge: name, help, labels, value."""


class LimitKeeper(Protocol):
    """Who decides. One that several hubs share may have to wait: whoever calls `enter` awaits what it can."""

    def enter(
        self, principal: Principal, server: str | None, tool: str | None, cost: int = 1
    ) -> "Lease | Awaitable[Lease]":
        """Let a call in, or none of it. Errors: RateLimited."""
        ...

    def describe(self, principal: Principal, server: str | None, tool: str | None) -> list[str]:
        """Which limits are about a call, and how much of each is left. Nothing is used up."""
        ...


class Lease:
    """What a call that was let in holds until it ends."""

    __slots__ = ("_held", "told")

    def __init__(self, held: tuple[Bucket, ...] = (), told: str | None = None) -> None:
        self._held = held
        self.told = told
        """What its caller should know: a quota that is nearly used up."""

    def leave(self) -> None:
        """The call is over. To say so twice does nothing."""
        held, self._held = self._held, ()
        for bucket in held:
            bucket.running -= 1


FREE: Final = Lease()
"""The lease of every call that holds nothing."""


class _Choice:
    """What is about the calls of one caller to one tool: where they count, and the numbers that decide."""

    __slots__ = ("buckets", "caps", "held", "is_used", "quotas", "rates", "tables")

    def __init__(self, chosen: Sequence[tuple[Table, Bucket]]) -> None:
        self.is_used = False
        """Since it was last looked at whether it can be forgotten."""
        self.tables = tuple(table for table, _ in chosen)
        self.buckets = tuple(bucket for _, bucket in chosen)
        for bucket in self.buckets:
            bucket.pins += 1
        self.rates = tuple(
            (bucket, table.step_s, table.room_s) for table, bucket in chosen if table.rule.rate is not None
        )
        caps = ((bucket, table.rule.concurrency) for table, bucket in chosen)
        self.caps = tuple((bucket, cap) for bucket, cap in caps if cap is not None)
        self.held = tuple(bucket for bucket, _ in self.caps)
        self.quotas = tuple(
            (table, bucket, count, quota, quota * table.rule.soft)
            for table, bucket in chosen
            for count, quota in _quotas(table.rule, bucket)
        )

    def forget(self) -> None:
        for bucket in self.buckets:
            bucket.pins -= 1


class Limits:
    """All limits of a hub. Implements `LimitKeeper`. `roles_of`: the roles that a caller is in."""

    def __init__(
        self,
        clock: Clock,
        store: Store | None,
        roles_of: Callable[[Principal], frozenset[str]] = lambda principal: principal.roles,
    ) -> None:
        self._monotonic = clock.monotonic
        self._wall = clock.wall
        self._store = store
        self._roles_of = roles_of
        self._calendar = Calendar(clock.wall())
        self._tables: dict[tuple[str, str, tuple[Per, ...]], Table] = {}
        self._of_tenant: dict[str, list[Table]] = {}
        """By whose they are: a tenant's, or the operator's under ""."""
        self._choices: OrderedDict[tuple[object, ...], _Choice] = OrderedDict()
        self._kept: dict[str, Row] = {}
        """Quotas of limits that are not configured, by their row: they may be again."""
        self._dirty: deque[Bucket] = deque()
        self._past: dict[str, None] = {}
        """Rows that nobody needs any more."""

    # -- configuration and keeping

    def configure(self, rules: Mapping[str, Sequence[LimitRule]]) -> None:
        """Make these the limits: each tenant's own, and the operator's under "", which are about everybody.

        A limit that keeps its name and its `per` keeps what was used of it, whatever else of it changes.
        """
        for choice in self._choices.values():
            choice.forget()
        self._choices.clear()
        now_s = self._monotonic()
        before, self._tables = self._tables, {}
        self._of_tenant = {}
        for owner, rule in ((owner, rule) for owner, own in rules.items() for rule in own):
            identity = (owner, rule.name, rule.per)
            table, scope = before.pop(identity, None), Scope(rule, owner)
            if table is None:
                table = Table(owner, rule, scope, self._calendar, self._forget)
            else:
                table.change(rule, scope, now_s)
            self._tables[identity] = table
            self._of_tenant.setdefault(owner, []).append(table)
        for table in before.values():
            for bucket in table.buckets.values():
                if bucket.row:
                    self._kept[bucket.row] = bucket.kept()
        self._claim()

    async def load(self) -> None:
        """Read what was used of quotas."""
        if self._store is None:
            return
        for name, value in (await self._store.items(SPACE)).items():
            try:
                _name(name)
                self._kept[name] = _row(value)
            except msgspec.DecodeError:
                self._past[name] = None  # what can't be read is counted anew
        self._claim()

    def _claim(self) -> None:
        """Give what was kept to the limits that it is of, and let go of what is past."""
        self._look_at_wall()
        day, month = self._calendar.day.number, self._calendar.month.number
        kept, self._kept = self._kept, {}
        for name, row in kept.items():
            if (row.day < day or not row.day_used) and (row.month < month or not row.month_used):
                self._past[name] = None
                continue
            owner, limit, per, key = _name(name)
            table = self._tables.get((owner, limit, per))
            if table is None or (table.rule.day is None and table.rule.month is None):
                self._kept[name] = row
                continue
            bucket = table.buckets.get(key) or table.add(key)
            bucket.restore(row)
            bucket.is_stored = True
        while len(self._kept) > BUCKETS_MAX:
            del self._kept[next(iter(self._kept))]

    def _forget(self, row: str) -> None:
        self._past[row] = None

    async def flush(self, most: int = sys.maxsize) -> None:
        """Write what was used of quotas since the last time, `most` rows of it, and drop buckets that are idle.

        A quota that was used a thousand times in between is written once.
        """
        now_s = self._monotonic()
        self._look_at_wall()
        for table in self._tables.values():
            table.tidy(now_s, max(1, _TIDIED // len(self._tables)))
        if self._store is None:
            self._past.clear()
        for _ in range(min(most, len(self._past))):
            await self._delete(*self._past.popitem())
        for _ in range(min(most, len(self._dirty))):
            await self._write(self._dirty.popleft())

    async def _write(self, bucket: Bucket) -> None:
        bucket.is_dirty = False
        if self._store is None:
            return
        self._past.pop(bucket.row, None)
        bucket.is_stored = True
        try:
            await self._store.put(SPACE, bucket.row, _encode(bucket.kept()))
        except BaseException:
            self._soil(bucket)
            raise

    async def _delete(self, row: str, _: None) -> None:
        if self._store is None:
            return
        try:
            await self._store.delete(SPACE, row)
        except BaseException:
            self._past[row] = None
            raise

    def _soil(self, bucket: Bucket) -> None:
        if not bucket.is_dirty:
            bucket.is_dirty = True
            self._dirty.append(bucket)

    # -- deciding

    def enter(self, principal: Principal, server: str | None, tool: str | None, cost: int = 1) -> Lease:
        """Let a call in, or none of it: one that a limit refuses uses up nothing of the others.

        `server` is a server's key, `tool` its own name. A call that fans out to N servers costs N of rates and quotas,
        and is one at a time. Errors: RateLimited, with the time after which all limits would let it in.
        """
        if not self._tables:
            return FREE
        short = tool if tool is None or len(tool) <= NAME_CHARS_MAX else shortened(tool)
        name = (principal.tenant, principal.subject, principal.agent, principal.chain, principal.roles, server, short)
        choice = self._choices.get(name)
        if choice is None:
            choice = self._choose(name, principal, server, tool)
        choice.is_used = True
        if not choice.buckets:
            return FREE
        now_s = self._monotonic()
        if choice.quotas:
            self._look_at_wall()
        if cost > 1:
            if any(now_s < table.ready_s(bucket, cost) for table, bucket in _zip(choice)):
                raise self._refusal(choice, cost, now_s)
        else:
            cost = 1
            for bucket, _, room_s in choice.rates:
                if now_s < bucket.paid_s - room_s:
                    raise self._refusal(choice, cost, now_s)
        for bucket, cap in choice.caps:
            if bucket.running >= cap:
                raise self._refusal(choice, cost, now_s)
        for _, _, count, quota, _ in choice.quotas:
            if count.number != count.period.number:
                count.turn()
            if count.used + cost > quota:
                raise self._refusal(choice, cost, now_s)
        # Nothing refused: count it everywhere.
        for bucket, step_s, _ in choice.rates:
            paid_s = bucket.paid_s
            bucket.paid_s = (paid_s if paid_s > now_s else now_s) + step_s * cost
        for bucket in choice.held:
            bucket.running += 1
        told = self._count(choice, cost) if choice.quotas else None
        return Lease(choice.held, told) if choice.held or told is not None else FREE

    def _count(self, choice: _Choice, cost: int) -> str | None:
        """Count a call against its quotas; returns what its caller should know of them."""
        told: str | None = None
        for table, bucket, count, quota, soft in choice.quotas:
            count.used += cost
            if not bucket.is_dirty:
                bucket.is_dirty = True
                self._dirty.append(bucket)
            if count.used >= soft:
                table.near += 1
                text = texts.nearly_used(table.rule, count.period.kind, quota, count.used, count.end_s())
                told = text if told is None else f"{told}; {text}"
        return told

    def _look_at_wall(self) -> None:
        wall_s, calendar = self._wall(), self._calendar
        if not calendar.begins_s <= wall_s < calendar.ends_s:
            calendar.turn(wall_s)

    def _refusal(self, choice: _Choice, cost: int, now_s: float) -> RateLimited:
        """Why a call is not let in: all limits are asked, and the one that takes longest is told.

        At the time that refused it: a midnight in between would leave nothing to tell.
        """
        refusals: list[tuple[float, str, Table]] = []
        for table, bucket in _zip(choice):
            rule = table.rule
            if rule.rate is not None and (wait_s := _wait_s(table.ready_s(bucket, cost), now_s)) > 0.0:
                refusals.append((wait_s, texts.too_fast(rule, wait_s), table))
            if rule.concurrency is not None and bucket.running >= rule.concurrency:
                refusals.append((BUSY_RETRY_S, texts.too_many(rule), table))
            for count, quota in _quotas(rule, bucket):
                count.turn()
                if count.used + cost > quota:
                    end_s = count.end_s()
                    text = texts.used_up(rule, count.period.kind, quota, count.used, cost, end_s)
                    refusals.append((_wait_s(end_s, self._wall()), text, table))
        wait_s, text, table = max(refusals, key=lambda refusal: refusal[0])
        for refusing in {id(refusing): refusing for _, _, refusing in refusals}.values():
            refusing.refused += 1
        error = RateLimited(text, retry_after_s=wait_s)
        error.limit = table.rule.name
        return error

    def _choose(self, name: tuple[object, ...], principal: Principal, server: str | None, tool: str | None) -> _Choice:
        """Find out, and remember, which limits are about a call."""
        now_s = self._monotonic()
        choice = _Choice(
            [(table, table.bucket(key, principal.tenant, now_s)) for table, key in self._about(principal, server, tool)]
        )
        if len(self._choices) >= CHOICES_MAX:
            self._make_room()
        self._choices[name] = choice
        return choice

    def _make_room(self) -> None:
        """Forget the oldest choice that was not used of late: each gets a second chance."""
        while True:
            name, choice = self._choices.popitem(last=False)
            if not choice.is_used:
                choice.forget()
                return
            choice.is_used = False
            self._choices[name] = choice

    def _about(self, principal: Principal, server: str | None, tool: str | None) -> Iterator[tuple[Table, BucketKey]]:
        roles = self._roles_of(principal)
        own = self._of_tenant.get(principal.tenant, ()) if principal.tenant else ()
        for table in chain(self._of_tenant.get("", ()), own):
            if table.scope.counts(principal, roles, server, tool):
                yield table, table.scope.key(principal, server, tool)

    # -- being looked at

    def describe(self, principal: Principal, server: str | None, tool: str | None) -> list[str]:
        """Which limits are about a call, and how much of each is left, for people. Nothing is used up."""
        now_s = self._monotonic()
        self._look_at_wall()
        told = []
        for table, key in self._about(principal, server, tool):
            bucket, rule, parts = table.found(key, principal.tenant), table.rule, []
            if rule.rate is not None:
                parts.append(texts.rate_left(rule, table.left(bucket, now_s)))
            if rule.concurrency is not None:
                parts.append(texts.cap_left(rule.concurrency, bucket.running))
            for count, quota in _quotas(rule, bucket):
                end_s = count.period.end_s(max(count.number, count.period.number))
                parts.append(texts.quota_left(count.period.kind, quota, count.counted(), end_s))
            told.append(texts.standing(rule, parts))
        return told

    def readings(self) -> Iterable[Reading]:
        """How often each limit refused, and how often it let a call through close to the end of a quota."""
        named = list(self._tables.values())[:LABELS_MAX]
        for table in named:
            labels = {"limit": table.rule.name, "tenant": table.owner}
            yield "concento_limit_refused_total", "Calls that a limit refused", labels, table.refused
        for table in named:
            if table.rule.day is not None or table.rule.month is not None:
                labels = {"limit": table.rule.name, "tenant": table.owner}
                yield "concento_limit_near_total", "Calls let through close to the end of a quota", labels, table.near
        for table in named:
            labels = {"limit": table.rule.name, "tenant": table.owner}
            yield "concento_limit_buckets", "Callers, tools and so on that a limit counts now", labels, len(table)


def _quotas(rule: LimitRule, bucket: Bucket) -> Iterator[tuple[Count, int]]:
    if rule.day is not None and bucket.day is not None:
        yield bucket.day, rule.day
    if rule.month is not None and bucket.month is not None:
        yield bucket.month, rule.month


def _zip(choice: _Choice) -> Iterator[tuple[Table, Bucket]]:
    return zip(choice.tables, choice.buckets, strict=True)


def _wait_s(ready_s: float, now_s: float) -> float:
    """How long to wait, so that whoever waits that long is let in: rounding must not cost them another try."""
    wait_s = max(0.0, ready_s - now_s)
    while now_s + wait_s < ready_s:
        wait_s += max(abs(ready_s), 1.0) * sys.float_info.epsilon
    return wait_s
