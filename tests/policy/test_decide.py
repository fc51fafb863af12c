"""Who sees and may call what: roles, rules, conditions. Source: hardening T4, T5, T18."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from concento.model.errors import CallError, Forbidden, InvalidRequest, NeedsScope
from concento.model.policy import WORST, Conditions, Hours, Role, Rule, Test
from concento.model.principal import Principal
from concento.policy.decide import Facts, Item, Policy

ALICE = Principal("alice", proof="key")
NOON_MONDAY = 1_764_590_400.0  # 2025-12-01T12:00:00Z


def rule(effect: Any, *patterns: str, name: str = "r", **options: Any) -> Rule:
    return Rule(name, effect, patterns, **options)


def tool(own: str = "push", alias: str = "git", hints: Mapping[str, bool] = WORST) -> Item:
    return Item("tool", alias, own, hints)


def facts(principal: Principal = ALICE, args: Any = None, **options: Any) -> Facts:
    arguments = None if args is None else Raw(args if isinstance(args, bytes) else msgspec.json.encode(args))
    meta = {key: Raw(msgspec.json.encode(value)) for key, value in options.pop("meta", {}).items()}
    return Facts(arguments, options.pop("now", NOON_MONDAY), options.pop("address", "127.0.0.1"), meta, principal)


def outcome(policy: Policy, item: Item, about: Facts) -> str:
    reach = policy.reach(about.principal)
    if reach.decide(item).verdict == "hidden":
        with pytest.raises(Forbidden):
            reach.admit(item, about)  # whoever asks for a call all the same is refused as well
        return "hidden"
    try:
        reach.admit(item, about)
        return "allow"
    except NeedsScope:
        return "needs_scope"
    except Forbidden:
        return "deny"


def test_without_any_rule_everything_is_open() -> None:
    reach = Policy({}, ()).reach(ALICE)
    assert reach.open
    assert reach.decide(tool()).verdict == "allow"
    assert reach.reaches("git")


def test_with_denials_only_the_rest_stays_allowed() -> None:
    policy = Policy({}, [rule("deny", "git.push*")])
    assert outcome(policy, tool("push_all"), facts()) == "hidden"
    assert outcome(policy, tool("pull"), facts()) == "allow"


def test_with_a_grant_nothing_else_is_allowed_and_a_denial_outweighs_it() -> None:
    policy = Policy({}, [rule("allow", "git.*"), rule("deny", "*.push", name="no pushes")])
    assert outcome(policy, tool("pull"), facts()) == "allow"
    assert outcome(policy, tool("pull", "svn"), facts()) == "hidden"
    assert outcome(policy, tool("push"), facts()) == "hidden"
    assert policy.reach(ALICE).decide(tool("push")).rule == "no pushes"
    assert not policy.reach(ALICE).reaches("svn")


@pytest.mark.parametrize(
    "principal",
    [
        Principal("bob", roles=frozenset({"dev"})),
        Principal("dora@example.com"),
        Principal("eve", "ci-bot"),
        Principal("eve", "helper", chain=("ci-bot",)),
    ],
)
def test_a_role_is_what_a_credential_names_or_what_names_its_member_or_its_agent(principal: Principal) -> None:
    role = Role("dev", ("git.*",), members=("*@example.com",), agents=("ci-*",))
    policy = Policy({"dev": role}, [rule("allow", "docs.*", when=Conditions(roles=("dev",)))])
    assert outcome(policy, tool(), facts(principal)) == "allow"
    assert outcome(policy, tool("read", "docs"), facts(principal)) == "allow"
    assert outcome(policy, tool(), facts(Principal("mallory", "cli"))) == "hidden"
    assert policy.roles_of(principal) == {"dev"}


def test_kinds_of_things_are_told_apart() -> None:
    policy = Policy({}, [rule("allow", "git.*", kinds=("prompt",))])
    assert outcome(policy, Item("prompt", "git", "x"), facts()) == "allow"
    assert outcome(policy, tool("x"), facts()) == "hidden"
    assert outcome(policy, Item("resource", "git", "x"), facts()) == "hidden"


def test_a_thing_is_advertised_only_where_scopes_alone_are_missing() -> None:
    when = Conditions(subjects=("alice",), scopes=("git:write", "git:read"))
    policy = Policy({}, [rule("allow", "git.*", when=when, advertise=True), rule("deny", "git.secret")])
    assert outcome(policy, tool(), facts()) == "needs_scope"
    with pytest.raises(NeedsScope) as refused:
        policy.reach(ALICE).admit(tool(), facts())
    assert refused.value.scopes == ("git:write", "git:read")  # all that it needs, in one go
    assert outcome(policy, tool(), facts(Principal("bob"))) == "hidden"
    assert outcome(policy, tool("secret"), facts()) == "hidden"
    assert outcome(policy, tool(), facts(Principal("alice", scopes=frozenset(when.scopes)))) == "allow"


def test_a_delegated_key_reaches_what_all_of_its_layers_name() -> None:
    narrowed = Principal("alice", narrowed=(("git.*", "docs.*"), ("*.get_*",)))
    policy = Policy({}, ())
    assert outcome(policy, tool("get_log"), facts(narrowed)) == "allow"
    assert outcome(policy, tool("push"), facts(narrowed)) == "hidden"
    assert outcome(policy, tool("get_x", "svn"), facts(narrowed)) == "hidden"
    assert not policy.reach(narrowed).reaches("svn")


def test_hints_count_for_a_rule_as_they_are_given() -> None:
    policy = Policy({}, [rule("deny", "*", when=Conditions(annotations={"destructiveHint": True}))])
    assert outcome(policy, tool(), facts()) == "hidden"  # the worst is assumed
    assert outcome(policy, tool(hints={**WORST, "destructiveHint": False}), facts()) == "allow"


def test_unless_lifts_a_rule_where_all_of_it_holds() -> None:
    excuse = Conditions(roles=("admin",), networks=("10.0.0.0/8",))
    policy = Policy({}, [rule("deny", "git.push", unless=excuse)])
    admin = Principal("ada", roles=frozenset({"admin"}))
    assert outcome(policy, tool(), facts()) == "hidden"
    assert outcome(policy, tool(), facts(admin, address="10.1.2.3")) == "allow"
    assert outcome(policy, tool(), facts(admin, address="192.168.0.1")) == "deny"
    assert outcome(policy, tool(), facts(admin, address=None)) == "deny"


# -- what a call brings

MISSING = object()
PATTERN = re.compile("feature/.*")
TESTS: list[tuple[Test, Any, bool, bool]] = [
    # test, value of `x`, whether a grant resting on it holds, whether a denial resting on it applies
    (Test("eq", "a"), "a", True, True),
    (Test("eq", "a"), "b", False, False),
    (Test("eq", "a"), MISSING, False, False),
    (Test("eq", 1), True, False, False),  # true is not 1
    (Test("eq", 1), 1.0, True, True),
    (Test("eq", None), None, True, True),
    (Test("ne", "a"), "b", True, True),
    (Test("ne", "a"), MISSING, True, True),
    (Test("ne", "a"), "a", False, False),
    (Test("in", ("a", "b")), "b", True, True),
    (Test("in", ("a", "b")), "c", False, False),
    (Test("in", ("a", "b")), MISSING, False, False),
    (Test("not_in", ("a", "b")), "c", True, True),
    (Test("not_in", ("a", "b")), MISSING, True, True),
    (Test("lt", 10), 9, True, True),
    (Test("lt", 10), 10, False, False),
    (Test("lt", 10), MISSING, False, False),
    (Test("lt", 10), "9", False, True),  # can't be judged: no grant rests on it, a denial does
    (Test("lt", 10), True, False, True),
    (Test("ge", 10), 10, True, True),
    (Test("gt", 10), 10.5, True, True),
    (Test("le", 10), 11, False, False),
    (Test("matches", PATTERN), "feature/x", True, True),
    (Test("matches", PATTERN), "xfeature/x", False, False),
    (Test("matches", PATTERN), 7, False, True),
    (Test("matches", PATTERN), "feature/" + "x" * 5000, False, True),
    (Test("matches", PATTERN), MISSING, False, False),
    (Test("exists", True), 0, True, True),
    (Test("exists", True), MISSING, False, False),
    (Test("exists", False), MISSING, True, True),
]


@pytest.mark.parametrize(("test", "value", "grants", "denies"), TESTS)
def test_a_condition_on_arguments_refuses_in_doubt(test: Test, value: Any, grants: bool, denies: bool) -> None:
    args = {} if value is MISSING else {"x": value}
    when = Conditions(arguments=(("x", test),))
    assert outcome(Policy({}, [rule("allow", "git.*", when=when)]), tool(), facts(args=args)) == (
        "allow" if grants else "deny"
    )
    assert outcome(Policy({}, [rule("deny", "git.*", when=when)]), tool(), facts(args=args)) == (
        "deny" if denies else "allow"
    )


@pytest.mark.parametrize(
    ("paths", "grants", "denies"),
    [
        (["/safe/a", "/safe/b"], True, True),
        (["/safe/a", "/etc/b"], False, True),  # every one for a grant, any one for a denial
        (["/etc/a"], False, False),
        ([], False, False),
    ],
)
def test_a_path_into_a_list_means_every_item_for_a_grant_and_any_for_a_denial(
    paths: list[str], grants: bool, denies: bool
) -> None:
    when = Conditions(arguments=(("files[*].path", Test("matches", re.compile("/safe/.*"))),))
    args = {"files": [{"path": path} for path in paths]}
    assert (outcome(Policy({}, [rule("allow", "*", when=when)]), tool(), facts(args=args)) == "allow") is grants
    assert (outcome(Policy({}, [rule("deny", "*", when=when)]), tool(), facts(args=args)) == "deny") is denies


def test_arguments_in_which_a_member_comes_twice_are_refused() -> None:
    policy = Policy({}, [rule("allow", "*", when=Conditions(arguments=(("x", Test("eq", 1)),)))])
    for text in (b'{"x":1,"x":2}', b'{"x":1,"y":{"z":1,"z":2}}', b'{"x":1, "\\u0078":2}'):
        with pytest.raises(InvalidRequest):
            policy.reach(ALICE).admit(tool(), facts(args=text))


@pytest.mark.parametrize(
    ("at", "open_"),
    [
        ("2025-12-01T07:59:59+01:00", False),
        ("2025-12-01T08:00:00+01:00", True),
        ("2025-12-01T17:59:59+01:00", True),
        ("2025-12-01T18:00:00+01:00", False),
        ("2025-12-06T12:00:00+01:00", False),  # a Saturday
        ("2025-07-01T08:00:00+02:00", True),  # summer time
        ("2025-07-01T07:30:00+02:00", False),
    ],
)
def test_hours_are_those_of_their_zone(at: str, open_: bool) -> None:
    from datetime import datetime

    hours = Hours(frozenset(range(5)), 8 * 60, 18 * 60, "Europe/Rome")
    policy = Policy({}, [rule("allow", "*", when=Conditions(time=hours))])
    now = datetime.fromisoformat(at).timestamp()
    assert outcome(policy, tool(), facts(now=now)) == ("allow" if open_ else "deny")


def test_a_span_past_midnight_belongs_to_the_day_it_begins_on() -> None:
    from datetime import datetime

    night = Conditions(time=Hours(frozenset({4}), 22 * 60, 6 * 60, "UTC"))  # Friday night
    policy = Policy({}, [rule("allow", "*", when=night)])
    told = {
        at: outcome(policy, tool(), facts(now=datetime.fromisoformat(at).timestamp()))
        for at in (
            "2025-12-05T23:00+00:00",
            "2025-12-06T05:00+00:00",
            "2025-12-05T05:00+00:00",
            "2025-12-06T23:00+00:00",
        )
    }
    assert list(told.values()) == ["allow", "allow", "deny", "deny"]


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.9.8.7", True),
        ("::ffff:10.9.8.7", True),
        ("11.0.0.1", False),
        ("fd00::1", True),
        ("nonsense", False),
        (None, False),
    ],
)
def test_networks_know_mapped_addresses_and_doubt_unknown_ones(address: str | None, inside: bool) -> None:
    policy = Policy({}, [rule("allow", "*", when=Conditions(networks=("10.0.0.0/8", "fd00::/8")))])
    assert outcome(policy, tool(), facts(address=address)) == ("allow" if inside else "deny")


def test_metadata_of_the_request_can_be_asked_for() -> None:
    policy = Policy({}, [rule("allow", "*", when=Conditions(meta=(("example.com/ticket", Test("exists")),)))])
    assert outcome(policy, tool(), facts(meta={"example.com/ticket": "T-1"})) == "allow"
    assert outcome(policy, tool(), facts()) == "deny"


def test_cel_says_what_structured_rules_cannot() -> None:
    expression = 'arguments.amount < 100 && principal.subject in ["alice", "bob"] && tool.name.startsWith("pay")'
    policy = Policy({}, [rule("allow", "*", when=Conditions(cel=expression))])
    assert outcome(policy, tool("pay_now"), facts(args={"amount": 5})) == "allow"
    assert outcome(policy, tool("pay_now"), facts(args={"amount": 500})) == "deny"
    assert outcome(policy, tool("pay_now"), facts(args={})) == "deny"  # its missing key is doubt
    assert outcome(Policy({}, [rule("deny", "*", when=Conditions(cel=expression))]), tool("pay_now"), facts()) == "deny"
    with pytest.raises(ValueError, match="not a CEL expression"):
        Policy({}, [rule("allow", "*", when=Conditions(cel="1 +"))])


class Agrees:
    """Another engine: says what it is told to."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.says = options["says"]

    def check(self, principal: Principal, item: Item, about: Facts) -> bool:
        if isinstance(self.says, Exception):
            raise self.says
        return bool(self.says) if self.says in (True, False) else self.says


