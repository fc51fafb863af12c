"""What an agent is told when servers misbehave. Each test names the row of the hardening rules it proves."""

import asyncio
import sys
import time
from pathlib import Path

import pytest
from tests.hub.conftest import Start, at, config

from concento.model.config import ChildReplica, Server
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import (
    Exchange,
    ScriptedMcp,
    asks,
    close_mid_body,
    close_mid_stream,
    garbage,
    hang,
    legacy_mcp,
    legacy_sse,
    modern_mcp,
    reset,
    status,
    twice,
    unknown_result_type,
    wrong_id,
)
from concento.testing.raw_agent import RawAgent
from concento.testing.stdio_child import child_command, recorded
from concento.testing.waiting import until

CALL = {"name": "s__echo", "arguments": {"text": "hello"}}


def stdio(behaviour: str, **options: object) -> Server:
    timeout_s = float(str(options.pop("timeout_s", 30.0)))
    return Server("s", (ChildReplica(tuple(child_command(behaviour, **options))),), timeout_s=timeout_s)


@pytest.mark.parametrize("kind", [modern_mcp, legacy_mcp])
@pytest.mark.parametrize(
    ("hook", "outcome"),
    [
        (garbage, "unknown"),
        (wrong_id, "unknown"),
        (reset, "unknown"),
        (close_mid_body, "unknown"),
        (close_mid_stream, "unknown"),
        (unknown_result_type, "failed"),
        (status(200, b"<html>It works</html>"), "unknown"),
        (status(200, b"\xff\xfe"), "unknown"),
        (status(500, b"boom"), "unknown"),
        (status(200, b'{"jsonrpc":"2.0"}'), "unknown"),
        (status(200, b"[" * 100_000), "unknown"),
    ],
)
async def test_a_bad_reply_is_31006_and_executed_once(start: Start, kind: type[ScriptedMcp], hook, outcome) -> None:
    """R1, R4, R33."""
    async with ScriptedHttpServer(kind(on_call=hook)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            reply = await agent.modern("tools/call", CALL)
        assert reply.status == 200
        assert reply.error["code"] == -31006
        assert reply.error["data"]["outcome"] == outcome
        assert reply.error["data"]["retryable"] is False
        assert str(server.origin) not in reply.body.decode()
        assert len(server.hits("tools/call")) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_reply_that_comes_twice_is_delivered_once(start: Start, streamed: bool) -> None:
    """R33."""
    async with ScriptedHttpServer(modern_mcp(on_call=twice, streamed=streamed)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for _ in range(3):
                reply = await agent.modern("tools/call", CALL)
                assert reply.result["structuredContent"] == {"text": "hello"}
                assert len(reply.messages) == 1


@pytest.mark.parametrize("kind", [modern_mcp, legacy_mcp])
async def test_a_server_that_hangs_is_given_up_at_the_deadline_and_told(start: Start, kind: type[ScriptedMcp]) -> None:
    """R2."""
    mcp = kind(on_call=hang)
    async with ScriptedHttpServer(mcp) as server:
        hub = await start(config(at("s", server.url, timeout_s=0.5)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            started_s = time.monotonic()
            reply = await agent.modern("tools/call", CALL)
            took_s = time.monotonic() - started_s
        assert reply.error["code"] == -31002
        assert reply.error["data"]["outcome"] == "unknown"
        assert 0.4 < took_s < 20
        assert hub.hub.upstreams.get("s").in_flight == 0
        if kind is not modern_mcp:
            await until(lambda: mcp.cancelled, "the server was told")


async def test_a_child_that_hangs_is_told_that_the_call_is_cancelled(start: Start, tmp_path: Path) -> None:
    """R2, R14."""
    record = tmp_path / "record"
    hub = await start(config(stdio("hang_on:tools/call", record=record, timeout_s=0.3)))
    await hub.ready("s")
    async with RawAgent(hub.mcp) as agent:
        reply = await agent.modern("tools/call", CALL)
    assert reply.error["code"] == -31002
    await until(lambda: recorded(record, "notifications/cancelled"), "the child was told")


async def test_a_child_killed_in_the_middle_of_a_call_ends_it_with_31006_and_comes_back(start: Start) -> None:
    """R1."""
    hub = await start(config(stdio("crash_on_call", code=3)))
    await hub.ready("s")
    async with RawAgent(hub.mcp) as agent:
        reply = await agent.modern("tools/call", CALL)
        assert reply.error["code"] == -31006
        assert reply.error["data"]["outcome"] == "unknown"
        assert "exited with code 3" in reply.error["message"]
        await hub.ready("s")
        assert (await agent.modern("tools/list")).result["tools"]


async def test_a_child_that_exits_at_once_says_its_last_words_and_is_unavailable(start: Start) -> None:
    """R9: no waiting for what is known to be down; and the reason is told."""
    hub = await start(config(stdio("exit_at_once", code=7)))
    slices = hub.hub.current.snapshot.slices
    await until(lambda: hub.hub.current.snapshot.slices["s"].health.state == "failing", "failing", lambda: slices)
    async with RawAgent(hub.mcp) as agent:
        reply = await agent.modern("tools/call", CALL)
        assert reply.error["code"] == -31001
        listed = await agent.modern("tools/list")
        assert listed.result["tools"] == []
        assert listed.result["ttlMs"] == 0
        told = listed.result["_meta"]["dev.concento/servers"]["s"]
        assert told["state"] == "failing"
        assert "exited with code 7" in told["error"]


async def test_what_a_child_wrote_before_it_ended_is_told_to_operators_alone(start: Start) -> None:
    """T30."""
    script = "import sys; sys.stderr.write('token canary-stderr'); sys.exit(4)"
    hub = await start(config(Server("s", (ChildReplica((sys.executable, "-c", script)),))))
    await until(lambda: hub.hub.current.snapshot.slices["s"].health.state == "failing", "failing")
    async with RawAgent(hub.mcp) as agent:
        for method, params in (("tools/call", CALL), ("tools/list", {}), ("server/discover", {})):
            assert b"canary" not in (await agent.modern(method, params)).body
    assert "canary-stderr" in " ".join(hub.hub.upstreams.get("s").health().stderr)


@pytest.mark.parametrize("behaviour", ["garbage_lines", "unasked", "twice", "stderr_flood"])
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_noise_around_a_childs_answers_changes_nothing(start: Start, behaviour: str, era: str) -> None:
    """R4, R24, R33."""
    hub = await start(config(stdio(behaviour, era=era, bytes=1024**2)))
    await hub.ready("s")
    async with RawAgent(hub.mcp) as agent:
        for _ in range(3):
            assert (await agent.modern("tools/call", CALL)).result["content"]


async def test_a_line_without_end_kills_the_child_not_the_hub(start: Start) -> None:
    """R24."""
    hub = await start(config(stdio("huge_line", bytes=20 * 1024**2)))
    await hub.ready("s")
    async with RawAgent(hub.mcp) as agent:
        reply = await agent.modern("tools/call", CALL)
        assert reply.error["code"] == -31006
        assert "16 MiB" in reply.error["message"]
        await hub.ready("s")


@pytest.mark.parametrize("method", ["sampling/createMessage", "elicitation/create", "roots/list"])
@pytest.mark.parametrize("kind", [legacy_mcp, legacy_sse])
async def test_a_server_that_asks_for_what_nobody_offered_ends_the_call(
    start: Start, method: str, kind: type[ScriptedMcp]
) -> None:
    """R34."""
    async with ScriptedHttpServer(kind(on_call=asks(method), streamed=True)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            reply = await agent.modern("tools/call", CALL)
            assert reply.error["code"] == -31006
            assert method.partition("/")[0] in reply.error["message"]
            assert len(reply.messages) == 1
        mcp = server.handler
        assert isinstance(mcp, ScriptedMcp)


async def test_input_required_from_a_modern_server_ends_the_call(start: Start) -> None:
    """R34."""

    async def asks_back(exchange: Exchange) -> dict[str, object]:
        return {"resultType": "input_required", "inputRequests": {"a": {"method": "roots/list"}}}

    async with ScriptedHttpServer(modern_mcp(on_call=asks_back)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await agent.modern("tools/call", CALL)).error["code"] == -31006


@pytest.mark.parametrize("refusals", [1, 2])
async def test_a_server_that_refuses_a_revision_it_names_is_asked_again_before_it_is_greeted_the_old_way(
    start: Start, refusals: int
) -> None:
    """Specification 2026-07-28, versioning."""

    async def discovering(exchange: Exchange) -> dict[str, object] | None:
        if len(server.hits("server/discover")) > refusals:
            return {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        await exchange.error(-32022, "not now", {"supported": ["2026-07-28"], "requested": "2026-07-28"}, status=400)
        return None

    async with ScriptedHttpServer(modern_mcp(on={"server/discover": discovering})) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        assert len(server.hits("initialize")) == refusals - 1


async def test_a_dead_server_costs_the_others_nothing(start: Start) -> None:
    """R3, R9."""
    async with ScriptedHttpServer(modern_mcp()) as alive, ScriptedHttpServer(modern_mcp(on_call=hang)) as hanging:
        hub = await start(config(at("dead", "http://127.0.0.1:9/mcp"), at("slow", hanging.url), at("s", alive.url)))
        await hub.ready("s", "slow")
        async with RawAgent(hub.mcp) as agent, RawAgent(hub.mcp) as other:
            waiting = asyncio.ensure_future(other.modern("tools/call", {**CALL, "name": "slow__echo"}))  # noqa: TID251
            await hanging.arrived("tools/call")
            started_s = time.monotonic()
            for _ in range(20):
                assert (await agent.modern("tools/call", CALL)).result["content"]
            dead = await agent.modern("tools/call", {**CALL, "name": "dead__echo"})
            assert time.monotonic() - started_s < 20, "nothing waited for the hanging call's deadline"
            assert dead.error["code"] == -31001
            assert dead.error["data"]["outcome"] == "not_sent"
            assert dead.error["data"]["retryable"] is True
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


async def test_a_legacy_session_the_server_forgot_is_made_anew_once(start: Start) -> None:
    """R6."""
    mcp = legacy_mcp()
    async with ScriptedHttpServer(mcp) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        await mcp.streaming()
        mcp.open.clear()
        async with RawAgent(hub.mcp) as agent:
            replies = await asyncio.gather(*(agent.modern("tools/call", CALL) for _ in range(5)))
            assert all(reply.result["content"] for reply in replies)
            assert (await agent.modern("tools/call", CALL)).result["content"]
        assert len(server.hits("initialize")) == 2


async def test_one_of_two_replicas_down_loses_no_call(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as one, ScriptedHttpServer(modern_mcp()) as two:
        hub = await start(config(at("s", one.url, two.url)))
        await hub.ready("s")
        await until(lambda: all(r.state == "ready" for r in hub.hub.upstreams.get("s").replicas), "both replicas")
        async with RawAgent(hub.mcp) as agent:
            for _ in range(4):
                assert (await agent.modern("tools/call", CALL)).result["content"]
            assert one.hits("tools/call")
            assert two.hits("tools/call")
            await two.stop()
            for _ in range(6):
                assert (await agent.modern("tools/call", CALL)).result["content"]
