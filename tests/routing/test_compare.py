"""Whether two servers answered alike."""

import json
from typing import Any

import pytest
from msgspec import Raw

from concento.model.call import Result
from concento.routing.compare import is_alike


def result(failed: bool = False, **members: Any) -> Result:
    return Result(Raw(json.dumps(members).encode()), failed=failed)


TEXT = {"type": "text", "text": "x"}


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (result(structuredContent={"a": 1, "b": [2]}), result(structuredContent={"b": [2], "a": 1.0}), True),
        (result(structuredContent={"a": 1}), result(structuredContent={"a": 2}), False),
        (result(content=[TEXT]), result(content=[{**TEXT, "_meta": {"k": 1}}], _meta={"x": 1}), True),
        (result(content=[TEXT]), result(content=[TEXT, TEXT]), False),
        (result(content=[TEXT], structuredContent={"a": 1}), result(content=[TEXT]), True),
        (result(content=[TEXT]), result(failed=True, content=[TEXT]), False),
        (result(), result(), True),
        (Result(Raw(b"[")), result(), False),
        (Result(Raw(b"[1]")), result(), False),
    ],
)
def test_what_is_said_is_compared_and_nothing_else(one: Result, other: Result, alike: bool) -> None:
    assert is_alike(one, other) is alike
    assert is_alike(other, one) is alike
