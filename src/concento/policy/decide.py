"""Roles and rules, compiled once; and what they decide.

A principal has a *reach*: the rules that count for it, found once and shared by all for whom the same rules count. A
reach decides what is seen (`decide`) and, when a call comes, whether it may be made (`admit`), from the same verdict;
`explanation` tells how it comes to that.

Without roles and grants everything is allowed that no rule denies; with any of them, only what one grants. A denial
outweighs every grant. What looks at a call itself (arguments, time, network, metadata, CEL, other engines) hides
nothing: what is listed can be called under some circumstances, and what is hidden under none.
Source: hardening T4, T5.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from ..catalog.patterns import Patterns
from ..model.config import Config
from ..model.errors import CallError, Forbidden, NeedsScope
from ..model.policy import Role, Rule
from ..model.principal import Principal
from ..model.tenant import DEFAULT_TENANT
from .conditions import Facts
from .engines import Engine, Engines, Installed
from .explanation import Explanation, Look
from .globs import matches
from .index import Index
from .item import Item, ItemKey
from .rule import CompiledRule, Standing

__all__ = ["Decision", "Engine", "Explanation", "Facts", "Item", "Policy", "Reach", "policy_of"]

Verdict = Literal["hidden", "needs_scope", "allow"]

_ORDER: Final = ("counts", "lacks scopes", "no")
DEFAULT: Final = "default"
"""Stands for a rule's name where none decided."""
DELEGATED: Final = "delegated key"

_REACHES_MAX: Final = 2000
_PRINCIPALS_MAX: Final = 20_000
_DECISIONS_MAX: Final = 200_000
"""Decisions kept of a policy, in all of its reaches."""
_DECISIONS_OF_ONE_MAX: Final = 20_000
_NAME_CHARS_MAX: Final = 512
"""A longer name is decided about each time: callers make up URIs, and what they make up is not kept."""


class Decision(Struct, frozen=True):
    """What was decided, and by which rule. `conditional`: whether a call may be made is seen when it comes."""

    verdict: Verdict
    rule: str = DEFAULT
    scopes: tuple[str, ...] = ()
    """For `needs_scope`: all that a call needs."""
    conditional: bool = False


class _Verdict(Struct, frozen=True):
    """A decision with the rules that a call has still to pass: no denial may apply, and a grant has to, if there are
    only conditional ones. Each with whether a call's own facts may make its `unless` hold."""

    decision: Decision
    denials: tuple[tuple[CompiledRule, bool], ...] = ()
    grants: tuple[tuple[CompiledRule, bool, Decision], ...] = ()


class Policy:
    """All roles and rules of one tenant. Errors: ValueError, naming the rule, for what can't be compiled."""

    def __init__(self, roles: Mapping[str, Role], rules: Sequence[Rule], engines: Engines | None = None) -> None:
        known = Installed() if engines is None else engines
        self.rules = [
            *(CompiledRule.of_role(role, known) for role in roles.values()),
            *(CompiledRule(rule, None, known) for rule in rules),
        ]
        self._roles = tuple(roles.values())
        self.grants_only = any(rule.allows for rule in self.rules)
        """Whether only what is granted may be used."""
        self._reaches: dict[tuple[Any, ...], Reach] = {}
        self._principals: dict[int, tuple[Principal, Reach]] = {}
        self._decisions = 0

    def roles_of(self, principal: Principal) -> frozenset[str]:
        """The roles that a principal is in: those its credential names, and those that name it or its agent.

        An agent further behind puts nobody into a role: it need not know what is done in its name.
        """
        agent = principal.agent
        named = (
            role.name
            for role in self._roles
            if matches(role.members, principal.subject) or (agent is not None and matches(role.agents, agent))
        )
        return principal.roles.union(named)

    def reach(self, principal: Principal) -> "Reach":
        """What counts for a principal. Those for whom the same counts share it: views are cached by its identity."""
        known = self._principals.get(id(principal))
        if known is not None and known[0] is principal:
            return known[1]
        standings, excused = self._counted(principal)
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

    def _counted(self, principal: Principal) -> tuple[tuple[Standing, ...], tuple[bool, ...]]:
        """How each rule stands, and whether `unless` may hold: for a delegated key, at worst as for its parent."""
        roles = self.roles_of(principal)
        standings = tuple(rule.standing(principal, roles) for rule in self.rules)
        excused = tuple(rule.is_excused(principal, roles) for rule in self.rules)
        if principal.within is not None:
            before, excused_before = self._counted(principal.within)
            pairs = zip(self.rules, standings, before, strict=True)
            standings = tuple((max if rule.allows else min)(a, b, key=_ORDER.index) for rule, a, b in pairs)
            both = zip(self.rules, excused, excused_before, strict=True)
            excused = tuple((a or b) if rule.allows else (a and b) for rule, a, b in both)
        return standings, tuple(
            excuse and standing != "no" for excuse, standing in zip(excused, standings, strict=True)
        )

    def count_decision(self) -> None:
        """Count a decision that is kept, and forget all before there are too many."""
        self._decisions += 1
        if self._decisions > _DECISIONS_MAX:
            self._decisions = 0
            for reach in self._reaches.values():
                reach.forget()