@pytest.mark.parametrize(
    ("says", "got"), [(True, "allow"), (False, "deny"), ("yes", "deny"), (OSError("down"), "deny")]
)
def test_another_engine_may_only_narrow_and_one_that_fails_refuses(says: Any, got: str) -> None:
    rules = [rule("deny", "git.*", engine="acme", options={"says": says})]
    policy = Policy({}, rules, engines={"acme": Agrees})
    assert outcome(policy, tool(), facts()) == got
    rules.append(rule("allow", "docs.*"))
    assert outcome(Policy({}, rules, engines={"acme": Agrees}), tool(), facts()) == "hidden"  # it grants nothing


# -- lists and calls agree, whatever the rules

NAMES = st.sampled_from(["a", "b", "ab", "x_y"])
PATTERNS = st.sampled_from(["*", "s.*", "s.a", "s.a*", "t.*", "*.b", "*.x_?", "s.x_y"])
SUBJECTS = st.sampled_from(["alice", "bob"])
ROLES = st.sampled_from(["r1", "r2"])
SCOPES = st.sampled_from(["s1", "s2"])
ARGUMENT = st.sampled_from([("x", Test("eq", 1)), ("x", Test("lt", 5)), ("x", Test("exists", False))])


@st.composite
def conditions(draw: Any) -> Conditions:
    return Conditions(
        subjects=tuple(draw(st.lists(SUBJECTS, max_size=1))),
        roles=tuple(draw(st.lists(ROLES, max_size=1))),
        scopes=tuple(draw(st.lists(SCOPES, max_size=1))),
        annotations=draw(st.sampled_from([{}, {"readOnlyHint": True}])),
        arguments=tuple(draw(st.lists(ARGUMENT, max_size=1))),
        networks=tuple(draw(st.sampled_from([(), ("10.0.0.0/8",)]))),
    )


