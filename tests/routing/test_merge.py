"""Several servers' results as one: lists, identities, ranks, and whose each item is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from concento.model.call import Result
from concento.model.errors import BadReply
from concento.model.logical import Merge
from concento.routing.merge import merged

RESULTS, URL = ("results",), ("url",)


def answer(*urls: str, **more: Any) -> Result:
    structured = {"results": [{"url": url} for url in urls], **more}
    return Result(Raw(json.dumps({"content": [], "structuredContent": structured}).encode()))


def urls(merge: Merge, *branches: tuple[str, Result]) -> tuple[list[str], list[str]]:
    told = json.loads(bytes(merged(branches, merge, {}).raw))
    assert json.loads(told["content"][0]["text"]) == told["structuredContent"]
    items = [item["url"] for item in told["structuredContent"]["results"]]
    return items, told["_meta"]["dev.concento/origins"]


def test_lists_come_one_after_the_other() -> None:
    both = ("a", answer("x", "y")), ("b", answer("x"))
    assert urls(Merge("concat", RESULTS), *both) == (["x", "y", "x"], ["a", "a", "b"])


def test_a_union_has_each_item_once_from_who_had_it_first() -> None:
    both = ("a", answer("x", "y")), ("b", answer("z", "x"))
    assert urls(Merge("union", RESULTS, URL), *both) == (["x", "y", "z"], ["a", "a", "b"])


def test_items_without_a_key_are_like_no_other() -> None:
    nameless = Result(Raw(b'{"structuredContent":{"results":[{"a":1},{"a":1},7]}}'))
    told = json.loads(bytes(merged([("a", nameless), ("b", nameless)], Merge("union", RESULTS, URL), {}).raw))
    assert len(told["structuredContent"]["results"]) == 6


def test_what_several_rank_high_goes_first() -> None:
    branches = ("a", answer("x", "both")), ("b", answer("y", "both")), ("c", answer("z"))
    items, origins = urls(Merge("rank", RESULTS, URL), *branches)
    assert items == ["both", "x", "y", "z"]
    assert origins == ["a", "a", "b", "c"]


@given(st.lists(st.lists(st.integers(0, 8), unique=True, max_size=8), min_size=1, max_size=4))
def test_a_fusion_has_each_item_once_and_obeys_all_where_they_agree(lists: list[list[int]]) -> None:
    branches = [(f"s{at}", answer(*map(str, one))) for at, one in enumerate(lists)]
    items, origins = urls(Merge("rank", RESULTS, URL), *branches)
    assert sorted(items) == sorted({str(item) for one in lists for item in one})
    assert len(origins) == len(items)
    scores = [sum(1 / (61 + one.index(int(item))) for one in lists if int(item) in one) for item in items]
    assert scores == sorted(scores, reverse=True)


def test_twice_in_one_list_is_no_second_voice() -> None:
    assert urls(Merge("rank", RESULTS, URL), ("a", answer("x", "y", "y")), ("b", answer("z")))[0][0] in ("x", "z")


@pytest.mark.parametrize(("by", "expected"), [("least", 2), ("most", 9)])
def test_of_numbers_the_least_or_the_most_is_taken(by: Any, expected: int) -> None:
    def offers(*prices: Any) -> Result:
        return Result(Raw(json.dumps({"structuredContent": {"offers": [{"price": one} for one in prices]}}).encode()))

    merge = Merge(by, ("offers",), ("price",))
    told = json.loads(bytes(merged([("a", offers(5, "1", True)), ("b", offers(9, 2))], merge, {}).raw))
    assert told["structuredContent"]["offers"] == [{"price": expected}]
    assert told["_meta"]["dev.concento/origins"] == ["b"]


def test_json_that_comes_as_text_is_merged_too() -> None:
    text = Result(Raw(json.dumps({"content": [{"type": "text", "text": '{"results":[{"url":"x"}]}'}]}).encode()))
    assert urls(Merge("union", RESULTS, URL), ("a", text), ("b", answer("y")))[0] == ["x", "y"]


def test_without_a_path_content_is_put_together_and_says_whose_it_is() -> None:
    one = Result(Raw(b'{"content":[{"type":"text","text":"1","_meta":{"k":1}}],"structuredContent":{"n":1}}'))
    other = Result(Raw(b'{"content":[{"type":"text","text":"2"}]}'))
    told = json.loads(bytes(merged([("a", one), ("b", other)], Merge(), {"x": 1}).raw))
    assert told == {
        "content": [
            {"type": "text", "text": "1", "_meta": {"k": 1, "dev.concento/server": "a"}},
            {"type": "text", "text": "2", "_meta": {"dev.concento/server": "b"}},
        ],
        "_meta": {"x": 1},
    }


@pytest.mark.parametrize("raw", [b"{}", b'{"structuredContent":[1]}', b'{"structuredContent":{"results":7}}', b"[" * 9])
def test_without_any_list_there_is_nothing_to_merge(raw: bytes) -> None:
    with pytest.raises(BadReply, match="None of the servers returned a list at 'results'"):
        merged([("a", Result(Raw(raw)))], Merge("union", RESULTS, URL), {})


def test_who_has_no_list_is_passed_over() -> None:
    assert urls(Merge("union", RESULTS, URL), ("a", Result(Raw(b"{}"))), ("b", answer("y")))[0] == ["y"]
