"""Which guards hold for a call: compiled once, with the patterns and conditions of policies. Pure.

A guard holds as a denial applies: in doubt it does. What guards do is done in `gateway`.
"""

from collections.abc import Callable, Sequence

from ..catalog.patterns import Patterns
from ..model.guards import Guard
from ..model.policy import Rule
from ..model.principal import Principal
from .conditions import Facts
from .guard_texts import does
from .item import Item, ItemKey
from .redaction import Search
from .rule import CompiledRule

RolesOf = Callable[[Principal], frozenset[str]]
_ITEMS_MAX = 20_000
_NAME_CHARS_MAX = 512


class CompiledGuard:
    """One guard: for whom and what it holds, and what it searches with. Errors: ValueError, naming it."""

    __slots__ = ("_rule", "guard", "name", "search")

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.name = guard.name
        self._rule = CompiledRule(
            Rule(guard.name, "deny", guard.patterns, guard.kinds, guard.when, guard.unless), None, {}
        )
        redaction = guard.redaction
        self.search = None if redaction is None else Search(redaction.detectors, redaction.patterns)

    @property
    def sees_results(self) -> bool:
        """Whether it may change or withhold what a server answers."""
        guard = self.guard
        searches = guard.redaction is not None and "result" in guard.redaction.on
        return searches or guard.result is not None or (guard.webhook is not None and guard.webhook.after)

    def is_about(self, item: Item) -> bool:
        """Whether it is about such a thing, for some callers at least."""
        return self._rule.suits(item) and self._rule.patterns.matches(item.alias, item.own)

    def holds(self, item: Item, facts: Facts, roles_of: RolesOf) -> bool:
        """Whether it holds for a call of something that it is about. Errors: CallError, for what can't be read."""
        counts, excused = self._counts(facts.principal, roles_of)
        excuse = self._rule.excuse(item) if counts and excused else False
        return counts and excuse is not True and self._rule.failing(item, facts, excuse is None) is None

    def told(self, item: Item, facts: Facts, roles_of: RolesOf) -> str:
        """What it does to such a call, in a line for people."""
        looks_at = ", ".join([*self._rule.looks_at(), *(what for what, _ in self._rule.excuses)])
        depends = f", by {looks_at} of the call" if looks_at else ""
        if not self.holds(item, facts, roles_of):
            return f"{self.name}: does not hold here{depends}"
        return f"{self.name}: {does(self.guard, item)}{depends}"

    def _counts(self, principal: Principal, roles_of: RolesOf) -> tuple[bool, bool]:
        """Whether it counts for a principal, and whether `unless` may hold: for a delegated key as for its parent."""
        roles = roles_of(principal)
        counts = self._rule.lacking(principal, roles) is None
        excused = self._rule.is_excused(principal, roles)
        if principal.within is not None:
            before, excused_before = self._counts(principal.within, roles_of)
            counts, excused = counts or before, excused and excused_before
        return counts, excused


class Guards:
    """The guards of a tenant: the operator's, then its own."""

    def __init__(self, guards: Sequence[Guard], roles_of: RolesOf) -> None:
        self._guards = tuple(map(CompiledGuard, guards))
        self._roles_of = roles_of
        self._patterns = Patterns([pattern for guard in guards for pattern in guard.patterns])
        self._reaches: dict[str, bool] = {}
        self._about: dict[ItemKey, tuple[CompiledGuard, ...]] = {}

    def reaches(self, alias: str) -> bool:
        """Whether any may be about something of a server: of others nothing more has to be asked."""
        reaches = self._reaches.get(alias)
        if reaches is None:
            reaches = self._reaches[alias] = self._patterns.reaches(alias)
        return reaches

    def about(self, item: Item) -> tuple[CompiledGuard, ...]:
        """Those that are about something, for some callers at least."""
        known = self._about.get(item.key)
        if known is None:
            known = tuple(guard for guard in self._guards if guard.is_about(item))
            if len(item.own) <= _NAME_CHARS_MAX:
                if len(self._about) >= _ITEMS_MAX:
                    self._about.clear()
                self._about[item.key] = known
        return known

    def told(self, item: Item, facts: Facts) -> list[str]:
        """What each of them does to a call, or that it does not hold for it. Errors: CallError, as of `holding`."""
        return [guard.told(item, facts, self._roles_of) for guard in self.about(item)]

    def holding(self, item: Item, facts: Facts) -> tuple[CompiledGuard, ...]:
        """Those that hold for a call. Errors: CallError, if what they look at can't be read."""
        return tuple(guard for guard in self.about(item) if guard.holds(item, facts, self._roles_of))
