"""Roles and rules, compiled once; and what they decide.

A principal has a *reach*: the rules that count for it, found once and shared by all for whom the same rules count. A
reach decides what is seen (`decide`) and, when a call comes, whether it may be made (`admit`), from the same verdict.

Without roles and grants everything is allowed that no rule denies; with any of them, only what one grants. A denial
outweighs every grant. What looks at a call itself (arguments, time, network, metadata, CEL, other engines) hides
nothing: what is listed can be called under some circumstances, and what is hidden under none.
Source: hardening T4, T5.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from importlib import metadata
from typing import Any, Final, Literal

from msgspec import Struct

from ..catalog.patterns import Patterns
from ..model.config import Config
from ..model.errors import CallError, Forbidden, NeedsScope
from ..model.policy import ENGINES, Conditions, Role, Rule
from ..model.principal import Principal
from ..model.tenant import DEFAULT_TENANT
from .conditions import Check, Engine, Facts, compile_dynamic
from .globs import acts, compiled, matches
from .item import Item

__all__ = ["Decision", "Engine", "Facts", "Item", "Policy", "Reach", "policy_of"]

Engines = Mapping[str, Callable[[Mapping[str, Any]], Engine]]
"""What makes an engine from its options, by name."""

Verdict = Literal["hidden", "needs_scope", "allow"]
Standing = Literal["counts", "lacks scopes", "no"]

DEFAULT: Final = "default"
"""Stands for a rule's name where none decided."""
DELEGATED: Final = "delegated key"
_REACHES_MAX: Final = 2000
_PRINCIPALS_MAX: Final = 20_000
_DECISIONS_MAX: Final = 4096


class Decision(Struct, frozen=True):
    """What was decided, and by which rule. `conditional`: whether a call may be made is seen when it comes."""

    verdict: Verdict
    rule: str = DEFAULT
    scopes: tuple[str, ...] = ()
    """For `needs_scope`: all that a call needs."""
    conditional: bool = False


class _Verdict(Struct, frozen=True):
    """A decision with the rules that a call has still to pass: no denial may apply, and a grant has to, if there are
    only conditional ones."""

    decision: Decision
    denials: "tuple[_Rule, ...]" = ()
    grants: "tuple[_Rule, ...]" = ()


class _Rule:
    """One rule or role, compiled."""

    def __init__(self, rule: Rule, role: Role | None, engines: Engines) -> None:
        self.name = rule.name
        self.allows = rule.effect == "allow"
        self.kinds = frozenset(rule.kinds)
        self.patterns = Patterns(rule.patterns)
        self.pattern_texts = rule.patterns
        self.when = rule.when
        self.unless = rule.unless
        self.advertise = rule.advertise
        self._role = role
        self.checks = compile_dynamic(rule.when, certain=self.allows)
        self.excuses = [] if rule.unless is None else compile_dynamic(rule.unless, certain=not self.allows)
        if rule.engine is not None:
            self.checks.append((f"engine {rule.engine}", _refuses(engines[rule.engine](rule.options))))

    # -- who it counts for

    def standing(self, principal: Principal, roles: frozenset[str]) -> Standing:
        """Whether it counts for a principal in these roles, as far as that is known before a call."""
        if self._role is not None:
            return "counts" if self._role.name in roles else "no"
        if not _is_about(self.when, principal, roles):
            return "no"
        if not principal.scopes.issuperset(self.when.scopes):
            return "lacks scopes" if self.allows and self.advertise else "no"
        return "counts"

    def is_excused(self, principal: Principal, roles: frozenset[str]) -> bool:
        """Whether `unless` may hold for a principal."""
        unless = self.unless
        return unless is not None and _is_about(unless, principal, roles) and principal.scopes.issuperset(unless.scopes)

    # -- what it is about

    def is_about(self, item: Item) -> bool:
        """Whether it is about something, by name and hints."""
        return (
            item.kind in self.kinds
            and self.patterns.matches(item.alias, item.own)
            and _has(item, self.when.annotations)
        )

    def excuse(self, item: Item) -> bool | None:
        """Whether `unless`, which may hold for the principal, does for an item; None if that depends on the call."""
        assert self.unless is not None
        if not _has(item, self.unless.annotations):
            return False
        return None if self.excuses else True

    # -- whether it applies to a call

    def failing(self, item: Item, facts: Facts, excused: bool) -> str | None:
        """What keeps it from applying to a call; None if it applies. What raises is doubt."""
        for what, check in self.checks:
            if not self._holds(check, item, facts, doubt=not self.allows):
                return what
        excuses = (self._holds(check, item, facts, doubt=self.allows) for _, check in self.excuses)
        if excused and self.excuses and all(excuses):
            return "unless"
        return None

    def _holds(self, check: Check, item: Item, facts: Facts, *, doubt: bool) -> bool:
        try:
            return check(item, facts)
        except CallError:
            raise
        except Exception:  # an engine's or an expression's: whoever can't be asked has not agreed
            return doubt


