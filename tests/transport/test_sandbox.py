"""A sandboxed child reaches only what it was given: real bwrap, a hostile child, real hubs. Source: decisions/0006."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.hub.conftest import Running, at, config, free_port, running
from tests.peers import sdk_command
from tests.transport.processes import ACTOR, CHILDREN, hub, marked

from concento.model.call import NO_ABILITIES
from concento.model.config import ChildReplica, Sandbox, Server
from concento.model.errors import Unavailable
from concento.model.principal import ANONYMOUS
from concento.testing import stdio_child
from concento.testing.raw_agent import RawAgent
from concento.testing.waiting import until
from concento.transport import stdio
from concento.transport.program import SpawnError
from concento.transport.sandbox import sandboxed
from concento.transport.stdio import Child, ExitNotice
from concento.transport.watchdog import Watchdog

KIT = Path(stdio_child.__file__).parent
HOSTILE = (sys.executable, "-I", "-S", str(CHILDREN / "hostile.py"), str(KIT))
NEEDED = (CHILDREN, KIT)
REFUSED = (
    *("FileNotFoundError", "PermissionError", "OSError"),
    *("MemoryError", "ProcessLookupError", "ConnectionRefusedError"),
)

Try = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's user at home, with a key that is nobody's business."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id").write_text("canary")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HUB_TOKEN", "canary")
    return home


@asynccontextmanager
async def hostile(state_db: Path | None = None, cwd: Path | None = None, **given: Any) -> AsyncIterator[Try]:
    """A hub with a hostile server in a sandbox; calls of its tool go the whole way."""
    given["read_only"] = (*NEEDED, *given.get("read_only", ()))
    server = Server("s", (ChildReplica(HOSTILE, cwd=cwd, sandbox=Sandbox(**given)),))
    async with running(config(server, state_db=state_db)) as hub, RawAgent(hub.mcp) as agent:
        await hub.ready("s")

        async def attempt(verb: str, *arguments: Any) -> Any:
            params = {"name": "s__echo", "arguments": {"try": verb, "with": list(arguments)}}
            result = (await agent.modern("tools/call", params)).result
            return json.loads(result["content"][0]["text"])

        yield attempt


def is_refusal(found: Any) -> bool:
    return isinstance(found, dict) and found.get("refused") in REFUSED


# -- what it can not reach


@pytest.mark.parametrize("network", [False, True])
async def test_it_reaches_the_network_only_if_it_was_given_one(network: bool) -> None:
    connections: list[object] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as listener, hostile(network=network) as attempt:
        found = await attempt("connect", *listener.sockets[0].getsockname())
        if network:
            assert found == "connected"
            await until(lambda: connections, "it is seen at the listener")
        else:
            assert is_refusal(found)
            assert not connections


async def test_it_sees_neither_keys_nor_state_nor_variables_of_the_hub(home: Path, tmp_path: Path) -> None:
    state = tmp_path / "state" / "concento.db"
    async with hostile(state_db=state) as attempt:
        for path in (home / ".ssh" / "id", state, "/etc/shadow", "/proc/keys", "/proc/kcore"):
            assert is_refusal(await attempt("read", str(path))), path
        for folder in (home / ".ssh", state.parent, "/boot", "/run", "/sys"):
            assert is_refusal(await attempt("folder", str(folder))), folder
        assert await attempt("folder", str(home)) == []
        environment = await attempt("environment")
        assert environment["HOME"] == str(home)
        assert "canary" not in json.dumps(environment)
        assert await attempt("descriptors") == []


async def test_it_writes_only_where_it_was_given_or_for_itself(home: Path, tmp_path: Path) -> None:
    project, out, here = tmp_path / "project", tmp_path / "project" / "out", tmp_path / "here"
    for folder in (out, here):
        folder.mkdir(parents=True)
    (project / "notes").write_text("theirs")
    async with hostile(cwd=here, read_only=(project,), writable=(out,)) as attempt:
        assert await attempt("read", str(project / "notes")) == "theirs"
        for path in (project / "notes", project / "new", here / "new", Path("new"), Path("/usr/new"), Path("/new")):
            assert is_refusal(await attempt("write", str(path))), path
        for name in ("/etc/passwd", "/dev/new", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"):
            assert is_refusal(await attempt("open_to_write", name)), name

        outside = [folder / f"new-{tmp_path.name}-{os.getpid()}" for folder in (home, Path("/tmp"), Path("/dev/shm"))]
        for path in (out / "new", *outside, Path("/var/tmp/other")):
            assert await attempt("write", str(path)) == "written", path
        assert await attempt("where") == str(here)
    assert (out / "new").read_text() == "mine"
    assert not any(path.exists() for path in outside)


async def test_it_sees_no_process_but_its_own_and_has_no_power_over_any() -> None:
    async with hostile() as attempt:
        names = sorted(name.rstrip("0123456789.") for name in await attempt("processes"))
        assert names == ["bwrap", "python"]
        assert is_refusal(await attempt("kill", os.getpid()))
        told = await attempt("status")
        assert {told[name] for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {"0" * 16}
        assert told["NoNewPrivs"] == "1"
        assert await attempt("run", "unshare", "--user", "true") != 0
        assert await attempt("run", "mount", "-o", "remount,rw", "/") != 0


async def test_it_exceeds_no_limit_and_still_answers() -> None:
    async with hostile(memory_mb=96, files_max=40, tmp_mb=2, cpu_s=600) as attempt:
        assert is_refusal(await attempt("allocate", 200_000_000))
        assert await attempt("allocate", 20_000_000) == 20_000_000
        assert is_refusal(await attempt("open_files", 60))
        assert await attempt("open_files", 20) == "opened"
        for folder in ("/tmp", "/dev/shm", os.environ["HOME"]):
            assert is_refusal(await attempt("fill", f"{folder}/big", 3_000_000))
            assert await attempt("fill", f"{folder}/big", 1_000_000) == "filled"
        assert "600" in (await attempt("read", "/proc/self/limits")).split("cpu time")[1].split("\n")[0]


@pytest.mark.parametrize(("processes_max", "fits"), [(12, False), (60, True)])
def test_it_starts_no_more_processes_than_it_may(
    processes_max: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As somebody else than root, whom the kernel does not limit."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    forks = "i=0; while [ $i -lt 30 ]; do sleep 60 & i=$((i+1)); done; echo all"
    replica = ChildReplica(("/bin/sh", "-c", forks))
    argv = sandboxed(replica, Sandbox(processes_max=processes_max), "/bin", {})
    monkeypatch.undo()
    somebody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}

    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, cwd="/", check=False, **somebody)  # type: ignore[call-overload]

    assert (done.stdout == "all\n") == fits, done.stderr


def test_limit_that_would_not_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(SpawnError, match="does not count root's processes"):
        sandboxed(ChildReplica(("/bin/sh",)), Sandbox(processes_max=9), "/bin", {})


# -- how it starts


async def test_program_of_an_environment_brings_its_environment_along(tmp_path: Path) -> None:
    """Linked from somewhere else, as tools are installed for a user."""
    link = tmp_path / "tool"
    link.symlink_to(Path(sys.executable).with_name("pytest"))

    assert (await first_line(ChildReplica((str(link), "--version"), sandbox=Sandbox()))).startswith(b"pytest ")


async def test_home_as_its_folder_does_not_show_it_home(home: Path) -> None:
    told = await first_line(
        ChildReplica(("/bin/sh", "-c", "mkdir out && ls -A | tr '\\n' ' '; pwd"), cwd=home, sandbox=Sandbox())
    )
    assert told == f"out {home}".encode()


@pytest.mark.parametrize("inherit", ["safe", "none"])
async def test_tools_installed_for_a_user_do_not_bring_that_users_files_along(home: Path, inherit: str) -> None:
    """`~/.local` looks like an interpreter's installation, and holds keyrings."""
    for folder in (".local/bin", ".local/lib/python3.11", ".local/share/keyrings"):
        (home / folder).mkdir(parents=True)
    tool = home / ".local/bin/tool"
    tool.write_text('#!/bin/sh\nls -A "$1" "$1/.local" | tr "\\n" " "; echo\n')
    tool.chmod(0o755)
    replica = ChildReplica((str(tool), str(home)), cwd=home, env_inherit=inherit, sandbox=Sandbox())  # type: ignore[arg-type]

    assert await first_line(replica) == f"{home}: .local  {home}/.local: bin ".encode()


