"""A child process spoken to in lines over its standard streams; its standard error is always drained.

No shell is involved, nothing but the three streams is inherited, and the child leads a process group of its own, which
is ended as a whole: close its input, then SIGTERM, then SIGKILL. Source: hardening R23, R24, T22, T23.
"""

import asyncio
import os
import re
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from ..model.config import ChildReplica
from ..model.errors import ConcentoError, Overloaded
from ..model.limits import REPLY_BYTES_MAX, STDERR_LINE_BYTES_MAX, STDERR_RING_LINES
from .child_env import child_environment
from .watchdog import Watchdog

STEP_S: Final = 2.0
"""Time a child has after its input was closed, and again after SIGTERM."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class SpawnError(ConcentoError):
    """A command that can't be started; says why and what to do."""


class ExitNotice:
    """How a child ended."""

    def __init__(self, code: int | None, alive_s: float, reason: str | None, stderr: tuple[str, ...]) -> None:
        self.code = code if code is None or code >= 0 else None
        self.signal = -code if code is not None and code < 0 else None
        self.alive_s = alive_s
        self.reason = reason
        self.stderr = stderr

    def __str__(self) -> str:
        how = self.reason
        if how is None:
            how = f"was ended by signal {self.signal}" if self.signal is not None else f"exited with code {self.code}"
            how += f" after {self.alive_s:.1f} s"
        last = [line for line in self.stderr if line.strip()][-3:]
        return f"{how}; its last words: {' | '.join(last)}" if last else how


class Ring:
    """The last lines of a stream, each cut to a length, as readable text."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=STDERR_RING_LINES)
        self._part = b""

    def feed(self, data: bytes) -> None:
        """Take what was read; never more than a line's limit of an unfinished line is kept."""
        if len(data) > STDERR_RING_LINES * STDERR_LINE_BYTES_MAX:
            data = data[-STDERR_RING_LINES * STDERR_LINE_BYTES_MAX :]
        *lines, part = (self._part + data).split(b"\n")
        self._lines.extend(line[:STDERR_LINE_BYTES_MAX] for line in lines[-STDERR_RING_LINES:])
        self._part = part[:STDERR_LINE_BYTES_MAX]

    def lines(self) -> tuple[str, ...]:
        """The lines without control characters."""
        kept = [*self._lines, *([self._part] if self._part else [])]
        return tuple(_CONTROL.sub("", line.decode(errors="replace")).rstrip() for line in kept)


