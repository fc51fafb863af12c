"""Run a child where it reaches only what the operator named: in a bubblewrap sandbox, or in a container.

In bubblewrap a child has user, process, IPC, host-name and control-group namespaces of its own, no capabilities, and
no network unless it is granted. It sees the system's programs and libraries, its own program and its folder, all
read-only; HOME, /tmp and /dev/shm are its own, small, and gone with it; everything else is not there. Paths are the
same inside.

Limits are rlimits, so they hold for each process; only `processes_max` counts all of a sandbox's. `memory_mb` limits
what a process may call its own (heap, stacks, private mappings: RLIMIT_DATA), not reserved addresses, of which runtimes
such as Node.js take gigabytes. The kernel counts no processes of root's: `processes_max` needs a hub that is not root.

bwrap ends with its sandbox and takes the sandbox along when it dies or the hub does, even what left the process group.
It ignores SIGTERM, which its group is sent, so that the server inside has time to end in order.

A container is whatever its command does with the server's command, appended to it. Source: decisions/0006.
"""

import os
import resource
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from ..model.config import ChildReplica, Sandbox
from ..model.limits import MIB
from .child_env import DEFAULT_PATH
from .program import SpawnError, located

PROCESSES_MAX: Final = 256
"""Processes and threads of a sandbox that names no limit."""

_SYSTEM: Final = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Beside /usr: links into it nearly everywhere, folders elsewhere."""

_ETC: Final = (
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone", "os-release", "mime.types"),
    *("passwd", "group", "nsswitch.conf", "hosts", "host.conf", "resolv.conf", "gai.conf", "services", "protocols"),
    *("ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/ca-trust", "crypto-policies"),
)
"""What of /etc programs need and everybody may know."""

_PROC_READ_ONLY: Final = ("sys", "sysrq-trigger", "irq", "bus", "fs")
_PROC_HIDDEN: Final = ("kcore", "keys", "timer_list")
"""Parts of /proc that are the whole machine's: root could change it there, even without capabilities."""


def sandboxed(replica: ChildReplica, sandbox: Sandbox, path: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """The command that runs a replica's command in its sandbox; `path` is where the replica's program is looked for.

    Errors: SpawnError.
    """
    if sandbox.kind == "container":
        return (*located(sandbox.command, path, replica.cwd), *replica.command)
    bwrap = shutil.which("bwrap", path=os.environ.get("PATH") or DEFAULT_PATH)
    if bwrap is None:
        raise SpawnError(f"can't start: {missing(sandbox)}")
    command = located(replica.command, path, replica.cwd)
    namespaces = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if not sandbox.network:
        namespaces.append("--unshare-net")
    if "TMPDIR" not in replica.env:
        namespaces += ["--unsetenv", "TMPDIR"]
    return (
        *(bwrap, "--die-with-parent", "--disable-userns", "--cap-drop", "ALL", *namespaces),
        *_file_system(replica, sandbox, command[0], env),
        *("--", *_limits(sandbox), *command),
    )


def is_bubblewrap(sandbox: Sandbox | None) -> bool:
    """Whether bwrap is between the hub and the child."""
    return sandbox is not None and sandbox.kind == "bubblewrap"


def missing(sandbox: Sandbox) -> str | None:
    """What has to be installed before anything can start in the sandbox; None if nothing."""
    program = "bwrap" if sandbox.kind == "bubblewrap" else sandbox.command[0]
    if shutil.which(program, path=os.environ.get("PATH") or DEFAULT_PATH) is not None:
        return None
    if program == "bwrap":
        return "its sandbox needs the program 'bwrap'; install it (on Debian and Ubuntu: apt-get install bubblewrap)"
    return f"the command of its sandbox, {program!r}, was not found on PATH; install it or give its full path"


def hint(sandbox: Sandbox | None) -> str:
    """What to think of when a child ends before it has said anything."""
    if sandbox is None:
        return ""
    if sandbox.kind == "container":
        return "; it was started in a container, by the command of its `sandbox`"
    network = "" if sandbox.network else "no network, and "
    return f"; its sandbox has {network}only the files that `sandbox` names: does it need more?"


# -- files


def _file_system(replica: ChildReplica, sandbox: Sandbox, program: str, env: Mapping[str, str]) -> Iterator[str]:
    """The arguments that lay out the file system: parents before what is mounted below them."""
    for path in (*sandbox.read_only, *sandbox.writable):
        if not path.exists():
            raise SpawnError(
                f"can't start: {path}, named in its `sandbox`, does not exist; make it or correct the path"
            )
    tmpfs = ["--size", str(sandbox.tmp_mb * MIB), "--tmpfs"]
    home = Path(env.get("HOME", "/"))
    mounts: dict[Path, list[str]] = dict(_system())
    mounts[Path("/proc")] = ["--proc", "/proc", *_proc()]
    mounts[Path("/dev")] = ["--dev", "/dev", *tmpfs, "/dev/shm", "--remount-ro", "/dev"]
    for folder in ("/tmp", "/var/tmp", str(home)):
        if folder.startswith("/") and folder != "/":
            mounts[Path(folder)] = [*tmpfs, folder]
    own = set(_own(Path(program), replica.cwd, (home, Path(os.path.expanduser("~")))))
    named = {*sandbox.read_only, *sandbox.writable}
    for path in own | named:
        if path in sandbox.writable:
            mounts[path] = ["--bind", str(path), str(path)]
        elif path in named:
            mounts[path] = ["--ro-bind", str(path), str(path)]
        elif path not in mounts and not any(other in path.parents for other in own | named):
            mounts[path] = _as_it_is(path)
    for _, arguments in sorted(mounts.items(), key=lambda mount: mount[0].parts):
        yield from arguments
    yield from ("--remount-ro", "/")
    yield from ("--chdir", str(replica.cwd or (home if home in mounts else "/")))


def _system() -> Iterator[tuple[Path, list[str]]]:
    yield Path("/usr"), ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        if os.path.islink(name):
            yield Path(name), ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            yield Path(name), ["--ro-bind", name, name]
    for name in _ETC:
        yield Path("/etc", name), ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]


