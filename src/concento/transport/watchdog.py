"""No child outlives the hub, even one killed with -9.

A small process of its own holds the read end of a pipe to the hub. The hub writes which process groups live; when the
pipe closes, for whatever reason, the watchdog ends those groups. A launcher such as uvx stays the parent of the real
server, so a parent-death signal would not be enough; a process group reaches both.

A child must not run before the watchdog knows its group. So it is started through a gate: this file again, which leads
a process group of its own, writes that to the watchdog's pipe itself, closes the pipe and only then becomes the server.
A gate that finds the pipe broken starts nothing.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

GRACE_S = 0.5


class Watchdog:
    """The hub's end of the pipe. The process starts with the first child, and anew if it ever died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None
        self._groups: set[int] = set()

    def gate(self, command: tuple[str, ...]) -> tuple[list[str], int]:
        """How to start a command behind the gate: the argv, and a descriptor that must be passed on to it."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._pipe is not None
        return [sys.executable, "-I", "-S", "-E", __file__, "gate", str(self._pipe), *command], self._pipe

    def add(self, group: int) -> None:
        """A child's group lives (the gate has told already; this keeps it for a new watchdog)."""
        self._groups.add(group)

    def remove(self, group: int) -> None:
        """A child's group is gone: its number may belong to somebody else soon."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the watchdog; it ends what is left."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=3 * GRACE_S)
            self._process = None

    def _start(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
        read_end, self._pipe = os.pipe()
        os.set_inheritable(read_end, True)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-E", __file__, "watch", str(read_end)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(read_end,),
            start_new_session=True,
        )
        os.close(read_end)
        for group in self._groups:
            self._tell(f"+{group}\n")

    def _tell(self, line: str) -> None:
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                os.write(self._pipe, line.encode())


def _watch(pipe: int) -> None:
    """The watchdog process: read until the pipe closes, then end what lives."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    rest = b""
    while data := os.read(pipe, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for group in groups:
            with contextlib.suppress(OSError):
                os.killpg(group, number)
        if groups and number == signal.SIGTERM:
            time.sleep(GRACE_S)


def _gate(pipe: int, command: list[str]) -> None:
    """The child before it becomes the server: tell its group, then start."""
    with contextlib.suppress(OSError):  # it leads a session already
        os.setsid()
    try:
        os.write(pipe, b"+%d\n" % os.getpid())
    except OSError:
        os._exit(126)
    os.close(pipe)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(127)


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        _watch(int(sys.argv[2]))
    else:
        _gate(int(sys.argv[2]), sys.argv[3:])
