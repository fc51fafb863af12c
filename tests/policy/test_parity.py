"""What is listed can be called, and what is hidden can't: over random policies, against the rules read literally.

Every condition on arguments looks at an argument of its own, so that whatever can be satisfied alone can be together.
Source: hardening T4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import combinations, product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import encode

from concento.model.errors import Forbidden, NeedsScope
from concento.model.policy import ALL_KINDS, Conditions, Role, Rule
from concento.model.policy import Test as Condition
from concento.model.principal import Principal
from concento.policy.decide import Facts, Item, Policy

SUBJECTS = ("alice", "bob")
AGENTS = ("robot", "crawler")
ROLES = ("reader", "writer")
SCOPES = ("read", "write")
PATTERNS = ("*", "git.*", "git.push", "g*.pu*", "docs.read_*", "*.read_page", "docs.*")
HINTS = ("readOnlyHint", "destructiveHint")


def some(values: Sequence[Any], most: int = 2, least: int = 0) -> Any:
    chosen = [choice for size in range(least, most + 1) for choice in combinations(values, size)]
    return st.sampled_from(chosen)


hints = st.sampled_from([{}, *({name: value} for name in HINTS for value in (True, False))])


@st.composite
def conditions(draw, argument: str) -> Conditions:
    """One or two conditions, those more often that lead to more than a plain yes or no."""
    looked_at = draw(some(("scopes", "arguments", "annotations", "scopes ", "subjects", "agents", "roles"), 2, 1))
    on = Conditions()
    for what in looked_at:
        match what.strip():
            case "arguments":
                on = replace(on, arguments=((argument, Condition("eq", True)),))
            case "scopes":
                on = replace(on, scopes=draw(some(SCOPES, 2, 1)))
            case "annotations":
                on = replace(on, annotations=draw(hints))
            case "subjects":
                on = replace(on, subjects=(draw(st.sampled_from(("alice", "b*", "*"))),))
            case "agents":
                on = replace(on, agents=(draw(st.sampled_from((*AGENTS, "*"))),))
            case "roles":
                on = replace(on, roles=draw(some(ROLES, 2, 1)))
    return on


@st.composite
def rules(draw) -> list[Rule]:
    made = []
    for number in range(draw(st.sampled_from((4, 3, 2, 1, 0)))):
        effect = draw(st.sampled_from(("allow", "deny")))
        when = draw(st.one_of(conditions(f"w{number}"), conditions(f"w{number}"), st.just(Conditions())))
        unless = draw(st.one_of(st.none(), st.none(), conditions(f"u{number}")))
        kinds = draw(st.sampled_from([ALL_KINDS, ALL_KINDS, ALL_KINDS, ("tool",), ("prompt",)]))
        patterns = draw(st.one_of(st.sampled_from([("*",), ("git.*",), ("git.push",)]), some(PATTERNS, 2, 1)))
        advertise = effect == "allow" and bool(when.scopes) and draw(st.sampled_from((True, True, False)))
        made.append(Rule(f"rule {number}", effect, patterns, kinds, when, unless, advertise))
    return made


roles = st.dictionaries(
    st.sampled_from(ROLES),
    st.tuples(some(PATTERNS), some(("alice", "b*"), 1), some(AGENTS, 1)),
    max_size=2,
).map(lambda made: {name: Role(name, allow, members=who, agents=agents) for name, (allow, who, agents) in made.items()})
principals = st.builds(
    Principal,
    subject=st.sampled_from(SUBJECTS),
    agent=st.sampled_from((None, *AGENTS)),
    roles=some(ROLES).map(frozenset),
    scopes=st.sampled_from(((), (), ("read",), SCOPES)).map(frozenset),
    chain=some(AGENTS, 1),
    narrowed=st.sampled_from([(), (), (), (("git.*",),), (("*",), ("*.pu*", "docs.*")), (("docs.read_*",),)]),
)
items = st.builds(
    Item,
    st.sampled_from(("tool", "tool", "tool", "prompt")),
    st.sampled_from(("git", "git", "docs")),
    st.sampled_from(("push", "push", "pull", "read_page")),
    hints,
)


# -- the rules, read literally


class Literal:
    def __init__(self, roles: dict[str, Role], rules: list[Rule], who: Principal, item: Item) -> None:
        self.who, self.item, self.rules = who, item, rules
        self.roles = {*who.roles}
        for role in roles.values():
            by_name = any(fnmatchcase(who.subject, glob) for glob in role.members)
            if by_name or (who.agent is not None and who.agent in role.agents):
                self.roles.add(role.name)
        self.restricts = bool(roles) or any(rule.effect == "allow" for rule in rules)
        self.granted_by_role = any(
            name in self.roles and item.kind in role.kinds and self.is_named(role.allow) for name, role in roles.items()
        )

    def is_named(self, patterns: tuple[str, ...]) -> bool:
        name = f"{self.item.alias}.{self.item.own}"
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    def holds(self, on: Conditions, called: dict[str, bool], *, with_scopes: bool = True) -> bool:
        who = self.who
        acting = [agent for agent in (who.agent, *who.chain) if agent is not None]
        return (
            (not on.subjects or any(fnmatchcase(who.subject, glob) for glob in on.subjects))
            and (not on.agents or any(fnmatchcase(agent, glob) for agent in acting for glob in on.agents))
            and (not on.roles or not self.roles.isdisjoint(on.roles))
            and (not with_scopes or who.scopes.issuperset(on.scopes))
            and (
                not on.annotations
                or (self.item.kind == "tool" and on.annotations.items() <= dict(self.item.annotations).items())
            )
            and all(called[name] for name, _ in on.arguments)
        )

    def applies(self, rule: Rule, called: dict[str, bool], *, with_scopes: bool = True) -> bool:
        if self.item.kind not in rule.kinds or not self.is_named(rule.patterns):
            return False
        excused = rule.unless is not None and self.holds(rule.unless, called)
        return self.holds(rule.when, called, with_scopes=with_scopes) and not excused

    def allows(self, called: dict[str, bool]) -> bool:
        if not all(self.is_named(layer) for layer in self.who.narrowed):
            return False
        applying = [rule.effect for rule in self.rules if self.applies(rule, called)]
        if "deny" in applying:
            return False
        return not self.restricts or self.granted_by_role or "allow" in applying

    def would_with_scopes(self, called: dict[str, bool]) -> bool:
        if not all(self.is_named(layer) for layer in self.who.narrowed):
            return False
        denied = any(rule.effect == "deny" and self.applies(rule, called) for rule in self.rules)
        return not denied and any(
            rule.advertise and self.applies(rule, called, with_scopes=False) for rule in self.rules
        )


def calls(rules: list[Rule]) -> Iterator[dict[str, bool]]:
    """All that the arguments can be, as far as rules look at them."""
    names = [name for rule in rules for on in (rule.when, rule.unless) if on is not None for name, _ in on.arguments]
    for values in product((True, False), repeat=len(names)):
        yield dict(zip(names, values, strict=True))


def facts(called: dict[str, bool], who: Principal) -> Facts:
    return Facts(Raw(encode(called)), 0.0, None, {}, who)


@settings(max_examples=600, deadline=None)
@given(roles, rules(), principals, items)
def test_what_is_listed_can_be_called_and_what_is_hidden_can_not(roles, rules, who, item) -> None:
    policy = Policy(roles, rules)
    reach = policy.reach(who)
    decision = reach.decide(item)
    literal = Literal(roles, rules, who, item)
    outcomes = set()
    for called in calls(rules):
        told = reach.explanation(item, facts(called, who))
        outcome, error = put(reach, item, facts(called, who))
        if isinstance(error, NeedsScope):
            assert error.scopes == decision.scopes
            assert not who.scopes.issuperset(error.scopes)
        if error is not None:
            assert (told.why, told.rule) == (error.message, error.rule)
            outcome = "hidden" if decision.verdict == "hidden" else outcome
        outcomes.add(outcome)
        assert (outcome == "allow") is literal.allows(called)
        assert told.verdict == outcome
        assert_agrees(told, literal)
    assert (decision.verdict == "allow") is ("allow" in outcomes)
    if decision.verdict != "allow":
        assert outcomes == {decision.verdict}
        advertised = any(literal.would_with_scopes(called) for called in calls(rules))
        assert (decision.verdict == "needs_scope") is advertised
    elif not decision.conditional:
        assert outcomes == {"allow"}
    if decision.verdict != "hidden":
        assert reach.reaches(item.alias)
    assert not (reach.open and (outcomes != {"allow"} or decision.conditional))
    assert reach.decide(item) == decision
    assert reach.explanation(item, None).verdict == decision.verdict


def put(reach, item, call) -> tuple[str, Forbidden | None]:
    """What becomes of a call."""
    try:
        reach.admit(item, call)
    except Forbidden as error:
        return "needs_scope" if isinstance(error, NeedsScope) else "deny", error
    return "allow", None


def assert_agrees(told, literal: Literal) -> None:
    """What the explanation says of each rule adds up to what it says in the end."""
    assert all(look.applies != "depends" for look in told.looks)
    is_reached = all(literal.is_named(layer) for layer in literal.who.narrowed)
    denied = any(not look.allows and look.applies == "yes" for look in told.looks)
    granted = any(look.allows and look.applies == "yes" for look in told.looks)
    allowed = is_reached and not denied and (granted or not literal.restricts)
    assert (told.verdict == "allow") is allowed


@settings(max_examples=200, deadline=None)
@given(roles, rules(), principals, principals, st.lists(items, min_size=1, max_size=6))
def test_callers_who_share_a_reach_are_decided_about_alike(roles, rules, one, other, items) -> None:
    policy = Policy(roles, rules)
    first, second = policy.reach(one), policy.reach(other)
    apart = [Policy(roles, rules).reach(who) for who in (one, other)]
    for item in items:
        assert first.decide(item) == apart[0].decide(item)
        assert second.decide(item) == apart[1].decide(item)
        if first is second:
            assert apart[0].decide(item) == apart[1].decide(item)
    assert policy.reach(one) is first
    same = Principal(one.subject, one.agent, one.tenant, one.proof, one.roles, one.scopes, one.chain, one.narrowed)
    assert policy.reach(same) is first
