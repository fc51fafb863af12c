"""Real MCP servers for tests: as commands for stdio, and as processes that listen while a context is open.

    async with sdk_http_server("modern") as url: ...

A process is ready when its context begins, and it and all it started are killed at the end.
"""

import asyncio
import os
import re
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.node import installed, node

SERVERS = Path(__file__).parent / "servers"
START_WAIT_S = 60.0

PORT = re.compile(r"^PORT (\d+)$")
_EVERYTHING = re.compile(r"(?:listening|running) on port (\d+)$")


# -- commands, for stdio


def sdk_command(era: str = "dual", *options: str) -> list[str]:
    """The fixture server on the official SDK; options as in `servers/sdk_server.py --help`."""
    return [sys.executable, str(SERVERS / "sdk_server.py"), "--era", era, *options]


def fast_command(*options: str) -> list[str]:
    """The FastMCP server."""
    return [sys.executable, str(SERVERS / "fast_server.py"), *options]


async def everything_command(transport: str = "stdio") -> list[str]:
    """The npm reference server, which speaks the legacy era only; the first use installs it."""
    modules = await asyncio.to_thread(installed, SERVERS / "node", "everything")
    return [node(), str(modules / "@modelcontextprotocol/server-everything/dist/index.js"), transport]


# -- processes that listen


@asynccontextmanager
async def sdk_http_server(era: str = "dual", *options: str, transport: str = "http") -> AsyncIterator[str]:
    """The fixture server over streamable HTTP, or with `transport="sse"` over the 2024-11-05 transport."""
    command = [*sdk_command(era, *options), "--transport", transport]
    async with listening(command, PORT) as port:
        yield f"http://127.0.0.1:{port}/{'sse' if transport == 'sse' else 'mcp'}"


@asynccontextmanager
async def fast_http_server(*options: str) -> AsyncIterator[str]:
    """The FastMCP server over streamable HTTP; options as in `servers/fast_server.py --help`."""
    async with listening([*fast_command(*options), "--transport", "http"], PORT) as port:
        yield f"http://127.0.0.1:{port}/mcp"


@asynccontextmanager
async def everything_server(transport: str = "http") -> AsyncIterator[str]:
    """The npm reference server over streamable HTTP, or with `transport="sse"` over the 2024-11-05 transport."""
    command = await everything_command("sse" if transport == "sse" else "streamableHttp")
    environment = {**os.environ, "PORT": str(_free_port())}  # it takes no port 0
    async with listening(command, _EVERYTHING, environment) as port:
        yield f"http://127.0.0.1:{port}/{'sse' if transport == 'sse' else 'mcp'}"


@asynccontextmanager
async def listening(
    command: Sequence[str], ready: re.Pattern[str], environment: Mapping[str, str] | None = None
) -> AsyncIterator[int]:
    """Run a command until the context ends; begins when a line of its output names the port."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        env=environment,
    )
    said: deque[str] = deque(maxlen=50)
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            said.append(line.decode(errors="replace").rstrip())
            if not port.done() and (match := ready.search(said[-1])):
                port.set_result(int(match[1]))
        if not port.done():
            port.set_exception(RuntimeError("\n".join([f"{command} ended before it listened:", *said])))

    reading = asyncio.create_task(read())  # noqa: TID251 - ends with the process, below
    try:
        async with asyncio.timeout(START_WAIT_S):
            found = await port
        yield found
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await reading


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
