"""Roles and rules: what they hide, allow and deny, to whom, and how that is told."""

from typing import Any

import pytest
from msgspec import Raw, structs

from concento.model.config import Config
from concento.model.errors import Forbidden, InvalidRequest, NeedsScope
from concento.model.policy import Conditions, Role, Rule
from concento.model.policy import Test as Condition
from concento.model.principal import Principal
from concento.model.tenant import Tenant
from concento.policy import decide
from concento.policy.decide import Decision, Facts, Item, Policy, policy_of
from concento.policy.hints import WORST, counted_annotations

ALICE = Principal("alice", proof="key")
PUSH = Item("tool", "git", "push")
BRANCH = (("branch", Condition("eq", "main")),)


def call(arguments: str = "{}", who: Principal = ALICE) -> Facts:
    return Facts(Raw(arguments.encode()), 0.0, None, {}, who)


def allow(*patterns: str, when: Conditions | None = None, **more) -> Rule:
    return Rule("may", "allow", patterns or ("*",), when=when or Conditions(), **more)


def deny(*patterns: str, when: Conditions | None = None, **more) -> Rule:
    return Rule("must not", "deny", patterns or ("*",), when=when or Conditions(), **more)


def verdict(*rules: Rule, item: Item = PUSH, who: Principal = ALICE, roles: dict[str, Role] | None = None) -> str:
    return Policy(roles or {}, rules).reach(who).decide(item).verdict


def test_without_roles_and_grants_everything_is_allowed_that_no_rule_denies() -> None:
    open_to_all = Policy({}, ()).reach(ALICE)
    assert open_to_all.open
    assert open_to_all.decide(PUSH) == Decision("allow", "default")
    assert open_to_all.admit(PUSH, call()).rule == "default"
    assert verdict(deny("git.*")) == "hidden"
    assert verdict(deny("docs.*")) == "allow"


def test_with_a_role_or_a_grant_only_what_is_granted_is_allowed() -> None:
    assert verdict(allow("docs.*")) == "hidden"
    assert verdict(roles={"nobody": Role("nobody")}) == "hidden"
    assert verdict(allow("git.*")) == "allow"


def test_denial_outweighs_every_grant() -> None:
    assert verdict(allow("*"), deny("*.push")) == "hidden"
    assert verdict(deny("*.push"), allow("git.push")) == "hidden"


def test_role_is_had_by_name_by_pattern_and_by_agent() -> None:
    roles = {"dev": Role("dev", ("git.*",), members=("al*",), agents=("ci-*",))}
    named = Principal("bob", roles=frozenset({"dev"}))
    assert verdict(who=ALICE, roles=roles) == "allow"
    assert verdict(who=named, roles=roles) == "allow"
    assert verdict(who=Principal("bob", "ci-1"), roles=roles) == "allow"
    assert verdict(who=Principal("bob"), roles=roles) == "hidden"
    assert verdict(who=Principal("bob", "other", chain=("ci-1",)), roles=roles) == "hidden"


def test_condition_on_agents_is_about_those_behind_too() -> None:
    rule = deny(when=Conditions(agents=("crawler",)))
    assert verdict(rule, who=Principal("bob", "crawler")) == "hidden"
    assert verdict(rule, who=Principal("bob", "shell", chain=("planner", "crawler"))) == "hidden"
    assert verdict(rule, who=Principal("bob", "shell")) == "allow"


def test_delegated_key_narrows_by_every_layer() -> None:
    who = Principal("alice", narrowed=(("git.*", "docs.*"), ("*.push",)))
    assert verdict(who=who) == "allow"
    assert verdict(who=who, item=Item("tool", "git", "pull")) == "hidden"
    assert verdict(who=who, item=Item("tool", "time", "push")) == "hidden"
    assert not Policy({}, ()).reach(who).open
    assert verdict(deny("git.push"), who=who) == "hidden"


