"""Slices, patterns, rewriting and search, on values alone."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.catalog.offers import READY, offering, slice_of, tool, unknown

from concento.catalog.annotations import InvalidAnnotation, param_headers
from concento.catalog.names import Naming
from concento.catalog.patterns import Patterns
from concento.catalog.rewrite import own_completion_params, publish_result
from concento.catalog.search import ToolIndex
from concento.catalog.slices import build_slice
from concento.catalog.uris import publish_template
from concento.catalog.view import TenantView
from concento.model.call import ALL
from concento.model.config import Server, ToolOverride, UrlReplica
from concento.model.errors import BadReply, InvalidParams, Unavailable
from concento.model.inventory import Inventory, Item, Listing


def test_an_item_keeps_every_member_and_every_byte_but_its_name() -> None:
    raw = (
        b'{"name":"t","inputSchema":{"$defs":{"n":{"$anchor":"n","maximum":1e2}},"type":"object"},'
        b'"_meta":{"x/y":[1.0]},"odd":1e400}'
    )
    entry = slice_of("a", Item("t", raw)).tools[0]
    assert entry.own_raw == raw
    assert entry.raw == raw.replace(b'"t"', b'"a__t"')


def test_overrides_rename_describe_and_hide_and_tell_of_what_they_miss() -> None:
    built = slice_of(
        "a",
        tool("one"),
        tool("two"),
        one=ToolOverride(rename="uno", description="the first"),
        two=ToolOverride(hide=True),
        tow=ToolOverride(hide=True),
    )
    assert [entry.public for entry in built.tools] == ["a__uno"]
    assert json.loads(built.tools[0].raw)["description"] == "the first"
    assert len(built.notes) == 1
    assert "did you mean 'two'" in built.notes[0]


def test_what_has_no_name_or_a_second_ones_name_is_left_out_with_a_note() -> None:
    built = slice_of("a", tool("one"), Item("", b"{}"), tool("one", description="again"))
    assert len(built.tools) == 1
    assert len(built.notes) == 2


def test_the_first_server_keeps_a_bare_name_and_the_prefixed_ones_are_not_touched() -> None:
    view = TenantView((slice_of("a", tool("x")), slice_of("b", tool("x"), prefix="never")), ALL)
    assert view.names("tools") == ("a__x", "x")
    assert view.tool("x").alias == "b"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"properties": {"r": {"type": "string", "x-mcp-header": "Region"}}}, [(("r",), "Region", "string")]),
        (
            {"properties": {"o": {"properties": {"n": {"type": "integer", "x-mcp-header": "N"}}}}},
            [(("o", "n"), "N", "integer")],
        ),
        ({"properties": {"x": {"default": {"x-mcp-header": "data"}}}}, []),
        (None, []),
        ({"properties": {"r": {"type": "number", "x-mcp-header": "R"}}}, None),
        ({"properties": {"r": {"type": ["string", "null"], "x-mcp-header": "R"}}}, None),
        ({"properties": {"x-mcp-header": {"type": "string"}}}, []),
        ({"properties": {"r": {"type": "string", "x-mcp-header": "R R"}}}, None),
        ({"properties": {"r": {"type": "string", "x-mcp-header": ""}}}, None),
        ({"properties": {"r": {"type": "array", "items": {"type": "string", "x-mcp-header": "R"}}}}, None),
        ({"$defs": {"r": {"type": "string", "x-mcp-header": "R"}}}, None),
        ({"anyOf": [{"properties": {"r": {"type": "string", "x-mcp-header": "R"}}}]}, None),
        ({"type": "string", "x-mcp-header": "R"}, None),
        (
            {"properties": {k: {"type": "string", "x-mcp-header": v} for k, v in (("a", "R"), ("b", "r"))}},
            None,
        ),
    ],
)
def test_mirrored_parameters_are_found_or_refused(schema: object, found: list[object] | None) -> None:
    if found is None:
        with pytest.raises(InvalidAnnotation):
            param_headers(schema)
        built = slice_of("a", Item("t", json.dumps({"name": "t", "inputSchema": schema}).encode()))
        assert not built.tools
        assert built.notes
    else:
        assert [(param.path, param.header, param.type) for param in param_headers(schema)] == found


@pytest.mark.parametrize(
    "schema",
    [
        b'{"properties":{"r":{"type":"string","x-mcp-header":"R"},"n":{"maximum":1e400}}}',
        b'{"properties":{"r":{"type":"string","x-mcp-heade\\u0072":"R"}}}',
    ],
)
def test_mirrored_parameters_are_found_beside_odd_numbers_and_behind_escapes(schema: bytes) -> None:
    built = slice_of("a", Item("t", b'{"name":"t","inputSchema":%b}' % schema))
    assert [param.header for param in built.tools[0].params] == ["R"]
    assert schema in built.tools[0].raw


def test_a_schema_too_deep_to_search_costs_its_own_tool_only() -> None:
    deep = b'{"properties":{"p":' * 3000 + b'{"x-mcp-header":1}' + b"}}" * 3000
    built = slice_of("a", Item("deep", b'{"name":"deep","inputSchema":%b}' % deep), tool("flat"))
    assert [entry.own for entry in built.tools] == ["flat"]
    assert len(built.notes) == 1


def test_a_deep_schema_without_annotations_is_no_reason_to_leave_a_tool_out() -> None:
    deep = b'{"properties":{"p":' * 40 + b"{}" + b"}}" * 40
    raw = b'{"name":"t","description":"no x-mcp-header here","inputSchema":%b}' % deep
    assert slice_of("a", Item("t", raw)).tools
    escaped = Item(
        "t", b'{"name":"t","description":"\\u003c","inputSchema":%b}' % deep.replace(b"{}", b"[" * 9 + b"]" * 9)
    )
    assert slice_of("a", escaped).tools


def test_a_tools_user_interface_is_made_public_in_both_spellings_and_nothing_else_is() -> None:
    meta = {"ui": {"resourceUri": "ui://x/y", "visibility": ["app"]}, "ui/resourceUri": "ui://x/y", "o": "ui://x/y"}
    entry = slice_of("a", tool("t", _meta=meta)).tools[0]
    public = {
        "ui": {"resourceUri": "ui://a!x/y", "visibility": ["app"]},
        "ui/resourceUri": "ui://a!x/y",
        "o": "ui://x/y",
    }
    assert json.loads(entry.raw)["_meta"] == public
    assert json.loads(entry.own_raw)["_meta"] == meta


def test_a_rename_to_a_name_that_is_taken_is_told_of() -> None:
    built = slice_of("a", tool("p"), tool("q"), p=ToolOverride(rename="q"))
    assert [(entry.own, entry.public) for entry in built.tools] == [("p", "a__q")]
    assert "'p'" in built.notes[0]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON_VALUES), st.booleans())
def test_whatever_a_server_lists_only_the_name_changes(more: dict[str, object], ascii: bool) -> None:
    members = {"inputSchema": {"type": "object"}, **more, "name": "t"}
    raw = json.dumps(members, ensure_ascii=ascii).encode()
    entry = slice_of("a", Item("t", raw)).tools[0]
    assert json.loads(entry.raw) == {**members, "name": "a__t"}
    assert entry.own_raw == raw


@given(JSON_VALUES)
def test_no_schema_breaks_the_search_for_mirrored_parameters(schema: object) -> None:
    with suppress(InvalidAnnotation):
        param_headers({"properties": {"p": {"x-mcp-header": schema, "type": schema}}, "allOf": schema})


def test_patterns_match_server_and_name_split_at_the_first_dot() -> None:
    patterns = Patterns(["git.*", "*.read_*", "docs.a.b"], ["git.push*"])
    assert patterns.matches("git", "status")
    assert patterns.matches("other", "read_x")
    assert patterns.matches("docs", "a.b")
    assert not patterns.matches("git", "push_all")
    assert not patterns.matches("docs", "a")
    assert Patterns(["*"]).matches("any", "thing")


def test_patterns_tell_which_servers_they_can_reach() -> None:
    patterns = Patterns(["git.*", "doc[s].a", "*.read_*"], ["secret.*", "git.push*"])
    assert patterns.reaches("git")
    assert patterns.reaches("other")
    assert not patterns.reaches("secret")
    assert not Patterns(["git.*"]).reaches("docs")
    assert not Patterns(["*"], ["*"]).reaches("git")
    assert not Patterns(["web_search"]).reaches("web_search")


PATTERN = st.tuples(st.sampled_from(["a", "b", "*", "?", "[ab]"]), st.sampled_from(["*", "x*", "x", "x.y", "?"])).map(
    ".".join
)


@given(st.lists(PATTERN), st.lists(PATTERN), st.sampled_from("abc"), st.sampled_from(["x", "x.y", "xx", "y"]))
def test_what_patterns_match_they_reach(include: list[str], exclude: list[str], alias: str, own: str) -> None:
    patterns = Patterns(include, exclude)
    assert patterns.reaches(alias) or not patterns.matches(alias, own)


def test_a_result_without_uris_is_returned_as_the_same_bytes() -> None:
    raw = Raw(b'{"content":[{"type":"text","text":"https://x"}],"structuredContent":{"uri":"s://x","n":1e2}}')
    assert publish_result("tools/call", raw, "a") is raw


@pytest.mark.parametrize(
    ("method", "result", "expected"),
    [
        (
            "tools/call",
            {"content": [{"type": "resource_link", "uri": "s://x/y", "name": "n"}, {"type": "text", "text": "s://x"}]},
            {
                "content": [
                    {"type": "resource_link", "uri": "s://a!x/y", "name": "n"},
                    {"type": "text", "text": "s://x"},
                ]
            },
        ),
        (
            "tools/call",
            {"content": [{"type": "resource", "resource": {"uri": "file:///f", "text": "t"}}]},
            {"content": [{"type": "resource", "resource": {"uri": "file://a!/f", "text": "t"}}]},
        ),
        (
            "prompts/get",
            {"messages": [{"role": "user", "content": {"type": "resource", "resource": {"uri": "s://x"}}}]},
            {"messages": [{"role": "user", "content": {"type": "resource", "resource": {"uri": "s://a!x"}}}]},
        ),
        (
            "resources/read",
            {"contents": [{"uri": "s://x", "text": ""}]},
            {"contents": [{"uri": "s://a!x", "text": ""}]},
        ),
    ],
)
def test_uris_in_results_are_made_public(method: str, result: object, expected: object) -> None:
    published = publish_result(method, Raw(json.dumps(result).encode()), "a")
    assert json.loads(bytes(published)) == expected


def test_a_result_of_another_form_is_a_bad_reply() -> None:
    with pytest.raises(BadReply):
        publish_result("resources/read", Raw(b'{"contents":7}'), "a")


def test_completion_goes_to_the_owner_in_its_own_names() -> None:
    inventory = Inventory(prompts=Listing((Item("greet", b'{"name":"greet"}'),)))
    built = build_slice(Server("a", (UrlReplica("http://x"),)), inventory, READY, naming=Naming())
    view = TenantView((built,), ALL)
    ref = Raw(b'{"type":"ref/prompt","name":"a__greet","extra":1}')
    kind, binding, params = own_completion_params({"ref": ref, "argument": Raw(b"{}")}, view)
    assert (kind, binding.alias) == ("prompt", "a")
    assert json.loads(bytes(params["ref"])) == {"type": "ref/prompt", "name": "greet", "extra": 1}  # type: ignore[arg-type]
    for bad in (b'{"type":"ref/prompt","name":"greet"}', b'{"type":"ref/other"}', b"7"):
        with pytest.raises(InvalidParams):
            own_completion_params({"ref": Raw(bad)}, view)


def test_completion_at_a_server_that_is_not_known_yet_can_be_tried_again() -> None:
    view = TenantView((unknown("a"),), ALL)
    with pytest.raises(Unavailable):
        own_completion_params({"ref": Raw(b'{"type":"ref/prompt","name":"a__greet"}')}, view)
    kind, binding, _ = own_completion_params({"ref": Raw(b'{"type":"ref/resource","uri":"s://a!x"}')}, view)
    assert (kind, binding.alias) == ("resource", "a")


def test_a_template_reference_goes_back_to_the_servers_own() -> None:
    template = "urn:{id}"
    view = TenantView((offering("a", templates=Listing((Item(template, b'{"uriTemplate":"urn:{id}"}'),))),), ALL)
    ref = json.dumps({"type": "ref/resource", "uri": publish_template("a", template)}).encode()
    _, _, params = own_completion_params({"ref": Raw(ref)}, view)
    assert json.loads(bytes(params["ref"]))["uri"] == template  # type: ignore[arg-type]


def test_search_finds_by_words_in_any_order_and_survives_any_query() -> None:
    built = slice_of("a", tool("current_time", description="Tell the time in a zone"), tool("other"))
    index = ToolIndex(built.tools)
    assert [entry.own for entry in index.search("zone time")] == ["current_time"]
    assert [entry.own for entry in index.search("curr")] == ["current_time"]
    assert not index.search("time", -1)
    index.close()


def test_search_finds_the_words_within_a_name() -> None:
    index = ToolIndex(slice_of("a", tool("getWeather"), tool("list_cities")).tools)
    assert [entry.own for entry in index.search("weather")] == ["getWeather"]
    assert [entry.own for entry in index.search("cities")] == ["list_cities"]
    index.close()


@given(st.text() | st.lists(st.sampled_from(['"', "a", "OR", "NEAR(", "*", "_", "²", "--", ":", "^"])).map(" ".join))
def test_any_text_is_a_query(query: str) -> None:
    index = ToolIndex(slice_of("a", tool("current_time")).tools)
    index.search(query)
    index.close()
