"""Which guards hold for whom and what: as denials apply, in doubt they do. Source: hardening T34."""

from typing import Any

import pytest
from msgspec import Raw

from concento.model.guards import Guard, ResultLimits
from concento.model.policy import Conditions, Hours, Test
from concento.model.principal import Principal
from concento.policy.conditions import Facts
from concento.policy.guards import Guards
from concento.policy.item import Item
from concento.policy.results import objection, types_in

TOOL = Item("tool", "s", "send")


def holds(guard: Guard, who: Principal, arguments: bytes = b"{}", item: Item = TOOL) -> bool:
    guards = Guards((guard,), lambda principal: principal.roles)
    return bool(guards.holding(item, Facts(Raw(arguments), 0.0, None, {}, who)))


def who(subject: str = "alice", **options: Any) -> Principal:
    return Principal(subject, **options)


@pytest.mark.parametrize(
    ("guard", "item", "held"),
    [
        (Guard("g", ("s.*",)), TOOL, True),
        (Guard("g", ("*",)), TOOL, True),
        (Guard("g", ("*.send",)), TOOL, True),
        (Guard("g", ("t.*", "s.read")), TOOL, False),
        (Guard("g", kinds=("prompt",)), TOOL, False),
        (Guard("g", kinds=("prompt",)), Item("prompt", "s", "send"), True),
        (Guard("g", when=Conditions(annotations={"readOnlyHint": True})), TOOL, False),
        (Guard("g", when=Conditions(annotations={"destructiveHint": True})), TOOL, True),
    ],
)
def test_a_guard_is_about_what_its_patterns_kinds_and_hints_say(guard: Guard, item: Item, held: bool) -> None:
    assert holds(guard, who(), item=item) is held


@pytest.mark.parametrize(
    ("arguments", "held"),
    [(b'{"to":"out"}', True), (b'{"to":"in"}', False), (b'{"to":["out"]}', True), (b"{}", False)],
)
def test_what_can_not_be_judged_counts_for_when(arguments: bytes, held: bool) -> None:
    guard = Guard("g", when=Conditions(arguments=(("to", Test("eq", "out")),)))
    assert holds(guard, who(), arguments) is held


@pytest.mark.parametrize(
    ("arguments", "held"),
    [(b'{"to":"in"}', False), (b'{"to":"out"}', True), (b'{"to":["in"]}', True), (b"{}", True)],
)
def test_what_can_not_be_judged_does_not_count_for_unless(arguments: bytes, held: bool) -> None:
    guard = Guard("g", unless=Conditions(arguments=(("to", Test("eq", "in")),)))
    assert holds(guard, who(), arguments) is held


def test_a_delegated_key_escapes_no_guard_of_its_parent() -> None:
    parent = who(scopes=frozenset({"crm"}))
    child = who(scopes=frozenset(), within=parent)
    assert holds(Guard("g", when=Conditions(scopes=("crm",))), child)
    trusted = who(agent="trusted", within=who(agent="other"))
    assert holds(Guard("g", unless=Conditions(agents=("trusted",))), trusted)
    assert not holds(Guard("g", unless=Conditions(agents=("trusted",))), who(agent="trusted"))


def test_time_counts_as_in_policies() -> None:
    assert holds(Guard("g", when=Conditions(time=Hours(frozenset({3})))), who()), "the epoch was a Thursday"
    assert not holds(Guard("g", when=Conditions(time=Hours(frozenset({4})))), who())


def test_servers_that_no_pattern_reaches_are_told_apart_at_once() -> None:
    guards = Guards((Guard("g", ("s.*", "git.log")),), lambda principal: principal.roles)
    assert [guards.reaches(alias) for alias in ("s", "git", "t")] == [True, True, False]


@pytest.mark.parametrize(
    ("method", "result", "types"),
    [
        (
            "tools/call",
            b'{"content":[{"type":"text"},{"type":"image"}],"structuredContent":{}}',
            "structured text image",
        ),
        ("tools/call", b'{"content":[],"structuredContent":null}', ""),
        ("tools/call", b'{"content":{"type":"text"}}', "unknown"),
        ("tools/call", b'{"content":[{"type":7}]}', "unknown"),
        ("tools/call", b"[]", "unknown"),
        ("tools/call", b"{", "unknown"),
        ("prompts/get", b'{"messages":[{"content":{"type":"text"}},{"content":[{"type":"audio"}]}]}', "text audio"),
        ("prompts/get", b'{"messages":[{"role":"user"}]}', "unknown"),
        (
            "resources/read",
            b'{"contents":[{"text":""},{"blob":"","mimeType":"Image/PNG"},{"blob":""}]}',
            "text image blob",
        ),
        ("resources/read", b'{"contents":[{"uri":"x"}]}', "unknown"),
    ],
)
def test_a_result_is_of_the_types_of_its_content(method: str, result: bytes, types: str) -> None:
    assert list(types_in(method, Raw(result))) == types.split()


def test_a_result_may_have_as_many_bytes_as_the_limit_says() -> None:
    raw = Raw(b'{"content":[]}')
    assert objection(ResultLimits(len(bytes(raw))), "tools/call", raw) is None
    told = objection(ResultLimits(len(bytes(raw)) - 1), "tools/call", raw)
    assert told == "has 14 bytes, more than the 13 that may pass; ask for less at a time"
