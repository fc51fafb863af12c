"""FastMCP's proxy with one persistent client for each server: the fastest way it can be set up, with its known limits.

FastMCP itself warns that all agents then share one session. A client a request, its default, costs several times more.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..process import HERE, Program, free_port, running
from ..route import Era
from .candidate import Candidate, Server
from .venv import Venv

PLAIN = {"persistent": True, "options": {"json_response": True, "stateless_http": True}}
FITTED = {
    "events": {"persistent": False, "options": {"json_response": False, "stateless_http": True}},
    "memory": {"persistent": True, "options": {"json_response": True, "stateless_http": False}},
}
"""Only a client a request relays progress, and only a reply as a stream carries it; idle streams need sessions."""
SCRIPT = HERE / "candidates" / "programs" / "fastmcp_proxy.py"


class FastMcp(Candidate):
    name = "fastmcp"
    about = "FastMCP's proxy, one persistent client for each server, JSON replies, no access log"
    connections_max = 4

    def __init__(self, setup: Mapping[str, Any] = PLAIN) -> None:
        self._venv = Venv("fastmcp")
        self._setup = setup

    def prepare(self) -> None:
        self._venv.prepare()

    def version(self) -> str:
        return self._venv.version

    def fitted(self, scenario: str) -> Candidate:
        return FastMcp(FITTED.get(scenario, PLAIN))

    def lacks(self, era: Era, servers: Sequence[Server]) -> str | None:
        if era == "modern" and self._setup is FITTED["memory"]:
            return "its proxy answers `subscriptions/listen` with 404"
        return None

    @contextlib.contextmanager
    def up(self, room: Path, servers: Sequence[Server]) -> Iterator[Program]:
        port = free_port()
        config = room / "proxy.json"
        config.write_text(json.dumps({"servers": _sources(servers), **self._setup}))
        with running([self._venv.program("python"), str(SCRIPT), str(port), str(config)], room, port) as program:
            yield program

    def public(self, server: Server, tool: str) -> str:
        return tool if server.alone else f"{server.name}_{tool}"

    def configuration(self) -> list[tuple[str, str]]:
        servers = _sources([Server("bench", "http://127.0.0.1:9000/mcp")])
        return [
            ("command", "python fastmcp_proxy.py 8000 proxy.json"),
            ("fastmcp_proxy.py", SCRIPT.read_text()),
            ("proxy.json", json.dumps({"servers": servers, **PLAIN})),
            *((f"proxy.json for {scenario}", json.dumps(setup)) for scenario, setup in FITTED.items()),
        ]


def _sources(servers: Sequence[Server]) -> dict[str, str | list[str]]:
    return {server.name: list(server.command) or server.url for server in servers}
