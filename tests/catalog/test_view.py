"""What one endpoint shows, on values alone: names, lists, and what it says of itself."""

import pytest
from msgspec import Raw
from tests.catalog.offers import offering, slice_of, tool, unknown

from concento.catalog.patterns import Patterns
from concento.catalog.view import INSTRUCTIONS_CHARS_MAX, TenantView
from concento.model.call import ALL, Endpoint
from concento.model.inventory import Listing
from concento.policy.sight import Sight

VIEW = Endpoint("view", "v")


def test_freshness_is_the_shortest_and_zero_while_anything_is_missing() -> None:
    view = TenantView((slice_of("a", tool("x")),), ALL)
    assert view.ttl_ms("tools", 1010.0) == 50_000
    assert view.ttl_ms("tools", 2000.0) == 0
    assert view.public("tools")
    missing = unknown("b")
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


def test_a_view_says_nothing_of_servers_it_can_not_reach() -> None:
    seen = slice_of("a", tool("x"))
    other = offering("b", instructions="of b", capabilities=b'{"prompts":{},"completions":{}}')
    view = TenantView(
        (seen, other, unknown("bare", prefix="never"), unknown("c")), VIEW, Sight(patterns=Patterns(["a.*"]))
    )
    assert view.instructions is None
    tasks: dict[str, object] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    assert view.capabilities == {"tools": {"listChanged": True}, "logging": {}, **tasks}
    assert view.troubles() == {}
    assert view.ttl_ms("tools", 1010.0) == 50_000
    for name in ("c__x", "x", "a__y", "s://c!x"):
        assert view.pending(name) is None
    assert view.resource("s://c!x") is None
    assert view.resource("s://a!x") is not None
    assert view.slices == (seen, other, *view.slices[2:])


def test_a_view_that_excludes_some_tools_still_shows_their_server() -> None:
    view = TenantView((slice_of("a", tool("x"), tool("y")),), VIEW, Sight(patterns=Patterns(["*"], ["a.x"])))
    assert view.names("tools") == ("a__y",)
    assert view.nearest("tools", "a__x") == ["a__y"]
    assert not view.public("tools")


@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("b__x", "b"),
        ("a__x", None),
        ("x", "bare"),
        ("a__x_0123abcd", "bare"),
        ("x.y", None),
        ("file:///x", None),
        ("s://a!x", None),
    ],
)
def test_a_name_waits_only_for_a_server_that_could_have_it(name: str, server: str | None) -> None:
    view = TenantView((unknown("bare", prefix="never"), slice_of("a", tool("y")), unknown("b")), ALL)
    assert view.pending(name) == server


def test_every_name_waits_for_the_one_server_of_an_endpoint() -> None:
    assert TenantView((unknown("a"),), Endpoint("server", "a")).pending("any.thing") == "a"


def test_while_a_server_is_unknown_what_it_may_offer_is_not_denied() -> None:
    view = TenantView((slice_of("a", tool("x")), unknown("b")), ALL)
    assert view.capabilities["prompts"] == {"listChanged": True}
    assert view.capabilities["resources"] == {"listChanged": True, "subscribe": True}


def test_instructions_stand_under_their_servers_name_in_full_if_they_fit() -> None:
    view = TenantView((offering("a", instructions="do"), offering("bare", prefix="never", instructions="or not")), ALL)
    assert view.instructions == "## a\nIts tools are named a__….\n\ndo\n\n## bare\n\nor not"


@pytest.mark.parametrize("servers", [1, 3, 300, 3000])
def test_long_instructions_are_cut_and_short_ones_are_not(servers: int) -> None:
    slices = [offering(f"s{index}", instructions="short.") for index in range(servers)]
    view = TenantView((offering("long", instructions="l" * 100_000), *slices), ALL)
    told = view.instructions or ""
    assert len(told) <= INSTRUCTIONS_CHARS_MAX
    if servers < 1000:
        assert told.count("short.") == servers
        assert len(told) > INSTRUCTIONS_CHARS_MAX - 10


def test_a_server_introduces_itself_in_its_own_bytes() -> None:
    info = b'{"name":"x","version":"1","n":1e400}'
    view = TenantView((offering("a", info=info),), Endpoint("server", "a"))
    assert view.info == Raw(info)
    assert TenantView((offering("a"),), Endpoint("server", "a")).info is None
    assert TenantView((offering("a", info=info),), ALL).info is None


def test_the_nearest_of_many_names_are_found() -> None:
    names = [f"tool_{index}_of_many" for index in range(3000)]
    view = TenantView((slice_of("a", *map(tool, names)),), ALL)
    found = view.nearest("tools", "a__tool_77_of_mny")
    assert found[0] == "a__tool_77_of_many"
    assert len(found) == 3
    assert view.nearest("tools", "?" * 100_000) == []
    assert view.nearest("tools", "") == []


def test_a_bare_name_never_takes_a_prefixed_ones_place() -> None:
    bare = slice_of("bare", tool("a__x"), tool("y"), prefix="never")
    for slices in ((bare, slice_of("a", tool("x"))), (slice_of("a", tool("x")), bare)):
        binding = TenantView(slices, ALL).tool("a__x")
        assert binding is not None
        assert binding.alias == "a"


def test_an_empty_view_is_not_fresh_and_not_public() -> None:
    view = TenantView((offering("a", tools=Listing((), 60.0, True, 0.0)),), VIEW, Sight(patterns=Patterns([])))
    assert view.ttl_ms("tools", 0.0) == 0
    assert not view.public("tools")
    assert view.items("tools") == ()
