"""The ways agents connect besides Streamable HTTP, isolation of servers, and what is written of each call."""

import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from tests.hub.asked import ANSWERS, Person
from tests.hub.conftest import DEMO, Running, Start, child, config

from concento.app import Hub
from concento.model.config import Address, Server, UrlReplica
from concento.observe.access_log import AccessLog
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import modern_mcp
from concento.testing.raw_agent import RawAgent, legacy_initialize, legacy_request
from concento.testing.stdio_child import child_command


async def test_an_agent_of_the_oldest_transport_calls_and_hears_progress(start: Start) -> None:
    hub = await start(config(child("demo", str(DEMO), "--transport", "stdio", "--era", "modern")))
    await hub.ready("demo")
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with Client(sse_client(f"{hub.url}/sse"), mode="legacy") as client:
        assert "demo__add" in [tool.name for tool in (await client.list_tools()).tools]
        await client.call_tool("demo__count", {"n": 2}, progress_callback=on_progress)
        assert len(seen) == 2
        assert (await client.call_tool("demo__fail", {})).is_error


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_sidecar_serves_the_official_client_in_both_eras(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "concento.yaml"
    command = json.dumps([sys.executable, str(DEMO), "--transport", "stdio", "--era", "dual"])
    path.write_text(f"state: sqlite:///state/c.db\nservers:\n  demo: {{command: {command}}}\n")
    concento = str(Path(sys.executable).with_name("concento"))
    async with Client(StdioServerParameters(command=concento, args=["stdio", str(path)]), mode=mode) as client:
        assert "demo__echo" in [tool.name for tool in (await client.list_tools()).tools]
        added = await client.call_tool("demo__add", {"a": 20, "b": 22})
        assert added.structured_content is not None
        assert 42 in added.structured_content.values()


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_agent_of_the_sidecar_is_asked_what_servers_want_to_know(tmp_path: Path, mode: str, era: str) -> None:
    path = tmp_path / "concento.yaml"
    command = json.dumps([sys.executable, str(DEMO), "--transport", "stdio", "--era", era])
    path.write_text(f"state: off\nservers:\n  demo: {{command: {command}}}\n")
    concento = str(Path(sys.executable).with_name("concento"))
    await answers_everything(StdioServerParameters(command=concento, args=["stdio", str(path)]), mode)


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_an_agent_of_the_oldest_transport_is_asked_what_servers_want_to_know(start: Start, era: str) -> None:
    hub = await start(config(child("demo", str(DEMO), "--transport", "stdio", "--era", era)))
    await hub.ready("demo")
    await answers_everything(sse_client(f"{hub.url}/sse"), "legacy")


async def answers_everything(hub: Any, mode: str) -> None:
    """Have the agent asked for each thing there is to ask, and its answer seen by the server."""
    person = Person()
    async with person.client(hub, mode) as client:
        for count, (kind, wanted) in enumerate(ANSWERS.items(), start=1):
            result = await client.call_tool("demo__ask", {"kind": kind})
            assert result.structured_content is not None, result
            answer = result.structured_content["answer"]
            assert {key: answer.get(key) for key in wanted} == wanted
            assert len(person.asked) == count


async def whoami(agent: RawAgent, session: str) -> dict[str, Any]:
    headers, body = legacy_request("tools/call", {"name": "demo__whoami", "arguments": {}}, session=session)
    result = (await agent.post(None, body, headers)).result
    content = result["structuredContent"]
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize(("isolation", "processes"), [("shared", 1), ("principal", 1), ("session", 2)])
async def test_sessions_share_a_child_only_where_the_configuration_says_so(
    start: Start, isolation: str, processes: int
) -> None:
    server = child("demo", str(DEMO), "--transport", "stdio", "--era", "legacy", isolation=isolation)
    hub = await start(config(server))
    await hub.ready("demo")
    async with RawAgent(hub.mcp) as agent:
        one, two = await agent.begin(), await agent.begin()
        pids = [(await whoami(agent, session))["pid"] for session in (one, two, one, two)]
    assert pids[:2] == pids[2:]
    assert len(set(pids)) == processes


async def test_no_capability_that_the_caller_did_not_declare_is_shown_to_a_server(start: Start) -> None:
    hub = await start(config(child("demo", str(DEMO), "--transport", "stdio", "--era", "modern")))
    await hub.ready("demo")
    async with RawAgent(hub.mcp) as agent:
        seen = (await whoami(agent, await agent.begin()))["clientCapabilities"]
    assert not seen or not any(seen.values())


async def test_initialize_within_the_modern_era_is_an_unknown_method(start: Start) -> None:
    """Specification 2026-07-28, versioning: removed methods answer 404 and -32601."""
    hub = await start(config())
    async with RawAgent(hub.mcp) as agent:
        refused = await agent.modern("initialize")
        assert (refused.status, refused.error["code"]) == (404, -32601)
        headers, body = legacy_initialize()
        begun = await agent.post(None, body, {**headers, "MCP-Protocol-Version": "2026-07-28"})
        assert begun.result["protocolVersion"] == "2025-11-25"


async def test_one_line_is_written_a_call_with_its_trace_and_without_secrets(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    async with ScriptedHttpServer(modern_mcp()) as server:
        replica = UrlReplica(server.url, headers={"Authorization": "Bearer canary-header"})
        hub = await Hub.create(config(Server("s", (replica,))), keep=False, access_log=lambda: AccessLog.to_file(log))
        running = Running(hub, await hub.listen(Address("127.0.0.1", 0)))
        await running.ready("s")
        trace = "0af7651916cd43dd8448eb211c80319c"
        async with RawAgent(running.mcp) as agent:
            meta = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
            call = {"name": "s__echo", "arguments": {"text": "canary-argument"}, "_meta": meta}
            await agent.modern("tools/call", call)
            failed = await agent.modern("tools/call", {"name": "s__none", "arguments": {}})
            assert "canary" not in failed.body.decode()
        assert server.hits("tools/call")[0].header("authorization") == "Bearer canary-header"
        await hub.close(1.0)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["method"], line["end"], line.get("tool")) for line in lines] == [
        ("tools/call", "ok", "echo"),
        ("tools/call", "refused", None),
    ]
    assert lines[0]["trace"] == trace
    assert len(lines[1]["trace"]) == 32
    assert "canary" not in log.read_text()


async def test_a_child_sees_nothing_of_the_hubs_environment_but_what_it_needs(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T23."""
    monkeypatch.setenv("HUB_SECRET", "canary-environment")
    hub = await start(config(Server("s", child("s", *child_command("plain")[1:]).replicas)))
    await hub.ready("s")
    upstream = hub.hub.upstreams.get("s")
    main = upstream.replicas[0].main
    assert main is not None
    children = [
        pid for pid in Path("/proc").iterdir() if pid.name.isdigit() and b"stdio_child" in _read(pid / "cmdline")
    ]
    assert children
    assert all(b"canary-environment" not in _read(pid / "environ") for pid in children)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def test_a_browser_at_the_endpoint_is_told_what_to_send(start: Start) -> None:
    hub = await start(config())
    async with aiohttp.ClientSession() as session, session.get(hub.mcp, headers={"Accept": "text/html"}) as reply:
        assert reply.status == 406
        error = (await reply.json())["error"]
        assert error["code"] == -32600
        assert "send 'Accept: text/event-stream'" in error["message"]
