"""A tool's arguments against its own schema: what is wrong, told so that an agent can mend it, in bounded time."""

import time
from typing import Any

import pytest
from msgspec import Raw
from msgspec.json import encode

from concento.model.errors import InvalidRequest
from concento.model.principal import LOCAL
from concento.policy import arguments as checking
from concento.policy.arguments import ERRORS_MAX, SCHEMA_BYTES_MAX, TEXT_BYTES_MAX, Validators
from concento.policy.conditions import Facts
from concento.policy.schema_cost import MANY, TooIntricate, cost_of

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["branch"],
    "properties": {
        "branch": {"$ref": "#/$defs/branch"},
        "count": {"type": "integer", "minimum": 1},
        "mode": {"enum": ["merge", "rebase"]},
        "files": {"type": "array", "items": {"type": "string", "maxLength": 8}},
        "where": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["line"]}]},
    },
    "$defs": {"branch": {"type": "string", "pattern": "^feature/"}},
}


def tool(schema: Any) -> bytes:
    return encode({"name": "push", "inputSchema": schema})


def facts(arguments: bytes | None) -> Facts:
    return Facts(None if arguments is None else Raw(arguments), 0.0, None, {}, LOCAL)


def problem(arguments: object, schema: Any = SCHEMA) -> str | None:
    return Validators().problem(tool(schema), facts(None if arguments is None else encode(arguments)))


def note(schema: Any) -> str | None:
    return Validators().note(tool(schema))


def test_arguments_that_fit_have_no_problem() -> None:
    assert problem({"branch": "feature/x", "count": 3, "files": ["a"], "where": {"line": 1}}) is None
    assert problem(None, {"type": "object"}) is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"brunch": "feature/x", "branch": "feature/x"}, "the arguments: unknown 'brunch'; did you mean 'branch'?"),
        ({"zzz": 1, "branch": "feature/x"}, "unknown 'zzz'; known: 'branch', 'count', 'mode', 'files', 'where'"),
        ({}, "the arguments: 'branch' is required"),
        (None, "the arguments: 'branch' is required"),
        ({"branch": 7}, "branch: expected string"),
        ({"branch": "canary"}, 'branch: does not meet pattern "^feature/"'),
        ({"branch": "feature/x", "count": 0}, "count: does not meet minimum 1"),
        ({"branch": "feature/x", "mode": "canary"}, 'mode: expected one of ["merge","rebase"]'),
        ({"branch": "feature/x", "files": ["a", "canary-canary"]}, "files.1: does not meet maxLength 8"),
        ({"branch": "feature/x", "where": 3}, "where: fits none of the alternatives string, object with line"),
    ],
)
def test_problem_says_where_and_what_was_expected_but_no_value(arguments, told) -> None:
    found = problem(arguments)
    assert found is not None
    assert told in found
    assert "canary" not in found


def test_few_errors_are_told_and_little_text() -> None:
    found = problem({"branch": "feature/x", "files": ["canary-canary"] * 20})
    assert found is not None
    assert found.count("\n- files.") == ERRORS_MAX
    assert found.endswith("- and 17 more")
    found = problem({"a" * 3000: 1, "é" * 3000: 1, "b" * 3000: 1}, {**SCHEMA, "properties": {"x" * 2000: {}}})
    assert found is not None
    assert len(found.encode()) <= TEXT_BYTES_MAX


def test_member_that_comes_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        Validators().problem(tool(SCHEMA), facts(b'{"branch":"feature/x","branch":"canary"}'))


