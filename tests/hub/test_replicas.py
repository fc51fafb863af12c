"""Several live instances of one server: who of them gets a call. Through a whole hub."""

import asyncio
import subprocess
import sys
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.hub.conftest import Running, Start, at, config, free_port

from concento.model.config import ChildReplica, Server, ToolOverride, UrlReplica
from concento.testing.clock import ManualClock
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, ScriptedMcp, hang, legacy_mcp, legacy_sse, modern_mcp, reset
from concento.testing.raw_agent import RawAgent, RawReply
from concento.testing.stdio_child import child_command, recorded
from concento.testing.waiting import until
from concento.upstream import replica
from concento.upstream.circuit import CLOSED

UPSTREAM = Path(__file__).parents[2] / "benchmarks" / "upstream.py"


async def replicated(
    start: Start, stack: AsyncExitStack, weights: tuple[int, ...], **options: Any
) -> tuple[Running, list[ScriptedHttpServer]]:
    servers = [await stack.enter_async_context(ScriptedHttpServer(modern_mcp())) for _ in weights]
    replicas = tuple(UrlReplica(server.url, weight=one) for server, one in zip(servers, weights, strict=True))
    hub = await start(config(Server("s", replicas, **options)))
    await hub.ready("s")
    return hub, servers


async def test_calls_go_round_by_weight(start: Start) -> None:
    async with AsyncExitStack() as stack:
        hub, servers = await replicated(start, stack, (3, 1), balance="weighted")
        async with RawAgent(hub.mcp) as agent:
            for _ in range(8):
                await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": "x"}})
        assert [len(server.hits("tools/call")) for server in servers] == [6, 2]


async def test_calls_with_the_same_argument_stay_together_and_move_when_their_replica_goes(start: Start) -> None:
    async with AsyncExitStack() as stack:
        hub, servers = await replicated(start, stack, (1, 1, 1), balance="hash", hash_by="arguments.text")
        texts = [f"text {number}" for number in range(20)]
        async with RawAgent(hub.mcp) as agent:
            for text in texts * 2:
                await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": text}})
            homes: defaultdict[str, set[int]] = defaultdict(set)
            for place, server in enumerate(servers):
                for hit in server.hits("tools/call"):
                    homes[hit.message["params"]["arguments"]["text"]].add(place)
            assert all(len(places) == 1 for places in homes.values())
            assert len(Counter(next(iter(places)) for places in homes.values())) == 3
            (gone,) = homes[texts[0]]
            await servers[gone].stop()
            for text in texts:
                reply = await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": text}})
                assert reply.result["structuredContent"] == {"text": text}


async def test_the_slow_one_of_two_gets_the_fewer_calls(start: Start) -> None:
    async with AsyncExitStack() as stack:
        hub, servers = await replicated(start, stack, (1, 1), balance="least_busy")
        upstream = hub.hub.upstreams.get("s")
        upstream.replicas[0].latency.note(60.0, upstream.clock.monotonic())
        async with RawAgent(hub.mcp) as agent:
            for _ in range(6):
                await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": "x"}})
        assert [len(server.hits("tools/call")) for server in servers] == [0, 6]


CALL = {"name": "s__echo", "arguments": {"text": "x"}}


