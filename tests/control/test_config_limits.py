"""`limits:` of a configuration: what it is read as, and what is refused, at its place and with words that help."""

from pathlib import Path

import pytest

from concento.control.config.document import parse
from concento.control.config.kinds import Keys, Reader, Table
from concento.control.config.limits import LIMITS, build_limits
from concento.control.config.problems import Problems
from concento.control.config.references import References
from concento.model.errors import ConfigError
from concento.model.limiting import LimitRule
from concento.model.policy import Role

ROLES = {"reader": Role("reader"), "developer": Role("developer")}
SERVERS = ("git", "docs")


def build(text: str, servers: tuple[str, ...] | None = SERVERS) -> tuple[tuple[LimitRule, ...], Problems]:
    problems = Problems()
    reader = Reader(problems, References({}, Path("/etc/hub")))
    node = parse(text, problems)
    assert node is not None
    root: Table = Keys("a configuration", LIMITS).read(node, reader)
    return build_limits(root, ROLES, "hub.yaml", problems, servers), problems


def built(text: str) -> tuple[LimitRule, ...]:
    limits, problems = build(text)
    assert not problems, problems.error("hub.yaml")
    return limits


def told(text: str) -> list[str]:
    _, problems = build(text)
    error = problems.error("hub.yaml")
    assert isinstance(error, ConfigError)
    return [problem.removeprefix("hub.yaml:") for problem in error.problems]


def test_a_limit_with_everything() -> None:
    (limit,) = built(
        """
limits:
  search for guests:
    per: [user, tool]
    match: ["docs.search*", "git.*"]
    subjects: ["*@example.com"]
    agents: [bot-*]
    roles: [reader]
    rate: 100/m
    burst: 20
    concurrency: 3
    day: 1000
    month: 20000
    soft: 0.9
"""
    )
    assert limit == LimitRule(
        "search for guests",
        per=("user", "tool"),
        patterns=("docs.search*", "git.*"),
        subjects=("*@example.com",),
        agents=("bot-*",),
        roles=("reader",),
        rate=100.0,
        per_s=60.0,
        burst=20,
        concurrency=3,
        day=1000,
        month=20000,
        soft=0.9,
    )
    assert limit.place == "hub.yaml:3"


def test_what_a_limit_leaves_out_is_about_everybody_and_everything() -> None:
    assert built("limits: {each user: {rate: 10/s}}") == (LimitRule("each user", rate=10.0),)
    assert built("{}") == ()
    assert built("limits: {}") == ()


@pytest.mark.parametrize(
    ("rate", "value"),
    [
        ("10/s", (10.0, 1.0)),
        ("0.5/s", (0.5, 1.0)),
        ("100/m", (100.0, 60.0)),
        ("1000 / h", (1000.0, 3600.0)),
        ("5000/d", (5000.0, 86_400.0)),
    ],
)
def test_rates(rate: str, value: tuple[float, float]) -> None:
    (limit,) = built(f"limits: {{a: {{rate: {rate}}}}}")
    assert (limit.rate, limit.per_s) == value


def test_the_examples_load() -> None:
    assert built(f"limits: {LIMITS.example}")
    inner = LIMITS.kind.kind.keys.values()  # type: ignore[attr-defined]
    assert len(inner) == 11
    for key in inner:
        beside = "" if key.name in ("rate", "concurrency", "day", "month") else ", rate: 10/s"
        beside = ", day: 9" if key.name == "soft" else beside
        _, problems = build(f"limits: {{a: {{{key.name}: {key.example}{beside}}}}}", servers=None)
        assert key.doc
        assert not problems, problems.error("hub.yaml")


# (text of the limit `a`, place, part of the message); the limit's keys begin at line 1, column 14
CASES = [
    ("per: user", "1:10", "limits nothing: give it 'rate', 'concurrency', 'day' or 'month'"),
    ("burst: 3, day: 9", "1:14", "'burst' has no effect without 'rate'"),
    ("soft: 0.5, rate: 1/s", "1:14", "'soft' has no effect without 'day' or 'month'"),
    ("rate: 10", "1:20", "10/s, found a number"),
    ("rate: 10/sec", "1:20", "expected a rate such as 10/s, 100/m, 1000/h or 5000/d"),
    ("rate: -1/s", "1:20", "expected a rate such as"),
    ("rate: 0/s", "1:20", "lets nothing through"),
    ("per: usr, rate: 1/s", "1:19", "did you mean 'user'?"),
    ("per: [tool, usr], rate: 1/s", "1:26", "did you mean 'user'?"),
    ("per: [], rate: 1/s", "1:19", "at least 1"),
    ("per: [global, user], rate: 1/s", "1:14", "'global' counts all calls together"),
    ("per: [user, user], rate: 1/s", "1:14", "twice"),
    ("rates: 1/s", "1:14", "unknown key 'rates'; did you mean 'rate'?"),
    ("rate: 1/s, roles: [raeder]", "1:33", "unknown role 'raeder'; did you mean 'reader'?"),
    ('rate: 1/s, match: ["gti.*"]', "1:33", "unknown server 'gti'; did you mean 'git'?"),
    ("rate: 1/s, match: [git]", "1:33", "expected a pattern over server.tool"),
    ("concurrency: 0", "1:27", "whole number from 1"),
    ("day: 1.5", "1:19", "whole number"),
    ("day: 100, month: 100", "1:14", "100 calls a day have no effect with 100 a month"),
    ("day: 1, soft: 0", "1:28", "above 0"),
]


@pytest.mark.parametrize(("keys", "place", "part"), CASES, ids=[case[0] for case in CASES])
def test_what_can_not_be_meant_is_refused_at_its_place(keys: str, place: str, part: str) -> None:
    (problem,) = told(f"limits: {{a: {{{keys}}}}}")
    assert part in problem
    assert problem.startswith(f"{place}:")


def test_all_problems_are_told_at_once() -> None:
    assert len(told("limits: {a: {burst: 1, per: usr}, b: {rat: 1/s}, '': {rate: 1/s}}")) == 5


def test_wildcards_and_patterns_over_any_server_need_no_server_of_that_name() -> None:
    built('limits: {a: {match: ["*.delete_*", "g?t.*", "*"], rate: 1/s}}')


def test_without_roles_or_servers_that_are_known_any_may_be_named() -> None:
    problems = Problems()
    node = parse('limits: {a: {roles: [x], match: ["x.*"], rate: 1/s}}', problems)
    assert node is not None
    root = Keys("a configuration", LIMITS).read(node, Reader(problems, References({}, Path("/etc/hub"))))
    assert build_limits(root, {}, "hub.yaml", problems)
    assert not problems