def test_rule_is_about_its_kinds_only() -> None:
    rule = allow("git.*", kinds=("prompt",))
    assert verdict(rule) == "hidden"
    assert verdict(rule, item=Item("prompt", "git", "push")) == "allow"


def test_annotations_are_of_tools_only_and_the_worst_where_none_count() -> None:
    destructive = deny(when=Conditions(annotations={"destructiveHint": True}))
    assert verdict(destructive) == "hidden"
    assert verdict(destructive, item=Item("tool", "git", "log", {"destructiveHint": False})) == "allow"
    assert verdict(destructive, item=Item("prompt", "git", "push")) == "allow"
    assert (
        verdict(allow(when=Conditions(annotations={"readOnlyHint": False})), item=Item("prompt", "g", "p")) == "hidden"
    )


def test_condition_on_a_call_hides_nothing_and_is_judged_when_it_comes() -> None:
    on_main = Conditions(arguments=BRANCH)
    denied = Policy({}, [deny("git.push", when=on_main)]).reach(ALICE)
    assert denied.decide(PUSH) == Decision("allow", "default", conditional=True)
    assert denied.admit(PUSH, call('{"branch":"dev"}')).rule == "default"
    with pytest.raises(Forbidden, match=r"arguments\.branch") as caught:
        denied.admit(PUSH, call('{"branch":"main"}'))
    assert caught.value.rule == "must not"

    granted = Policy({}, [allow("git.push", when=on_main)]).reach(ALICE)
    assert granted.decide(PUSH) == Decision("allow", "may", conditional=True)
    assert granted.admit(PUSH, call('{"branch":"main"}')).rule == "may"
    with pytest.raises(Forbidden, match=r"arguments\.branch") as caught:
        granted.admit(PUSH, call('{"branch":"dev"}'))
    assert caught.value.rule == "may"


def test_any_one_of_several_conditional_grants_is_enough_and_is_named() -> None:
    second = Rule("second", "allow", ("git.*",), when=Conditions(arguments=(("force", Condition("eq", False)),)))
    reach = Policy({}, [allow(when=Conditions(arguments=BRANCH)), second]).reach(ALICE)
    assert reach.admit(PUSH, call('{"branch":"dev","force":false}')).rule == "second"


def test_refusal_names_no_value() -> None:
    reach = Policy({}, [deny(when=Conditions(arguments=(("token", Condition("exists", True)),)))]).reach(ALICE)
    with pytest.raises(Forbidden) as caught:
        reach.admit(PUSH, call('{"token":"canary"}'))
    assert "canary" not in str(caught.value)
    assert "canary" not in repr(reach.explanation(PUSH, call('{"token":"canary"}')))


def test_call_that_names_a_member_twice_is_refused_where_it_is_read() -> None:
    reach = Policy({}, [deny(when=Conditions(arguments=BRANCH))]).reach(ALICE)
    for arguments in ('{"branch":"dev","branch":"main"}', '{"a":[{"b":1,"b":2}],"branch":"dev"}'):
        with pytest.raises(InvalidRequest):
            reach.admit(PUSH, call(arguments))
        told = reach.explanation(PUSH, call(arguments))
        assert told.verdict == "deny"
        assert "twice" in told.why


def test_unless_excuses() -> None:
    admin = Conditions(roles=("admin",))
    assert verdict(deny(unless=admin)) == "hidden"
    assert verdict(deny(unless=admin), who=Principal("root", roles=frozenset({"admin"}))) == "allow"
    reads = Conditions(annotations={"readOnlyHint": True})
    assert verdict(deny(unless=reads), item=Item("tool", "git", "log", {"readOnlyHint": True})) == "allow"
    assert verdict(deny(unless=reads)) == "hidden"
    reach = Policy({}, [deny(unless=Conditions(arguments=BRANCH))]).reach(ALICE)
    assert reach.decide(PUSH).conditional
    assert reach.admit(PUSH, call('{"branch":"main"}')).rule == "default"
    with pytest.raises(Forbidden):
        reach.admit(PUSH, call())
    assert verdict(allow(unless=Conditions(subjects=("alice",)))) == "hidden"