async def test_a_server_that_keeps_failing_gets_one_call_a_window_and_all_others_an_answer_at_once(
    start: Start,
) -> None:
    """R7, R9."""
    well = False

    async def flapping(exchange: Exchange) -> Any:
        return {"content": [], "structuredContent": {"text": "x"}} if well else await reset(exchange)

    async with ScriptedHttpServer(modern_mcp(on_call=flapping)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        upstream = hub.hub.upstreams.get("s")
        upstream.clock = clock = ManualClock()
        async with RawAgent(hub.mcp) as agent:
            for _ in range(19):
                await agent.modern("tools/call", CALL)
            reply = await agent.modern("tools/call", CALL)
            assert len(server.hits("tools/call")) == 5
            assert reply.error["code"] == -31001
            assert reply.error["data"]["outcome"] == "not_sent"
            assert "failed 5 times in a row" in reply.error["message"]
            for window in range(1, 4):
                clock.advance(400.0)
                for _ in range(10):
                    await agent.modern("tools/call", CALL)
                assert len(server.hits("tools/call")) == 5 + window
            well = True
            clock.advance(400.0)
            for _ in range(10):
                assert (await agent.modern("tools/call", CALL)).result
            assert len(server.hits("tools/call")) == 18


async def test_one_of_several_that_keeps_failing_is_passed_over(start: Start) -> None:
    async with AsyncExitStack() as stack:
        hooks = (reset, None)
        servers = [await stack.enter_async_context(ScriptedHttpServer(modern_mcp(on_call=hook))) for hook in hooks]
        hub = await start(config(at("s", *(server.url for server in servers))))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for _ in range(30):
                await agent.modern("tools/call", CALL)
        assert [len(server.hits("tools/call")) for server in servers] == [5, 25]


async def test_where_all_keep_failing_none_is_passed_over(start: Start) -> None:
    """R7: never eject all."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(ScriptedHttpServer(modern_mcp(on_call=reset))) for _ in range(2)]
        hub = await start(config(at("s", *(server.url for server in servers))))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for _ in range(30):
                await agent.modern("tools/call", CALL)
        assert sum(len(server.hits("tools/call")) for server in servers) == 30


MARKS = [(None, 0), (ToolOverride(repeatable=True), 1), (ToolOverride(repeatable=False), 0)]


@pytest.mark.parametrize(("marked", "again"), MARKS)
async def test_a_call_that_may_have_run_is_made_again_where_the_operator_says_so(
    start: Start, marked: ToolOverride | None, again: int
) -> None:
    """R12."""
    async with AsyncExitStack() as stack:
        hooks = (None, reset)  # the second has the first turn
        servers = [await stack.enter_async_context(ScriptedHttpServer(modern_mcp(on_call=hook))) for hook in hooks]
        tools = {} if marked is None else {"echo": marked}
        hub = await start(config(at("s", *(server.url for server in servers), tools=tools)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            reply = await agent.modern("tools/call", CALL)
        assert [len(server.hits("tools/call")) for server in servers] == [again, 1]
        assert ("error" in reply.message) is not bool(again)


async def test_one_of_three_killed_under_load_loses_no_repeatable_call(start: Start, tmp_path: Path) -> None:
    """R8: real processes, kill -9. Errors, if there were any, would be told here."""
    ports = [free_port() for _ in range(3)]
    servers = [
        subprocess.Popen([sys.executable, str(UPSTREAM), str(port)], stdout=subprocess.DEVNULL) for port in ports
    ]
    try:
        urls = [f"http://127.0.0.1:{port}/mcp" for port in ports]
        hub = await start(config(at("s", *urls, tools={"echo": ToolOverride(repeatable=True)})))
        upstream = hub.hub.upstreams.get("s")
        await until(lambda: all(one.state == "ready" for one in upstream.replicas), "all are there")
        replies: list[RawReply] = []

        async def load() -> None:
            async with RawAgent(hub.mcp) as agent:
                for number in range(150):
                    replies.append(await agent.modern("tools/call", {**CALL, "arguments": {"text": f"n{number}"}}))

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(load())
            await until(lambda: len(replies) > 300, "the load is on")
            servers[0].kill()
        assert len(replies) == 1200
        assert [reply.message for reply in replies if "error" in reply.message] == []
    finally:
        for server in servers:
            server.kill()
            server.wait()


@pytest.mark.parametrize(
    ("kind", "method", "answer"),
    [
        (modern_mcp, "server/discover", {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}),
        (legacy_mcp, "ping", {}),
    ],
)
async def test_one_that_is_silent_is_found_out_without_any_call(
    start: Start, monkeypatch: pytest.MonkeyPatch, kind: type[ScriptedMcp], method: str, answer: dict[str, Any]
) -> None:
    """R5: it takes connections and answers nothing."""
    monkeypatch.setattr(replica, "HEALTH_WAIT_S", 0.1)
    silent = False

    async def maybe(exchange: Exchange) -> Any:
        return await hang(exchange) if silent else answer

    async with ScriptedHttpServer(kind(on={method: maybe})) as server:
        hub = await start(config(at("s", server.url, health_check_s=0.05)))
        await hub.ready("s")
        seen = len(server.hits(method))
        await until(lambda: len(server.hits(method)) > seen + 2, "it is asked while nobody calls")
        upstream = hub.hub.upstreams.get("s")
        assert upstream.is_well
        silent = True
        await until(lambda: not upstream.is_well, "it is found out")


async def test_nobody_is_asked_while_calls_show_that_it_is_there(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url, health_check_s=0.3)))
        await hub.ready("s")
        asked = len(server.hits("server/discover"))
        async with RawAgent(hub.mcp) as agent:
            for _ in range(40):
                await agent.modern("tools/call", CALL)
                await asyncio.sleep(0.02)
        assert len(server.hits("server/discover")) - asked <= 1


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_child_that_is_well_stays_well_when_it_is_asked(start: Start, era: str, tmp_path: Path) -> None:
    record = tmp_path / "record"
    command = tuple(child_command(era=era, record=record))
    hub = await start(config(Server("s", (ChildReplica(command),), health_check_s=0.05)))
    await hub.ready("s")
    method = "server/discover" if era == "modern" else "ping"

    def asked() -> int:
        return sum(message.get("method") == method for message in recorded(record))

    before = asked()
    await until(lambda: asked() > before + 4, "it is asked")
    assert hub.hub.upstreams.get("s").is_well
    assert hub.hub.upstreams.get("s").replicas[0].circuit is CLOSED


async def test_a_stream_of_the_oldest_kind_that_is_well_stays_well(start: Start) -> None:
    async with ScriptedHttpServer(legacy_sse()) as server:
        hub = await start(config(at("s", server.url, health_check_s=0.05)))
        await hub.ready("s")
        before = len(server.hits("ping"))
        await until(lambda: len(server.hits("ping")) > before + 4, "it is asked")
        assert hub.hub.upstreams.get("s").replicas[0].circuit is CLOSED


async def test_time_that_runs_out_counts_as_a_failure(start: Start) -> None:
    """R2, R7: who hangs is not waited for by each call."""
    async with ScriptedHttpServer(modern_mcp(on_call=hang)) as server:
        hub = await start(config(at("s", server.url, timeout_s=0.1)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            codes = [(await agent.modern("tools/call", CALL)).error["code"] for _ in range(8)]
        assert codes == [-31002] * 5 + [-31001] * 3
        assert len(server.hits("tools/call")) == 5


async def test_one_that_was_passed_over_is_planned_with_a_part_of_its_share_first(start: Start) -> None:
    broken = True

    async def first(exchange: Exchange) -> Any:
        return await reset(exchange) if broken else {"content": []}

    async with AsyncExitStack() as stack:
        hooks = (first, None)
        servers = [await stack.enter_async_context(ScriptedHttpServer(modern_mcp(on_call=hook))) for hook in hooks]
        hub = await start(config(at("s", *(server.url for server in servers))))
        await hub.ready("s")
        upstream = hub.hub.upstreams.get("s")
        upstream.clock = clock = ManualClock()
        async with RawAgent(hub.mcp) as agent:
            for _ in range(12):
                await agent.modern("tools/call", CALL)
            assert [reading.usable for reading in upstream.readings()] == [False, True]
            broken = False
            clock.advance(400.0)
            for _ in range(2):
                await agent.modern("tools/call", CALL)
        assert [reading.warmth for reading in upstream.readings()] == [0.1, 1.0]
        clock.advance(5.0)
        assert upstream.readings()[0].warmth == 0.5
        clock.advance(5.0)
        assert upstream.readings()[0].warmth == 1.0
