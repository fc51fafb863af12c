"""What a rule looks at when a call comes: time, network, metadata, arguments, CEL, other engines."""

import importlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec import Raw
from msgspec.json import encode

from concento.model.errors import Forbidden, InvalidRequest
from concento.model.policy import Conditions, Hours, Rule
from concento.model.policy import Test as Condition
from concento.model.principal import Principal
from concento.policy import cel
from concento.policy.decide import Facts, Item, Policy
from concento.policy.engines import Engine
from concento.policy.expressions import compile_bounded

ALICE = Principal("alice", "shell", roles=frozenset({"dev"}), scopes=frozenset({"w"}))
PUSH = Item("tool", "git", "push")
NOON = datetime(2026, 11, 26, 12, tzinfo=ZoneInfo("UTC")).timestamp()


def facts(arguments: object = None, now_s: float = NOON, address: str | None = "10.0.0.1", meta=()) -> Facts:
    raw = None if arguments is None else Raw(arguments if isinstance(arguments, bytes) else encode(arguments))
    return Facts(raw, now_s, address, {key: Raw(encode(value)) for key, value in dict(meta).items()}, ALICE)


def passes(rule: Rule, call: Facts, engines: Mapping[str, Any] | None = None) -> bool:
    try:
        Policy({}, [rule], engines).reach(ALICE).admit(PUSH, call)
    except Forbidden:
        return False
    return True


def both(when: Conditions, call: Facts) -> tuple[bool, bool]:
    """Whether a grant on this condition lets the call pass, and whether a denial does."""
    return passes(Rule("may", "allow", ("*",), when=when), call), passes(Rule("not", "deny", ("*",), when=when), call)


HOLDS, FAILS, DOUBT = (True, False), (False, True), (False, False)


@pytest.mark.parametrize(
    ("path", "condition", "arguments", "outcome"),
    [
        ("n", Condition("lt", 10), {"n": 9}, HOLDS),
        ("n", Condition("lt", 10), {"n": 10}, FAILS),
        ("n", Condition("lt", 10), {"n": "9"}, DOUBT),
        ("n", Condition("lt", 10), {}, FAILS),
        ("n", Condition("lt", 10), None, FAILS),
        ("n", Condition("ne", 1), {}, DOUBT),
        ("n", Condition("not_in", (1,)), {}, DOUBT),
        ("n", Condition("exists", False), {}, HOLDS),
        ("n", Condition("exists", False), {"n": 1}, FAILS),
        ("n", Condition("eq", 1), {"N": 1}, DOUBT),
        ("n", Condition("eq", 1), {"n": 2, "N": 1}, DOUBT),
        ("n", Condition("eq", 1), [1], DOUBT),
        ("p[*]", Condition("matches", compile_bounded("/etc/.*")), {"p": ["/etc/a", "/etc/b"]}, HOLDS),
        ("p[*]", Condition("matches", compile_bounded("/etc/.*")), {"p": ["/etc/a", "/tmp/b"]}, DOUBT),
        ("p[*]", Condition("matches", compile_bounded("/etc/.*")), {"p": ["/tmp/b"]}, FAILS),
        ("p[*]", Condition("matches", compile_bounded("/etc/.*")), {"p": []}, FAILS),
        ("p[*]", Condition("matches", compile_bounded("/etc/.*")), {"p": "/etc/a"}, DOUBT),
        ("p", Condition("matches", compile_bounded("/etc/.*")), {"p": "/etc/" + "x" * 5000}, DOUBT),
        ("p[*]", Condition("eq", 1), {"p": [1] * 10_001}, DOUBT),
    ],
)
def test_condition_on_arguments_fails_closed_either_way(path, condition, arguments, outcome) -> None:
    assert both(Conditions(arguments=((path, condition),)), facts(arguments)) == outcome


