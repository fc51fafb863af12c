"""The catalog stays true: changes, lifetimes, one fetch for many askers, restarts, and what is said of the missing."""

import asyncio
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.hub.conftest import Start, at, config

from concento.admin import describe
from concento.app import Hub
from concento.model.config import Config, Server, View
from concento.model.tenant import Tenant
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import ECHO_TOOL, Exchange, ScriptedMcp, legacy_mcp, legacy_sse, modern_mcp
from concento.testing.raw_agent import RawAgent, legacy_initialize, legacy_request, modern_request
from concento.testing.waiting import until

OTHER_TOOL = {**ECHO_TOOL, "name": "other"}


async def names(agent: RawAgent) -> list[str]:
    return [tool["name"] for tool in (await agent.modern("tools/list")).result["tools"]]


@pytest.mark.parametrize("kind", [modern_mcp, legacy_mcp, legacy_sse])
async def test_a_changed_list_is_fetched_again_and_told_to_both_eras(start: Start, kind: type[ScriptedMcp]) -> None:
    mcp = kind()
    async with ScriptedHttpServer(mcp) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        await mcp.streaming()
        headers, body = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id="sub")
        async with RawAgent(hub.mcp) as agent, agent.stream("POST", None, body, headers) as modern:
            acknowledged = await modern.next_message()
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
            assert acknowledged["params"]["notifications"] == {"toolsListChanged": True}

            headers, body = legacy_initialize()
            opened = await agent.post(None, body, headers)
            session = opened.header("mcp-session-id")
            assert session
            stream_headers = [("Accept", "text/event-stream"), ("Mcp-Session-Id", session)]
            async with agent.stream("GET", None, b"", stream_headers) as legacy:
                await mcp.change_tools([ECHO_TOOL, OTHER_TOOL])
                told = await modern.next_message()
                assert told["method"] == "notifications/tools/list_changed"
                assert told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "sub"
                assert (await legacy.next_message())["method"] == "notifications/tools/list_changed"
            assert await names(agent) == ["s__echo", "s__other"]


async def test_a_thousand_lists_after_an_expiry_are_one_list_at_the_server(start: Start) -> None:
    """R11."""
    gate = asyncio.Event()

    async def listing(exchange: Exchange) -> dict[str, object]:
        first = len(server.hits("tools/list")) == 1
        if not first:
            await gate.wait()
        return {"tools": [ECHO_TOOL], "ttlMs": 1 if first else 60_000, "cacheScope": "private"}

    async with ScriptedHttpServer(modern_mcp(on={"tools/list": listing})) as server:
        hub = await start(config(at("s", server.url), start_wait_s=20.0))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            asking = [asyncio.ensure_future(agent.modern("tools/list")) for _ in range(1000)]  # noqa: TID251
            await server.arrived("tools/list", count=2)
            gate.set()
            replies = await asyncio.gather(*asking)
        assert all(reply.result["tools"] for reply in replies)
        assert len(server.hits("tools/list")) == 2, "one at the start, one for all who asked"


async def test_lifetimes_are_passed_on_and_the_shortest_counts(start: Start) -> None:
    async def short(exchange: Exchange) -> dict[str, object]:
        return {"tools": [ECHO_TOOL], "ttlMs": 30_000, "cacheScope": "public"}

    async def long(exchange: Exchange) -> dict[str, object]:
        return {"tools": [ECHO_TOOL], "ttlMs": 90_000, "cacheScope": "public"}

    async with (
        ScriptedHttpServer(modern_mcp(on={"tools/list": short})) as one,
        ScriptedHttpServer(modern_mcp(on={"tools/list": long})) as two,
    ):
        hub = await start(config(at("one", one.url), at("two", two.url)))
        await hub.ready("one", "two")
        async with RawAgent(hub.mcp) as agent:
            result = (await agent.modern("tools/list")).result
        assert 20_000 < result["ttlMs"] <= 30_000
        assert result["cacheScope"] == "public"


