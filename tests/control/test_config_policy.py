"""Roles and rules as they are written, and every way of writing them wrong."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from concento.control.config.document import parse
from concento.control.config.kinds import Key, Keys, Reader, Table
from concento.control.config.policy import (
    POLICIES,
    ROLES,
    VALIDATE,
    build_policies,
    build_roles,
    check_validate,
)
from concento.control.config.problems import Problems
from concento.control.config.references import References
from concento.model.errors import ConfigError
from concento.model.policy import Conditions, Hours, Role, Rule
from concento.model.policy import Test as Condition
from concento.model.principal import Principal
from concento.policy import engines
from concento.policy.conditions import Facts
from concento.policy.decide import Policy
from concento.policy.item import Item

ROOT = Keys("a configuration", ROLES, POLICIES, VALIDATE)
SERVERS = ("git", "docs")


def read(text: str, problems: Problems) -> Table:
    node = parse(text, problems)
    assert node is not None
    return ROOT.read(node, Reader(problems, References({}, Path())))


def built(text: str) -> tuple[dict[str, Role], tuple[Rule, ...]]:
    problems = Problems()
    table = read(text, problems)
    roles = build_roles(table, problems, SERVERS)
    rules = build_policies(table, roles, "concento.yaml", problems, SERVERS)
    if problems:
        raise problems.error("concento.yaml")
    return roles, rules


def wrong(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        built(text)
    return caught.value.problems


def only(text: str) -> Rule:
    _, (rule,) = built(text)
    return rule


def test_roles_are_read() -> None:
    roles, _ = built(
        """
roles:
  reader: {allow: ["docs.*", "git.get_*"], kinds: [tools, resources], members: [alice, "*@example.com"]}
  bot: {agents: [ci-*]}
"""
    )
    assert roles == {
        "reader": Role("reader", ("docs.*", "git.get_*"), ("tool", "resource"), ("alice", "*@example.com")),
        "bot": Role("bot", agents=("ci-*",)),
    }


def test_rule_is_read_with_all_its_conditions() -> None:
    rule = only(
        """
policies:
  - name: pushes
    allow: ["git.push"]
    kinds: [tool]
    advertise: true
    when:
      subjects: ["*@example.com"]
      agents: [claude-code]
      tenants: [default]
      roles: [developer]
      scopes: ["git:write"]
      proofs: [mtls, key]
      annotations: {destructiveHint: false}
      arguments:
        branch: {matches: "feature/.*", ne: feature/x}
        mode: [merge, rebase]
        force: false
        "files[*].size": {lt: 1000}
        filter: {eq: {owner: alice}}
      time: {days: [mon-fri, sun], from: "08:30", to: "18:00", zone: Europe/Rome}
      networks: [10.1.2.3/8, "fd00::/8"]
      meta: {example.com/ticket: {exists: true}}
      cel: arguments.amount < 100
    unless: {networks: [192.0.2.1]}