def test_metadata_is_looked_at_like_arguments() -> None:
    when = Conditions(meta=(("example.com/ticket", Condition("exists", True)),))
    assert both(when, facts(meta={"example.com/ticket": "A-1"})) == HOLDS
    assert both(when, facts()) == FAILS
    twice = Facts(None, NOON, None, {"example.com/ticket": Raw(b'{"a":1,"a":2}')}, ALICE)
    with pytest.raises(InvalidRequest):
        both(when, twice)


def at(text: str, zone: str = "Europe/Rome", fold: int = 0) -> Facts:
    return facts(now_s=datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp())


def test_time_is_the_zones_own_in_summer_and_in_winter() -> None:
    office = Conditions(time=Hours(frozenset(range(5)), 8 * 60, 18 * 60, "Europe/Rome"))
    for day in ("2026-07-15", "2026-12-16"):
        assert both(office, at(f"{day}T08:00:00")) == HOLDS
        assert both(office, at(f"{day}T17:59:59")) == HOLDS
        assert both(office, at(f"{day}T07:59:59")) == FAILS
        assert both(office, at(f"{day}T18:00:00")) == FAILS
    assert both(office, at("2026-11-28T12:00:00")) == FAILS


def test_hour_that_comes_twice_counts_twice_and_one_that_is_left_out_never() -> None:
    night = Conditions(time=Hours(from_minute=2 * 60 + 15, to_minute=2 * 60 + 45, zone="Europe/Rome"))
    for fold in (0, 1):
        assert both(night, at("2026-10-25T02:30:00", fold=fold)) == HOLDS
        assert both(night, at("2026-10-25T02:10:00", fold=fold)) == FAILS
    spring = datetime(2026, 3, 29, 0, 59, tzinfo=ZoneInfo("UTC")).timestamp()
    assert [both(night, facts(now_s=spring + minute * 60)) for minute in range(3)] == [FAILS] * 3


def test_span_past_midnight_belongs_to_the_day_it_begins_on() -> None:
    friday_night = Conditions(time=Hours(frozenset({4}), 22 * 60, 6 * 60, "UTC"))
    assert both(friday_night, at("2026-11-27T23:00:00", "UTC")) == HOLDS
    assert both(friday_night, at("2026-11-28T05:59:00", "UTC")) == HOLDS
    assert both(friday_night, at("2026-11-28T06:00:00", "UTC")) == FAILS
    assert both(friday_night, at("2026-11-28T23:00:00", "UTC")) == FAILS
    assert both(friday_night, at("2026-11-27T05:00:00", "UTC")) == FAILS


def test_time_that_is_none_counts_as_doubt() -> None:
    assert both(Conditions(time=Hours()), facts(now_s=float("nan"))) == DOUBT
    assert both(Conditions(time=Hours()), facts(now_s=1e300)) == DOUBT


@pytest.mark.parametrize(
    ("networks", "address", "outcome"),
    [
        (("10.0.0.0/8",), "10.1.2.3", HOLDS),
        (("10.0.0.0/8",), "11.1.2.3", FAILS),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", HOLDS),
        (("::ffff:10.0.0.0/104",), "10.1.2.3", HOLDS),
        (("fd00::/8",), "fd00::1%eth0", HOLDS),
        (("fd00::/8", "10.0.0.0/8"), "192.0.2.1", FAILS),
        (("10.0.0.0/8",), None, DOUBT),
        (("10.0.0.0/8",), "somewhere", DOUBT),
        (("0.0.0.0/0",), "", DOUBT),
    ],
)
def test_network_fails_closed(networks, address, outcome) -> None:
    assert both(Conditions(networks=networks), facts(address=address)) == outcome


# -- CEL


