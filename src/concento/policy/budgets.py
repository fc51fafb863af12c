"""What may be spent: looked at before a call, added to after it, all in memory.

A budget is exact but for calls that run at the moment it is spent: what they cost is known when they end. One that
nobody may be refused by costs a call nothing. Which call costs at all is asked only once a budget is spent.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from ..model.clock import Clock
from ..model.errors import OverBudget
from ..model.limits import LABELS_MAX
from ..model.prices import PARTS, Budget, BudgetPeriod, text_of
from ..model.principal import Principal
from .globs import matches
from .limit_quotas import Calendar, month_of
from .limit_texts import moment

HOLDERS_MAX: Final = 100_000
"""Tenants or users whose spending is told apart; others of a budget share one count."""
_CROSSINGS_MAX: Final = 100

Reading = tuple[str, str, dict[str, str], float]
"""One gauge: name, help, labels, value."""

Holder = tuple[str, str]
"""Tenant and subject whose spending is counted together; empty where they don't matter."""


class Crossing(Struct, frozen=True):
    """A budget went over its soft or hard limit: told once for each holder and period."""

    budget: str
    tenant: str
    subject: str
    kind: str
    """`soft` or `hard`."""
    spent: str
    amount: str
    currency: str
    wall_s: float


class _Purse:
    """What one holder spent of one budget, in which period."""

    __slots__ = ("number", "spent", "told_hard", "told_soft")

    def __init__(self, number: int) -> None:
        self.number = number
        self.spent = 0
        self.told_soft = False
        self.told_hard = False


class _Counted:
    """One budget and what was spent of it."""

    def __init__(self, rule: Budget) -> None:
        self.rule = rule
        self.purses: dict[Holder, _Purse] = {}
        self.soft = rule.amount * round(rule.soft * 10_000) // 10_000
        self.refused = 0

    def is_about(self, tenant: str, subject: str) -> bool:
        return matches(self.rule.tenants, tenant) and matches(self.rule.subjects, subject)

    def holder(self, tenant: str, subject: str) -> Holder:
        per = self.rule.per
        return ("", "") if per == "global" else (tenant, subject if per == "user" else "")