async def test_a_restart_lists_at_once_what_was_there_marked_stale(start: Start, tmp_path: Path) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        configuration = config(at("s", server.url), state_db=tmp_path / "state" / "concento.db")
        first = await Hub.create(configuration)
        async with asyncio.timeout(20):
            while not await first.store.items("inventories"):
                pass
        await first.close(1.0)
        await server.stop()
        second = await Hub.create(configuration)
        try:
            slice = second.current.snapshot.slices["s"]
            assert [entry.public for entry in slice.tools] == ["s__echo"]
            assert slice.health.stale
            assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
            await server.start()
            await until(lambda: not second.current.snapshot.slices["s"].health.stale, "fresh again")
        finally:
            await second.close(1.0)


async def test_what_is_missing_is_said_per_server_and_calls_to_it_are_retryable(start: Start) -> None:
    async def never(exchange: Exchange) -> None:
        await exchange.hang()

    slow = modern_mcp(on={"tools/list": never})
    async with ScriptedHttpServer(slow) as starting, ScriptedHttpServer(modern_mcp()) as ready:
        hub = await start(config(at("slow", starting.url), at("s", ready.url), start_wait_s=0.1))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            result = (await agent.modern("tools/list")).result
            assert [tool["name"] for tool in result["tools"]] == ["s__echo"]
            assert result["ttlMs"] == 0
            assert result["_meta"]["dev.concento/servers"]["slow"]["state"] == "starting"
            early = await agent.modern("tools/call", {"name": "slow__anything", "arguments": {}})
            assert early.error["code"] == -31001
            assert early.error["data"]["retryable"] is True
            assert not starting.hits("tools/call")


async def test_views_show_a_part_and_hide_the_rest_like_what_does_not_exist(start: Start) -> None:
    mcp = modern_mcp(tools=[ECHO_TOOL, OTHER_TOOL])
    async with ScriptedHttpServer(mcp) as server:
        views = (View("some", include=("s.*",), exclude=("s.oth*",)),)
        hub = await start(config(at("s", server.url), views=views))
        await hub.ready("s")
        async with RawAgent(f"{hub.url}/views/some/mcp") as agent:
            assert await names(agent) == ["s__echo"]
            hidden = await agent.modern("tools/call", {"name": "s__other", "arguments": {}}, id=1)
            absent = await agent.modern("tools/call", {"name": "s__othes", "arguments": {}}, id=1)
            assert hidden.body == absent.body.replace(b"othes", b"other")
            assert hidden.error["code"] == -32602
            assert not server.hits("tools/call")
        async with RawAgent(f"{hub.url}/views/none/mcp") as agent:
            assert (await agent.modern("tools/list")).status == 404


async def test_a_list_longer_than_a_page_is_paged_with_cursors_that_are_nobody_elses(start: Start) -> None:
    tools = [{**ECHO_TOOL, "name": f"t{number:03}"} for number in range(25)]
    async with ScriptedHttpServer(modern_mcp(tools=tools)) as server:
        hub = await start(config(at("s", server.url), page_items_max=10))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent, RawAgent(f"{hub.url}/servers/s/mcp") as other:
            seen: list[str] = []
            cursor: dict[str, str] = {}
            while True:
                result = (await agent.modern("tools/list", cursor)).result
                seen += [tool["name"] for tool in result["tools"]]
                if "nextCursor" not in result:
                    break
                cursor = {"cursor": result["nextCursor"]}
                assert (await other.modern("tools/list", cursor)).error["code"] == -32602
            assert seen == [f"s__t{number:03}" for number in range(25)]
            for wrong in ("", "x", cursor["cursor"][:-2] + "AA"):
                assert (await agent.modern("tools/list", {"cursor": wrong})).error["code"] == -32602


