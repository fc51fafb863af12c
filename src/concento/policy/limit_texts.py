"""Limits in words: for whoever was refused, is close to it, or asks what applies to them."""

import time
from collections.abc import Iterable
from typing import Final

from ..model.limiting import LimitRule, Per
from .limit_quotas import PeriodKind

_EACH: Final[dict[Per, str]] = {
    "tool": "each tool",
    "server": "each server",
    "user": "each user",
    "agent": "each agent of a user's",
    "tenant": "each tenant",
    "global": "all together",
}
_SPANS: Final = {1.0: "a second", 60.0: "a minute", 3600.0: "an hour", 86_400.0: "a day"}
_UNITS: Final = (("day", 86_400.0), ("hour", 3600.0), ("minute", 60.0))


def each(per: tuple[Per, ...]) -> str:
    """Who or what has the limit for itself."""
    return " and ".join(_EACH[one] for one in per)


def rate(rule: LimitRule) -> str:
    """The rate, such as `10 calls a second, 20 more at once`."""
    span = _SPANS.get(rule.per_s, f"in {rule.per_s:g} s")
    more = f", {rule.burst} more at once" if rule.burst else ""
    return f"{_number(rule.rate or 0.0)} {_calls(rule.rate or 0.0)} {span}{more}"


def too_fast(rule: LimitRule, wait_s: float) -> str:
    """A rate refused a call."""
    return f"The limit {rule.name!r} is {rate(rule)}, for {each(rule.per)}; repeat the call in {wait(wait_s)}"


def too_many(rule: LimitRule) -> str:
    """A cap refused a call."""
    at_a_time = f"{rule.concurrency} {_calls(rule.concurrency or 0)} at a time"
    return f"The limit {rule.name!r} is {at_a_time}, for {each(rule.per)}; repeat the call when one has ended"


def used_up(rule: LimitRule, kind: PeriodKind, quota: int, used: int, cost: int, end_s: float) -> str:
    """A quota refused a call."""
    limit = f"The limit {rule.name!r} is {quota} {_calls(quota)} a {kind}, for {each(rule.per)}"
    if cost > quota:
        return f"{limit}, and this call counts {cost}; ask for fewer servers at a time"
    what = f"{used} are used" if cost == 1 else f"{used} are used and this call counts {cost}"
    return f"{limit}, and {what}; a new {kind} begins at {moment(end_s)}"


def nearly_used(rule: LimitRule, kind: PeriodKind, quota: int, used: int, end_s: float) -> str:
    """A quota is close to its end."""
    return f"{used} of {quota} calls of this {kind} are used (limit {rule.name!r}); a new one begins at {moment(end_s)}"


def standing(rule: LimitRule, parts: Iterable[str]) -> str:
    """Where a caller stands with one limit."""
    return f"{rule.name} ({each(rule.per)}): {'; '.join(parts)}"


def rate_left(rule: LimitRule, left: int) -> str:
    """How many calls a rate lets pass at once now."""
    return f"{rate(rule)}: {left} now"


def cap_left(cap: int, running: int) -> str:
    """How many calls may be begun beside those that run."""
    return f"{cap} at a time: {max(0, cap - running)} free"


def quota_left(kind: PeriodKind, quota: int, used: int, end_s: float) -> str:
    """What is left of a quota."""
    return f"{quota} a {kind}: {max(0, quota - used)} left until {moment(end_s)}"


def wait(seconds: float) -> str:
    """A time to wait, never less than it is."""
    for unit, size_s in _UNITS:
        if seconds >= 2 * size_s:
            return f"{-(-seconds // size_s):.0f} {unit}s"
    tenths = -(-seconds // 0.1) / 10
    return f"{tenths:g} s"


def moment(wall_s: float) -> str:
    """A point in time, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(wall_s))


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


def _calls(number: float) -> str:
    return "call" if number == 1 else "calls"
