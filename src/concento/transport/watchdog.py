"""No child outlives the hub, even one killed with -9.

A small process of its own holds the read end of a pipe to the hub. The hub writes which process groups live; when the
pipe closes, for whatever reason, the watchdog ends those groups. A launcher such as uvx stays the parent of the real
server, so a parent-death signal would not be enough; a process group reaches both. It does not reach a process that
leaves its group on purpose, as daemons do.

A child must not run before the watchdog knows its group, or a hub killed in between leaves it behind. So it is started
through a gate (`guard.py`): a process that leads the new group already, writes that to the watchdog's pipe itself,
closes the pipe and only then becomes the server. Until then the gate holds the pipe open too, so the watchdog reads of
the group before it sees the pipe's end. A gate that finds the pipe broken starts nothing. It costs about 10 ms a start.

The gate also puts right what the way to it has changed: it closes descriptors that the event loop let through (uvloop
closes none), takes back the signals that Python ignores, and drops variables that Python set beside the child's own.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from . import open_files
from .guard import GRACE_S

STEADY_S: Final = 1.0
"""A watchdog that dies younger than this is not replaced before the next child starts."""

_GUARD: Final = (sys.executable, "-I", "-S", "-E", str(Path(__file__).absolute().with_name("guard.py")))


class Watchdog:
    """The hub's end of the pipe. The process starts with the first child, and anew if it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._groups: set[int] = set()
        self._started_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def pid(self) -> int | None:
        """The process, if one runs."""
        return None if self._process is None else self._process.pid

    def gate(
        self, command: Iterable[str], names: Iterable[str], *, ignores_term: bool = False
    ) -> tuple[list[str], int]:
        """How to start a command (its program a full path) that sees only the variables of these names.

        `ignores_term`: it begins with SIGTERM ignored.
        Returns the argv, to be started as the leader of a process group, and a descriptor to pass on to it.
        Errors: OSError.
        """
        if self._process is None:
            self._start()
        verb = "gate-ignoring-term" if ignores_term else "gate"
        return [*_GUARD, verb, str(self._pipe), str(open_files.GIVEN), "=".join(names), *command], self._pipe

    def add(self, group: int) -> None:
        """A child's group lives. The gate tells the watchdog; this is for the next one, should it die."""
        self._groups.add(group)

    def remove(self, group: int) -> None:
        """A child's group is gone: its number may belong to somebody else soon."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the watchdog; it ends what is left, for which this waits."""
        process = self._let_go()
        if process is None:
            return
        try:
            process.wait(timeout=4 * GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        read_end, self._pipe = os.pipe()
        # Blocked signals stay so in the process: none reaches it before it has said that it ignores them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        try:
            os.set_blocking(self._pipe, False)
            self._process = subprocess.Popen(
                [*_GUARD, "watch"],
                stdin=read_end,
                stdout=subprocess.PIPE,  # says nothing: it tells by its end that the watchdog died
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
            )
        except OSError:
            os.close(self._pipe)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(read_end)
        self._started_s = time.monotonic()
        for group in self._groups:
            self._tell(f"+{group}\n")
        assert self._process.stdout is not None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._process.stdout.fileno(), self._died)

    def _tell(self, line: str) -> None:
        if self._process is not None:
            try:
                os.write(self._pipe, line.encode())
            except OSError:  # dead, or it reads nothing: then its end brings a new one
                self._process.kill()

    def _died(self) -> None:
        process = self._let_go()
        if process is not None:
            process.kill()
            process.wait()
        if self._groups and time.monotonic() - self._started_s > STEADY_S:
            with suppress(OSError):  # the next child tries again
                self._start()

    def _let_go(self) -> subprocess.Popen[bytes] | None:
        """Close what ties us to the process."""
        process, self._process = self._process, None
        if process is not None and process.stdout is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(process.stdout.fileno())
            process.stdout.close()
            os.close(self._pipe)
        return process
