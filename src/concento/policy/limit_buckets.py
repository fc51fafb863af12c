"""One limit's buckets: what each user, tool or tenant has used of it, bounded in number.

A bucket that says nothing any more (nothing owed, nothing running, no quota begun) is dropped; one that does is never
dropped, since that would forgive what was used. Where all places are taken by such, newcomers of a tenant share one
bucket until a place is free.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from ..model.limiting import LimitRule
from .limit_quotas import Calendar, Count, Row
from .limit_rules import BucketKey, Scope

BUCKETS_MAX: Final = 100_000
"""Buckets of one limit; newcomers beyond share one for each tenant."""

_LOOKED_AT: Final = 16
"""Old buckets looked at to find a place for a new one."""

_encode = msgspec.json.Encoder().encode


class Bucket:
    """What was used of one limit by those who share it."""

    __slots__ = ("day", "is_dirty", "is_stored", "month", "paid_s", "pins", "row", "running")

    def __init__(self) -> None:
        self.paid_s = 0.0
        """Monotonic time at which nothing is owed any more: each call moves it on by its share of the rate."""
        self.running = 0
        self.day: Count | None = None
        self.month: Count | None = None
        self.pins = 0
        """How many remembered choices point here."""
        self.row = ""
        """Its key in the store; empty if nothing of it is kept."""
        self.is_dirty = False
        self.is_stored = False

    def is_idle(self, now_s: float) -> bool:
        """Whether nobody would notice if it were gone."""
        return not (
            self.pins
            or self.running
            or self.is_dirty
            or self.paid_s > now_s
            or (self.day is not None and self.day.counted())
            or (self.month is not None and self.month.counted())
        )

    def restore(self, row: Row) -> None:
        """Take over what was kept, where it is more than what is known."""
        for count, number, used in ((self.day, row.day, row.day_used), (self.month, row.month, row.month_used)):
            if count is not None and (number, used) > (count.number, count.used):
                count.number, count.used = number, used

    def kept(self) -> Row:
        """What to store of it."""
        day, month = self.day, self.month
        return Row(
            *((0, 0) if day is None else (day.number, day.used)),
            *((0, 0) if month is None else (month.number, month.used)),
        )


class Table:
    """One limit: its rule, and its buckets by what shares them. `forget` is told the rows of those dropped."""

    def __init__(
        self, owner: str, rule: LimitRule, scope: Scope, calendar: Calendar, forget: Callable[[str], None]
    ) -> None:
        self.owner = owner
        self.refused = 0
        self.near = 0
        """Calls let through beyond the soft part of a quota."""
        self.buckets: OrderedDict[BucketKey, Bucket] = OrderedDict()
        self._calendar = calendar
        self._forget = forget
        self._take(rule, scope)

    def __len__(self) -> int:
        return len(self.buckets)

    def _take(self, rule: LimitRule, scope: Scope) -> None:
        self.rule = rule
        self.scope = scope
        self.step_s = 0.0 if rule.rate is None else rule.per_s / rule.rate
        """Time that one call costs."""
        self.room_s = self.step_s * rule.burst
        """How far ahead of its time a call may be."""

    def change(self, rule: LimitRule, scope: Scope, now_s: float) -> None:
        """Take a new rule of the same name and the same buckets; what is owed stays owed, counted in calls."""
        before_s = self.step_s
        self._take(rule, scope)
        pace = self.step_s / before_s if before_s else 0.0
        for bucket in self.buckets.values():
            if pace != 1.0:
                bucket.paid_s = now_s + max(0.0, bucket.paid_s - now_s) * pace
            self._give_counts(bucket)

    def ready_s(self, bucket: Bucket, cost: int) -> float:
        """Monotonic time from which on a call passes. One that costs more than fits waits until nothing is owed."""
        return bucket.paid_s - max(0.0, self.room_s - (cost - 1) * self.step_s)

    def left(self, bucket: Bucket, now_s: float) -> int:
        """How many calls would pass at once now."""
        owed_s = max(0.0, bucket.paid_s - now_s)
        return max(0, int((self.room_s - owed_s) / self.step_s + 1.0 + 1e-9))

    def bucket(self, key: BucketKey, tenant: str, now_s: float) -> Bucket:
        """The bucket of a key, a new one if need be."""
        found = self.buckets.get(key)
        if found is not None:
            return found
        shared = self.shared(tenant)
        if len(self.buckets) >= BUCKETS_MAX and not self.tidy(now_s, _LOOKED_AT, enough=1):
            return self.add(("", tenant)) if shared is None else shared
        made = self.add(key)
        if shared is not None:  # whoever gets a place of their own may owe what is owed there
            made.paid_s = shared.paid_s
            for own, theirs in ((made.day, shared.day), (made.month, shared.month)):
                if own is not None and theirs is not None:
                    own.number, own.used = theirs.number, theirs.used
        return made

    def found(self, key: BucketKey, tenant: str) -> Bucket:
        """The bucket that a call would count in, without making a place for it."""
        found = self.buckets.get(key)
        if found is None and len(self.buckets) >= BUCKETS_MAX:
            found = self.shared(tenant)
        if found is None:
            found = Bucket()
            self._give_counts(found)
        return found

    def shared(self, tenant: str) -> Bucket | None:
        """The bucket of a tenant's newcomers that found no place. No other key looks like this: none begins empty."""
        return self.buckets.get(("", tenant))

    def add(self, key: BucketKey) -> Bucket:
        """A new bucket, unused."""
        bucket = self.buckets[key] = Bucket()
        if self.rule.day is not None or self.rule.month is not None:
            bucket.row = self.row_of(key)
        self._give_counts(bucket)
        return bucket

    def row_of(self, key: BucketKey) -> str:
        """The key in the store of what is kept of a bucket."""
        return _encode((self.owner, self.rule.name, self.rule.per, key)).decode()

    def tidy(self, now_s: float, most: int, enough: int = 0) -> int:
        """Look at some buckets, the oldest first, and drop those that are idle; returns how many were.

        `enough`: stop when so many are dropped.
        """
        dropped = 0
        for _ in range(min(most, len(self.buckets))):
            key, bucket = self.buckets.popitem(last=False)
            if not bucket.is_idle(now_s):
                self.buckets[key] = bucket
                continue
            if bucket.is_stored:
                self._forget(bucket.row)
            dropped += 1
            if dropped == enough:
                break
        return dropped

    def _give_counts(self, bucket: Bucket) -> None:
        if self.rule.day is None:
            bucket.day = None
        elif bucket.day is None:
            bucket.day = Count(self._calendar.day)
        if self.rule.month is None:
            bucket.month = None
        elif bucket.month is None:
            bucket.month = Count(self._calendar.month)