def test_missing_scopes_are_told_only_where_a_rule_advertises() -> None:
    both = Conditions(scopes=("git:read", "git:write"))
    reading = Principal("alice", scopes=frozenset({"git:read"}))
    assert verdict(allow(when=both), who=reading) == "hidden"
    reach = Policy({}, [allow(when=both, advertise=True)]).reach(reading)
    assert reach.decide(PUSH) == Decision("needs_scope", "may", ("git:read", "git:write"))
    with pytest.raises(NeedsScope) as caught:
        reach.admit(PUSH, call())
    assert caught.value.scopes == ("git:read", "git:write")
    assert verdict(allow(when=both, advertise=True), who=Principal("a", scopes=frozenset(both.scopes))) == "allow"


@pytest.mark.parametrize(
    "rules",
    [
        [allow(when=Conditions(subjects=("bob",), scopes=("w",)), advertise=True)],
        [allow(when=Conditions(annotations={"readOnlyHint": True}, scopes=("w",)), advertise=True)],
        [allow(when=Conditions(scopes=("w",)), unless=Conditions(subjects=("alice",)), advertise=True)],
        [allow(when=Conditions(scopes=("w",)), kinds=("prompt",), advertise=True)],
        [allow(when=Conditions(scopes=("w",)), advertise=True), deny("git.*")],
    ],
    ids=["not this user", "not such a tool", "excused", "another kind", "denied"],
)
def test_nothing_is_advertised_that_scopes_alone_would_not_open(rules) -> None:
    assert verdict(*rules) == "hidden"


def test_what_is_hidden_is_refused_when_called_all_the_same() -> None:
    with pytest.raises(Forbidden):
        Policy({}, [deny()]).reach(ALICE).admit(PUSH, call())


def test_explanation_tells_of_every_rule_that_is_about_it() -> None:
    rules = [
        Rule("pushes", "allow", ("git.*",), when=Conditions(arguments=BRANCH)),
        Rule("bobs", "allow", ("git.*",), when=Conditions(subjects=("bob",))),
        Rule("elsewhere", "deny", ("docs.*",)),
        Rule("reads", "deny", ("git.*",), when=Conditions(annotations={"readOnlyHint": True})),
        Rule("at home", "deny", ("git.*",), unless=Conditions(subjects=("alice",))),
    ]
    reach = Policy({"dev": Role("dev", ("*",))}, rules).reach(ALICE)
    told = reach.explanation(PUSH, call('{"branch":"main"}'))
    assert (told.verdict, told.rule, told.why) == ("allow", "pushes", "")
    assert [(look.rule, look.applies, look.why) for look in told.looks] == [
        ("role dev", "no", "members"),
        ("pushes", "yes", "arguments.branch"),
        ("bobs", "no", "subjects"),
        ("reads", "no", "annotations"),
        ("at home", "no", "unless"),
    ]
    refused = reach.explanation(PUSH, call('{"branch":"dev"}'))
    assert (refused.verdict, refused.rule) == ("deny", "pushes")
    unasked = reach.explanation(PUSH, None)
    assert (unasked.verdict, unasked.looks[1].applies) == ("allow", "depends")
    assert reach.explain(PUSH, None) == unasked.lines()
    assert Policy({}, ()).reach(ALICE).explain(PUSH, None) == ["no rule is about it"]


def test_decisions_that_are_kept_stay_bounded(monkeypatch) -> None:
    monkeypatch.setattr(decide, "_DECISIONS_MAX", 10)
    policy = Policy({}, [deny("git.x*")])
    reaches = [policy.reach(Principal(f"user{number}", narrowed=((f"git.{number}",),))) for number in range(4)]
    for number in range(50):
        for reach in reaches:
            reach.decide(Item("tool", "git", f"tool{number}"))
    assert sum(len(reach._verdicts) for reach in reaches) <= 11
    long = Item("resource", "git", "x" * 10_000)
    assert reaches[0].decide(long).verdict == "hidden"
    assert long.key not in reaches[0]._verdicts


