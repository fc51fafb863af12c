"""ContextForge on SQLite: one worker, no authentication, no rate limit, no admin pages, errors logged only.

Servers are made known to it through its own API, as an operator does, before anything is measured.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..process import Program, free_port, running
from ..refused import Refused
from ..route import Era, encode, post
from .candidate import Candidate, Server
from .venv import Venv

SETTINGS = {
    "AUTH_REQUIRED": "false",
    "ALLOW_UNAUTHENTICATED_ADMIN": "true",
    "REQUIRE_STRONG_SECRETS": "false",
    "JWT_SECRET_KEY": "only-for-the-benchmark-0123456789abcdef",
    "AUTH_ENCRYPTION_SECRET": "only-for-the-benchmark-0123456789abcdef",
    "BASIC_AUTH_PASSWORD": "Only-For-The-Benchmark-1",
    "PLATFORM_ADMIN_PASSWORD": "Only-For-The-Benchmark-1",
    "SSRF_ALLOW_LOCALHOST": "true",
    "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
    "RATE_LIMITING_ENABLED": "false",
    "MCPGATEWAY_UI_ENABLED": "false",
    "MCPGATEWAY_ADMIN_API_ENABLED": "false",
    "LOG_LEVEL": "ERROR",
    "DATABASE_URL": "sqlite:///./contextforge.db",
}
FITTED = {"events": {"JSON_RESPONSE_ENABLED": "false"}, "memory": {"USE_STATEFUL_SESSIONS": "true"}}
"""Events need replies as streams; a session's own stream needs sessions."""
READY_S = 60.0


class ContextForge(Candidate):
    name = "contextforge"
    about = (
        "mcp-contextforge-gateway: one worker, SQLite, authentication and rate limits off, servers registered by API"
    )
    connections_max = 4
    keeps_servers = True

    def __init__(self, settings: Mapping[str, str] = SETTINGS) -> None:
        self._venv = Venv("mcp-contextforge-gateway")
        self._settings = settings

    def prepare(self) -> None:
        self._venv.prepare()

    def version(self) -> str:
        return self._venv.version

    def fitted(self, scenario: str) -> Candidate:
        return ContextForge(SETTINGS | FITTED.get(scenario, {}))

    def lacks(self, era: Era, servers: Sequence[Server]) -> str | None:
        if era == "modern":
            return "it speaks revisions up to 2025-11-25 only"
        if any(server.command for server in servers):
            return "it calls servers over HTTP only; for stdio it comes with a separate program"
        return None

    @contextlib.contextmanager
    def up(self, room: Path, servers: Sequence[Server]) -> Iterator[Program]:
        port = free_port()
        command = [self._venv.program("mcpgateway"), "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
        with running(command, room, port, self._settings) as program:
            known = room / "registered"
            for server in [] if known.exists() else servers:
                _register(program, server)
            known.touch()
            yield program

    def public(self, server: Server, tool: str) -> str:
        return f"{server.name}-{tool}".replace("_", "-")

    def configuration(self) -> list[tuple[str, str]]:
        env = "\n".join(f"{name}={value}" for name, value in SETTINGS.items())
        fitted = [(f"environment for {scenario}", json.dumps(more)) for scenario, more in FITTED.items()]
        return [("command", "mcpgateway --host 127.0.0.1 --port 8000 --no-access-log"), ("environment", env), *fitted]


def _register(program: Program, server: Server) -> None:
    wanted = {"name": server.name, "url": server.url, "transport": "STREAMABLEHTTP"}
    deadline_s = time.monotonic() + READY_S
    answer = b""
    while not answer:
        try:
            answer, _ = post(program.url("/gateways"), encode(wanted), {"Content-Type": "application/json"})
        except Refused:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.2)
    if json.loads(answer).get("reachable") is not True:
        raise Refused(f"it does not reach the server: {answer[:300]!r}")
