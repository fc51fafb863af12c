"""The official conformance suite: bring it, run it, read what it found."""

import asyncio
import json
import os
import re
import shlex
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from tests.node import installed, node

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGE = "@modelcontextprotocol/conformance"
REVISIONS = ("2025-11-25", "2026-07-28")

Statuses = tuple[str, ...]
Scenario = Mapping[str, Statuses]
"""Of each check the statuses by its id, which may come more than once. `INFO` claims nothing, so it is left out."""


@dataclass(frozen=True)
class Findings:
    """What a run found, by scenario."""

    scenarios: Mapping[str, Scenario]
    said: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """What the suite says of a check that did not pass, by scenario and id."""


LEFT_OUT = ("auth/dpop", "auth/wif")
"""Client scenarios that begin so are not run: drafts of extensions, without a score, that the hub does not have."""

FINISHED = "finished"
"""What our client says last on its standard output, and the id of the check that it did."""

_RESULT = re.compile(r"(?:server-)?(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")
_TIMEOUT_S = 110.0


async def scenarios(side: str, revision: str) -> list[str]:
    """What we run of a revision: all that it requires of servers or of clients, and what is run without a score."""
    modules = await asyncio.to_thread(installed, HERE, "conformance")
    required = yaml.safe_load((modules / PACKAGE / f"requirements/{revision}.yaml").read_text())
    unscored = [entry["scenario"] for entry in required["not_scored"] if entry["leg"] == side]
    return [name for name in (*required[side], *unscored) if not name.startswith(LEFT_OUT)]


async def judge_server(url: str, revision: str) -> Findings:
    """Run everything the suite has for servers of a revision."""
    with tempfile.TemporaryDirectory() as folder:
        output = await _run(["server", "--url", url, "--requirements", revision, "-o", folder])
        found = _found(Path(folder), output)
    missing = set(await scenarios("server", revision)) ^ found.scenarios.keys()
    if missing:
        raise RuntimeError(f"the suite did not run what it lists: {sorted(missing)}\n{output[-5000:]}")
    return found


async def judge_extension(url: str, scenario: str) -> Findings:
    """Run one scenario that no revision has: an extension's."""
    with tempfile.TemporaryDirectory() as folder:
        return _found(
            Path(folder), await _run(["server", "--url", url, "--scenario", scenario, "--force", "-o", folder])
        )


async def judge_client(command: Sequence[str], scenario: str, revision: str) -> Findings:
    """Run one scenario against a client: a command that gets the URL of a server as its last argument."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--scenario", scenario, "--spec-version", revision, "--force", "-o", folder]
        found = _found(Path(folder), await _run(["client", "--command", shlex.join(command), *options]))
        (output,) = Path(folder).rglob("stdout.txt")
        if output.read_text().split()[-1:] == [FINISHED]:
            ended, said = "SUCCESS", {}
        else:
            ended, said = "FAILURE", {(scenario, FINISHED): output.with_name("stderr.txt").read_text()}
        return Findings({scenario: {**found.scenarios[scenario], FINISHED: (ended,)}}, {**found.said, **said})


async def _run(arguments: Sequence[str]) -> str:
    modules = await asyncio.to_thread(installed, HERE, "conformance")
    process = await asyncio.create_subprocess_exec(
        node(),
        str(modules / PACKAGE / "dist/index.js"),
        *arguments,
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode(errors="replace")


def _found(folder: Path, output: str) -> Findings:
    scenarios: dict[str, Scenario] = {}
    said: dict[tuple[str, str], str] = {}
    for file in sorted(folder.rglob("checks.json")):
        name = file.parent.relative_to(folder).as_posix()
        match = _RESULT.fullmatch(name)
        assert match is not None, f"the suite names its results otherwise now: {name}"
        checks: dict[str, list[str]] = defaultdict(list)
        for check in json.loads(file.read_bytes()):
            if check["status"] != "INFO":
                checks[check["id"]].append(check["status"])
            if check["status"] not in ("INFO", "SUCCESS"):
                said[match[1], check["id"]] = f"{check['status']}: {check.get('errorMessage') or check['description']}"
        scenarios[match[1]] = {id: tuple(sorted(statuses)) for id, statuses in checks.items()}
    if not scenarios:
        raise RuntimeError(f"the suite wrote no results:\n{output[-5000:]}")
    return Findings(scenarios, said)
