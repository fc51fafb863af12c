"""`concento accounts`, of a hub that runs and of one that is started for it, and of a sidecar: with a real server."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters
from tests.cli.test_cli import CONCENTO, run, serving
from tests.hub.browser import Browser
from tests.hub.conftest import free_port
from tests.hub.notes_server import USER_COOKIE, Notes, notes_server


@pytest.fixture
async def notes() -> AsyncIterator[Notes]:
    async with notes_server(free_port()) as one:
        yield one


def write_config(folder: Path, notes: Notes, more: str = "") -> Path:
    path = folder / "concento.yaml"
    path.write_text(
        f"listen: 127.0.0.1:{free_port()}\nadmin: {{listen: 127.0.0.1:{free_port()}}}\n"
        f"servers: {{notes: {{url: '{notes.url}', credentials: {{user: {{}}}}}}}}\n{more}"
    )
    return path


@asynccontextmanager
async def hub_serving(config: Path) -> AsyncIterator[None]:
    """A hub in a process of its own, started and ended beside the server in this one."""
    hub = serving(config, "waiting")
    await asyncio.to_thread(hub.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(hub.__exit__, None, None, None)


async def command(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(run, *words, cwd=cwd)


async def connected(*words: str, cwd: Path) -> str:
    """Run `accounts connect` and do in the browser what it says; what it prints."""
    env = {**os.environ, "XDG_STATE_HOME": str(cwd / "state")}
    process = await asyncio.create_subprocess_exec(
        CONCENTO, *words, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = ""
    while (found := re.search(r"http://\S+/connect/\S+", said)) is None:
        line = await asyncio.wait_for(process.stderr.readline(), 30)
        assert line, said
        said += line.decode()
    async with Browser({USER_COOKIE: "alice"}) as browser:
        assert (await browser.connect(found[0])).status == 200
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    return out.decode()


async def test_an_account_is_connected_listed_and_disconnected_at_a_hub_that_runs(notes: Notes, tmp_path: Path) -> None:
    async with hub_serving(write_config(tmp_path, notes)):
        assert "no account is connected" in (await command("accounts", cwd=tmp_path)).stderr
        assert await connected("accounts", "connect", "notes", cwd=tmp_path) == "notes is connected\n"
        (account,) = json.loads((await command("accounts", "list", "--json", cwd=tmp_path)).stdout)["accounts"]
        assert (account["server"], account["user"], account["connected"]) == ("notes", "anonymous", True)
        assert not any(token in str(account) for token in notes.people.access_tokens)
        assert "alice" in (await command("call", "notes__who_am_i", cwd=tmp_path)).stdout
        shown = await command("servers", cwd=tmp_path)
        assert "notes" in shown.stdout
        gone = await command("accounts", "disconnect", "notes", cwd=tmp_path)
        assert gone.stdout == "the account at notes is disconnected\n"
        assert not notes.people.access_tokens
        again = await command("accounts", "disconnect", "notes", cwd=tmp_path)
        assert (again.returncode, "'anonymous' has no account" in again.stderr) == (1, True)
        wrong = await command("accounts", "connect", "nodes", cwd=tmp_path)
        assert (wrong.returncode, "no users connect accounts at a server 'nodes'" in wrong.stderr) == (1, True)


async def test_without_a_hub_one_is_started_for_it_and_the_account_is_there_for_the_next(
    notes: Notes, tmp_path: Path
) -> None:
    write_config(tmp_path, notes)
    assert await connected("accounts", "connect", "notes", cwd=tmp_path) == "notes is connected\n"
    assert "connected" in (await command("accounts", cwd=tmp_path)).stdout


async def test_a_sidecars_user_connects_at_a_page_of_its_own(notes: Notes, tmp_path: Path) -> None:
    write_config(tmp_path, notes)
    opened: list[str] = []

    async def open_page(context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestURLParams)
        opened.append(params.url)
        async with Browser({USER_COOKIE: "alice"}) as browser:
            await browser.connect(params.url)
        return types.ElicitResult(action="accept")

    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    hub = StdioServerParameters(command=str(CONCENTO), args=["stdio"], env=env, cwd=tmp_path)
    async with Client(hub, elicitation_callback=open_page) as agent:
        done = await agent.call_tool("connect_account", {"server": "notes"})
        assert not done.is_error, done
        for _ in range(200):  # as an agent does
            if "notes__who_am_i" in {tool.name for tool in (await agent.list_tools()).tools}:
                break
            await asyncio.sleep(0.1)
        said = await agent.call_tool("notes__who_am_i")
        assert isinstance(said.content[0], types.TextContent)
        assert said.content[0].text == "alice"
    assert len(opened) == 1


async def test_a_server_that_wants_to_know_its_users_is_added_as_one(notes: Notes, tmp_path: Path) -> None:
    (tmp_path / "concento.yaml").write_text("servers: {}\n")
    added = await command("add", notes.url, "--as", "notes", "--config", "concento.yaml", cwd=tmp_path)
    assert added.returncode == 0, added.stderr
    assert "it wants to know its users" in added.stderr
    assert "concento accounts connect notes" in added.stderr
    assert "credentials" in (tmp_path / "concento.yaml").read_text()
    assert (await command("check", cwd=tmp_path)).returncode == 0
    assert await connected("accounts", "connect", "notes", cwd=tmp_path) == "notes is connected\n"


async def test_a_wrong_token_is_told_with_the_other_way(notes: Notes, tmp_path: Path) -> None:
    added = await command("add", notes.url, "--header", "Authorization=Bearer wrong", cwd=tmp_path)
    assert added.returncode == 1
    assert "`credentials: {user: {}}` has each user connect an account" in added.stderr