@pytest.mark.parametrize(
    ("expression", "outcome"),
    [
        ("arguments.n < 10", HOLDS),
        ("arguments.n > 10", FAILS),
        ("arguments.missing == 1", DOUBT),
        ("arguments.text < 10", DOUBT),
        ("principal.subject == 'alice' && principal.agent == 'shell' && principal.tenant == 'default'", HOLDS),
        ("'dev' in principal.roles && 'w' in principal.scopes", HOLDS),
        ("tool.server + '.' + tool.name == 'git.push' && tool.kind == 'tool'", HOLDS),
        ("meta.ticket == 'A-1'", HOLDS),
        ("now > 1000000000.0", HOLDS),
        ("arguments.list.all(a, arguments.list.all(b, a + b > 0))", DOUBT),
        ("arguments.text", DOUBT),
    ],
)
def test_only_true_passes_a_grant_on_cel_and_only_false_escapes_a_denial(expression, outcome) -> None:
    arguments = {"n": 5, "text": "x", "list": list(range(1, 600))}
    call = facts(arguments, meta={"ticket": "A-1"})
    assert both(Conditions(cel=expression), call) == outcome


def test_arguments_too_large_for_cel_count_as_doubt() -> None:
    assert both(Conditions(cel="arguments.n < 10"), facts(b'{"n":5,"huge":99999999999999999999999}')) == DOUBT
    assert both(Conditions(cel="true"), facts({"text": "x" * cel.ARGUMENTS_BYTES_MAX})) == DOUBT


@pytest.mark.parametrize(
    ("expression", "why"),
    [("arguments.n <", "not a CEL expression"), ("nobody == 1", "undeclared"), ("1 + 1", "not true or false")],
)
def test_expression_that_can_not_be_used_is_refused_when_compiled(expression, why) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        Policy({}, [Rule("spent", "deny", ("*",), when=Conditions(cel=expression))])
    assert "spent" in str(caught.value)


def test_cel_that_is_not_installed_is_named_with_its_extra(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r'pip install "concento\[cel\]"'):
        cel.compile_cel("true", True)


# -- other engines


class Listed:
    """An engine that agrees to the tools it was given, and to nothing else."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        if unknown := set(options) - {"tools"}:
            raise ValueError(f"unknown option {min(unknown)!r}; known: tools")
        self._tools = options.get("tools", ())

    def check(self, principal: Principal, item: Item, facts: Facts) -> bool:
        return item.own in self._tools


class Raising(Listed):
    def check(self, principal: Principal, item: Item, facts: Facts) -> bool:
        raise OSError("out of order")


class Vague(Listed):
    def check(self, principal: Principal, item: Item, facts: Facts) -> bool:
        return "yes"  # type: ignore[return-value]


class Waiting(Listed):
    async def check(self, principal: Principal, item: Item, facts: Facts) -> bool:  # type: ignore[override]
        return True


ENGINES: dict[str, Any] = {"listed": Listed, "raising": Raising, "vague": Vague, "waiting": Waiting}


def engine(name: str, effect: Any = "deny", **options: object) -> Rule:
    return Rule("asked", effect, ("git.*",), engine=name, options=options)


@pytest.mark.parametrize("name", ["listed", "raising", "vague"])
def test_engine_may_only_narrow(name) -> None:
    """The contract of every engine: what it does not agree to is refused, and what it agrees to is no grant."""
    made: Engine = ENGINES[name]({"tools": ["push"]})
    call = facts()
    try:
        agrees = made.check(ALICE, PUSH, call) is True
    except OSError:
        agrees = False
    assert passes(engine(name, tools=["push"]), call, ENGINES) is agrees
    assert not passes(engine(name), call, ENGINES)
    reach = Policy({}, [engine(name, tools=["push"]), Rule("no", "deny", ("git.push",))], ENGINES).reach(ALICE)
    assert reach.decide(PUSH).verdict == "hidden"


def test_engine_hides_nothing() -> None:
    assert Policy({}, [engine("listed")], ENGINES).reach(ALICE).decide(PUSH).verdict == "allow"


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (engine("lister"), "did you mean 'listed'"),
        (engine("zzz"), "installed: listed, raising"),
        (engine("listed", tols=1), "unknown option 'tols'"),
        (engine("waiting"), "can't wait"),
        (engine("listed", "allow"), "only narrow"),
    ],
)
def test_engine_that_can_not_be_used_is_refused_with_the_rules_name(rule, why) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        Policy({}, [rule], ENGINES)
    assert "asked" in str(caught.value)