class Policy:
    """All roles and rules of one tenant. Errors: ValueError, naming the rule, for what can't be compiled."""

    def __init__(
        self,
        roles: Mapping[str, Role],
        rules: Sequence[Rule],
        engines: Engines | None = None,
    ) -> None:
        known = _Engines() if engines is None else engines
        self.rules = [
            *(
                _Rule(Rule(f"role {role.name}", "allow", role.allow, role.kinds), role, known)
                for role in roles.values()
            ),
            *(_Rule(rule, None, known) for rule in rules),
        ]
        self._roles = tuple(roles.values())
        self.grants_only = any(rule.allows for rule in self.rules)
        self._reaches: dict[tuple[Any, ...], Reach] = {}
        self._principals: dict[int, tuple[Principal, Reach]] = {}

    def roles_of(self, principal: Principal) -> frozenset[str]:
        """The roles that a principal is in: those its credential names, and those that name it."""
        named = (
            role.name
            for role in self._roles
            if matches(role.members, principal.subject) or (role.agents and acts(role.agents, principal))
        )
        return principal.roles.union(named)

    def reach(self, principal: Principal) -> "Reach":
        """What counts for a principal. Those for whom the same counts share it: views are cached by its identity."""
        known = self._principals.get(id(principal))
        if known is not None and known[0] is principal:
            return known[1]
        roles = self.roles_of(principal)
        standings = tuple(rule.standing(principal, roles) for rule in self.rules)
        excused = tuple(
            standing != "no" and rule.is_excused(principal, roles)
            for rule, standing in zip(self.rules, standings, strict=True)
        )
        key = (standings, excused, principal.narrowed)
        reach = self._reaches.get(key)
        if reach is None:
            if len(self._reaches) >= _REACHES_MAX:
                self._reaches.clear()
                self._principals.clear()
            reach = self._reaches[key] = Reach(self, standings, excused, principal.narrowed)
        if len(self._principals) >= _PRINCIPALS_MAX:
            self._principals.clear()
        self._principals[id(principal)] = (principal, reach)
        return reach