class Reach:
    """What a principal can see and call."""

    def __init__(
        self,
        policy: Policy,
        standings: tuple[Standing, ...],
        excused: tuple[bool, ...],
        narrowed: tuple[tuple[str, ...], ...],
    ) -> None:
        self._policy = policy
        self._standings = standings
        counted = list(zip(policy.rules, excused, standings, strict=True))
        self._rules = [(rule, excuse) for rule, excuse, standing in counted if standing == "counts"]
        self._advertised = [(rule, excuse) for rule, excuse, standing in counted if standing == "lacks scopes"]
        self._layers = tuple(Patterns(layer) for layer in narrowed)
        self._verdicts: dict[ItemKey, _Verdict] = {}
        self._same: dict[tuple[Any, ...], _Verdict] = {}
        self._indexes: dict[str, Index] = {}
        self.open = not policy.grants_only and not self._rules and not self._layers
        """Whether everything may be called, whatever it is: then nobody has to be asked."""

    def decide(self, item: Item) -> Decision:
        """Whether something is seen."""
        verdict = self._verdicts.get(item.key)
        return (self._verdict(item) if verdict is None else verdict).decision

    def admit(self, item: Item, facts: Facts) -> Decision:
        """Whether a call may be made, and by which rule. Errors: Forbidden, also for what is hidden; NeedsScope."""
        verdict = self._verdicts.get(item.key) or self._verdict(item)
        decision = verdict.decision
        if decision.verdict == "allow" and not decision.conditional:
            return decision
        settled = self._settle(verdict, item, facts)
        if isinstance(settled, Forbidden):
            raise settled
        return settled

    def reaches(self, alias: str) -> bool:
        """Whether anything of a server can be seen, whatever it offers."""
        if not all(layer.reaches(alias) for layer in self._layers):
            return False
        if any(not rule.allows and not excused and rule.is_about_all(alias) for rule, excused in self._rules):
            return False
        if not self._policy.grants_only:
            return True
        grants = (rule for rule, _ in (*self._rules, *self._advertised) if rule.allows)
        return any(rule.patterns.reaches(alias) for rule in grants)

    # -- how it is told

    def explain(self, item: Item, facts: Facts | None) -> list[str]:
        """Every rule that is about something, whether it counts and, with a call's facts, whether it applies."""
        return self.explanation(item, facts).lines()

    def explanation(self, item: Item, facts: Facts | None) -> Explanation:
        """What is decided about something, or about a call of it, and every rule that was looked at."""
        verdict = self._verdict(item)
        decision = verdict.decision
        kind: Literal["hidden", "needs_scope", "allow", "deny"] = decision.verdict
        rule, why, notes = decision.rule, "", []
        if not self._is_within(item):
            notes.append(f"{DELEGATED}: does not reach {item.alias}.{item.own}")
        if decision.verdict == "needs_scope":
            notes.append(f"would be allowed by {decision.rule} with the scope {' '.join(decision.scopes)}")
        try:
            if facts is not None:
                settled = self._settle(verdict, item, facts)
                rule = (settled.rule or rule) if isinstance(settled, Forbidden) else settled.rule
                if isinstance(settled, Forbidden):
                    why = settled.message
                    kind = "deny" if kind == "allow" else kind
            looks = tuple(self._looks(item, facts))
        except CallError as error:  # the call itself can't be read; then no rule was asked about it
            kind = "deny" if kind == "allow" else kind
            why, looks = error.message, tuple(self._looks(item, None))
            notes.append(f"the call is refused: {why}")
        return Explanation(kind, rule, why, looks, tuple(notes))

    def _looks(self, item: Item, facts: Facts | None) -> "Sequence[Look]":
        roles = None if facts is None else self._policy.roles_of(facts.principal)
        excused = dict(self._rules)
        looks = []
        for rule in self._policy.rules:
            if item.kind not in rule.kinds or not rule.patterns.matches(item.alias, item.own):
                continue
            if rule not in excused:
                lacks = None if facts is None or roles is None else rule.lacking(facts.principal, roles)
                looks.append(Look(rule.name, rule.allows, "no", lacks or "caller"))
            else:
                looks.append(_look(rule, item, facts, excused[rule]))
        return looks

    # -- how it is decided

    def forget(self) -> None:
        """Decide anew about everything."""
        self._verdicts.clear()

    def _verdict(self, item: Item) -> _Verdict:
        verdict = self._verdicts.get(item.key)
        if verdict is not None:
            return verdict
        verdict = self._decided(item)
        if len(item.own) <= _NAME_CHARS_MAX:
            if len(self._verdicts) >= _DECISIONS_OF_ONE_MAX:
                self.forget()
            self._policy.count_decision()
            self._verdicts[item.key] = verdict
        return verdict

    def _is_within(self, item: Item) -> bool:
        return all(layer.matches(item.alias, item.own) for layer in self._layers)

    def _decided(self, item: Item) -> _Verdict:
        if self._layers and not self._is_within(item):
            return _Verdict(Decision("hidden", DELEGATED))
        granted: CompiledRule | None = None
        denials: list[tuple[int, bool]] = []
        grants: list[tuple[int, bool]] = []
        rules = self._rules
        for number in self._index(item.alias).about(item.own):
            rule, excused = rules[number]
            if not rule.suits(item):
                continue
            excuse = rule.excuse(item) if excused else False
            if excuse is True:
                continue
            conditional = excuse is None or bool(rule.checks)
            if not rule.allows:
                if not conditional:
                    return self._made(("hidden", rule.name))
                denials.append((number, excuse is None))
            elif conditional:
                grants.append((number, excuse is None))
            elif granted is None:
                granted = rule
        if granted is not None or not self._policy.grants_only:
            return self._made(("allow", DEFAULT if granted is None else granted.name, tuple(denials), ()))
        if grants:
            return self._made(("allow", rules[grants[0][0]][0].name, tuple(denials), tuple(grants)))
        for rule, excused in self._advertised:
            is_about = rule.suits(item) and rule.patterns.matches(item.alias, item.own)
            if is_about and not (excused and rule.excuse(item) is True):
                return _Verdict(Decision("needs_scope", rule.name, rule.when.scopes))
        return self._made(("hidden", DEFAULT))

    def _made(self, parts: tuple[Any, ...]) -> _Verdict:
        """A verdict, one for all things about which the same was decided."""
        verdict = self._same.get(parts)
        if verdict is None:
            verdict = self._make(*parts)
            if len(self._same) < _DECISIONS_OF_ONE_MAX:
                self._same[parts] = verdict
        return verdict

    def _make(
        self,
        kind: Verdict,
        name: str,
        denials: tuple[tuple[int, bool], ...] = (),
        grants: tuple[tuple[int, bool], ...] = (),
    ) -> _Verdict:
        rules = self._rules
        return _Verdict(
            Decision(kind, name, conditional=bool(denials or grants)),
            tuple((rules[number][0], excused) for number, excused in denials),
            tuple(
                (rules[number][0], excused, Decision("allow", rules[number][0].name, conditional=True))
                for number, excused in grants
            ),
        )

    def _settle(self, verdict: _Verdict, item: Item, facts: Facts) -> Decision | Forbidden:
        """What becomes of a call. Errors: CallError, if what it brings can't be read."""
        decision = verdict.decision
        if decision.verdict == "hidden":
            return _refusal(decision.rule, f"The policy does not let this caller use {item.own[:128]!r}")
        if decision.verdict == "needs_scope":
            needs = NeedsScope(f"This needs the scope {' '.join(decision.scopes)}", decision.scopes)
            needs.rule = decision.rule
            return needs
        for rule, excused in verdict.denials:
            if rule.failing(item, facts, excused) is None:
                looked_at = ", ".join(rule.looks_at()) or "its circumstances"
                told = f"The policy does not allow this call of {item.own[:128]!r} as it is ({looked_at})"
                return _refusal(rule.name, told)
        if not verdict.grants:
            return decision
        first = ""
        for rule, excused, granted in verdict.grants:
            failing = rule.failing(item, facts, excused)
            if failing is None:
                return granted
            first = first or failing
        told = f"The policy allows {item.own[:128]!r} under conditions that this call does not meet ({first})"
        return _refusal(decision.rule, told)

    def _index(self, alias: str) -> Index:
        index = self._indexes.get(alias)
        if index is None:
            if len(self._indexes) >= _REACHES_MAX:
                self._indexes.clear()
            rules = ((number, rule.pattern_texts) for number, (rule, _) in enumerate(self._rules))
            index = self._indexes[alias] = Index(alias, rules)
        return index


