"""What holds of a value: the table of `values.py`, and that doubt refuses either way."""

from typing import Any

import pytest

from concento.model.policy import Test as Condition
from concento.policy.expressions import compile_bounded
from concento.policy.paths import FOUND_MAX, PATH_CHARS_MAX, find, parse_path
from concento.policy.values import MISSING, UNSURE, compile_test

TEXT = compile_bounded("feature/.*")
TESTS = {
    "eq": Condition("eq", "main"),
    "in": Condition("in", ("main", "dev")),
    "ne": Condition("ne", "main"),
    "not_in": Condition("not_in", ("main", "dev")),
    "lt": Condition("lt", 10),
    "le": Condition("le", 10),
    "gt": Condition("gt", 10),
    "ge": Condition("ge", 10),
    "matches": Condition("matches", TEXT),
    "exists": Condition("exists", True),
    "absent": Condition("exists", False),
}


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (MISSING, {"ne": None, "not_in": None, "absent": True}),
        (None, {"ne": None, "not_in": None, "exists": None, "absent": None}),
        (UNSURE, dict.fromkeys(TESTS)),
        (True, {**dict.fromkeys(TESTS), "exists": True, "absent": False}),
        ({"a": 1}, {**dict.fromkeys(TESTS), "exists": True, "absent": False}),
        (["main"], {**dict.fromkeys(TESTS), "exists": True, "absent": False}),
        (float("nan"), {**dict.fromkeys(TESTS), "exists": True, "absent": False}),
        (
            "main",
            {"eq": True, "in": True, "exists": True, "lt": None, "le": None, "gt": None, "ge": None},
        ),
        (
            "feature/x",
            {
                **{"ne": True, "not_in": True, "matches": True, "exists": True},
                **{"lt": None, "le": None, "gt": None, "ge": None},
            },
        ),
        (
            10,
            {
                **{"le": True, "ge": True, "exists": True},
                **dict.fromkeys(("eq", "in", "ne", "not_in", "matches")),
            },
        ),
    ],
    ids=["missing", "null", "unsure", "flag", "object", "list", "nan", "text", "other text", "number"],
)
def test_what_holds_of_a_value(value, held) -> None:
    expected = {name: held.get(name, False) for name in TESTS}
    assert {name: compile_test(test)(value) for name, test in TESTS.items()} == expected


def test_null_is_a_value_where_it_is_asked_for() -> None:
    assert compile_test(Condition("eq", None))(None) is True
    assert compile_test(Condition("ne", None))(None) is False
    assert compile_test(Condition("in", (None, "a")))(None) is True
    assert compile_test(Condition("eq", None))(MISSING) is False


@pytest.mark.parametrize(
    ("wanted", "value", "held"),
    [
        (1, 1.0, True),
        (1, True, None),
        (True, 1, None),
        (True, "true", None),
        (False, False, True),
        ((1, 2), [1, 2], True),
        ((1, 2), [2, 1], False),
        ((1, 2), [1, 2, 3], False),
        ((1,), [True], False),
        ({"a": (1, {"b": None})}, {"a": [1, {"b": None}]}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
    ],
)
def test_values_are_equal_as_json(wanted, value, held) -> None:
    assert compile_test(Condition("eq", wanted))(value) is held
    assert compile_test(Condition("ne", wanted))(value) is (None if held is None else not held)


def test_text_that_is_too_long_for_a_pattern_can_not_be_judged() -> None:
    judge = compile_test(Condition("matches", TEXT))
    assert judge("feature/" + "x" * 4088) is True
    assert judge("feature/" + "x" * 4089) is None


def test_pattern_has_to_match_all_of_a_text() -> None:
    judge = compile_test(Condition("matches", compile_bounded("main|dev")))
    assert [judge(text) for text in ("main", "dev", "main2", "xmain", "main\n")] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", [{"b": [1, {"c": 2}]}]),
        ("a.b[0]", [1]),
        ("a.b[1].c", [2]),
        ("a.b[2]", [MISSING]),
        ("a.b[*]", [1, {"c": 2}]),
        ("a.b[*].c", [UNSURE, 2]),
        ("a.x.y", [MISSING]),
        ("none.y", [MISSING]),
        ("a[0]", [UNSURE]),
        ("a.b.c", [UNSURE]),
        ("one[*]", [UNSURE]),
        ("empty[*]", [MISSING]),
        ("CASE", [UNSURE]),
        ("twice", [UNSURE]),
    ],
)
def test_path_finds_values_what_is_missing_and_what_is_unsure(path, found) -> None:
    arguments: dict[str, Any] = {
        "a": {"b": [1, {"c": 2}]},
        "none": None,
        "one": "x",
        "empty": [],
        "case": 1,
        "twice": 1,
        "Twice": 2,
    }
    assert find(arguments, parse_path(path)) == found


def test_path_that_finds_too_much_finds_nothing_that_can_be_judged() -> None:
    path = parse_path("a[*]")
    assert len(find({"a": [1] * FOUND_MAX}, path) or ()) == FOUND_MAX
    assert find({"a": [1] * (FOUND_MAX + 1)}, path) is None


@pytest.mark.parametrize(
    "path",
    ["", ".", ".a", "a.", "a..b", "a[", "a[]", "a[-1]", "a[x]", "a]", "a[0]b", "a.[0]", "x" * (PATH_CHARS_MAX + 1)],
)
def test_path_that_can_not_be_read_is_refused(path) -> None:
    with pytest.raises(ValueError, match="expected a path such as"):
        parse_path(path)


def test_paths_are_read_as_steps() -> None:
    assert parse_path("filter.owner") == ("filter", "owner")
    assert parse_path("items[*].path") == ("items", None, "path")
    assert parse_path("[0][*]") == (0, None)
    assert parse_path("a-b.c d") == ("a-b", "c d")