class _Streams(asyncio.SubprocessProtocol):
    def __init__(self, child: "Child") -> None:
        self._child = child

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self._child.read(data)
        else:
            self._child.stderr.feed(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._child.stdout_ended()

    def process_exited(self) -> None:
        self._child.exited()


class Child:
    """One running child. Made by `start`."""

    def __init__(
        self, on_line: Callable[[bytes], None], on_exit: Callable[[ExitNotice], None], watchdog: Watchdog
    ) -> None:
        self.stderr = Ring()
        self.pid = 0
        self._on_line = on_line
        self._on_exit: Callable[[ExitNotice], None] | None = on_exit
        self._watchdog = watchdog
        self._started_s = time.monotonic()
        self._transport: asyncio.SubprocessTransport | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._reason: str | None = None
        self._gone = asyncio.Event()
        self._closing: asyncio.Future[None] | None = None

    @classmethod
    async def start(
        cls,
        replica: ChildReplica,
        *,
        watchdog: Watchdog,
        on_line: Callable[[bytes], None],
        on_exit: Callable[[ExitNotice], None],
    ) -> "Child":
        """Start a command. `on_line` takes each line of its output, `on_exit` its end, once. Errors: SpawnError."""
        env = child_environment(replica, os.environ, Path(sys.executable).parent)
        cwd = replica.cwd
        if cwd is not None and not cwd.is_dir():
            raise SpawnError(f"can't start: its folder {cwd} does not exist; set `cwd` to one that does")
        command = _located(replica.command, env.get("PATH", ""), cwd)
        child = cls(on_line, on_exit, watchdog)
        argv, pipe = watchdog.gate(command)
        try:
            transport, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: _Streams(child), *argv, env=env, cwd=cwd, start_new_session=True, pass_fds=(pipe,)
            )
        except OSError as error:
            raise SpawnError(f"can't start {replica.command[0]!r}: {error.strerror or error}") from None
        child._transport = transport
        child.pid = transport.get_pid()
        watchdog.add(child.pid)
        return child

    def write(self, line: bytes) -> None:
        """Write one line. Errors: Overloaded, if the child reads too little for too long."""
        pipe = self._stdin()
        if pipe is None or pipe.is_closing():
            return  # its end is told by on_exit
        if pipe.get_write_buffer_size() > REPLY_BYTES_MAX:
            raise Overloaded("The server does not read what it is sent", retry_after_s=1.0)
        pipe.write(line + b"\n")

    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines of its standard error."""
        return self.stderr.lines()

    # -- what the streams say

    def read(self, data: bytes) -> None:
        """Take output: whole lines go out at once, an unfinished one is kept up to the limit."""
        if self._reason is not None:
            return
        end = data.rfind(b"\n")
        if end < 0:
            self._parts.append(data)
            self._size += len(data)
            if self._size > REPLY_BYTES_MAX:
                self._parts.clear()
                self._end_for(f"wrote a line of more than {REPLY_BYTES_MAX // 1024**2} MiB")
            return
        whole = data[:end]
        if self._parts:
            self._parts.append(whole)
            whole = b"".join(self._parts)
        rest = data[end + 1 :]
        self._parts, self._size = [rest] if rest else [], len(rest)
        for line in whole.split(b"\n"):
            if line and not line.isspace():
                self._on_line(line)

    def stdout_ended(self) -> None:
        """It closed its output: it can't answer any more, whether or not it lives on."""
        if not self._gone.is_set() and self._closing is None:
            self._end_for(None)

    def exited(self) -> None:
        """The process ended; what it left of its group is ended, too."""
        self._kill(signal.SIGKILL)
        self._watchdog.remove(self.pid)
        self._gone.set()
        code = self._transport.get_returncode() if self._transport is not None else None
        if self._transport is not None:
            self._transport.close()
        asyncio.get_running_loop().call_soon(self._tell_exit, code)  # after what is still in its pipes

    def _tell_exit(self, code: int | None) -> None:
        on_exit, self._on_exit = self._on_exit, None
        if on_exit is not None:
            on_exit(ExitNotice(code, time.monotonic() - self._started_s, self._reason, self.stderr.lines()))

    def _end_for(self, reason: str | None) -> None:
        self._reason = reason
        self._closing = self._closing or asyncio.ensure_future(self._end())  # noqa: TID251 - awaited by close

    # -- ending it

    async def close(self) -> None:
        """End it: close its input, then SIGTERM, then SIGKILL to its whole group. Safe to call again."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._end())  # noqa: TID251 - awaited right below
        await asyncio.shield(self._closing)

    async def _end(self) -> None:
        if self._gone.is_set():
            return
        pipe = self._stdin()
        if pipe is not None:
            pipe.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                await asyncio.wait_for(self._gone.wait(), STEP_S)
                return
            except TimeoutError:
                self._kill(number)
        await self._gone.wait()

    def _kill(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _stdin(self) -> asyncio.WriteTransport | None:
        if self._transport is None:
            return None
        return cast("asyncio.WriteTransport | None", self._transport.get_pipe_transport(0))


def _located(command: tuple[str, ...], path: str, cwd: Path | None) -> tuple[str, ...]:
    """The command with its program found, so that a typo is told as such."""
    program = command[0]
    if "/" in program:
        place = (cwd or Path()) / program
        if not place.exists():
            raise SpawnError(f"can't start: {program!r} does not exist")
        if not os.access(place, os.X_OK):
            raise SpawnError(f"can't start: {program!r} is not executable; chmod +x it, or run it by its interpreter")
        return (str(place.absolute()), *command[1:])
    found = shutil.which(program, path=path)
    if found is None:
        raise SpawnError(f"can't start: the command {program!r} was not found; install it or give its full path")
    return (found, *command[1:])