class Budgets:
    """All budgets of a hub."""

    def __init__(
        self, clock: Clock, costs: Callable[[str, str, str], bool] = lambda tenant, server, tool: True
    ) -> None:
        self._wall = clock.wall
        self._costs = costs
        """Whether a tool's calls cost a tenant anything."""
        self._calendar = Calendar(clock.wall())
        self._counted: tuple[_Counted, ...] = ()
        self._about: dict[Holder, tuple[_Counted, ...]] = {}
        self.crossings: list[Crossing] = []
        """The last ones, the newest last: for alerts."""
        self.on_crossing: Callable[[Crossing], None] = lambda crossing: None

    @property
    def is_on(self) -> bool:
        """Whether there are any."""
        return bool(self._counted)

    def configure(self, rules: Sequence[Budget], spent: Iterable[tuple[str, str, int, str, int]] = ()) -> None:
        """Make these the budgets. `spent`: tenant, subject, day, currency and cost of what was used so far."""
        self._turn()
        self._counted = tuple(_Counted(rule) for rule in rules)
        self._about.clear()
        today, month = self._calendar.day.number, self._calendar.month.number
        for one in self._counted:
            if one.rule.per == "global":
                self._purse(one, "", "")  # to be seen before anybody spends
        for tenant, subject, day, currency, cost in spent:
            for one in self._of(tenant, subject):
                is_now = day == today if one.rule.period == "day" else month_of(day) == month
                if one.rule.currency == currency and is_now:
                    self._purse(one, tenant, subject).spent += cost
        for one in self._counted:
            for purse in one.purses.values():  # told before, or it would be again with each reload
                purse.told_soft, purse.told_hard = purse.spent >= one.soft, purse.spent >= one.rule.amount

    def check(self, principal: Principal, server: str, tool: str) -> str | None:
        """Let a call in that may cost; returns what its caller should know. Errors: OverBudget."""
        counted = self._of(principal.tenant, principal.subject)
        if not counted:
            return None
        self._turn()
        told: str | None = None
        for one in counted:
            purse = self._purse(one, principal.tenant, principal.subject)
            if purse.spent < one.soft:
                continue
            rule, end_s = one.rule, self._end_s(one.rule.period)
            if purse.spent >= rule.amount and rule.hard and self._costs(principal.tenant, server, tool):
                one.refused += 1
                raise _refusal(rule, purse.spent, end_s, self._wall())
            text = f"{text_of(purse.spent)} of {text_of(rule.amount)} {rule.currency} of this {rule.period} are spent"
            text = f"{text} (budget {rule.name!r}); a new one begins at {moment(end_s)}"
            told = text if told is None else f"{told}; {text}"
        return told

    def spend(self, tenant: str, subject: str, currency: str, cost: int) -> None:
        """Add what a call cost."""
        counted = self._of(tenant, subject)
        if not counted:
            return
        self._turn()
        for one in counted:
            if one.rule.currency == currency:
                purse = self._purse(one, tenant, subject)
                purse.spent += cost
                if purse.spent >= one.soft and not (purse.told_soft and purse.told_hard):
                    self._cross(one, purse, tenant, subject)

    def _cross(self, one: _Counted, purse: _Purse, tenant: str, subject: str) -> None:
        rule = one.rule
        for kind, bound in (("soft", one.soft), ("hard", rule.amount)):
            is_told = purse.told_soft if kind == "soft" else purse.told_hard
            if purse.spent >= bound and not is_told:
                holder = one.holder(tenant, subject)
                texts = (text_of(purse.spent), text_of(rule.amount), rule.currency)
                crossing = Crossing(rule.name, *holder, kind, *texts, self._wall())
                self.crossings = [*self.crossings[1 - _CROSSINGS_MAX :], crossing]
                self.on_crossing(crossing)
        purse.told_soft = True
        purse.told_hard = purse.spent >= rule.amount

    def _of(self, tenant: str, subject: str) -> tuple[_Counted, ...]:
        """Which budgets a caller's calls are counted against."""
        if not self._counted:
            return ()
        found = self._about.get((tenant, subject))
        if found is None:
            if len(self._about) >= HOLDERS_MAX:
                self._about.clear()
            found = tuple(one for one in self._counted if one.is_about(tenant, subject))
            self._about[tenant, subject] = found
        return found

    def _purse(self, one: _Counted, tenant: str, subject: str) -> _Purse:
        holder = one.holder(tenant, subject)
        purse = one.purses.get(holder)
        number = (self._calendar.day if one.rule.period == "day" else self._calendar.month).number
        if purse is None:
            if len(one.purses) >= HOLDERS_MAX:
                holder = (tenant, "") if len(one.purses) < 2 * HOLDERS_MAX else ("", "")
                purse = one.purses.get(holder)
            if purse is None:
                purse = one.purses[holder] = _Purse(number)
        if purse.number > number + 2:  # spent while the clock was wrong
            purse.number = number
        elif purse.number < number:
            purse.number, purse.spent, purse.told_soft, purse.told_hard = number, 0, False, False
        return purse

    def _turn(self) -> None:
        wall_s = self._wall()
        if not self._calendar.begins_s <= wall_s < self._calendar.ends_s:
            self._calendar.turn(wall_s)

    def _end_s(self, period: BudgetPeriod) -> float:
        one = self._calendar.day if period == "day" else self._calendar.month
        return one.end_s(one.number)

    def readings(self) -> Iterator[Reading]:
        """How much of each budget its tenants spent, and how often it refused. Money is a float here, for graphs."""
        shown = 0
        for one in self._counted:
            if one.rule.per == "user":
                continue  # who calls is no label
            for (tenant, _), purse in tuple(one.purses.items())[: LABELS_MAX - shown]:
                labels = {"budget": one.rule.name, "tenant": tenant, "currency": one.rule.currency}
                yield "concento_budget_spent", "What is spent of a budget in its period", labels, purse.spent / PARTS
                shown += 1
        for one in self._counted[:LABELS_MAX]:
            yield "concento_budget_refused_total", "Calls that a budget refused", {"budget": one.rule.name}, one.refused


def _refusal(rule: Budget, spent: int, end_s: float, wall_s: float) -> OverBudget:
    told = f"The budget {rule.name!r} is {text_of(rule.amount)} {rule.currency} a {rule.period}, and "
    told += f"{text_of(spent)} are spent; a new {rule.period} begins at {moment(end_s)}"
    resets = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end_s))
    data = {"budget": rule.name, "period": rule.period, "resetsAt": resets}
    error = OverBudget(told, data=data, retry_after_s=max(0.0, end_s - wall_s))
    error.limit = rule.name
    return error
