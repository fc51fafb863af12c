"""Processes of our own or of others: started, ended, and what they have used so far, as /proc tells. Linux only."""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .refused import Disturbed, Refused

HERE = Path(__file__).resolve().parent
START_S = 120.0
STOP_S = 10.0


@dataclass(frozen=True)
class Program:
    """A running process, and where it serves."""

    pid: int
    origin: str

    def url(self, path: str) -> str:
        return self.origin + path


@contextlib.contextmanager
def running(command: list[str], room: Path, port: int, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    """A process that accepts connections on `port` while the context is open. Errors: Refused, with its last words."""
    log = room / "output.log"
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=room,
                env=os.environ | {"XDG_STATE_HOME": str(room)} | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise Refused(f"{shlex.join(command)} does not start: {error}") from None
    try:
        deadline_s = time.monotonic() + START_S
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise Refused(f"{Path(command[0]).name} does not listen: {last_words(log)}")
            time.sleep(0.001)
        yield Program(process.pid, f"http://127.0.0.1:{port}")
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process and whatever it has started."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_words(log: Path) -> str:
    """The end of what a process wrote, on one line and without the names of folders."""
    lines = log.read_text(errors="replace").strip().splitlines()[-3:]
    return re.sub(r"(/[\w.+-]+)+/", "…/", " / ".join(line.strip() for line in lines))[-500:] or "it wrote nothing"


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children: list[str] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children += task.read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def is_server(pid: int) -> bool:
    """Whether this is a benchmark server, such as a gateway's child: what it spends is not the gateway's."""
    with contextlib.suppress(OSError, ValueError):
        _, script, *_ = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return script == str(HERE / "upstream.py").encode()
    return False


def gateway_pids(pid: int) -> list[int]:
    """A gateway's processes: itself and its descendants, but for the servers among them."""
    return [one for one in family(pid) if not is_server(one)]


def cpu_ns(pids: Iterable[int]) -> dict[str, int]:
    """CPU time so far of each thread of these processes."""
    spent: dict[str, int] = {}
    for pid in pids:
        for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                spent[str(stat)] = int(stat.read_text().split()[0])
    return spent


def spent_ns(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    """CPU time between two readings. Errors: Disturbed, if a thread has taken its share of it into the grave."""
    if before.keys() - after.keys():
        raise Disturbed("a thread or process of the gateway ended during a round")
    return sum(after.values()) - sum(before.values())


def memory_kib(pid: int, field: Literal["VmRSS", "VmHWM"] = "VmRSS") -> int:
    with contextlib.suppress(OSError):
        if found := re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()):
            return int(found[1])
    raise Refused(f"process {pid} is gone")


def resident_mib(pid: int) -> float:
    """Resident memory of a gateway with all its processes, its servers aside."""
    return sum(memory_kib(one) for one in gateway_pids(pid)) / 1024


def settled_kib(pid: int) -> int:
    """Resident memory of a gateway, as soon as it has kept still for a quarter of a second (or after ten)."""
    readings: list[int] = []
    while len(readings) < 6 or (len(readings) < 200 and len(set(readings[-6:])) > 1):
        time.sleep(0.05)
        readings.append(sum(memory_kib(one) for one in gateway_pids(pid)))
    return readings[-1]
