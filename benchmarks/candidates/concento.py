"""Concento, as it is installed here or as another command starts it."""

import contextlib
import json
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..process import HERE, Program, free_port, running
from .candidate import Candidate, Server

CONFIG = """\
listen: 127.0.0.1:{port}
admin: {{listen: "127.0.0.1:{admin}"}}
state: sqlite:///state.db
telemetry: {{access_log: access.log{traces}}}
servers: {servers}
"""


class Concento(Candidate):
    name = "concento"
    about = "this hub: one process, access log and metrics on"
    own = True

    more = ""
    """What else stands in its configuration."""
    traces = ""
    """What else stands in its `telemetry`."""
    admin_port = 0
    """Where its admin listener is, once it is up."""

    def __init__(self, command: str) -> None:
        self.command = command

    def version(self) -> str:
        told = subprocess.run([shlex.split(self.command)[0], "--version"], capture_output=True, text=True).stdout
        return " ".join([told.strip().rpartition(" ")[2], *_commit()])

    @contextlib.contextmanager
    def up(self, room: Path, servers: Sequence[Server]) -> Iterator[Program]:
        port, self.admin_port = free_port(), free_port()
        config = room / "concento.yaml"
        config.write_text(self._config(port, self.admin_port, self.sources(servers)))
        command = [str(config) if word == "{config}" else word for word in shlex.split(self.command)]
        with running(command, room, port) as program:
            yield program

    def sources(self, servers: Sequence[Server]) -> Sequence[Server]:
        """All servers of its configuration."""
        return servers

    def public(self, server: Server, tool: str) -> str:
        return f"{server.name}__{tool}"

    def configuration(self) -> list[tuple[str, str]]:
        servers = [Server("bench", "http://127.0.0.1:9000/mcp")]
        return [("command", "concento serve concento.yaml"), ("concento.yaml", self._config(7400, 7401, servers))]

    def _config(self, port: int, admin: int, servers: Sequence[Server]) -> str:
        known = CONFIG.format(port=port, admin=admin, servers=json.dumps(_sources(servers)), traces=self.traces)
        return known + self.more


def _sources(servers: Sequence[Server]) -> dict[str, Any]:
    return {
        server.name: {"command": list(server.command)} if server.command else {"url": server.url} for server in servers
    }


def _commit() -> list[str]:
    """The commit that is measured, where this is a git checkout."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude=*"]
        return [f"({subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()})"]
    return []