class Reach:
    """What a principal can see and call."""

    def __init__(
        self,
        policy: Policy,
        standings: tuple[Standing, ...],
        excused: tuple[bool, ...],
        narrowed: tuple[tuple[str, ...], ...],
    ) -> None:
        counted = list(zip(policy.rules, standings, excused, strict=True))
        self._rules = [(rule, excuse) for rule, standing, excuse in counted if standing == "counts"]
        self._advertised = [rule for rule, standing, _ in counted if standing == "lacks scopes"]
        self._excused = {rule for rule, standing, excuse in counted if standing == "counts" and excuse}
        self._grants_only = policy.grants_only
        self._layers = tuple(Patterns(layer) for layer in narrowed)
        self._verdicts: dict[Item, _Verdict] = {}
        self._by_alias: dict[str, list[tuple[_Rule, re.Pattern[str]]]] = {}
        self.open = not policy.grants_only and not self._rules and not self._layers
        """Whether everything may be called, whatever it is: then nobody has to be asked."""

    def decide(self, item: Item) -> Decision:
        """Whether something is seen."""
        return self._decided(item).decision

    def admit(self, item: Item, facts: Facts) -> Decision:
        """Whether a call may be made, and by which rule. Errors: Forbidden, NeedsScope."""
        verdict = self._verdict(item)
        decision = verdict.decision
        if decision.verdict == "hidden":
            raise Forbidden(f"The policy does not let this caller use {item.own[:128]!r}")
        if decision.verdict == "needs_scope":
            raise NeedsScope(f"This needs the scope {' '.join(decision.scopes)}", decision.scopes)
        if not decision.conditional:
            return decision
        for rule in verdict.denials:
            if rule.failing(item, facts, rule in self._excused) is None:
                raise _refused(rule, item)
        if not verdict.grants:
            return decision
        missing = ""
        for rule in verdict.grants:
            failing = rule.failing(item, facts, rule in self._excused)
            if failing is None:
                return Decision("allow", rule.name, conditional=True)
            missing = missing or failing
        raise Forbidden(f"The policy allows this under conditions that this call does not meet ({missing})")

    def reaches(self, alias: str) -> bool:
        """Whether anything of a server can be seen, whatever it offers."""
        if not all(layer.reaches(alias) for layer in self._layers):
            return False
        if any(not rule.allows and not excused and _is_about_all(rule, alias) for rule, excused in self._rules):
            return False
        if not self._grants_only:
            return True
        grants = [*(rule for rule, _ in self._rules if rule.allows), *self._advertised]
        return any(rule.patterns.reaches(alias) for rule in grants)

    def explain(self, item: Item, facts: Facts | None) -> list[str]:
        """Every rule that is about something, whether it counts and, with a call's facts, whether it applies."""
        told: list[str] = []
        if not all(layer.matches(item.alias, item.own) for layer in self._layers):
            told.append(f"{DELEGATED}: does not reach {item.alias}.{item.own}")
        for rule, _ in self._rules:
            if rule.is_about(item):
                told.append(f"{_effect(rule)} by {rule.name}{self._circumstances(rule, item, facts)}")
        told += [
            f"would be allowed by {rule.name} with the scope {' '.join(rule.when.scopes)}"
            for rule in self._advertised
            if rule.is_about(item)
        ]
        return told or ["no rule is about it"]

    def _circumstances(self, rule: _Rule, item: Item, facts: Facts | None) -> str:
        excused = rule in self._excused
        looked_at = [what for what, _ in rule.checks]
        if excused and (excuse := rule.excuse(item)) is not False:
            if excuse:
                return ", but for `unless`, which holds: it does not apply"
            looked_at.append("unless")
        if not looked_at:
            return ""
        if facts is None:
            return f", depending on {', '.join(looked_at)}"
        failing = rule.failing(item, facts, excused)
        return f", which applies to this call ({', '.join(looked_at)})" if failing is None else f": not so ({failing})"

    # -- how it is decided

    def _verdict(self, item: Item) -> _Verdict:
        verdict = self._verdicts.get(item)
        if verdict is None:
            if len(self._verdicts) >= _DECISIONS_MAX:
                self._verdicts.clear()
            verdict = self._verdicts[item] = self._decided(item)
        return verdict

    def _decided(self, item: Item) -> _Verdict:
        if not all(layer.matches(item.alias, item.own) for layer in self._layers):
            return _Verdict(Decision("hidden", DELEGATED))
        denials: list[_Rule] = []
        grants: list[_Rule] = []
        granted: _Rule | None = None
        for rule, names in self._about(item.alias):
            if item.kind not in rule.kinds or not names.match(item.own) or not _has(item, rule.when.annotations):
                continue
            excuse = rule.excuse(item) if rule in self._excused else False
            if excuse is True:
                continue
            conditional = bool(rule.checks) or excuse is None
            if not rule.allows and not conditional:
                return _Verdict(Decision("hidden", rule.name))
            if not rule.allows:
                denials.append(rule)
            elif conditional:
                grants.append(rule)
            elif granted is None:
                granted = rule
        if granted is not None or not self._grants_only:
            name = DEFAULT if granted is None else granted.name
            return _Verdict(Decision("allow", name, conditional=bool(denials)), tuple(denials))
        if grants:
            return _Verdict(Decision("allow", grants[0].name, conditional=True), tuple(denials), tuple(grants))
        for rule in self._advertised:
            if rule.is_about(item):
                return _Verdict(Decision("needs_scope", rule.name, rule.when.scopes))
        return _Verdict(Decision("hidden"))

    def _about(self, alias: str) -> "list[tuple[_Rule, re.Pattern[str]]]":
        """The rules that have patterns for a server, each with what they say of names there, as one pattern."""
        about = self._by_alias.get(alias)
        if about is None:
            if len(self._by_alias) >= _REACHES_MAX:
                self._by_alias.clear()
            found = ((rule, _joined(rule.pattern_texts, alias)) for rule, _ in self._rules)
            about = self._by_alias[alias] = [(rule, names) for rule, names in found if names is not None]
        return about