@st.composite
def policies(draw: Any) -> Policy:
    roles = {name: Role(name, tuple(draw(st.lists(PATTERNS, max_size=2)))) for name in draw(st.sets(ROLES))}
    rules = [
        Rule(
            f"rule {number}",
            effect := draw(st.sampled_from(["allow", "deny"])),
            tuple(draw(st.lists(PATTERNS, min_size=1, max_size=2))),
            draw(st.sampled_from([("tool",), ("tool", "prompt", "resource")])),
            when := draw(conditions()),
            draw(st.none() | conditions()),
            effect == "allow" and bool(when.scopes) and draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 5)))
    ]
    return Policy(roles, rules)


PRINCIPALS = st.builds(
    Principal,
    subject=SUBJECTS,
    roles=st.frozensets(ROLES),
    scopes=st.frozensets(SCOPES),
    narrowed=st.sampled_from([(), (("s.*",),), (("*",), ("*.b",))]),
)
ITEMS = st.builds(
    Item,
    st.sampled_from(["tool", "prompt", "resource"]),
    st.sampled_from(["s", "t"]),
    NAMES,
    st.sampled_from([WORST, {**WORST, "readOnlyHint": True}]),
)
CALLS = st.tuples(st.sampled_from([{}, {"x": 1}, {"x": 9}, {"x": "?"}]), st.sampled_from(["10.0.0.1", "1.1.1.1"]))