async def test_missing_bubblewrap_is_told_with_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SpawnError, match="apt-get install bubblewrap"):
        await first_line(ChildReplica(("/bin/sh",), sandbox=Sandbox()))


@pytest.mark.parametrize("key", ["read_only", "writable"])
async def test_folder_that_is_not_there_is_told_by_name(key: str) -> None:
    with pytest.raises(SpawnError, match="/no/such/folder, named in its `sandbox`, does not exist"):
        await first_line(ChildReplica(("/bin/sh",), sandbox=Sandbox(**{key: (Path("/no/such/folder"),)})))  # type: ignore[arg-type]


async def test_server_that_dies_at_its_start_is_told_to_be_sandboxed(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text("print()")
    replica = ChildReplica(("python3", str(script)), sandbox=Sandbox())
    async with running(config(Server("s", (replica,)))) as hub:
        error = await failure(hub)
        assert "its sandbox has no network, and only the files that `sandbox` names" in error
        assert "can't open file" in " ".join(hub.hub.upstreams.get("s").health().stderr)


async def test_container_is_started_by_its_command_with_the_servers_appended() -> None:
    """Here the container runtime is bwrap itself, told by hand."""
    command = ("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-net", "--die-with-parent")
    server = Server("s", (ChildReplica(HOSTILE, sandbox=Sandbox("container", command=command)),))
    async with running(config(server)) as hub, RawAgent(hub.mcp) as agent:
        await hub.ready("s")
        params = {"name": "s__echo", "arguments": {"try": "folder", "with": ["/sys/class/net"]}}
        assert "content" in (await agent.modern("tools/call", params)).result


async def test_container_whose_program_is_missing_is_told() -> None:
    replica = ChildReplica(("server",), sandbox=Sandbox("container", command=("no-docker", "run")))
    with pytest.raises(SpawnError, match="'no-docker' was not found on PATH"):
        await first_line(replica)


async def test_program_beside_its_url_can_be_sandboxed_with_a_network() -> None:
    port = free_port()
    command = (*sdk_command("modern", "--port", str(port)), "--transport", "http")
    tests = Path(command[1]).parent
    beside = ChildReplica(command, sandbox=Sandbox(network=True, read_only=(tests,)))
    async with running(config(at("s", f"http://127.0.0.1:{port}/mcp", beside=beside))) as hub:
        await hub.ready("s", wait_s=60.0)


# -- how it ends


class Ended:
    """A sandboxed actor, and how it ended."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.notices: list[ExitNotice] = []
        self.mark = f"mark-{uuid.uuid4()}"

    async def start(self, watchdog: Watchdog, verb: str) -> Child:
        replica = ChildReplica((*ACTOR, verb, self.mark), sandbox=Sandbox(read_only=(CHILDREN,)))
        return await Child.start(replica, watchdog=watchdog, on_line=self.lines.put_nowait, on_exit=self.notices.append)


@pytest.mark.parametrize(("verb", "code"), [("echo", 0), ("polite", 7), ("stubborn", None)])
async def test_it_is_stopped_step_by_step_like_any_child(
    verb: str, code: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio, "STEP_S", 0.5)
    watchdog, ended = Watchdog(), Ended()
    child = await ended.start(watchdog, verb)
    child.write(b"hello")
    await asyncio.wait_for(ended.lines.get(), 15)

    await child.close()

    (notice,) = ended.notices
    assert (notice.code, notice.signal) == ((code, None) if code is not None else (None, signal.SIGKILL))
    await until(lambda: not marked(ended.mark), "its end", lambda: marked(ended.mark))
    watchdog.close()


async def test_killed_hub_leaves_nothing_not_even_what_left_the_group() -> None:
    for verb in ("family", "stubborn", "daemon"):
        mark = f"mark-{uuid.uuid4()}"
        with hub("hold", verb, mark, "sandboxed") as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            assert len(marked(mark)) >= 3, "the hub, bwrap and the child"

            process.kill()

            await until(lambda mark=mark: not marked(mark), f"the end of {verb}", lambda mark=mark: marked(mark))  # type: ignore[misc]


@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.long)])
async def test_hub_killed_at_any_moment_of_a_sandboxed_start_leaves_nothing(rounds: int) -> None:
    mark = f"mark-{uuid.uuid4()}"
    with hub("race", mark, str(rounds), "sandboxed") as process:
        process.communicate()
    assert process.returncode == 0

    await until(lambda: not marked(mark), "the end of all children", lambda: marked(mark))


# -- helpers


async def first_line(replica: ChildReplica) -> bytes:
    """The first line a child says."""
    watchdog = Watchdog()
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    notices: list[ExitNotice] = []
    child = await Child.start(replica, watchdog=watchdog, on_line=lines.put_nowait, on_exit=notices.append)
    try:
        await until(lambda: not lines.empty() or notices, "it says something", lambda: notices)
        assert not lines.empty(), notices
        return lines.get_nowait()
    finally:
        await child.close()
        watchdog.close()


async def failure(hub: Running) -> str:
    await until(lambda: hub.hub.upstreams.get("s").health().state == "failing", "it fails")
    with pytest.raises(Unavailable) as caught:
        await hub.hub.upstreams.get("s").replicas[0].link("", NO_ABILITIES, ANONYMOUS)
    return str(caught.value)
