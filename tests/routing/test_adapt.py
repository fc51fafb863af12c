"""A caller's arguments as a bound tool takes them."""

import json
from typing import Any

import pytest
from msgspec import Raw

from concento.model.logical import Adapter
from concento.protocol.jsonrpc import read_object
from concento.routing.adapt import adapted


def after(arguments: dict[str, Any], **adapter: Any) -> dict[str, Any]:
    given = read_object(Raw(json.dumps(arguments).encode()))
    assert given is not None
    return dict(json.loads(bytes(adapted(given, Adapter(**adapter)))))


@pytest.mark.parametrize(
    ("arguments", "adapter", "expected"),
    [
        ({"query": "x", "n": 1}, {"rename": {"query": "q"}}, {"q": "x", "n": 1}),
        ({"query": "x"}, {"default": {"n": b"5"}}, {"query": "x", "n": 5}),
        ({"query": "x", "n": 1}, {"default": {"n": b"5"}}, {"query": "x", "n": 1}),
        ({"query": "x", "n": 1}, {"rename": {"n": "count"}, "default": {"count": b"5"}}, {"query": "x", "count": 1}),
        ({"safe": False}, {"constant": {"safe": b"true"}}, {"safe": True}),
        ({"query": "x", "lang": "it"}, {"drop": frozenset({"lang"})}, {"query": "x"}),
        ({"query": "x", "q": "y"}, {"rename": {"query": "q"}}, {"q": "x"}),
        ({"q": "y"}, {"rename": {"query": "q"}}, {}),
        ({}, {}, {}),
    ],
)
def test_arguments_are_renamed_filled_in_fixed_and_dropped(arguments, adapter, expected) -> None:
    assert after(arguments, **adapter) == expected


def test_what_is_passed_on_keeps_its_bytes() -> None:
    given = {"n": Raw(b"1e2"), "big": Raw(b"12345678901234567890123")}
    assert bytes(adapted(given, Adapter(rename={"n": "count"}))) == b'{"count":1e2,"big":12345678901234567890123}'