@given(policies(), PRINCIPALS, ITEMS, CALLS)
def test_what_is_hidden_can_never_be_called_and_what_is_allowed_without_conditions_always(
    policy: Policy, principal: Principal, item: Item, call: tuple[Any, str]
) -> None:
    """T4: list and call ask the same verdict."""
    reach = policy.reach(principal)
    decision = reach.decide(item)
    try:
        reach.admit(item, facts(principal, call[0], address=call[1]))
        admitted: CallError | None = None
    except CallError as error:
        admitted = error
    if decision.verdict == "hidden":
        assert type(admitted) is Forbidden
    elif decision.verdict == "needs_scope":
        assert isinstance(admitted, NeedsScope)
    elif not decision.conditional:
        assert admitted is None
    if admitted is None:
        assert reach.reaches(item.alias)


@given(policies(), PRINCIPALS, ITEMS)
def test_a_delegate_sees_no_more_than_whom_it_acts_for(policy: Policy, principal: Principal, item: Item) -> None:
    narrower = msgspec.structs.replace(principal, narrowed=(*principal.narrowed, ("s.a*",)))
    if policy.reach(principal).decide(item).verdict == "hidden":
        assert policy.reach(narrower).decide(item).verdict == "hidden"


@given(policies(), PRINCIPALS, ITEMS, CALLS)
def test_an_explanation_names_the_rule_that_decides(
    policy: Policy, principal: Principal, item: Item, call: tuple[Any, str]
) -> None:
    reach = policy.reach(principal)
    decision = reach.decide(item)
    told = reach.explain(item, facts(principal, call[0], address=call[1]))
    assert told
    if decision.rule not in ("default", "delegated key"):
        assert any(decision.rule in line for line in told)


def test_those_for_whom_the_same_rules_count_share_one_reach() -> None:
    policy = Policy({"r": Role("r", ("git.*",))}, [rule("deny", "*.x", when=Conditions(subjects=("eve",)))])
    held = [Principal(f"user {number}", roles=frozenset({"r"})) for number in range(100)]
    assert len({id(policy.reach(one)) for one in held}) == 1
    assert policy.reach(Principal("eve", roles=frozenset({"r"}))) is not policy.reach(held[0])
    for number in range(50_000):
        policy.reach(Principal(f"passer-by {number}"))
    assert len(policy._principals) <= 20_000
