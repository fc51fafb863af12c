"""Finding tools by words: what counts, how much, and how sure one may be. On values alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.catalog.offers import slice_of, tool

from concento.catalog.fits import misfit
from concento.catalog.meta_tools import DEFINITIONS, tokens
from concento.catalog.ranking import Ranking, fused
from concento.catalog.search import Cover, Scored, ToolIndex, meanings_of, significant
from concento.catalog.thesaurus import neighbours
from concento.catalog.view import TenantView
from concento.model.call import ALL, Endpoint
from concento.model.config import ToolOverride


def index_of(*items: Any, **overrides: Any) -> ToolIndex:
    return ToolIndex(slice_of("a", *items, **overrides).tools)


def found(index: ToolIndex, need: str) -> list[str]:
    return [index.entries[one.place].own for one in index.ranked(need, 10)]


OTHERS = [tool(f"other_{number}", description="nothing of the kind") for number in range(8)]


def with_parameters(name: str, **described: str) -> Any:
    properties = {one: {"type": "string", "description": text} for one, text in described.items()}
    return tool(name, inputSchema={"type": "object", "properties": properties})


@pytest.mark.parametrize(
    "item",
    [
        tool("blameLine"),
        tool("x", title="Blame a line"),
        tool("x", description="Shows whom to blame"),
        with_parameters("x", blame="text"),
        with_parameters("x", y="whom to blame"),
    ],
    ids=["name", "title", "description", "parameter", "what a parameter says"],
)
def test_a_word_counts_wherever_a_tool_says_it(item: Any) -> None:
    index = index_of(*OTHERS, item)
    assert found(index, "blame") == [item.key]


def test_a_name_says_more_than_a_description() -> None:
    long = "a tool that among many other things may archive a note, or not"
    index = index_of(*OTHERS, tool("describes", description=long), tool("archive_note"))
    assert found(index, "archive a note")[0] == "archive_note"


def test_what_the_operator_says_counts() -> None:
    index = index_of(*OTHERS, tool("x"), tool("y"), y=ToolOverride(capability="order lunch", tags=("pizza",)))
    assert found(index, "pizza")[0] == "y"
    assert found(index, "order lunch")[0] == "y"


def test_a_word_of_like_meaning_finds_it_but_counts_less() -> None:
    index = index_of(*OTHERS, tool("delete_page"), tool("page_style"))
    assert found(index, "erase the page")[0] == "delete_page"
    index = index_of(*OTHERS, tool("delete_page"), tool("erase_page"))
    assert found(index, "erase the page")[0] == "erase_page"


def test_many_words_of_like_meaning_count_as_one() -> None:
    """Else a tool would be found for having all of them."""
    many = tool("x", description="delete remove drop discard purge destroy clear wipe trash")
    index = index_of(*OTHERS, many, tool("y", description="erase"))
    assert found(index, "erase")[0] == "y"


def test_words_that_say_nothing_do_not_count_unless_there_are_no_others() -> None:
    assert significant("Could you please show me the time in Rome?") == ["show", "time", "rome"]
    assert significant("who is it") == ["who", "is", "it"]
    assert significant("getUserName from my-server.tool") == ["get", "user", "name", "server", "tool"]
    assert len(significant(" ".join(f"w{number}" for number in range(1000)))) == 10


def test_neighbours_are_mutual_and_know_endings() -> None:
    assert "delete" in neighbours("erase")
    assert "erase" in neighbours("delete")
    assert neighbours("erased") == neighbours("erase")
    assert neighbours("xyzzy") == ()


@given(
    st.text() | st.lists(st.sampled_from(['"', "a", "OR", "NEAR(", "*", "_", "²", "--", ":", "^", "\0"])).map(" ".join)
)
def test_any_text_is_a_need(need: str) -> None:
    index = index_of(tool("current_time"))
    for one in index.ranked(need, 5):
        index.cover(need, one.place)
    index.cover(need, 0)
    index.close()


def test_a_tool_that_can_not_be_read_is_still_there() -> None:
    index = index_of(tool("time", title=["no text"]), tool("time_zone", inputSchema={"properties": 3}))
    assert set(found(index, "time")) == {"time", "time_zone"}


# -- how sure one may be


def test_how_much_of_a_need_a_tool_speaks_of_does_not_depend_on_the_others() -> None:
    item = tool("current_time", description="Tell the time in a zone")
    for others in ([], OTHERS):
        assert index_of(item, *others).cover("current time in my zone", 0) == Cover(2 / 3, 1.0)
    assert index_of(item).cover("", 0) == Cover()


def ranking(covers: dict[int, Cover], *scores: float, meaning: dict[int, float] | None = None) -> Ranking:
    order = tuple(Scored(place, score) for place, score in enumerate(scores))
    return Ranking(order, dict(order), meaning or {}, covers)


@pytest.mark.parametrize("meaning", [None, {0: 0.9, 1: 0.2}])
def test_more_that_speaks_for_a_tool_makes_it_likelier(meaning: dict[int, float] | None) -> None:
    whole = ranking({0: Cover(1.0, 1.0)}, 9.0, 1.0, meaning=meaning).likelihood([0, 1])
    part = ranking({0: Cover(0.5, 0.5)}, 9.0, 1.0, meaning=meaning).likelihood([0, 1])
    none = ranking({0: Cover(0.0, 0.0)}, 9.0, 1.0, meaning=meaning).likelihood([0, 1])
    assert 0 < none < part < whole < 1


def test_one_that_is_ahead_is_likelier_than_one_of_two() -> None:
    covers = {0: Cover(0.5, 0.5)}
    assert ranking(covers, 9.0, 1.0).likelihood([0, 1]) > ranking(covers, 9.0, 8.9).likelihood([0, 1])
    assert ranking(covers).likelihood([]) == 0.0


@given(st.lists(st.integers(0, 30), unique=True), st.lists(st.integers(0, 30), unique=True))
def test_two_rankings_become_one_that_both_agree_with(words: list[int], meaning: list[int]) -> None:
    one = fused([Scored(place, 1.0) for place in words], [Scored(place, 1.0) for place in meaning], 100)
    places = [found.place for found in one]
    assert sorted(places) == sorted({*words, *meaning})
    assert [found.score for found in one] == sorted((found.score for found in one), reverse=True)
    if words and meaning and words[0] == meaning[0]:
        assert places[0] == words[0]


# -- whether arguments could be meant for a tool

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"enum": ["C", "F"]},
        "raw": {"type": ["boolean", "null"]},
    },
    "required": ["city"],
}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"city": "Rome"}, None),
        ({"city": "Rome", "days": 3, "unit": "C", "raw": None}, None),
        ({"city": "Rome", "days": 3.0}, None),
        ({}, "it needs 'city'"),
        ({"city": "Rome", "town": "x"}, "it knows no 'town'"),
        ({"city": 3}, "'city' must be of the type string"),
        ({"city": "Rome", "days": 3.5}, "'days' must be of the type integer"),
        ({"city": "Rome", "days": True}, "'days' must be of the type integer"),
        ({"city": "Rome", "raw": "no"}, "'raw' must be of the type boolean or null"),
        ({"city": "Rome", "unit": "K"}, "'unit' is none of those that it takes"),
    ],
)
def test_what_can_not_be_meant_is_told(arguments: dict[str, Any], why: str | None) -> None:
    assert misfit(tool("x", inputSchema=SCHEMA).raw, arguments) == why


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "additionalProperties": True, "properties": {}},
        {"type": "object", "patternProperties": {"^x": {}}, "properties": {}},
        {"anyOf": [{"required": ["a"]}], "properties": {}},
        {"properties": {"a": True}, "required": "all"},
        {"properties": {"a": {"type": {"odd": 1}, "enum": 3}}},
        {"properties": {"a": {"type": "a type of the future"}}},
    ],
)
def test_a_schema_that_does_not_say_is_no_objection(schema: dict[str, Any]) -> None:
    assert misfit(tool("x", inputSchema=schema).raw, {"a": 1}) is None


def test_what_is_no_definition_is_no_objection() -> None:
    assert misfit(b"{", {}) is None
    assert misfit(b'{"inputSchema":{"properties":{"a":{"maximum":1e400}}}}', {"a": 1}) is None


# -- what is listed


def test_where_tools_are_found_only_the_hubs_own_are_listed_and_their_cost_is_known() -> None:
    slices = (slice_of("a", *OTHERS),)
    whole, search = (TenantView(slices, ALL, expose=expose) for expose in ("all", "search"))
    assert whole.tokens_of_all == search.tokens_of_all == tokens(whole.listed("tools"))
    assert search.names("tools") == ("find_tools", "use_capability")
    assert search.listed("tools") == (DEFINITIONS["find_tools"], DEFINITIONS["use_capability"])
    assert search.tool("a__other_1") is not None
    assert not TenantView(slices, Endpoint("server", "a")).meta_tools


@pytest.mark.parametrize("name", DEFINITIONS)
def test_each_own_tool_is_described_as_the_protocol_wants_it(name: str) -> None:
    from mcp import types

    definition = types.Tool.model_validate_json(DEFINITIONS[name])
    assert definition.name == name
    assert json.loads(DEFINITIONS[name])["inputSchema"]["additionalProperties"] is False


def test_a_model_reads_a_tools_name_and_what_is_said_of_it() -> None:
    (entry,) = slice_of(
        "git", tool("showBlame", description="Who wrote it."), showBlame=ToolOverride(tags=("author",))
    ).tools
    assert meanings_of(entry) == ("git show Blame", "author. Who wrote it.")
    (bare,) = slice_of("git", tool("log")).tools
    assert meanings_of(bare) == ("git log", "git log")


def test_a_part_that_can_not_be_read_takes_nothing_from_the_others() -> None:
    item = tool(
        "x", title=5, description="weather", inputSchema={"properties": {"branch": True, "city": {"type": "string"}}}
    )
    index = index_of(*OTHERS, item)
    assert found(index, "weather") == found(index, "branch") == found(index, "city") == ["x"]
