"""Clients that others wrote, each in every era it speaks: the rows of "Clients tried" in `docs/compatibility.md`.

A round is a call whose server asks something before it answers: the person at the client answers, and the server tells
what reached it. One server speaks the modern era only and one the legacy era only, so each client is bridged to one.
"""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import mcp_types as types
import pytest
from fastmcp import Client as FastClient
from tests.hub import matrix
from tests.hub.asked import ANSWERS, Person
from tests.hub.conftest import DEMO, Running, child, config, running
from tests.node import installed, node

from concento.front.session import Session

PROGRAMS: Final = matrix.HUB_NODE
QUESTIONS: Final = {"elicitation": "Which colour?", "sampling": "Say yes"}
RUN_MAX_S: Final = 60.0


@pytest.fixture(scope="module")
async def hub() -> AsyncIterator[Running]:
    """A hub before two servers, each called after the only era it speaks."""
    servers = [child(era, str(DEMO), "--transport", "stdio", "--era", era) for era in matrix.AGENTS]
    async with running(config(*servers)) as started:
        await started.ready(*matrix.AGENTS)
        yield started


@pytest.fixture
def sessions(hub: Running, monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """The sessions that begin at the hub during the test; modern agents have none."""
    begun: list[Session] = []
    begin = hub.hub.sessions.begin

    def noted(*arguments: Any) -> Session | None:
        session = begin(*arguments)
        assert session is not None
        begun.append(session)
        return session

    monkeypatch.setattr(hub.hub.sessions, "begin", noted)
    return begun


# -- rounds: what the person was asked, and what each server got


async def python(url: str, era: str, folder: Path) -> None:
    """The official SDK."""
    person = Person()
    async with person.client(url, _mode(era)) as client:
        check(await rounds(client, person))


async def fastmcp(url: str, era: str, folder: Path) -> None:
    """FastMCP, with handlers as its users write them."""
    person = Person()

    async def elicit(message: str, wanted: Any, params: Any, context: Any) -> Any:
        return (await person.elicit(context, params)).content

    async def sample(messages: Any, params: Any, context: Any) -> types.CreateMessageResult:
        return await person.sample(context, params)

    async with FastClient(url, elicitation_handler=elicit, sampling_handler=sample, mode=_mode(era)) as client:
        check(await rounds(client, person))


async def typescript(url: str, era: str, folder: Path) -> None:
    """The TypeScript SDK of both eras, as the documentation has it."""
    modules = await asyncio.to_thread(installed, matrix.DOCS_NODE, "docs")
    check(await program("typescript.mjs", modules, url, era, folder))


async def typescript_1(url: str, era: str, folder: Path) -> None:
    """The TypeScript SDK before that, as the npm reference server brings it."""
    modules = await asyncio.to_thread(installed, matrix.SERVERS_NODE, "everything")
    check(await program("typescript_1.mjs", modules, url, era, folder))


async def rounds(client: Any, person: Person) -> list[Any]:
    """Each server asks each question, of a client in Python."""
    told = []
    for server in matrix.AGENTS:
        for kind in QUESTIONS:
            result = await client.call_tool(f"{server}__ask", {"kind": kind})
            asked = [p.message if kind == "elicitation" else p.messages[0].content.text for p in person.asked]
            person.asked.clear()
            told.append({"server": server, "kind": kind, "asked": asked, "answer": result.structured_content["answer"]})
    return told


async def program(name: str, modules: Path, url: str, era: str, folder: Path) -> Any:
    """What one of the programs in `node/` prints. It runs in a folder, since it imports what lies beside it."""
    shutil.copytree(PROGRAMS, folder, dirs_exist_ok=True)
    (folder / "node_modules").symlink_to(modules)
    answers = {kind: ANSWERS[kind] for kind in QUESTIONS}
    task = {"url": url, "era": era, "servers": list(matrix.AGENTS), "answers": answers}
    return await printed(folder, str(folder / name), json.dumps(task))


def check(told: list[Any]) -> None:
    """Each question was put once, and its answer went all the way back."""
    for one in told:
        one["answer"] = {key: one["answer"].get(key) for key in ANSWERS[one["kind"]]}
    assert told == [
        {"server": server, "kind": kind, "asked": [question], "answer": ANSWERS[kind]}
        for server in matrix.AGENTS
        for kind, question in QUESTIONS.items()
    ]


def _mode(era: str) -> Any:
    return "auto" if era == "modern" else "legacy"


# -- the Inspector


async def inspector(url: str, era: str, folder: Path) -> None:
    """The MCP Inspector's command line: one process for each thing it does."""
    modules = await asyncio.to_thread(installed, PROGRAMS, "inspector")
    launcher = str(modules / "@modelcontextprotocol/inspector/clients/launcher/build/index.js")

    async def ask(*arguments: str) -> Any:
        reach = ["--cli", "--transport", "http", "--server-url", url, "--protocol-era", era, "--format", "json"]
        return (await printed(folder, launcher, *reach, "--method", *arguments))["result"]

    listed = await ask("tools/list")
    assert {"modern__add", "legacy__add"} <= {tool["name"] for tool in listed["tools"]}
    for server in matrix.AGENTS:
        added = await ask("tools/call", "--tool-name", f"{server}__add", "--tool-arg", "a=2", "b=3")
        assert added["structuredContent"] == {"result": 5}
        read = await ask("resources/read", "--uri", f"test://{server}!static/text")
        assert [content["text"] for content in read["contents"]] == ["A short text."]


async def printed(home: Path, *command: str) -> Any:
    """The JSON that a program in Node.js prints. Errors: AssertionError with what it says, if it fails."""
    process = await asyncio.create_subprocess_exec(
        node(),
        *command,
        env={**os.environ, "HOME": str(home)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_MAX_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{command}:\n{out.decode()}{err.decode()}"
    return json.loads(out)


PROOFS: Final[dict[str, Callable[[str, str, Path], Awaitable[None]]]] = {
    "python": python,
    "fastmcp": fastmcp,
    "typescript": typescript,
    "typescript_1": typescript_1,
    "inspector": inspector,
}


@pytest.mark.parametrize(("client", "era"), [(name, era) for name, row in matrix.CLIENTS.items() for era in row.eras])
async def test_a_client_that_others_wrote_does_through_the_hub_what_its_row_says(
    hub: Running, sessions: list[Session], tmp_path: Path, client: str, era: str
) -> None:
    await PROOFS[client](hub.mcp, era, tmp_path)
    revisions = {session.hello.revision for session in sessions if session.hello}
    assert revisions == (set() if era == "modern" else {matrix.AGENTS["legacy"]})
