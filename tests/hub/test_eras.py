"""Every pair of eras and transports, with the official SDK on both sides of the hub.

What is compared is the server reached directly and the same server reached through the hub.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from tests.hub.conftest import DEMO, Running, Start, at, child, config
from tests.peers import everything_server, fast_http_server, sdk_http_server

from concento.model.config import Server
from concento.testing.waiting import until

AGENTS = ["auto", "legacy"]
SERVERS = ["stdio-dual", "stdio-legacy", "stdio-modern", "http-dual", "http-legacy", "http-modern", "sse"]


@asynccontextmanager
async def served(kind: str) -> AsyncIterator[Server]:
    """The fixture server of the SDK, over a transport and in an era."""
    transport, _, era = kind.partition("-")
    if transport == "stdio":
        yield child("demo", str(DEMO), "--transport", "stdio", "--era", era)
    else:
        async with sdk_http_server(era or "legacy", transport=transport) as url:
            yield at("demo", url)


@asynccontextmanager
async def agent(hub: Running, mode: str, path: str = "/mcp", **options: Any) -> AsyncIterator[Client]:
    """An agent on the official SDK."""
    async with Client(hub.url + path, mode=mode, **options) as client:
        yield client


@pytest.mark.parametrize("mode", AGENTS)
@pytest.mark.parametrize("kind", SERVERS)
async def test_calls_reads_progress_and_errors_pass_through(start: Start, mode: str, kind: str) -> None:
    async with served(kind) as server:
        hub = await start(config(server))
        await hub.ready("demo")
        async with agent(hub, mode) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {"demo__add", "demo__echo", "demo__slow"} <= names

            added = await client.call_tool("demo__add", {"a": 2, "b": 3})
            assert added.structured_content is not None
            assert 5 in added.structured_content.values()

            failed = await client.call_tool("demo__fail", {})
            assert failed.is_error

            seen: list[float] = []

            async def on_progress(progress: float, total: float | None, message: str | None) -> None:
                seen.append(progress)

            await client.call_tool("demo__count", {"n": 3}, progress_callback=on_progress)
            assert seen == sorted(seen)
            assert len(seen) == 3

            with pytest.raises(MCPError) as unknown:
                await client.call_tool("demo__ad", {})
            assert unknown.value.error.code == -32602
            assert "demo__add" in unknown.value.error.message

            text = await client.read_resource("test://demo!static/text")
            assert text.contents
            assert str(text.contents[0].uri) == "test://demo!static/text"

            templates = (await client.list_resource_templates()).resource_templates
            assert "test://demo!item/{id}" in [template.uri_template for template in templates]
            item = await client.read_resource("test://demo!item/7")
            assert "7" in item.contents[0].text  # type: ignore[union-attr]

            prompt = await client.get_prompt("demo__greet", {"name": "Ada"})
            assert "Ada" in prompt.messages[0].content.text  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", AGENTS)
@pytest.mark.parametrize("kind", ["stdio-legacy", "stdio-modern", "http-legacy", "http-modern", "sse"])
async def test_a_cancelled_call_is_cancelled_at_its_server(start: Start, mode: str, kind: str) -> None:
    async with served(kind) as server:
        hub = await start(config(server))
        await hub.ready("demo")
        upstream = hub.hub.upstreams.get("demo")
        async with agent(hub, mode) as client:
            call = asyncio.ensure_future(client.call_tool("demo__slow", {"seconds": 30}))  # noqa: TID251 - cancelled below
            await until(lambda: upstream.in_flight == 1, "the call is running")
            call.cancel()
            await until(lambda: upstream.in_flight == 0, "the call has ended")
            assert (await client.call_tool("demo__add", {"a": 1, "b": 1})).structured_content is not None


@pytest.mark.parametrize("mode", AGENTS)
@pytest.mark.parametrize("kind", ["stdio-dual", "http-dual", "http-legacy", "http-modern"])
async def test_one_server_endpoint_shows_exactly_what_the_server_shows(start: Start, mode: str, kind: str) -> None:
    async with served(kind) as server:
        hub = await start(config(server))
        await hub.ready("demo")
        async with agent(hub, mode, "/servers/demo/mcp") as client:
            through = await client.list_tools()
            resources = await client.list_resources()
            prompts = await client.list_prompts()
        if kind != "stdio-dual":
            async with Client(server.replicas[0].url, mode="auto") as direct:  # type: ignore[union-attr]
                own = await direct.list_tools()
                own_resources = await direct.list_resources()
                own_prompts = await direct.list_prompts()
            assert _plain(through.tools) == _plain(own.tools)
            assert _plain(resources.resources) == _plain(own_resources.resources)
            assert _plain(prompts.prompts) == _plain(own_prompts.prompts)
        assert "add" in [tool.name for tool in through.tools]
        assert "test://static/text" in [str(resource.uri) for resource in resources.resources]


def _plain(items: list[Any]) -> list[Any]:
    return [item.model_dump(by_alias=True, exclude_none=True) for item in items]


@pytest.mark.parametrize("mode", AGENTS)
async def test_the_npm_server_that_speaks_only_the_legacy_era_serves_both(start: Start, mode: str) -> None:
    async with everything_server() as url:
        hub = await start(config(at("npm", url)))
        await hub.ready("npm")
        async with agent(hub, mode) as client:
            assert "npm__echo" in [tool.name for tool in (await client.list_tools()).tools]
            reply = await client.call_tool("npm__echo", {"message": "hello"})
            assert "hello" in reply.content[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", AGENTS)
async def test_a_fastmcp_server_and_a_fastmcp_client_meet_through_the_hub(start: Start, mode: str) -> None:
    from fastmcp import Client as FastClient

    async with fast_http_server() as url:
        hub = await start(config(at("fast", url)))
        await hub.ready("fast")
        async with FastClient(hub.url + "/mcp") as client:
            assert "fast__add" in [tool.name for tool in await client.list_tools()]
            result = await client.call_tool("fast__add", {"a": 20, "b": 22})
            assert result.data == 42