def _proc() -> Iterator[str]:
    for name in _PROC_READ_ONLY:
        yield from ("--ro-bind-try", f"/proc/{name}", f"/proc/{name}")
    for name in _PROC_HIDDEN:
        if os.path.exists(f"/proc/{name}"):
            yield from ("--ro-bind", "/dev/null", f"/proc/{name}")


def _as_it_is(path: Path) -> list[str]:
    """Read-only; a program that is a link stays one, since programs find their parts from where they really are."""
    if path.is_symlink() and not path.is_dir():
        return ["--symlink", os.readlink(path), str(path)]
    return ["--ro-bind", str(path), str(path)]


def _own(program: Path, cwd: Path | None, homes: tuple[Path, ...]) -> Iterator[Path]:
    """What a child needs to start at all: its folder, and its program with the installation that it belongs to.

    Never a home, nor what holds one: of both the child's own and the hub's.
    """
    if cwd is not None and not any(home.is_relative_to(cwd) for home in homes):
        yield cwd
    for file in _links(program):
        yield file
        for folder in _installations(file.parent.parent):
            if not any((home / ".local").is_relative_to(folder) for home in homes):
                yield folder


def _links(file: Path) -> Iterator[Path]:
    """A file outside of the system's folders, and what it is a link to, step by step."""
    for _ in range(16):
        if file.is_relative_to("/usr") or any(file.is_relative_to(name) for name in _SYSTEM):
            return
        yield file
        if not file.is_symlink():
            return
        file = Path(os.path.normpath(file.parent / os.readlink(file)))


def _installations(folder: Path) -> Iterator[Path]:
    """The folder, if it is a Python environment or holds an interpreter with its library, and what it is based on."""
    settings = folder / "pyvenv.cfg"
    if settings.is_file():
        yield folder
        for line in settings.read_text(errors="replace").splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "home":
                for file in _links(Path(value.strip()) / "python3"):
                    yield from _installations(file.parent.parent)
    elif any(folder.glob("lib/python3*")) or (folder / "lib" / "node_modules").is_dir():
        yield folder


# -- limits


def _limits(sandbox: Sandbox) -> Iterable[str]:
    """The command inside that takes the limits on, and listens to SIGTERM again, before it becomes the server."""
    if sandbox.processes_max is not None and os.geteuid() == 0:
        raise SpawnError(
            "can't start: `processes_max` of its `sandbox` would not hold, since the kernel does not count root's "
            "processes; run the hub as another user, or remove it"
        )
    env, prlimit = (shutil.which(program, path=DEFAULT_PATH) for program in ("env", "prlimit"))
    if env is None or prlimit is None:
        raise SpawnError(
            "can't start: its sandbox needs `env` of GNU coreutils and `prlimit` of util-linux in /usr/bin"
        )
    memory = None if sandbox.memory_mb is None else sandbox.memory_mb * MIB
    limits = (
        ("core", resource.RLIMIT_CORE, 0),
        ("nofile", resource.RLIMIT_NOFILE, sandbox.files_max),
        ("nproc", resource.RLIMIT_NPROC, sandbox.processes_max or PROCESSES_MAX),
        ("data", resource.RLIMIT_DATA, memory),
        ("cpu", resource.RLIMIT_CPU, sandbox.cpu_s),
    )
    options = [f"--{name}={_at_most(value, number)}" for name, number, value in limits if value is not None]
    return (env, "--default-signal=TERM", prlimit, *options, "--")


def _at_most(value: int, number: int) -> int:
    """The limit, or the hub's own where that is lower: a child can't be given more."""
    _, hard = resource.getrlimit(number)
    return value if hard == resource.RLIM_INFINITY else min(value, hard)
