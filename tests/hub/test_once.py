"""Calls with a key of their agent's: made once, whoever repeats them and when. Source: hardening R13."""

import asyncio
from types import MappingProxyType
from typing import Any

import pytest
from tests.hub.conftest import Start, at, config

from concento.gateway import once
from concento.model.auth import Auth
from concento.model.policy import Conditions, Role, Rule, Test
from concento.testing.clock import ManualClock
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, ScriptedMcp, legacy_mcp, modern_mcp, reset
from concento.testing.raw_agent import RawAgent, RawReply, modern_request
from concento.testing.waiting import until

KEY = "dev.concento/idempotencyKey"


async def keyed(agent: RawAgent, key: Any = "k1", text: str = "x") -> RawReply:
    params = {"name": "s__echo", "arguments": {"text": text}, "_meta": {KEY: key}}
    return await agent.modern("tools/call", params)


@pytest.mark.parametrize("kind", [modern_mcp, legacy_mcp])
async def test_a_hundred_at_once_run_once(start: Start, kind: type[ScriptedMcp]) -> None:
    gate = asyncio.Event()

    async def counted(exchange: Exchange) -> Any:
        await gate.wait()
        return {"content": [], "structuredContent": {"text": "once"}}

    async with ScriptedHttpServer(kind(on_call=counted)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(keyed(agent)) for _ in range(100)]
                await until(lambda: hub.hub.records.in_flight == 100, "all are there")
                gate.set()
            replies = [call.result() for call in calls]
            assert {str(reply.result) for reply in replies} == {str(replies[0].result)}
            assert (await keyed(agent)).result == replies[0].result
        assert len(server.hits("tools/call")) == 1


async def test_another_call_with_a_used_key_is_refused(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            await keyed(agent)
            other = await keyed(agent, text="y")
            assert other.error["code"] == -32602
            assert (await keyed(agent, "k2", "y")).result
        assert len(server.hits("tools/call")) == 2


@pytest.mark.parametrize("key", ["", 7, None, "k" * 256])
async def test_what_is_no_key_is_refused(start: Start, key: Any) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await keyed(agent, key)).error["code"] == -32602
        assert server.hits("tools/call") == []


async def test_a_call_that_may_have_run_is_not_made_again_and_one_that_was_not_sent_is(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp(on_call=reset)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for _ in range(3):
                assert (await keyed(agent)).error["data"]["outcome"] == "unknown"
            assert len(server.hits("tools/call")) == 1
            await server.stop()
            for _ in range(2):
                assert (await keyed(agent, "k2")).error["data"]["outcome"] == "not_sent"
            assert len(hub.hub.gateway.once._made) == 1


async def test_replies_are_forgotten_in_time_and_bounded_until_then(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "KEYS_OF_ONE_MAX", 3)
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        clock = ManualClock()
        hub.hub.gateway.once._now = clock.monotonic
        async with RawAgent(hub.mcp) as agent:
            for number in range(3):
                assert (await keyed(agent, f"k{number}")).result
            assert (await keyed(agent, "one more")).error["code"] == -31004
            clock.advance(once.KEPT_S)
            assert (await keyed(agent, "k0")).result
        assert len(server.hits("tools/call")) == 4
        assert len(hub.hub.gateway.once._made) == 1
        assert hub.hub.gateway.once._bytes < 1000


async def test_what_is_kept_is_not_given_to_whom_the_policy_would_refuse_now(start: Start) -> None:
    """The same user and agent, by a credential that may less: the key opens nothing that a call would not."""
    roles = MappingProxyType({"writer": Role("writer", ("s.*",))})
    only_x = Conditions(roles=("reader",), arguments=(("text", Test("eq", "x")),))
    rules = (Rule("readers read x", "allow", ("s.*",), when=only_x),)
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), auth=Auth(), roles=roles, policies=rules))
        await hub.ready("s")
        _, writer = await hub.hub.keys.create("alice", roles=("writer",))
        _, reader = await hub.hub.keys.create("alice", roles=("reader",))
        async with RawAgent(hub.mcp) as agent:

            async def call(key: str, text: str) -> RawReply:
                params = {"name": "s__echo", "arguments": {"text": text}, "_meta": {KEY: f"k {text}"}}
                headers, body = modern_request("tools/call", params)
                return await agent.post(None, body, {**headers, "Authorization": f"Bearer {key}"})

            for text in ("x", "y"):
                assert (await call(writer, text)).result
            assert (await call(reader, "x")).result["structuredContent"] == {"text": "x"}
            refused = await call(reader, "y")
            assert (refused.status, refused.error["code"]) == (403, -31007)
        assert len(server.hits("tools/call")) == 2
