"""Looking at processes from outside."""

import os
import subprocess
import sys
from pathlib import Path

import concento
from concento.testing.waiting import until

CHILDREN = Path(__file__).with_name("children")
ACTOR = (sys.executable, "-I", "-S", str(CHILDREN / "actor.py"))
SOURCE = Path(concento.__file__).parent.parent


def running(*pids: int) -> list[int]:
    """Those of the processes that run; a zombie does not."""
    return [pid for pid, state, _ in processes() if pid in pids and not state.startswith("Z")]


def marked(mark: str) -> list[int]:
    """The processes whose command line holds a mark."""
    return [pid for pid, state, line in processes() if mark in line and not state.startswith("Z")]


def zombies() -> list[int]:
    """Our own children that ended and were not waited for."""
    parents = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in parents.stdout.splitlines()]
    return [int(pid) for pid, parent, state in rows if int(parent) == os.getpid() and state.startswith("Z")]


def processes() -> list[tuple[int, str, str]]:
    """All processes: id, state, command line."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [(int(row[0]), row[1], row[2]) for row in rows if len(row) == 3]


def descriptors() -> set[str]:
    """The descriptors open in this process."""
    return set(os.listdir("/dev/fd"))


def hub(*arguments: str) -> "subprocess.Popen[str]":
    """A process that owns children as the hub does."""
    return subprocess.Popen(
        [sys.executable, str(CHILDREN / "hub.py"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


async def gone(*pids: int) -> None:
    """Wait until none of the processes runs."""
    await until(lambda: not running(*pids), f"the end of processes {pids}", lambda: running(*pids))