def policy_of(config: Config, tenant: str, engines: Engines | None = None) -> Policy:
    """A tenant's policy: the operator's roles and rules, and its own. Its own grants reach no further than its view."""
    own = config.tenants.get(tenant) if tenant != DEFAULT_TENANT else None
    if own is None:
        return Policy(config.roles, config.policies, engines)
    return Policy({**config.roles, **own.roles}, (*config.policies, *own.policies), engines)


def _refusal(rule: str, told: str) -> Forbidden:
    error = Forbidden(told)
    error.rule = rule
    return error


def _look(rule: CompiledRule, item: Item, facts: Facts | None, excused: bool) -> Look:
    """What becomes of a rule that counts for the principal, and has a pattern for an item."""
    if not rule.suits(item):
        return Look(rule.name, rule.allows, "no", "annotations")
    excuse = rule.excuse(item) if excused else False
    if excuse is True:
        return Look(rule.name, rule.allows, "no", "unless")
    looked_at = [*rule.looks_at(), *(("unless",) if excuse is None else ())]
    if not looked_at:
        return Look(rule.name, rule.allows, "yes")
    if facts is None:
        return Look(rule.name, rule.allows, "depends", ", ".join(looked_at))
    failing = rule.failing(item, facts, excuse is None)
    if failing is None:
        return Look(rule.name, rule.allows, "yes", ", ".join(looked_at))
    return Look(rule.name, rule.allows, "no", failing)
