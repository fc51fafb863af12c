"""The admin API over real HTTP: shapes, refusals, metrics, no secrets."""

import json

import aiohttp
import pytest
from tests.hub.conftest import config, running

from concento.admin.listener import AdminListener
from concento.model.config import Address, Server, UrlReplica
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, modern_mcp
from concento.testing.raw_agent import RawAgent


@pytest.fixture
async def admin():
    async with ScriptedHttpServer(modern_mcp()) as server:
        replica = UrlReplica(server.url, headers={"Authorization": "Bearer canary-7f3a"})
        async with running(config(Server("s", (replica,)))) as hub:
            await hub.ready("s")
            listener = AdminListener(hub.hub)
            address = await listener.start(Address("127.0.0.1", 0))
            async with aiohttp.ClientSession(f"http://{address}") as session:
                yield session, hub
            await listener.close()


async def test_servers_tools_and_metrics_are_served_without_secrets(admin) -> None:
    session, hub = admin
    async with RawAgent(hub.mcp) as agent:
        await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": "argument-canary"}})
        await agent.modern("tools/call", {"name": "s__nope", "arguments": {}})
    seen = ""
    for path in ("/", "/api/v1/servers", "/api/v1/tools", "/api/v1/tools/s__echo", "/metrics", "/openapi.json"):
        async with session.get(path) as reply:
            assert reply.status == 200
            assert reply.headers["x-content-type-options"] == "nosniff"
            seen += await reply.text()
    assert "canary" not in seen
    assert 'concento_calls_total{method="tools/call",outcome="ok",server="s",tenant="default",tool="echo"} 1.0' in seen
    assert 'outcome="refused"' in seen
    assert 'concento_server_up{server="s"} 1.0' in seen
    assert "mcp_server_operation_duration_seconds_bucket" in seen


@pytest.mark.parametrize("path", ["/", "/api/v1/servers", "/metrics", "/health/live", "/nothing"])
@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
async def test_other_hosts_and_pages_are_refused_on_every_route(admin, path: str, headers: dict[str, str]) -> None:
    """T20."""
    session, _ = admin
    async with session.get(path, headers=headers) as reply:
        assert reply.status == 403


async def test_nothing_but_get_is_taken_and_unknown_things_are_404(admin) -> None:
    session, _ = admin
    async with session.post("/api/v1/servers") as reply:
        assert reply.status == 405
    async with session.get("/api/v1/tools/none") as reply:
        assert reply.status == 404
    async with session.get("/api/v1/tools?limit=x") as reply:
        assert reply.status == 422
    async with session.get("/health/ready") as reply:
        assert (await reply.json()) == {"status": "ready"}


async def test_odd_definitions_are_listed_and_shown() -> None:
    """A tool may carry members of any type, and numbers that no double holds."""
    odd = {"name": "odd", "uri": 5, "uriTemplate": [], "inputSchema": {"type": "object", "maximum": "BIG"}}

    async def lists(exchange: Exchange) -> None:
        text = json.dumps(exchange.answer({"tools": [odd]})).replace('"BIG"', "1e400")
        await exchange.send(text.encode(), last=True)

    async with (
        ScriptedHttpServer(modern_mcp(on={"tools/list": lists})) as server,
        running(config(Server("s", (UrlReplica(server.url),)))) as hub,
    ):
        await hub.ready("s")
        listener = AdminListener(hub.hub)
        address = await listener.start(Address("127.0.0.1", 0))
        async with aiohttp.ClientSession(f"http://{address}") as session:
            async with session.get("/api/v1/tools?search=odd") as reply:
                assert [tool["name"] for tool in (await reply.json())["tools"]] == ["s__odd"]
            async with session.get("/api/v1/tools/s__odd") as reply:
                assert (await reply.json())["definition"]["inputSchema"]["maximum"] == "1e400"
        await listener.close()