def test_principals_that_are_kept_stay_bounded(monkeypatch) -> None:
    monkeypatch.setattr(decide, "_PRINCIPALS_MAX", 10)
    monkeypatch.setattr(decide, "_REACHES_MAX", 10)
    policy = Policy({}, [deny()])
    for number in range(100):
        policy.reach(Principal("alice", narrowed=((f"git.{number}",),)))
    assert len(policy._principals) <= 10
    assert len(policy._reaches) <= 10


def test_tenant_has_the_operators_rules_and_its_own() -> None:
    tenant = Tenant("acme", roles={"own": Role("own", ("git.*",), members=("*",))}, policies=(deny("git.pull"),))
    config = Config(policies=(deny("git.push"),), tenants={"acme": tenant})
    own = policy_of(config, "acme").reach(ALICE)
    names = ("push", "pull", "log")
    assert [own.decide(Item("tool", "git", name)).verdict for name in names] == ["hidden", "hidden", "allow"]
    operators = policy_of(config, "default").reach(ALICE)
    assert [operators.decide(Item("tool", "git", name)).verdict for name in names] == ["hidden", "allow", "allow"]


def test_hints_count_where_the_server_is_trusted_only() -> None:
    tool = b'{"name":"x","annotations":{"readOnlyHint":true,"title":"X","idempotentHint":"yes"}}'
    assert counted_annotations(tool, False) == WORST
    assert counted_annotations(tool, True) == {**WORST, "readOnlyHint": True}
    assert counted_annotations(tool, True) is counted_annotations(tool, True)
    assert counted_annotations(b'{"annotations":[]}', True) == WORST
    assert counted_annotations(b'{"name":"x"}', True) == WORST


def test_equal_items_share_decisions() -> None:
    assert Item("tool", "git", "x", {"readOnlyHint": True}).key == Item("tool", "git", "x", {"readOnlyHint": True}).key
    assert Item("tool", "git", "x", dict(WORST)).key == Item("tool", "git", "x").key
    assert Item("tool", "git", "x", {"readOnlyHint": True}).key != Item("tool", "git", "x").key


WIDENING: dict[str, tuple[Policy, dict[str, Any]]] = {
    "a role of an agent": (Policy({"bot": Role("bot", ("git.*",), agents=("ci-bot",))}, ()), {"agent": "ci-bot"}),
    "a grant for an agent": (
        Policy({}, (Rule("r", "allow", ("git.*",), when=Conditions(agents=("ci-bot",))),)),
        {"agent": "ci-bot"},
    ),
    "a denial that an agent is spared": (
        Policy({}, (Rule("r", "deny", ("git.*",), unless=Conditions(agents=("ci-bot",))),)),
        {"agent": "ci-bot"},
    ),
    "a denial for a scope that was given up": (
        Policy({}, (Rule("r", "deny", ("git.*",), when=Conditions(scopes=("marked",))),)),
        {"scopes": frozenset[str]()},
    ),
}


@pytest.mark.parametrize("kind", WIDENING)
def test_a_delegate_gains_nothing_by_its_name_or_by_what_it_gave_up(kind: str) -> None:
    policy, changed = WIDENING[kind]
    parent = Principal("alice", "cli", scopes=frozenset({"marked"}))
    delegate = structs.replace(parent, within=parent, **changed)
    item = Item("tool", "git", "push")
    assert policy.reach(parent).decide(item).verdict == "hidden"
    assert policy.reach(structs.replace(parent, **changed)).decide(item).verdict == "allow"  # for itself it would be
    assert policy.reach(delegate).decide(item).verdict == "hidden"
