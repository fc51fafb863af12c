"""What a child has of a hub full of secrets: what was declared for it, three streams, and nothing else. T23, T22."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.hostile.rig import HubProcess
from tests.hostile.teller import teller

from concento.testing import RawAgent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows descriptors and variables in /proc")

SECRETS = {
    "VAULT_KEY": "canary-vault",
    "DOCS_TOKEN": "canary-docs",
    "UNUSED_TOKEN": "canary-unused",
    "AWS_SECRET_ACCESS_KEY": "canary-cloud",
    "SSH_AUTH_SOCK": "/tmp/canary-agent",
    "UV_INDEX_INNER_PASSWORD": "canary-index",
    "HTTPS_PROXY": "http://ada:canary-proxy@127.0.0.1:1",
    "LC_SECRET": "canary-referenced",
    "CONCENTO_TOKEN": "canary-admin",
}
STEERING = {
    "LD_PRELOAD": "/nowhere/canary.so",
    "LD_AUDIT": "/nowhere/canary.so",
    "LD_LIBRARY_PATH": "/nowhere/canary",
    "DYLD_INSERT_LIBRARIES": "/nowhere/canary.dylib",
    "GCONV_PATH": "/nowhere/canary",
    "PYTHONPATH": "/nowhere/canary",
    "PYTHONSTARTUP": "/nowhere/canary.py",
    "PYTHONWARNINGS": "ignore:canary",
    "NODE_OPTIONS": "--require=/nowhere/canary.js",
    "NODE_PATH": "/nowhere/canary",
    "PERL5OPT": "-M/nowhere/canary",
    "RUBYOPT": "-r/nowhere/canary",
    "JAVA_TOOL_OPTIONS": "-javaagent:/nowhere/canary.jar",
    "BASH_ENV": "/nowhere/canary.sh",
    "ENV": "/nowhere/canary.sh",
    "PROMPT_COMMAND": "/nowhere/canary",
    "BASH_FUNC_ls%%": "() { canary; }",
    "GIT_SSH_COMMAND": "/nowhere/canary",
    "PAGER": "/nowhere/canary",
    "BROWSER": "/nowhere/canary",
}
"""Variables that make a program run something else."""

SERVERS = """
servers:
  plain: {{command: {command}, start: lazy}}
  alone: {{command: {command}, env_inherit: none, env: {{MINE: "1"}}}}
  other: {{command: {command}, env: {{MINE: "2", KEY: "${{env:VAULT_KEY}}", FILE: "${{file:secret.txt}}"}}}}
  remote: {{url: "http://127.0.0.1:9/mcp", headers: {{X-Key: "${{env:DOCS_TOKEN}}", Y: "${{env:LC_SECRET}}"}}}}
audit: {{mode: strict, anchor: anchors.txt}}
"""


class Given(NamedTuple):
    """What a process has."""

    variables: dict[str, str]
    descriptors: dict[str, str]


def given(pid: int | str) -> Given:
    """What another process has, as the kernel tells it."""
    place = Path(f"/proc/{pid}")
    variables = [one.decode().split("=", 1) for one in (place / "environ").read_bytes().split(b"\0") if one]
    return Given(dict(variables), {path.name: os.readlink(path) for path in (place / "fd").iterdir()})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("children")
    (folder / "secret.txt").write_text("canary-file")
    return folder


@pytest.fixture(scope="module")
def hub(folder: Path) -> Iterator[HubProcess]:
    """A hub whose environment and open files are full."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (SECRETS | STEERING).items():
            patch.setenv(name, value)
        hub = HubProcess(folder, SERVERS.format(command=json.dumps(teller())))
    yield hub
    hub.end()


@pytest.fixture(scope="module")
def children(hub: HubProcess) -> dict[str, Given]:
    """What each child tells. The last of them starts when all else is open: connections, databases, other children."""

    async def told() -> dict[str, Given]:
        found: dict[str, Given] = {}
        async with RawAgent(f"http://{hub.address[0]}:{hub.address[1]}/mcp") as agent:
            await agent.begin()
            for alias in ("other", "alone", "plain"):
                reply = await agent.modern("tools/call", {"name": f"{alias}__echo", "arguments": {}})
                value = json.loads(reply.result["content"][0]["text"])
                found[alias] = Given(value["variables"], value["descriptors"])
        return found

    return asyncio.run(told())


def canaries(value: Any) -> set[str]:
    """What of a secret or of what steers is in a value."""
    text = json.dumps(value)
    return {name for name, secret in (SECRETS | STEERING | {"FILE": "canary-file"}).items() if secret in text}


def test_the_hub_has_what_a_child_must_not(hub: HubProcess, children: dict[str, Given]) -> None:
    """The proof that the other tests could fail."""
    own = given(hub.pid)
    assert canaries(own.variables) == {*SECRETS, *STEERING}
    files = {Path(target).name for target in own.descriptors.values()}
    assert {"state.db", "audit.db"} <= files
    assert sum(target.startswith("socket:") for target in own.descriptors.values()) >= 4
    assert len(own.descriptors) > 15


@pytest.mark.parametrize("alias", ["plain", "alone", "other"])
def test_a_child_has_three_streams_of_its_own_and_no_other_descriptor(children: dict[str, Given], alias: str) -> None:
    assert children[alias].descriptors.keys() == {"0", "1", "2"}
    theirs = [target for name, child in children.items() if name != alias for target in child.descriptors.values()]
    for target in children[alias].descriptors.values():
        assert target.startswith(("pipe:", "socket:"))
        assert target not in theirs


def test_a_child_sees_no_secret_but_those_that_were_declared_for_it(children: dict[str, Given]) -> None:
    assert canaries(children["plain"]) == set()
    assert canaries(children["alone"]) == set()
    assert canaries(children["other"]) == {"VAULT_KEY", "FILE"}
    assert (children["other"].variables["KEY"], children["other"].variables["FILE"]) == ("canary-vault", "canary-file")


def test_a_child_that_inherits_nothing_has_what_was_declared(children: dict[str, Given]) -> None:
    assert children["alone"].variables == {"MINE": "1"}


def test_what_is_inherited_beside_is_the_hubs_own_word_for_word(hub: HubProcess, children: dict[str, Given]) -> None:
    """And PATH, with the folder of the hub's own programs before it."""
    own = given(hub.pid).variables
    seen = dict(children["plain"].variables)
    assert seen.pop("PATH") == f"{Path(sys.executable).parent}:{own['PATH']}"
    assert seen.items() <= own.items()
    assert seen["HOME"] == own["HOME"]


def test_no_secret_of_the_hub_is_in_the_command_line_of_a_process(children: dict[str, Given]) -> None:
    """Everybody on the machine can read those."""
    for _, words in processes():
        assert not canaries(words.decode(errors="replace"))


def test_the_watchdog_has_neither_variables_nor_files_of_the_hub(hub: HubProcess, children: dict[str, Given]) -> None:
    (watchdog,) = [
        given(pid) for pid, words in processes() if words.endswith(b"guard.py\0watch\0") and parent(pid) == hub.pid
    ]
    assert watchdog.variables == {}
    assert watchdog.descriptors.keys() == {"0", "1", "2"}


def processes() -> Iterator[tuple[int, bytes]]:
    """All that run: id and command line."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            yield int(place.name), (place / "cmdline").read_bytes()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