def policy_of(config: Config, tenant: str) -> Policy:
    """A tenant's policy: the operator's roles and rules, and its own. Its own grants reach no further than its view."""
    own = config.tenants.get(tenant) if tenant != DEFAULT_TENANT else None
    if own is None:
        return Policy(config.roles, config.policies)
    return Policy({**config.roles, **own.roles}, (*config.policies, *own.policies))


# -- what a principal and an item are held against


def _is_about(conditions: Conditions, principal: Principal, roles: frozenset[str]) -> bool:
    return (
        (not conditions.subjects or matches(conditions.subjects, principal.subject))
        and (not conditions.agents or acts(conditions.agents, principal))
        and (not conditions.tenants or matches(conditions.tenants, principal.tenant))
        and (not conditions.roles or not roles.isdisjoint(conditions.roles))
        and (not conditions.proofs or principal.proof in conditions.proofs)
    )


@lru_cache(maxsize=4096)
def _joined(patterns: tuple[str, ...], alias: str) -> re.Pattern[str] | None:
    """What patterns say of the names of one server, as one regular expression."""
    names = []
    for pattern in patterns:
        server, dot, name = pattern.partition(".")
        if pattern == "*":
            names.append("*")
        elif dot and compiled(server).match(alias):
            names.append(name)
    return re.compile("|".join(map(translate, names))) if names else None


def _has(item: Item, annotations: Mapping[str, bool]) -> bool:
    return all(item.annotations.get(name) is value for name, value in annotations.items())


def _is_about_all(rule: _Rule, alias: str) -> bool:
    """Whether a rule is about everything of a server, whatever it is."""
    return (
        len(rule.kinds) == 3
        and not rule.when.annotations
        and not rule.checks
        and ("*" in rule.pattern_texts or "*.*" in rule.pattern_texts or f"{alias}.*" in rule.pattern_texts)
    )


def _effect(rule: _Rule) -> str:
    return "allowed" if rule.allows else "denied"


def _refused(rule: _Rule, item: Item) -> Forbidden:
    looked_at = ", ".join(what for what, _ in rule.checks) or "its circumstances"
    return Forbidden(f"The policy does not allow this call of {item.own[:128]!r} as it is ({looked_at})")


# -- other engines


def _refuses(engine: Engine) -> Check:
    """A denial that applies unless another engine agrees."""
    return lambda item, facts: engine.check(facts.principal, item, facts) is not True


class _Engines(Mapping[str, Callable[[Mapping[str, Any]], Engine]]):
    """The installed engines, loaded when first used."""

    def __getitem__(self, name: str) -> Callable[[Mapping[str, Any]], Engine]:
        found = {point.name: point for point in metadata.entry_points(group=ENGINES)}
        factory: Callable[[Mapping[str, Any]], Engine] = found[name].load()
        return factory

    def __iter__(self) -> "Any":
        return iter(sorted(point.name for point in metadata.entry_points(group=ENGINES)))

    def __len__(self) -> int:
        return len(list(iter(self)))


def engine_names() -> list[str]:
    """The engines that are installed."""
    return list(_Engines())