def test_schema_says_its_revision_and_is_2020_12_if_it_does_not() -> None:
    listed: dict[str, Any] = {"prefixItems": [{"type": "string"}]}
    assert problem({"list": [3]}, {"properties": {"list": listed}}) is not None
    draft_7 = {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {"type": "string"}}}
    assert problem({"list": [3]}, {**draft_7, "properties": {"list": listed}}) is None
    assert problem({"q": 3}, {**draft_7, "properties": {"q": {"$ref": "#/definitions/a"}}}) is not None


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (None, "no schema"),
        ({"type": "strin"}, "no valid JSON Schema"),
        ({"$ref": "https://example.com/schema"}, "not found by its place"),
        ({"$ref": "file:///etc/passwd"}, "not found by its place"),
        ({"$ref": "#/$defs/missing"}, "not in it"),
        ({"$ref": "#"}, "refers to itself"),
        ({"$dynamicRef": "#x"}, "dynamic"),
        ({"properties": {"a": {"$id": "other", "$ref": "#/properties"}}}, "'$id' of its own"),
        ({"properties": {"a": {"pattern": "(?=x)"}}}, "patterns"),
        ({"properties": {"a": {"pattern": "(a{1,500}){1,500}"}}}, "patterns"),
        ({"description": "x" * SCHEMA_BYTES_MAX}, "bytes"),
    ],
)
def test_schema_that_can_not_be_used_checks_nothing_and_says_why(schema, why) -> None:
    assert why in (note(schema) or "")
    assert problem({"a": 1}, schema) is None


def nested(depth: int, leaf: object) -> object:
    for _ in range(depth):
        leaf = {"a": leaf}
    return leaf


def again_and_again(keyword: str) -> dict[str, Any]:
    part = {"type": ["object", "string"], "properties": {"a": {"$ref": "#/$defs/n"}}}
    return {"$ref": "#/$defs/n", "$defs": {"n": {keyword: [part, part]}}}


DOUBLING = {
    "$ref": "#/$defs/d0",
    "$defs": {
        **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(40)},
        "d40": {"type": "object"},
    },
}


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        *(
            (again_and_again(keyword), nested(depth, 3))
            for keyword in ("allOf", "anyOf", "oneOf")
            for depth in (14, 60)
        ),
        (DOUBLING, {}),
        ({"properties": {"l": {"items": {"type": "string"}}}}, {"l": [1] * 150_000}),
        ({"properties": {"l": {"items": {"anyOf": [{"type": "string"}]}}}}, {"l": [1] * 150_000}),
        ({"properties": {"l": {"pattern": "^[01]*1[01]{200}$"}}}, {"l": "0110" * 250_000}),
        ({"properties": {"l": {"pattern": "^(a+)+$"}}}, {"l": "a" * 60_000 + "!"}),
    ],
    ids=[*(f"{word} {depth}" for word in ("allOf", "anyOf", "oneOf") for depth in (14, 60)), *"abcde"],
)
def test_no_schema_can_keep_the_hub_busy(schema, arguments) -> None:
    validators, definition, raw = Validators(), tool(schema), facts(encode(arguments))
    began_s = time.process_time()
    validators.problem(definition, raw)
    assert time.process_time() - began_s < 1.0


def test_text_full_of_commas_and_brackets_is_no_reason_not_to_check() -> None:
    assert problem({"text": "a,[{" * 500_000, "n": "x"}, {"properties": {"n": {"type": "integer"}}}) is not None


def test_parts_of_a_schema_are_counted_by_depth() -> None:
    assert cost_of({"type": "object"}).by_depth == (1, 0)
    assert cost_of({"properties": {"a": {"anyOf": [{}, {}]}, "b": {}}}).by_depth == (1, 3, 0)
    assert cost_of(again_and_again("allOf")).by_depth[:3] == (4, 8, 16)
    assert cost_of(DOUBLING).by_depth[0] == MANY
    tree = {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}
    assert set(cost_of(tree).by_depth) == {1, 2}
    with pytest.raises(TooIntricate):
        cost_of({"anyOf": [{"properties": {str(n): {} for n in range(5000)}} for _ in range(10)]})


def test_compiled_schemas_are_kept_and_stay_bounded(monkeypatch) -> None:
    monkeypatch.setattr(checking, "_COMPILED_MAX", 3)
    validators = Validators()
    for number in range(10):
        assert validators.problem(tool({"required": [f"a{number}"]}), facts(None)) is not None
    assert len(validators._by_tool) <= 3
    monkeypatch.setattr(checking, "_compile", lambda definition: pytest.fail("compiled twice"))
    assert validators.problem(tool({"required": ["a9"]}), facts(None)) is not None
