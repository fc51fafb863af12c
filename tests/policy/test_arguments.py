"""Arguments against a tool's schema: what is wrong is told so that it can be mended, and no schema can do harm."""

import json
import time
from typing import Any

import pytest
from msgspec import Raw

from concento.model.errors import InvalidRequest
from concento.policy.arguments import TEXT_CHARS_MAX, Validators

SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "pattern": "^/"},
        "count": {"type": "integer", "minimum": 3},
        "mode": {"enum": ["fast", "slow"]},
        "files": {"type": "array", "items": {"type": "object", "required": ["name"]}},
    },
    "required": ["path"],
    "additionalProperties": False,
}


def problem(arguments: Any, schema: Any = SCHEMA) -> str | None:
    tool = json.dumps({"name": "t", "inputSchema": schema}).encode()
    text = arguments if isinstance(arguments, bytes) else json.dumps(arguments, separators=(",", ":")).encode()
    return Validators().problem(tool, None if arguments is None else Raw(text))


def test_arguments_that_fit_are_fine() -> None:
    assert problem({"path": "/x", "count": 3, "mode": "fast", "files": [{"name": "a"}]}) is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (None, "the arguments: 'path' is required"),
        ({"path": 7}, "path: expected string"),
        ({"path": "/x", "count": 2}, "count: does not meet minimum 3"),
        ({"path": "/x", "mode": "fats"}, 'mode: expected one of ["fast", "slow"]'),
        ({"path": "/x", "cuont": 3}, "unknown 'cuont'; did you mean 'count'?"),
        ({"path": "/x", "files": [{"name": "a"}, {}]}, "files.1: 'name' is required"),
        ({"path": "x"}, 'path: does not meet pattern "^/"'),
        ([], "the arguments: expected object"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_was_expected(arguments: Any, told: str) -> None:
    assert told in str(problem(arguments))


def test_values_are_not_told() -> None:
    told = problem({"path": 4711, "count": "s3cr3t", "mode": "s3cr3t", "files": "s3cr3t"})
    assert told is not None
    assert "s3cr3t" not in told
    assert "4711" not in told


def test_many_errors_are_told_briefly() -> None:
    told = problem({"path": "/x", "files": [{} for _ in range(1000)]})
    assert told is not None
    assert told.endswith("- and more")
    assert len(told) <= TEXT_CHARS_MAX


def test_a_member_that_comes_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        problem(b'{"path":"/x","path":"/y"}')


@pytest.mark.parametrize(
    "schema",
    [
        None,
        7,
        {"type": "no such type"},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/$defs/nowhere"},
        {"pattern": "("},
        {"description": "x" * 300_000},
        json.loads('{"not":' * 100 + "{}" + "}" * 100),
    ],
)
def test_a_schema_that_can_not_be_used_refuses_nothing(schema: Any) -> None:
    """T19, T26: nothing is fetched, and nothing large or deep is compiled."""
    assert problem({"anything": 1}, schema) is None


def test_older_drafts_are_known_by_their_name() -> None:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"type": "integer"}}}
    assert problem({"a": 1}, schema) is None
    assert "a: expected integer" in str(problem({"a": "x"}, schema))


def test_no_pattern_takes_longer_than_its_text_is_long() -> None:
    """T26: patterns of servers run in linear time; a backtracking engine would need longer than the universe has been."""
    schema = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    started = time.monotonic()
    assert problem({"a": "a" * 50_000 + "!"}, schema) is not None
    assert time.monotonic() - started < 60
