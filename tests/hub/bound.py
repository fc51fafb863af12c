"""A hub with a logical tool over scripted servers `a`, `b`, `c`, …"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tests.hub.conftest import Running, Start, at, config

from concento.model.config import Config
from concento.model.logical import Bound, LogicalTool, Merge
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, modern_mcp
from concento.testing.raw_agent import RawAgent, RawReply


def tool(name: str = "search", *arguments: str, **more: Any) -> dict[str, Any]:
    properties = {argument: {"type": "string"} for argument in arguments or ("query",)}
    return {
        "name": name,
        "description": f"{name} it",
        "inputSchema": {"type": "object", "properties": properties},
        **more,
    }


def serving(
    kind: Any = modern_mcp, definition: dict[str, Any] | None = None, on_call: Any = None
) -> ScriptedHttpServer:
    return ScriptedHttpServer(kind(tools=[definition or tool()], on_call=on_call))


def plain(name: str) -> Bound:
    alias, _, own = name.partition(".")
    return Bound(alias, own)


def logical(*bind: str | Bound, name: str = "web_search", **options: Any) -> LogicalTool:
    bound = (plain(one) if isinstance(one, str) else one for one in bind)
    return LogicalTool(name, tuple(bound), **options)


def with_tools(configuration: Config, *tools: LogicalTool, **more: Any) -> Config:
    return replace(configuration, tools=MappingProxyType({one.name: one for one in tools}), **more)


class House:
    """A hub with a few scripted servers, `a`, `b`, `c`."""

    def __init__(self, hub: Running, servers: list[ScriptedHttpServer], agent: RawAgent) -> None:
        self.hub = hub
        self.servers = servers
        self.agent = agent

    async def call(self, arguments: dict[str, Any] | None = None, name: str = "web_search") -> RawReply:
        return await self.agent.modern("tools/call", {"name": name, "arguments": arguments or {"query": "x"}})

    def executed(self) -> list[int]:
        return [len(server.hits("tools/call")) for server in self.servers]


async def house(
    start: Start, stack: AsyncExitStack, servers: list[ScriptedHttpServer], one: LogicalTool, **more: Any
) -> House:
    opened = [await stack.enter_async_context(server) for server in servers]
    options = more.pop("server", {})
    known = [at(alias, server.url, **options) for alias, server in zip("abcdefghij", opened, strict=False)]
    hub = await start(with_tools(config(*known, views=more.pop("views", ())), one, **more))
    await hub.ready(*(server.alias for server in known))
    return House(hub, opened, await stack.enter_async_context(RawAgent(hub.mcp)))


def results(*urls: str, after_s: float = 0.0) -> Any:
    async def answer(exchange: Exchange) -> Any:
        if after_s:
            await asyncio.sleep(after_s)
        return {"content": [], "structuredContent": {"results": [{"url": url} for url in urls]}}

    return answer


RANKED = Merge("rank", ("results",), ("url",))
