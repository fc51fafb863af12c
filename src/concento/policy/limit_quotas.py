"""How much of a quota is used: calls of a UTC day or month by the wall clock, and what is kept of them.

The wall clock may jump. A count goes back to nothing only in a period later than any it was used in, so that no period
is counted twice and no jump back resets one. A clock that was far ahead and is set right takes its counts along.
"""

import time
from calendar import timegm
from typing import Final, Literal

from msgspec import Struct

PeriodKind = Literal["day", "month"]

_DAY_S: Final = 86_400


class Period:
    """The day or month that it is. `number` counts them from one fixed day on."""

    __slots__ = ("ahead_max", "kind", "number")

    def __init__(self, kind: PeriodKind, ahead_max: int) -> None:
        self.kind = kind
        self.ahead_max = ahead_max
        """A count that is further ahead than this was used while the clock was wrong."""
        self.number = 0

    def end_s(self, number: int) -> float:
        """When a period ends, in Unix time."""
        if self.kind == "day":
            return float((number + 1) * _DAY_S)
        year, month = divmod(number + 1, 12)
        return float(timegm((year, month + 1, 1, 0, 0, 0)))


def month_of(day: int) -> int:
    """The number of the month that a day lies in."""
    now = time.gmtime(day * _DAY_S)
    return now.tm_year * 12 + now.tm_mon - 1


class Calendar:
    """Both periods, moved on by whoever reads the wall clock."""

    __slots__ = ("begins_s", "day", "ends_s", "month")

    def __init__(self, wall_s: float) -> None:
        self.day = Period("day", 2)
        self.month = Period("month", 1)
        self.turn(wall_s)

    def turn(self, wall_s: float) -> None:
        """Have both say what it is now. Needed only outside of `begins_s` to `ends_s`."""
        self.day.number = number = int(wall_s // _DAY_S)
        self.month.number = month_of(number)
        self.begins_s = float(number * _DAY_S)
        self.ends_s = self.begins_s + _DAY_S


class Count:
    """What one bucket used of one quota, and in which period."""

    __slots__ = ("number", "period", "used")

    def __init__(self, period: Period, number: int | None = None, used: int = 0) -> None:
        self.period = period
        self.number = period.number if number is None else number
        self.used = used

    def turn(self) -> None:
        """Begin anew if another period has begun. Needed only where `number` is not the period's."""
        ahead = self.number - self.period.number
        if ahead < 0:
            self.used = 0
            self.number = self.period.number
        elif ahead > self.period.ahead_max:
            self.number = self.period.number

    def counted(self) -> int:
        """What counts now, changing nothing."""
        return 0 if self.number < self.period.number else self.used

    def end_s(self) -> float:
        """When it begins anew, in Unix time. Call `turn` before."""
        return self.period.end_s(self.number)


class Row(Struct, frozen=True, array_like=True):
    """What is stored of one bucket: number and use of its day and its month."""

    day: int = 0
    day_used: int = 0
    month: int = 0
    month_used: int = 0
