"""Three servers that nobody here wrote, over stdio: what each shows through the hub is what it shows by itself."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from tests.hub.conftest import Start, config

from concento.model.config import ChildReplica, Server

ROOT = Path(__file__).parents[2]
UVX = str(Path(sys.executable).with_name("uvx"))
COMMANDS = {
    "time": (UVX, "mcp-server-time==2026.10.19"),
    "git": (UVX, "mcp-server-git==2026.10.19", "--repository", str(ROOT)),
    "excel": (UVX, "excel-mcp-server==2.2.2", "stdio", "--read-only", "--allow-dir", str(ROOT)),
}
DOWNLOAD_WAIT_S = 100.0


def plain(items: list[Any]) -> list[Any]:
    return [item.model_dump(by_alias=True, exclude_none=True) for item in items]


async def shown(client: Client) -> tuple[list[Any], list[Any], list[Any]]:
    """Tools, prompts and resources, as far as the server has such lists."""
    capabilities = client.server_capabilities
    assert capabilities is not None
    tools = plain((await client.list_tools()).tools)
    prompts = plain((await client.list_prompts()).prompts) if capabilities.prompts else []
    resources = plain((await client.list_resources()).resources) if capabilities.resources else []
    return tools, prompts, resources


async def test_the_catalog_through_the_hub_equals_each_servers_own(start: Start) -> None:
    servers = [Server(alias, (ChildReplica(command),)) for alias, command in COMMANDS.items()]
    hub = await start(config(*servers))
    await hub.ready(*COMMANDS, wait_s=DOWNLOAD_WAIT_S)

    async def compare(alias: str) -> None:
        command, *arguments = COMMANDS[alias]
        async with Client(StdioServerParameters(command=command, args=arguments, env=dict(os.environ))) as direct:
            own = await shown(direct)
        async with Client(f"{hub.url}/servers/{alias}/mcp") as through:
            assert await shown(through) == own
        assert own[0], f"{alias} shows no tools"

    await asyncio.gather(*map(compare, COMMANDS))
    async with Client(hub.mcp) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert names == sorted(names, key=lambda name: list(COMMANDS).index(name.partition("__")[0]))
    assert {name.partition("__")[0] for name in names} == set(COMMANDS)
