"""Install the wheel the way a user does, and use it: a fresh environment, the locked dependencies, no checkout.

The servers behind the hub are real ones, the fixture server on the official SDK and public ones brought by `uvx`; the
client is the official SDK's. Both run from `.venv`, for they are not what is tried here.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mcp import Client, StdioServerParameters

from concento.cli.main import VERBS

from .build import Built
from .common import BIN, ROOT, Refused, environ, run
from .lock import requirements

STOP_S: Final = 40.0
START_S: Final = 120.0
START_WAIT: Final = "\ndefaults: {start_wait_s: 60}\n"
"""A list waits for servers: the first run of a public one downloads it."""
TIME: Final = re.findall(r"mcp-server-time==[0-9.]+", (ROOT / "examples/quickstart.yaml").read_text())[0]
"""A public server, in the version that the example has."""


def fresh(folder: Path, archive: Path, *extras: str) -> Path:
    """A new environment with an archive and exactly what `uv.lock` names for it; returns its `bin`."""
    folder.mkdir(parents=True)
    locked = folder / "requirements.txt"
    locked.write_text(requirements(*extras))
    environment = folder / "venv"
    run([BIN / "uv", "venv", "--quiet", "--python", BIN / "python", environment], cwd=folder)
    install = [str(BIN / "uv"), "pip", "install", "--quiet", "--python", str(environment)]
    run([*install, "--require-hashes", "-r", str(locked)], cwd=folder)
    run([*install, "--no-deps", str(archive)], cwd=folder)
    run([BIN / "uv", "pip", "check", "--quiet", "--python", environment], cwd=folder)
    return environment / "bin"


def site_packages(bin: Path) -> Path:
    """Where an environment keeps its packages."""
    return Path(run([bin / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())


def try_core(bin: Path, built: Built, folder: Path) -> None:
    """Every verb, and the hub with a child process behind it, over HTTP and stdio. Errors: Refused."""
    verbs(bin, built.version, folder)
    shutil.copy(ROOT / "tests/servers/sdk_server.py", folder / "server.py")
    config = write_config(folder, json.dumps({"demo": {"command": [str(BIN / "python"), "server.py"], "cwd": "."}}))
    call = ("demo__add", {"a": 20, "b": 22}, "42")
    run([bin / "concento", "check", config], cwd=folder)
    with serving([bin / "concento", "serve", config], folder) as hub:
        run([bin / "concento", "health", hub.address, "--wait", "30"], cwd=folder)
        must_be_own(hub.pid, bin.parent)
        for mode in ("auto", "legacy"):
            must_answer(Client(hub.endpoint, mode=mode), *call)
    sidecar = StdioServerParameters(command=str(bin / "concento"), args=["stdio", str(config)], env=hub_environ(folder))
    must_answer(Client(sidecar), *call)


def try_quickstart(bin: Path, folder: Path) -> None:
    """`examples/quickstart.yaml` as a user of the wheel runs it, with `uvx` from the extra. Errors: Refused."""
    clone = folder / "clone"
    run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, clone], cwd=folder)  # its git server wants a repository
    config = clone / "examples/quickstart.yaml"
    text = config.read_text()
    for documented in sorted(set(re.findall(r"\b7\d{3}\b", text))):
        text = re.sub(rf"\b{documented}\b", str(free_port()), text)
    config.write_text(text + START_WAIT)
    with serving([bin / "concento", "serve", config], folder) as hub:
        must_answer(Client(hub.endpoint), "time__get_current_time", {"timezone": "Europe/Rome"}, "Europe/Rome")
        must_answer(Client(hub.endpoint), "git__git_log", {"repo_path": str(clone), "max_count": 1}, "Commit")
        must_answer(Client(hub.endpoint), "excel__list_workbooks", {}, "")


def verbs(bin: Path, version: str, folder: Path) -> None:
    """What every verb says of itself. Errors: Refused."""
    concento = bin / "concento"
    said = run([concento, "--version"], cwd=folder)
    if said != f"concento {version}\n":
        raise Refused(f"`concento --version` says {said!r}, not {version}")
    overview = run([concento, "--help"], cwd=folder)
    for verb in VERBS:
        if verb not in overview or "Example" not in run([concento, verb, "--help"], cwd=folder):
            raise Refused(f"`concento --help` or `concento {verb} --help` lacks the verb or its example")


# ---- a hub that runs


class Hub:
    """A hub in a process of its own."""

    def __init__(self, pid: int, endpoint: str) -> None:
        self.pid = pid
        self.endpoint = endpoint
        self.address = urlsplit(endpoint).netloc


@contextmanager
def serving(command: Sequence[str | Path], folder: Path, *, launched: bool = False) -> Iterator[Hub]:
    """`concento serve`, listening while the context is open; it has to stop in order at its end. Errors: Refused.

    `launched`: what the command starts is the hub's parent, and ends as the hub does.
    """
    log = (folder / "hub.log").open("w+")
    process = subprocess.Popen(
        [*command, "--json"],
        cwd=folder,
        env=hub_environ(folder),
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first:
            raise Refused("the hub did not start")
        hub = Hub(only_child(process.pid) if launched else process.pid, json.loads(first)["endpoint"])
        yield hub
        os.kill(hub.pid, signal.SIGTERM)
        if (code := process.wait(STOP_S)) != 0:
            raise Refused(f"the hub stopped with {code}")
    except Refused as error:
        raise Refused(f"{error}\nThe hub said:\n{Path(log.name).read_text()}") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        log.close()


def only_child(pid: int) -> int:
    """Linux only."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def must_answer(client: Client, tool: str, arguments: Mapping[str, Any], wanted: str) -> None:
    """One call by the official client. Errors: Refused."""

    async def call() -> str:
        async with client, asyncio.timeout(START_S):
            listed = [listed.name for listed in (await client.list_tools()).tools]
            if tool not in listed:
                return f"nothing, for listed are only: {', '.join(listed)}"
            result = await client.call_tool(tool, dict(arguments))
            return f"{'an error: ' if result.is_error else ''}{result.content} {result.structured_content}"

    answer = asyncio.run(call())
    if answer.startswith(("an error: ", "nothing, ")) or wanted not in answer:
        raise Refused(f"{tool} answered {answer}")


def must_be_own(pid: int, environment: Path) -> None:
    """The process has mapped nothing of the checkout: all of it is from its own environment. Errors: Refused."""
    if not sys.platform.startswith("linux"):
        return
    mapped = {line.split(maxsplit=5)[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/" in line}
    foreign = sorted(path for path in mapped if path.startswith(f"{ROOT}/"))
    if foreign or not any(path.startswith(str(environment)) for path in mapped):
        raise Refused(f"the installed hub runs with files of the checkout: {', '.join(foreign)}")


def hub_environ(folder: Path) -> dict[str, str]:
    """A user's environment: no programs of the checkout on PATH, state in the folder."""
    path = ":".join(part for part in os.environ["PATH"].split(":") if not part.startswith(str(ROOT)))
    return {**environ(), "PATH": path, "XDG_STATE_HOME": str(folder / "state")}


def write_config(folder: Path, servers: str) -> Path:
    """A configuration on free ports; JSON is YAML."""
    config = folder / "concento.yaml"
    admin = f"{{listen: 127.0.0.1:{free_port()}}}"
    config.write_text(f"listen: 127.0.0.1:{free_port()}\nadmin: {admin}\nservers: {servers}{START_WAIT}")
    return config


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
