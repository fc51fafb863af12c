"""One rule or role, compiled: for whom it counts, what it is about, and whether it applies to a call."""

from collections.abc import Iterable, Mapping
from typing import Literal

from ..catalog.patterns import Patterns
from ..model.errors import CallError
from ..model.policy import ALL_KINDS, Conditions, Role, Rule
from ..model.principal import Principal
from .conditions import Facts, compile_dynamic
from .engines import Engines, engine_check
from .globs import acts, matches
from .item import Item

Standing = Literal["counts", "lacks scopes", "no"]
"""Whether a rule counts for a principal, before anything is known of a call."""

SCOPES = "scopes"


class CompiledRule:
    """A rule; a role is one that grants. Errors: ValueError, naming it, for what can't be compiled."""

    def __init__(self, rule: Rule, role: Role | None, engines: Engines) -> None:
        self.name = rule.name
        self.allows = rule.effect == "allow"
        self.kinds = frozenset(rule.kinds)
        self.pattern_texts = rule.patterns
        self.patterns = Patterns(rule.patterns)
        self.when = rule.when
        self.unless = rule.unless
        self.advertise = rule.advertise
        self._role = role
        try:
            self.checks = compile_dynamic(rule.when, certain=self.allows)
            self.excuses = [] if rule.unless is None else compile_dynamic(rule.unless, certain=not self.allows)
            if rule.engine is not None:
                if self.allows:
                    raise ValueError("an engine may only narrow: use it in a rule that denies")
                self.checks.append((f"engine {rule.engine}", engine_check(rule.engine, rule.options, engines)))
        except ValueError as error:
            raise ValueError(f"the rule {rule.name!r}: {error}") from None

    @classmethod
    def of_role(cls, role: Role, engines: Engines) -> "CompiledRule":
        """What a role grants."""
        return cls(Rule(f"role {role.name}", "allow", role.allow, role.kinds), role, engines)

    # -- for whom it counts

    def lacking(self, principal: Principal, roles: frozenset[str]) -> str | None:
        """What keeps it from counting for a principal in these roles; scopes come last."""
        if self._role is not None:
            return None if self._role.name in roles else "members"
        return lacking(self.when, principal, roles)

    def standing(self, principal: Principal, roles: frozenset[str]) -> Standing:
        """Whether it counts for a principal in these roles."""
        lacks = self.lacking(principal, roles)
        if lacks is None:
            return "counts"
        return "lacks scopes" if lacks == SCOPES and self.allows and self.advertise else "no"

    def is_excused(self, principal: Principal, roles: frozenset[str]) -> bool:
        """Whether `unless` may hold for a principal."""
        return self.unless is not None and lacking(self.unless, principal, roles) is None

    # -- what it is about

    def suits(self, item: Item) -> bool:
        """Whether it is about such a thing, whatever its name."""
        return item.kind in self.kinds and has(item, self.when.annotations)

    def excuse(self, item: Item) -> bool | None:
        """Whether `unless`, which may hold for the principal, does for an item; None if that depends on the call."""
        assert self.unless is not None
        if not has(item, self.unless.annotations):
            return False
        return None if self.excuses else True

    def is_about_all(self, alias: str) -> bool:
        """Whether it is about everything of a server, whatever it is and however it is called."""
        return (
            len(self.kinds) == len(ALL_KINDS)
            and not self.when.annotations
            and not self.checks
            and not {"*", "*.*", f"{alias}.*"}.isdisjoint(self.pattern_texts)
        )

    # -- whether it applies to a call

    def failing(self, item: Item, facts: Facts, excused: bool) -> str | None:
        """What keeps it from applying to a call; None if it applies. `excused`: `unless` may hold, by `excuse`."""
        allows = self.allows
        for what, check in self.checks:
            try:
                if not check(item, facts):
                    return what
            except CallError:
                raise
            except Exception:  # an engine's or an expression's: whoever can't be asked has not agreed
                if allows:
                    return what
        return "unless" if excused and self._is_excusing(item, facts) else None

    def _is_excusing(self, item: Item, facts: Facts) -> bool:
        for _, check in self.excuses:
            try:
                if not check(item, facts):
                    return False
            except CallError:
                raise
            except Exception:  # as above, the other way round: doubt about an excuse must not let anything through
                if not self.allows:
                    return False
        return True

    def looks_at(self) -> Iterable[str]:
        """What it looks at of a call."""
        return (what for what, _ in self.checks)


def lacking(conditions: Conditions, principal: Principal, roles: frozenset[str]) -> str | None:
    """The first condition on the principal that does not hold; None if all do. Scopes come last."""
    if conditions.subjects and not matches(conditions.subjects, principal.subject):
        return "subjects"
    if conditions.agents and not acts(conditions.agents, principal):
        return "agents"
    if conditions.tenants and not matches(conditions.tenants, principal.tenant):
        return "tenants"
    if conditions.roles and roles.isdisjoint(conditions.roles):
        return "roles"
    if conditions.proofs and principal.proof not in conditions.proofs:
        return "proofs"
    if not principal.scopes.issuperset(conditions.scopes):
        return SCOPES
    return None


def has(item: Item, annotations: Mapping[str, bool]) -> bool:
    """Whether a tool has these hints. What is no tool says nothing of itself, so that nothing holds of it."""
    if not annotations:
        return True
    return item.kind == "tool" and all(item.annotations.get(name) is value for name, value in annotations.items())
