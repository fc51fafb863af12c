"""Slices, views, pages and rewriting, on values alone."""

import json
from types import MappingProxyType

import pytest
from msgspec import Raw

from concento.catalog.annotations import InvalidAnnotation, param_headers
from concento.catalog.names import Naming
from concento.catalog.patterns import Patterns
from concento.catalog.rewrite import own_completion_params, publish_result
from concento.catalog.search import ToolIndex
from concento.catalog.slices import Slice, build_slice
from concento.catalog.view import TenantView
from concento.model.call import ALL, Endpoint
from concento.model.config import Server, ToolOverride, UrlReplica
from concento.model.errors import BadReply, InvalidParams
from concento.model.inventory import Health, Inventory, Item, Listing

READY = Health("ready")


def tool(name: str, **more: object) -> Item:
    return Item(name, json.dumps({"name": name, "inputSchema": {"type": "object"}, **more}).encode())


def slice_of(alias: str, *tools: Item, prefix: str = "alias", **overrides: ToolOverride) -> Slice:
    server = Server(alias, (UrlReplica("http://x"),), tools=MappingProxyType(overrides), prefix=prefix)  # type: ignore[arg-type]
    inventory = Inventory(tools=Listing(tools, 60.0, True, 1000.0), capabilities=b'{"tools":{},"logging":{}}')
    return build_slice(server, inventory, READY, naming=Naming(48, frozenset({"a", "b"})))


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


def test_patterns_match_server_and_name_split_at_the_first_dot() -> None:
    patterns = Patterns(["git.*", "*.read_*", "docs.a.b"], ["git.push*"])
    assert patterns.matches("git", "status")
    assert patterns.matches("other", "read_x")
    assert patterns.matches("docs", "a.b")
    assert not patterns.matches("git", "push_all")
    assert not patterns.matches("docs", "a")
    assert Patterns(["*"]).matches("any", "thing")


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
    alias, params = own_completion_params({"ref": ref, "argument": Raw(b"{}")}, view)
    assert alias == "a"
    assert json.loads(bytes(params["ref"])) == {"type": "ref/prompt", "name": "greet", "extra": 1}  # type: ignore[arg-type]
    for bad in (b'{"type":"ref/prompt","name":"greet"}', b'{"type":"ref/other"}', b"7"):
        with pytest.raises(InvalidParams):
            own_completion_params({"ref": Raw(bad)}, view)


def test_freshness_is_the_shortest_and_zero_while_anything_is_missing() -> None:
    view = TenantView((slice_of("a", tool("x")),), ALL)
    assert view.ttl_ms("tools", 1010.0) == 50_000
    assert view.ttl_ms("tools", 2000.0) == 0
    assert view.public("tools")
    missing = Slice(Server("b", ()), None, Health())
    both = TenantView((*view.slices, missing), ALL)
    assert both.ttl_ms("tools", 1010.0) == 0
    assert not both.public("tools")
    assert both.pending("b__x") == "b"
    assert both.pending("a__nope") is None
    assert both.troubles() == {"b": {"state": "starting"}}


def test_one_servers_endpoint_uses_its_own_names() -> None:
    view = TenantView((slice_of("a", tool("x")),), Endpoint("server", "a"))
    assert view.names("tools") == ("x",)
    assert view.resource("any://thing").own == "any://thing"  # type: ignore[union-attr]
    assert view.nearest("tools", "xx") == ["x"]


def test_search_finds_by_words_in_any_order_and_survives_any_query() -> None:
    built = slice_of("a", tool("current_time", description="Tell the time in a zone"), tool("other"))
    index = ToolIndex(built.tools)
    assert [entry.own for entry in index.search("zone time")] == ["current_time"]
    assert [entry.own for entry in index.search("curr")] == ["current_time"]
    for query in ('"', "a OR", "*", "NEAR(", "", "ü'--"):
        index.search(query)
    index.close()
