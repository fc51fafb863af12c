"""Servers kept connected: eras that change, definitions that pass unchanged, pauses between tries."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from tests.hub.conftest import Start, at, child, config
from tests.peers import sdk_http_server

from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import legacy_mcp, modern_mcp
from concento.testing.raw_agent import RawAgent
from concento.testing.waiting import until
from concento.upstream.replica import BACKOFF_BASE_S, BACKOFF_MAX_S, backoff_s

CALL = {"name": "s__echo", "arguments": {"text": "x"}}


async def test_a_server_that_comes_back_in_another_era_is_probed_anew(start: Start) -> None:
    server = ScriptedHttpServer(modern_mcp())
    async with server:
        hub = await start(config(at("s", server.url)))
        for era, kind in (("modern", None), ("legacy", legacy_mcp), ("modern", modern_mcp)):
            if kind is not None:
                await server.stop()
                server.handler = kind()
                await server.start()
            async with RawAgent(hub.mcp) as agent:

                async def answers(agent: RawAgent = agent) -> bool:
                    return "result" in (await agent.modern("tools/call", CALL)).message

                if kind is None:
                    await hub.ready("s")
                async with asyncio.timeout(20):
                    while not await answers():
                        pass
                assert hub.hub.upstreams.get("s").health().era == era


async def test_definitions_reach_the_agent_with_every_unknown_member(start: Start) -> None:
    async with sdk_http_server("modern") as url:
        hub = await start(config(at("demo", url)))
        await hub.ready("demo")
        async with RawAgent(url) as direct, RawAgent(f"{hub.url}/servers/demo/mcp") as one, RawAgent(hub.mcp) as every:
            own = (await direct.modern("tools/list")).result["tools"]
            assert (await one.modern("tools/list")).result["tools"] == own
            prefixed = (await every.modern("tools/list")).result["tools"]
            assert prefixed == [{**tool, "name": f"demo__{tool['name']}"} for tool in own]
            assert any("x-unknown" in tool and "$defs" in tool["inputSchema"] for tool in own)
            called = {"name": "links", "arguments": {}}
            raw = (await direct.modern("tools/call", called)).result
            assert (await one.modern("tools/call", called)).result == raw
            public = (await every.modern("tools/call", {**called, "name": "demo__links"})).result
            links = [part["uri"] for part in public["content"] if part["type"] == "resource_link"]
            assert links
            assert all("demo!" in link for link in links)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_pauses_grow_from_half_a_second_to_half_a_minute(failures: int, randomness: float) -> None:
    pause = backoff_s(failures, randomness)
    assert 0.75 * BACKOFF_BASE_S <= pause <= 1.25 * BACKOFF_MAX_S
    assert backoff_s(failures + 1, randomness) >= pause


async def test_an_agent_is_told_that_a_server_fails_which_was_never_listed(start: Start) -> None:
    hub = await start(config(child("gone", "-c", "raise SystemExit(3)")))
    await until(lambda: hub.hub.current.snapshot.slices["gone"].health.state == "failing", "the server failing")
    completion = {"ref": {"type": "ref/prompt", "name": "gone__x"}, "argument": {"name": "a", "value": ""}}
    asked = (
        ("tools/call", {"name": "gone__x", "arguments": {}}),
        ("prompts/get", {"name": "gone__x"}),
        ("completion/complete", completion),
    )
    async with RawAgent(hub.mcp) as agent:
        for method, params in asked:
            error = (await agent.modern(method, params)).message["error"]
            assert error["code"] == -31001
            assert error["message"].startswith("The server 'gone' is failing: exited with code 3 after ")
