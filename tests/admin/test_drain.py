"""Draining: no new calls, running ones finish, then nothing of the server runs; seen, kept, and undone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.admin.conftest import Desk, desk, written

from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, modern_mcp
from concento.testing.raw_agent import RawAgent
from concento.testing.stdio_child import child_command
from concento.testing.waiting import until

SLOW = "/api/v1/servers/slow"


class Held:
    """A server whose calls end when the test says so."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def call(self, exchange: Exchange) -> dict[str, object]:
        self.begun.set()
        await self.go_on.wait()
        return {"content": [{"type": "text", "text": "done"}]}


@pytest.fixture
async def held() -> AsyncIterator[tuple[Held, ScriptedHttpServer]]:
    calls = Held()
    async with ScriptedHttpServer(modern_mcp(on_call=calls.call)) as server:
        yield calls, server


async def call(hub: Desk):
    async with RawAgent(hub.mcp) as agent:
        return (await agent.modern("tools/call", {"name": "slow__echo", "arguments": {}})).message


async def test_a_drained_server_ends_what_runs_and_takes_nothing_new(
    held: tuple[Held, ScriptedHttpServer], tmp_path: Path
) -> None:
    calls, server = held
    path = written(tmp_path, f"servers: {{slow: {{url: {server.url}}}}}\n")
    async with desk(path) as hub:
        await hub.listed("slow__echo")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(call(hub))
            await calls.begun.wait()
            told = await hub.ask("POST", f"{SLOW}/drain", Concento_Reason="new disk")
            assert (told.status, told.headers["Location"]) == (202, f"{SLOW}/status")
            assert (told.value["state"], told.value["in_flight"]) == ("draining", 1)
            assert told.value["drained"]["reason"] == "new disk"
            refused = await call(hub)
            assert (refused["error"]["code"], refused["error"]["data"]["outcome"]) == (-31001, "not_sent")
            calls.go_on.set()
        assert running.result()["result"]["content"][0]["text"] == "done"
        await hub.state("slow", "drained")
        assert await hub.tools() == ["slow__echo"], "what it offers stays known"
        hits = len(server.hits())
        assert (await call(hub))["error"]["code"] == -31001
        assert len(server.hits()) == hits
    async with desk(path) as hub:  # also after a restart
        assert (await hub.get(f"{SLOW}/status"))["state"] == "drained"
        assert len(server.hits()) == hits
        assert (await hub.ask("POST", f"{SLOW}/undrain")).value["drained"] is None
        await hub.state("slow", "ready")
        assert (await call(hub))["result"]["content"][0]["text"] == "done"


async def test_a_child_of_a_drained_server_is_stopped(tmp_path: Path) -> None:
    path = written(tmp_path, f"servers: {{slow: {{command: {child_command('plain')}}}}}\n")
    async with desk(path) as hub:
        await hub.state("slow", "ready")
        replica = hub.hub.upstreams.get("slow").replicas[0]
        await hub.ask("POST", f"{SLOW}/drain")
        await hub.state("slow", "drained")
        assert replica.main is None
        await hub.ask("POST", f"{SLOW}/undrain")
        await hub.state("slow", "ready")


async def test_a_logical_tool_passes_a_drained_server_over(
    held: tuple[Held, ScriptedHttpServer], server: ScriptedHttpServer, tmp_path: Path
) -> None:
    calls, slow = held
    text = f"servers: {{slow: {{url: {slow.url}}}, well: {{url: {server.url}}}}}\n"
    text += "tools: {say: {bind: [slow.echo, well.echo], strategy: failover}}\n"
    async with desk(written(tmp_path, text)) as hub:
        await hub.listed("slow__echo", "well__echo")
        await hub.ask("POST", f"{SLOW}/drain")
        async with RawAgent(hub.mcp) as agent:
            reply = await agent.modern("tools/call", {"name": "say", "arguments": {"text": "x"}})
        assert "result" in reply.message
        assert not calls.begun.is_set()


async def test_to_drain_twice_and_what_is_not_there_is_answered_plainly(
    held: tuple[Held, ScriptedHttpServer], tmp_path: Path
) -> None:
    _, server = held
    async with desk(written(tmp_path, f"servers: {{slow: {{url: {server.url}}}}}\n")) as hub:
        await hub.listed("slow__echo")
        for _ in range(2):
            assert (await hub.ask("POST", f"{SLOW}/drain")).status == 202
        for _ in range(2):
            assert (await hub.ask("POST", f"{SLOW}/undrain")).status == 200
        assert (await hub.ask("POST", "/api/v1/servers/none/drain")).status == 404
        await until(lambda: hub.hub.upstreams.get("slow").health().state == "ready", "it is ready again")
        changed = await hub.recorded(2)
        assert [entry["method"] for entry in changed] == ["servers/undrain", "servers/drain"]