async def test_a_reload_keeps_unchanged_servers_connected_and_loses_no_call(start: Start) -> None:
    """R21."""
    async with ScriptedHttpServer(modern_mcp()) as kept, ScriptedHttpServer(modern_mcp()) as changing:
        hub = await start(config(at("s", kept.url), at("c", changing.url)))
        await hub.ready("s", "c")
        stop = asyncio.Event()

        async def call_on() -> int:
            calls = 0
            async with RawAgent(hub.mcp) as agent:
                while not stop.is_set():
                    assert (await agent.modern("tools/call", {"name": "s__echo", "arguments": {}})).result["content"]
                    calls += 1
            return calls

        calling = asyncio.ensure_future(call_on())  # noqa: TID251 - awaited below
        for timeout_s in (5.0, 6.0, 7.0):
            await hub.hub.configure(config(at("s", kept.url), at("c", changing.url, timeout_s=timeout_s)))
            await hub.ready("c")
        await hub.hub.configure(config(at("s", kept.url)))
        stop.set()
        assert await calling > 0
        assert len(kept.hits("server/discover")) == 1
        assert len(changing.hits("server/discover")) == 4
        async with RawAgent(hub.mcp) as agent:
            assert await names(agent) == ["s__echo"]


@pytest.mark.parametrize("kind", [modern_mcp, legacy_mcp])
async def test_a_subscribed_resource_that_changes_is_told_to_who_subscribed(
    start: Start, kind: type[ScriptedMcp]
) -> None:
    async def fine(exchange: Exchange) -> dict[str, object]:
        return {}

    lists = {"resources/list": [{"uri": "test://a", "name": "a"}], "resources/templates/list": []}
    hooks = {"resources/subscribe": fine, "resources/unsubscribe": fine} if kind is legacy_mcp else {}
    mcp = kind(lists=lists, on=hooks, capabilities={"tools": {}, "resources": {"subscribe": True}})
    async with ScriptedHttpServer(mcp) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            session = await agent.begin()
            stream_headers = [("Accept", "text/event-stream"), ("Mcp-Session-Id", session)]
            wanted = {"notifications": {"resourceSubscriptions": ["test://s!a", "test://nobody!b"]}}
            headers, body = modern_request("subscriptions/listen", wanted, id=7)
            async with (
                agent.stream("GET", None, b"", stream_headers) as legacy,
                agent.stream("POST", None, body, headers) as modern,
            ):
                acknowledged = await modern.next_message()
                assert acknowledged["params"]["notifications"] == {"resourceSubscriptions": ["test://s!a"]}
                headers, body = legacy_request("resources/subscribe", {"uri": "test://s!a"}, session=session)
                assert (await agent.post(None, body, headers)).result == {}
                await mcp.streaming()
                await mcp.push("notifications/resources/updated", {"uri": "test://a"})
                for stream in (legacy, modern):
                    told = await stream.next_message()
                    assert told["method"] == "notifications/resources/updated"
                    assert told["params"]["uri"] == "test://s!a"


def test_servers_that_are_configured_alike_are_equal() -> None:
    assert Server("a", ()) == Server("a", ())
    assert Config() == Config()


async def test_readiness_waits_for_servers_that_are_required(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url, required=True)))
        await hub.ready("s")
        async with RawAgent(hub.url) as agent:
            assert (await agent.get("/health/ready")).status == 200
            await server.stop()
            headers, body = modern_request("tools/call", {"name": "s__echo", "arguments": {}})
            await agent.post("/mcp", body, headers)
            await until(lambda: not hub.hub.is_ready(), "the required server is missed")
            assert (await agent.get("/health/ready")).status == 503
            assert (await agent.get("/health/live")).status == 200
            await server.start()
            await until(hub.hub.is_ready, "it is back")


async def test_the_admin_api_tells_servers_of_tenants_apart(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as one, ScriptedHttpServer(modern_mcp()) as other:
        servers = {f"{name}/s": at("s", url, tenant=name) for name, url in (("acme", one.url), ("globex", other.url))}
        tenants = {name: Tenant(name) for name in ("acme", "globex")}
        hub = await start(Config(servers=MappingProxyType(servers), tenants=MappingProxyType(tenants)))
        await hub.ready("acme/s", "globex/s")
        told = describe.servers(hub.hub)["servers"]
        assert [(server["alias"], server["replicas"]) for server in told] == [
            ("acme/s", [one.url]),
            ("globex/s", [other.url]),
        ]
        found = describe.tool(hub.hub, "s__echo")
        assert found is not None
        assert found["own_name"] == "echo"
