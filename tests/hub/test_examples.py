"""Every file in examples/ runs: real third-party servers from the public index, through the hub, for both eras."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from mcp import Client
from tests.hub.conftest import Start, free_port

from concento.control.config import load
from concento.model.auth import Auth
from concento.model.config import ChildReplica, Config, Server, UrlReplica
from concento.testing.raw_agent import RawAgent

EXAMPLES = Path(__file__).parents[2] / "examples"
DOWNLOAD_WAIT_S = 100.0
"""The first run downloads the servers."""


def on_free_ports(config: Config) -> Config:
    """The same configuration with the ports of servers started beside the hub exchanged for free ones."""
    servers: dict[str, Server] = {}
    for alias, server in config.servers.items():
        if server.beside is not None:
            (url,) = (replica for replica in server.replicas if isinstance(replica, UrlReplica))
            old, new = url.url.split(":")[2].partition("/")[0], str(free_port())
            command = tuple(new if part == old else part for part in server.beside.command)
            moved = replace(url, url=url.url.replace(old, new))
            server = replace(server, replicas=(moved,), beside=replace(server.beside, command=command))
        servers[alias] = server
    return replace(config, servers=servers, state_db=None)


OPEN = [path for path in sorted(EXAMPLES.glob("*.yaml")) if "\nauth:" not in path.read_text()]


@pytest.mark.parametrize("path", OPEN, ids=lambda path: path.name)
async def test_an_example_starts_and_its_servers_answer(start: Start, path: Path) -> None:
    hub = await start(on_free_ports(load(path, {"HOME": str(Path.home())})))
    await hub.ready(*yaml.safe_load(path.read_text())["servers"], wait_s=DOWNLOAD_WAIT_S)
    for mode in ("auto", "legacy"):
        async with Client(hub.mcp, mode=mode) as client:
            listed = (await client.list_tools()).tools
            assert len({tool.name.partition("__")[0] for tool in listed}) == len(hub.hub.current.snapshot.slices)


async def test_the_quickstart_answers_real_questions_over_stdio_and_http(start: Start) -> None:
    hub = await start(on_free_ports(load(EXAMPLES / "quickstart.yaml", {"HOME": str(Path.home())})))
    await hub.ready("time", "git", "excel", wait_s=DOWNLOAD_WAIT_S)
    children = [server for server in hub.hub.current.snapshot.config.servers.values()]
    assert sum(isinstance(server.replicas[0], ChildReplica) for server in children) == 2
    async with Client(hub.mcp) as client:
        time, log, excel = await asyncio.gather(
            client.call_tool("time__get_current_time", {"timezone": "Europe/Rome"}),
            client.call_tool("git__git_log", {"repo_path": str(EXAMPLES.parent), "max_count": 1}),
            client.call_tool("excel__list_workbooks", {}),
        )
        assert "Europe/Rome" in time.content[0].text  # type: ignore[union-attr]
        assert "Commit" in log.content[0].text  # type: ignore[union-attr]
        assert excel.content
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "git__git_reset" not in names


async def test_the_example_of_a_team_gives_each_what_its_roles_say(start: Start) -> None:
    config = load(EXAMPLES / "team.yaml", {"HOME": str(Path.home())})
    hub = await start(replace(config, auth=Auth(), policies=(), state_db=None))
    await hub.ready("time", wait_s=DOWNLOAD_WAIT_S)
    seen: dict[str, set[str]] = {}
    for role in ("reader", "developer"):
        _, key = await hub.hub.keys.create("somebody", roles=(role,))
        async with RawAgent(hub.mcp, bearer=key) as agent:
            seen[role] = {tool["name"] for tool in (await agent.modern("tools/list")).result["tools"]}
    assert seen["reader"] == {"time__get_current_time"}
    assert seen["developer"] == {"time__get_current_time", "time__convert_time"}


async def test_the_example_of_a_platform_keeps_its_tenants_apart(start: Start) -> None:
    config = load(EXAMPLES / "platform.yaml", {"HOME": str(Path.home())})
    hub = await start(replace(config, auth=Auth(), state_db=None))
    await hub.ready("time", "acme/clock", wait_s=DOWNLOAD_WAIT_S)
    seen: dict[str, set[str]] = {}
    for tenant in ("acme", "globex"):
        _, key = await hub.hub.keys.create("somebody", tenant=tenant)
        async with RawAgent(hub.mcp, bearer=key) as agent:
            seen[tenant] = {tool["name"] for tool in (await agent.modern("tools/list")).result["tools"]}
    assert seen["globex"] == {"time__get_current_time"}
    assert seen["acme"] == {
        f"{alias}__{name}" for alias in ("time", "clock") for name in ("get_current_time", "convert_time")
    }
