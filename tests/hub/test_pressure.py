"""Too many, too slow, gone: bounds that hold, and nothing left behind."""

import asyncio
import resource

import pytest
from tests.hub.conftest import Start, at, config

from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, ScriptedMcp, echo, legacy_mcp, modern_mcp
from concento.testing.raw_agent import RawAgent, legacy_request, modern_request
from concento.testing.waiting import until
from concento.upstream import places

CALL = {"name": "s__echo", "arguments": {"text": "x"}}


class Gate:
    """A hook that holds every call until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, exchange: Exchange):
        await self.opened.wait()
        return await echo(exchange)


async def test_beyond_its_places_and_its_line_a_server_gets_no_call(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R3."""
    monkeypatch.setattr(places, "QUEUE_MAX", 2)
    gate = Gate()
    async with ScriptedHttpServer(modern_mcp(on_call=gate)) as server, ScriptedHttpServer(modern_mcp()) as other:
        hub = await start(config(at("s", server.url, concurrency_max=3), at("o", other.url)))
        await hub.ready("s", "o")
        async with RawAgent(hub.mcp) as agent:
            waiting = [asyncio.ensure_future(agent.modern("tools/call", CALL)) for _ in range(5)]  # noqa: TID251
            await server.arrived("tools/call", count=3)
            await until(lambda: len(hub.hub.upstreams.get("s")._places._line) == 2, "two wait in line")
            refused = await agent.modern("tools/call", CALL)
            assert refused.status == 503
            assert refused.error["code"] == -31004
            assert refused.error["data"]["outcome"] == "not_sent"
            assert refused.header("retry-after")
            assert (await agent.modern("tools/call", {**CALL, "name": "o__echo"})).result["content"]
            assert len(server.hits("tools/call")) == 3
            gate.opened.set()
            assert all(reply.result["content"] for reply in await asyncio.gather(*waiting))
        assert len(server.hits("tools/call")) == 5


@pytest.mark.parametrize("kind", [modern_mcp, legacy_mcp])
async def test_a_modern_agent_that_leaves_cancels_and_a_legacy_one_does_not(
    start: Start, kind: type[ScriptedMcp]
) -> None:
    """R14, R15."""
    gate = Gate()
    mcp = kind(on_call=gate)
    async with ScriptedHttpServer(mcp) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        upstream = hub.hub.upstreams.get("s")
        async with RawAgent(hub.mcp) as agent:
            headers, body = modern_request("tools/call", CALL)
            leaving = asyncio.ensure_future(agent.post(None, body, headers))  # noqa: TID251 - cancelled below
            await server.arrived("tools/call")
            leaving.cancel()
            await until(lambda: upstream.in_flight == 0, "the modern call is cancelled")

            session = await agent.begin()
            headers, body = legacy_request("tools/call", CALL, session=session)
            leaving = asyncio.ensure_future(agent.post(None, body, headers))  # noqa: TID251 - cancelled below
            await server.arrived("tools/call", count=2)
            connections = hub.hub.listener.connections  # type: ignore[union-attr]
            leaving.cancel()
            await until(lambda: hub.hub.listener.connections < connections, "the legacy agent is gone")  # type: ignore[union-attr]
            assert upstream.in_flight == 1
            gate.opened.set()
            await until(lambda: upstream.in_flight == 0, "the legacy call has finished")
        records = hub.hub.metrics.text().decode()
        assert 'outcome="cancelled",server="s",tenant="default",tool="echo"} 1.0' in records
        assert 'outcome="ok",server="s",tenant="default",tool="echo"} 1.0' in records


async def test_hundreds_that_drop_at_once_leave_nothing_behind(start: Start) -> None:
    """R27."""
    count = 400
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4 * count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * count), hard))
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        listener = hub.hub.listener
        assert listener is not None
        tasks = len(asyncio.all_tasks())
        headers, body = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n{text}Content-Length: {len(body)}\r\n\r\n".encode() + body
        writers = []
        for _ in range(count):
            _, writer = await asyncio.open_connection(hub.address.host, hub.address.port)
            writer.write(request)
            writers.append(writer)
        await until(lambda: len(hub.hub.listening) == count, "all listen")
        for writer in writers:
            writer.transport.abort()
        await until(lambda: not len(hub.hub.listening) and not listener.connections, "all are gone")
        await until(lambda: len(asyncio.all_tasks()) <= tasks, "no task is left", lambda: len(asyncio.all_tasks()))
