"""`mcp-proxy`: puts a server that speaks over stdio at a URL. One child, sessions on the agents' side."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..process import Program, free_port, running
from ..route import Era
from .candidate import Candidate, Server
from .venv import Venv


class McpProxy(Candidate):
    name = "mcp-proxy"
    about = "from stdio to Streamable HTTP, one child process for all agents"
    connections_max = 4

    def __init__(self) -> None:
        self._venv = Venv("mcp-proxy")

    def prepare(self) -> None:
        self._venv.prepare()

    def version(self) -> str:
        return self._venv.version

    def lacks(self, era: Era, servers: Sequence[Server]) -> str | None:
        if len(servers) > 1:
            return "it has an endpoint for each server and puts no lists together"
        if not servers[0].command:
            return "it goes from stdio to HTTP or from HTTP to stdio, not from HTTP to HTTP"
        return "it speaks revisions up to 2025-11-25 only" if era == "modern" else None

    @contextlib.contextmanager
    def up(self, room: Path, servers: Sequence[Server]) -> Iterator[Program]:
        port = free_port()
        options = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "ERROR"]
        with running([self._venv.program("mcp-proxy"), *options, "--", *servers[0].command], room, port) as program:
            yield program

    def configuration(self) -> list[tuple[str, str]]:
        return [("command", "mcp-proxy --host 127.0.0.1 --port 8000 --log-level ERROR -- python upstream.py stdio")]