"""
    )
    assert (rule.name, rule.effect, rule.patterns, rule.kinds) == ("pushes", "allow", ("git.push",), ("tool",))
    assert rule.advertise
    assert rule.place == "concento.yaml:3"
    assert rule.unless == Conditions(networks=("192.0.2.1/32",))
    when = rule.when
    assert (when.subjects, when.agents, when.tenants) == (("*@example.com",), ("claude-code",), ("default",))
    assert (when.roles, when.scopes, when.proofs) == (("developer",), ("git:write",), ("mtls", "key"))
    assert dict(when.annotations) == {"destructiveHint": False}
    tests = [(path, test.op, getattr(test.value, "pattern", test.value)) for path, test in when.arguments]
    assert tests == [
        ("branch", "matches", "feature/.*"),
        ("branch", "ne", "feature/x"),
        ("mode", "in", ("merge", "rebase")),
        ("force", "eq", False),
        ("files[*].size", "lt", 1000),
        ("filter", "eq", {"owner": "alice"}),
    ]
    assert when.time == Hours(frozenset({0, 1, 2, 3, 4, 6}), 510, 1080, "Europe/Rome")
    assert when.networks == ("10.0.0.0/8", "fd00::/8")
    assert when.meta == (("example.com/ticket", Condition("exists", True)),)
    assert when.cel == "arguments.amount < 100"


def test_rules_without_names_are_numbered() -> None:
    _, rules = built('policies: [{deny: ["git.push"]}, {allow: ["*"]}, {deny: ["docs.*"]}]')
    assert [rule.name for rule in rules] == ["deny 1", "allow 2", "deny 3"]


def keys(kind: Any) -> Mapping[str, Key[Any]]:
    """All keys there are, each with where it stands."""
    found: dict[str, Key[Any]] = {}
    inner = [kind]
    while inner:
        one = inner.pop()
        if isinstance(one, Keys):
            for key in one.keys.values():
                found[f"{one.what}: {key.name}"] = key
                inner.append(key.kind)
        elif hasattr(one, "kind"):
            inner.append(one.kind)
    return found


@pytest.mark.parametrize(("where", "key"), keys(ROOT).items())
def test_example_of_every_key_loads(where, key) -> None:
    if key.name == "options":
        assert key.example
    problems = Problems()
    node = parse(key.example, problems)
    assert node is not None, where
    key.kind.read(node, Reader(problems, References({}, Path())))
    assert not problems, problems.error(where)
    assert key.doc.endswith("."), where


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("policies: [{name: x}]", "1:12: a rule either allows or denies: give it one of 'allow' and 'deny'"),
        ('policies: [{allow: ["*"], deny: ["*"]}]', "a rule either allows or denies"),
        ("policies: [{allow: []}]", "at least 1"),
        ("policies: [{alow: ['*']}]", "unknown key 'alow'; did you mean 'allow'?"),
        ('policies: [{deny: ["gti.*"]}]', "1:20: unknown server 'gti'; did you mean 'git'?"),
        ('roles: {dev: {allow: ["dcos.*"]}}', "unknown server 'dcos'; did you mean 'docs'?"),
        ('policies: [{deny: ["push"]}]', "expected a pattern over server.tool"),
        ('policies: [{deny: ["git.[ab]"]}]', "wildcards * and ? only"),
        ("policies: [{deny: ['*'], kinds: [tol]}]", "expected tools, prompts or resources"),
        (
            "roles: {developer: {}}\npolicies: [{deny: ['*'], when: {roles: [develper]}}]",
            "2:41: unknown role 'develper'; did you mean 'developer'?",
        ),
        ("policies: [{deny: ['*'], when: {argument: {a: 1}}}]", "unknown key 'argument'; did you mean 'arguments'?"),
        ("policies: [{deny: ['*'], when: {arguments: {a: {match: x}}}}]", "operation 'match'; did you mean 'matches'?"),
        (
            "policies: [{deny: ['*'], when: {arguments: {a..b: 1}}}]",
            "1:45: 'a..b': expected a path such as filter.owner",
        ),
        ("policies: [{deny: ['*'], when: {arguments: {a: {}}}}]", "expected operations"),
        ("policies: [{deny: ['*'], when: {arguments: {}}}]", "expected at least one path"),
        ("policies: [{deny: ['*'], when: {arguments: {a: []}}}]", "'in' expects a list with something in it"),
        ("policies: [{deny: ['*'], when: {arguments: {a: {lt: '3'}}}}]", "'lt' expects a number, found text"),
        ("policies: [{deny: ['*'], when: {arguments: {a: {lt: 1e999}}}}]", "not infinite"),
        ("policies: [{deny: ['*'], when: {arguments: {a: {exists: 1}}}}]", "'exists' expects true or false"),
        ("policies: [{deny: ['*'], when: {arguments: {a: {matches: '('}}}}]", "not a regular expression"),
        (
            "policies: [{deny: ['*'], when: {arguments: {a: {matches: '(a+)+'}}}}]",
            "1:58: a regular expression must not",
        ),
        ("policies: [{deny: ['*'], when: {arguments: {a: {matches: 3}}}}]", "in quotes, found a number"),
        ("policies: [{deny: ['*'], when: {time: {zone: Europe/Roma}}}]", "expected a time zone such as Europe/Rome"),
        ("policies: [{deny: ['*'], when: {time: {days: [mon-fry]}}}]", "expected a day such as mon"),
        ("policies: [{deny: ['*'], when: {time: {days: [mo]}}}]", "did you mean 'mon'?"),
        ("policies: [{deny: ['*'], when: {time: {from: '8'}}}]", 'such as "08:30"'),
        ("policies: [{deny: ['*'], when: {time: {from: '24:30'}}}]", 'such as "08:30"'),
        ("policies: [{deny: ['*'], when: {time: {from: '08:00', to: '08:00'}}}]", "are the same"),
        ("policies: [{deny: ['*'], when: {networks: [10.0.0.0/33]}}]", "1:44: expected a network such as 10.0.0.0/8"),
        ("policies: [{deny: ['*'], when: {annotations: {destructive: true}}}]", "can't be a hint"),
        ("policies: [{deny: ['*'], kinds: [prompts], when: {annotations: {readOnlyHint: true}}}]", "only tools have"),
        ("policies: [{deny: ['*'], when: {proofs: [kye]}}]", "did you mean 'key'?"),
        ("policies: [{deny: ['*'], when: {cel: 'a <'}}]", "not a CEL expression"),
        ("policies: [{deny: ['*'], when: {cel: '1'}}]", "not true or false"),
        ("policies: [{deny: ['*'], unless: {}}]", "always holds"),
        ("policies: [{deny: ['*'], when: {subjects: [a]}, unless: {subjects: [a]}}]", "never apply"),
        ("policies: [{deny: ['*'], when: {scopes: [a]}, advertise: true}]", "'advertise' is for a rule that allows"),
        ("policies: [{allow: ['*'], advertise: true}]", "'advertise' is for a rule that allows"),
        ("policies: [{deny: ['*'], options: {a: 1}}]", "'options' has no effect without 'engine'"),
        (
            "policies: [{deny: ['*'], name: a}, {allow: ['*'], name: a}]",
            "1:51: the rule on line 1 is called 'a' already",
        ),
        ("policies: [{deny: ['*'], engine: nobody}]", "unknown engine 'nobody'; known here: none"),
        ("validate: warm", "did you mean 'warn'?"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(text, problem) -> None:
    problems = wrong(text)
    assert any(problem in one for one in problems), problems
    assert len(problems) == 1, problems


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(wrong("policies: [{deny: ['gti.*'], when: {networks: [x], time: {zone: y}}}, {name: z}]")) == 4


class Risk:
    def __init__(self, options: Mapping[str, Any]) -> None:
        if unknown := set(options) - {"most"}:
            raise ValueError(f"unknown option {min(unknown)!r}; known: most")

    def check(self, principal: Principal, item: Item, facts: Facts) -> bool:
        return item.own == "pull"


class Point:
    name = "acme-risk"

    def load(self) -> type[Risk]:
        return Risk


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry_points(group: str, name: str | None = None) -> list[Point]:
        return [Point()] if group == engines.ENGINES and name in (None, Point.name) else []

    monkeypatch.setattr(metadata, "entry_points", entry_points)


def test_installed_engine_is_asked(monkeypatch) -> None:
    install(monkeypatch)
    rule = only('policies: [{deny: ["git.*"], engine: acme-risk, options: {most: 3}}]')
    assert (rule.engine, dict(rule.options)) == ("acme-risk", {"most": 3})
    who = Principal("alice")
    told = [
        Policy({}, [rule]).reach(who).explanation(Item("tool", "git", own), Facts(None, 0.0, None, {}, who)).verdict
        for own in ("pull", "push")
    ]
    assert told == ["allow", "deny"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{deny: ["git.*"], engine: acme-rsik}', "unknown engine 'acme-rsik'; did you mean 'acme-risk'?"),
        ('{deny: ["git.*"], engine: acme-risk, options: {mots: 3}}', "1:49: the engine 'acme-risk' does not take"),
        ('{allow: ["git.*"], engine: acme-risk}', "an engine may only narrow"),
    ],
)
def test_engine_that_can_not_be_used_is_told_at_its_place(monkeypatch, text, problem) -> None:
    install(monkeypatch)
    (found,) = wrong(f"policies: [{text}]")
    assert problem in found


def test_checking_arguments_without_the_extra_is_told_with_its_name(monkeypatch) -> None:
    monkeypatch.setattr("concento.control.config.policy.find_spec", lambda name: None)
    for text, told in (("validate: enforce", True), ("validate: warn", True), ("validate: off", False), ("{}", False)):
        problems = Problems()
        check_validate(read(text, problems), problems)
        assert bool(problems) is told
        if told:
            assert 'pip install "concento[schema]"' in problems.error("f").problems[0]
