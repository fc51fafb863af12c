"""The bridging matrix: which agent uses what of which server, and where the specification leaves nothing to bridge.

Data only. `test_matrix.py` proves each cell, `test_clients.py` each client that was tried; the former keeps
`docs/compatibility.md` true to it all. To write that page anew, run `python -m tests.hub.matrix`.
"""

import json
import textwrap
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "compatibility.md"
AGENTS: Final = {"modern": "2026-07-28", "legacy": "2025-11-25"}

SERVERS: Final = {
    "stdio-dual": "stdio, both eras",
    "stdio-modern": "stdio, modern only",
    "stdio-legacy": "stdio, legacy only",
    "http-dual": "HTTP, both eras",
    "http-modern": "HTTP, modern only",
    "http-legacy": "HTTP, legacy only",
    "sse-legacy": "HTTP+SSE, legacy only",
    "sse-modern": "HTTP+SSE, modern",
}

FEATURES: Final = {
    "call": "call a tool",
    "progress": "hear of its progress",
    "log": "hear its log messages",
    "cancel": "cancel a call",
    "elicit_form": "be asked to fill in a form",
    "elicit_url": "be asked to open a page",
    "sample": "be asked for a completion of the model",
    "roots": "be asked for the roots",
    "list_changed": "hear that a list changed",
    "resource_update": "hear that a resource changed",
    "task": "take a task for a call that takes long",
}

IMPOSSIBLE: Final = {
    "sse-modern": "HTTP+SSE is a transport of 2024-11-05; 2026-07-28, basic/transports, "
    "has stdio and Streamable HTTP only."
}
"""Servers that can't be, with the clause of the specification."""

ROUNDS: Final = "answers a form and a question to its model, asked by a server of either era"
READS: Final = "lists, calls and reads"


@dataclass(frozen=True, slots=True)
class Client:
    """A client that others wrote, the package it is, the lock file that says which version, and what was tried."""

    name: str
    package: str
    lock: Path
    does: str
    eras: Collection[str] = tuple(AGENTS)

    @property
    def version(self) -> str:
        """The version that the tests run."""
        if self.lock.name == "uv.lock":
            packages = tomllib.loads(self.lock.read_text())["package"]
            return str(next(package["version"] for package in packages if package["name"] == self.package))
        return str(json.loads(self.lock.read_text())["packages"][f"node_modules/{self.package}"]["version"])


PYPI: Final = ROOT / "uv.lock"
DOCS_NODE: Final = ROOT / "tests" / "docs" / "node"
SERVERS_NODE: Final = ROOT / "tests" / "servers" / "node"
HUB_NODE: Final = ROOT / "tests" / "hub" / "node"
NPM: Final = "package-lock.json"
SCOPE: Final = "@modelcontextprotocol"

CLIENTS: Final = {
    "python": Client("Python SDK", "mcp", PYPI, ROUNDS),
    "typescript": Client("TypeScript SDK", f"{SCOPE}/client", DOCS_NODE / NPM, ROUNDS),
    "typescript_1": Client("TypeScript SDK, version 1", f"{SCOPE}/sdk", SERVERS_NODE / NPM, ROUNDS, ["legacy"]),
    "fastmcp": Client("FastMCP", "fastmcp", PYPI, ROUNDS),
    "inspector": Client("MCP Inspector, its command line", f"{SCOPE}/inspector", HUB_NODE / NPM, READS),
}

INTRODUCTION: Final = (
    "Every agent uses every server, whatever protocol revision either speaks. *Modern* is the stateless revision "
    "2026-07-28, *legacy* are those with sessions, 2025-11-25 and older. Each ✓ is a test that names its cell, run "
    "before a server of the official SDK: `make test ARGS=tests/hub/test_matrix.py`."
)

TRIED: Final = (
    "Each ✓ is a test that runs this client against a hub before a modern and a legacy server, and has the hub say in "
    "which era it was spoken to: `make test ARGS=tests/hub/test_clients.py`. A client marked *n/a* does not speak that "
    "era in this version."
)

DIFFERENCES: Final = (
    "A server over stdio or HTTP+SSE does not say which call a question is for. From its first question on it"
    " gets calls whose callers can be asked something one at a time, on up to 16 links of their own.",
    "Log messages on stdio and HTTP+SSE belong to a call only while it is the only one on its link; others "
    "are dropped.",
    "What a legacy server asks of a modern agent waits for ten minutes at most, 100 calls of one caller and "
    "1,000 in all. A restart of the hub loses it, and the agent is told so. Nothing is run twice.",
    "A legacy agent that answers a question with an error has a legacy server told that error. A modern "
    "server can't be told, and the call ends.",
    "A legacy server that remembers earlier calls needs `stateful: true` or `isolation:`, see [servers](servers.md). "
    "Modern agents have no session of themselves: they ask for a handle, or share what it remembers with all of their "
    "principal.",
    "[Skills](extensions.md#skills) are for modern agents, whose revision has extensions. A legacy agent reads their "
    "files as resources.",
    "Client-hosted tasks and `notifications/roots/list_changed` have no modern counterpart and end at the "
    "hub, which asks for the roots whenever a server wants them.",
)


def page() -> str:
    """`docs/compatibility.md`."""
    lines = ["# Compatibility", "", textwrap.fill(INTRODUCTION, 120), ""]
    for agent, revision in AGENTS.items():
        lines += [f"## A {agent} agent ({revision})", "", f"| an agent can … | {' | '.join(SERVERS.values())} |"]
        lines.append("|---|" + ":-:|" * len(SERVERS))
        cells = " | ".join("n/a" if server in IMPOSSIBLE else "✓" for server in SERVERS)
        lines += [f"| {feature} | {cells} |" for feature in FEATURES.values()]
        lines.append("")
    lines += [f"*n/a*, {SERVERS[server]}: {why}" for server, why in IMPOSSIBLE.items()]
    lines += ["", "## Clients tried", "", textwrap.fill(TRIED, 120), ""]
    lines += [
        f"| client | package | version | {' | '.join(AGENTS.values())} | what it does |",
        "|---|---|---|:-:|:-:|---|",
    ]
    for client in CLIENTS.values():
        cells = " | ".join("✓" if era in client.eras else "n/a" for era in AGENTS)
        lines.append(f"| {client.name} | `{client.package}` | {client.version} | {cells} | {client.does} |")
    lines += ["", "## What is not the same on both sides", ""]
    lines += [textwrap.fill(f"- {text}", 120, subsequent_indent="  ") for text in DIFFERENCES]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page())
