"""A caller's arguments as a bound tool takes them."""

import json
from typing import Any

import pytest
from msgspec import Raw

from concento.model.call import Result
from concento.model.errors import BadReply
from concento.model.logical import Adapter, ResultMap
from concento.protocol.jsonrpc import read_object
from concento.routing.adapt import adapted, answered


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


def mapped(answer: Any, *path: str, **rename: str) -> Any:
    told = json.loads(bytes(answered(Result(Raw(json.dumps(answer).encode())), ResultMap(path, rename)).raw))
    assert json.loads(told["content"][0]["text"]) == told["structuredContent"]
    return told


def test_a_result_is_taken_from_its_place_and_renamed() -> None:
    answer = {"content": [], "structuredContent": {"data": {"hits": [1], "n": 2}, "more": 3}, "_meta": {"k": 1}}
    told = mapped(answer, "data", hits="results")
    assert told["structuredContent"] == {"results": [1], "n": 2}
    assert told["_meta"] == {"k": 1}


def test_json_that_comes_as_text_is_mapped_too() -> None:
    answer = {"content": [{"type": "text", "text": '{"hits":[1e2]}'}]}
    assert mapped(answer, hits="results")["structuredContent"] == {"results": [100.0]}


@pytest.mark.parametrize("answer", [{}, {"structuredContent": {"data": 7}}, {"content": [{"type": "image"}]}])
def test_a_result_that_is_not_there_is_a_bad_reply(answer: Any) -> None:
    with pytest.raises(BadReply, match="no object at data"):
        mapped(answer, "data")


def test_a_tool_that_failed_says_so_unchanged() -> None:
    failed = Result(Raw(b'{"content":[{"type":"text","text":"no"}],"isError":true}'), failed=True)
    assert answered(failed, ResultMap(("data",))) is failed
