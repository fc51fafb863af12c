"""A child process spoken to in lines over its standard streams; its standard error is always drained.

No shell is involved, nothing but the three streams is inherited, and the child leads a process group of its own, which
is ended as a whole: close its input, then SIGTERM, then SIGKILL. Source: hardening R23, R24, T22, T23.
"""

import asyncio
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from ..model.config import ChildReplica
from ..model.errors import Overloaded
from ..model.limits import MIB, REPLY_BYTES_MAX, STDERR_LINE_BYTES_MAX, STDERR_RING_LINES
from .child_env import DEFAULT_PATH, child_environment
from .program import SpawnError, located
from .sandbox import is_bubblewrap, sandboxed
from .watchdog import Watchdog

STEP_S: Final = 2.0
"""Time a child has after its input was closed, and again after SIGTERM."""

LINGER_S: Final = 0.5
"""Time for its end after its output ended, and for the rest of its output after its end."""

_CONTROL: Final = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles and links
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
)


@dataclass(frozen=True, slots=True)
class ExitNotice:
    """How a child ended. Neither code nor signal: it closed its output and lived on, until we ended it."""

    code: int | None
    signal: int | None
    reason: str | None
    """Why we ended it, if we did because of what it did."""
    stderr: tuple[str, ...]
    alive_s: float

    @property
    def how(self) -> str:
        """How it ended, without what it wrote: safe to show to agents."""
        if self.reason is not None:
            return self.reason
        if self.signal is not None:
            return f"was ended by signal {self.signal} after {self.alive_s:.1f} s"
        return f"exited with code {self.code} after {self.alive_s:.1f} s"

    def __str__(self) -> str:
        last = [line for line in self.stderr if line.strip()][-3:]
        return f"{self.how}; its last words: {' | '.join(last)}" if last else self.how


class Ring:
    """The last lines of a stream, each cut to a length, as readable text."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=STDERR_RING_LINES)
        self._part = b""

    def feed(self, data: bytes) -> None:
        """Take what was read; of an unfinished line no more than a line's limit is kept."""
        *lines, part = (self._part + data).rsplit(b"\n", STDERR_RING_LINES + 1)
        self._lines.extend(line[:STDERR_LINE_BYTES_MAX] for line in lines[-STDERR_RING_LINES:])
        self._part = part[:STDERR_LINE_BYTES_MAX]

    def lines(self) -> tuple[str, ...]:
        """The lines without control characters."""
        kept = [*self._lines, self._part] if self._part else [*self._lines]
        return tuple(_CONTROL.sub("", line.decode(errors="replace")).rstrip() for line in kept[-STDERR_RING_LINES:])


class Child(asyncio.SubprocessProtocol):
    """One running child. Made by `start`.

    It ends by timers, not by a task, so nothing that is cancelled can stop its end halfway.
    """

    pid: int

    def __init__(
        self, on_line: Callable[[bytes], None], on_exit: Callable[[ExitNotice], None], watchdog: Watchdog
    ) -> None:
        self._on_line = on_line
        self._on_exit: Callable[[ExitNotice], None] | None = on_exit
        self._watchdog = watchdog
        self._loop = asyncio.get_running_loop()
        self._started_s = time.monotonic()
        self._transport: asyncio.SubprocessTransport | None = None
        self._stderr = Ring()
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._open = {0, 1, 2}
        self._ending = False
        self._exited = False
        self._reason: str | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._step: asyncio.TimerHandle | None = None
        self._finished = asyncio.Event()

    @classmethod
    async def start(
        cls,
        replica: ChildReplica,
        *,
        watchdog: Watchdog,
        on_line: Callable[[bytes], None],
        on_exit: Callable[[ExitNotice], None],
    ) -> "Child":
        """Start a command.

        `on_line` takes each line of its output without the newline, blank ones left out; `on_exit` takes its end, once
        and after the last line. Either may be called before this returns. Cancelled, it leaves nothing behind.
        Errors: SpawnError.
        """
        env = child_environment(replica, os.environ, Path(sys.executable).parent)
        if any("\0" in text for text in (*replica.command, *env, *env.values())) or any("=" in name for name in env):
            raise SpawnError("can't start: no part of `command` or `env` may hold a NUL, no name in `env` a `=`")
        if replica.cwd is not None and not replica.cwd.is_dir():
            raise SpawnError(f"can't start: its folder {replica.cwd} does not exist; set `cwd` to one that does")
        path = env.get("PATH") or f"{Path(sys.executable).parent}:{os.environ.get('PATH') or DEFAULT_PATH}"
        if replica.sandbox is None:
            command = located(replica.command, path, replica.cwd)
        else:
            command = sandboxed(replica, replica.sandbox, path, env)
        child = cls(on_line, on_exit, watchdog)
        try:
            argv, pipe = watchdog.gate(command, env, ignores_term=is_bubblewrap(replica.sandbox))
            await child._loop.subprocess_exec(
                lambda: child, *argv, env=env, cwd=replica.cwd, start_new_session=True, pass_fds=(pipe,)
            )
        except OSError as error:
            raise SpawnError(f"can't start {replica.command[0]!r}: {error.strerror or error}") from None
        except BaseException:
            child._abandon()
            raise
        return child

    def write(self, line: bytes) -> None:
        """Write one line. To a child that is gone, or going, it goes nowhere: `on_exit` tells.

        Errors: Overloaded, if the child has left too much unread.
        """
        pipe = self._stdin()
        if pipe is None or pipe.is_closing():
            return
        if pipe.get_write_buffer_size() > REPLY_BYTES_MAX:
            raise Overloaded("The server does not read what it is sent", retry_after_s=1.0)
        pipe.write(line + b"\n")

    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines of its standard error."""
        return self._stderr.lines()

    async def close(self) -> None:
        """End it: close its input, then SIGTERM, then SIGKILL to its whole group. Returns when it is gone.

        Safe to call again, and to cancel: its end goes on.
        """
        self._end()
        await self._finished.wait()

    # -- what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self.pid = self._transport.get_pid()
        self._watchdog.add(self.pid)
        if self._on_exit is None:  # abandoned meanwhile
            self._signal(signal.SIGKILL)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr.feed(data)
        elif self._on_exit is not None and self._reason is None:
            self._read(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if self._exited:
            if self._open <= {0}:
                self._finish()
        elif fd == 1 and not self._ending:  # it can't answer any more; mostly it is about to exit
            self._linger = self._loop.call_later(LINGER_S, self._deaf)
            self._end()

    def process_exited(self) -> None:
        self._signal(signal.SIGKILL)  # to what it left of its group
        self._exited = True
        self._watchdog.remove(self.pid)
        self._cancel_timers()
        if self._open - {0}:  # what it wrote last, unless a process that left the group holds them open
            self._linger = self._loop.call_later(LINGER_S, self._finish)
        else:
            self._finish()

    # -- reading

    def _read(self, data: bytes) -> None:
        """Take output: whole lines go out at once, an unfinished one is kept up to the limit."""
        end = data.rfind(b"\n")
        if end < 0:
            self._parts.append(data)
            self._parts_bytes += len(data)
            if self._parts_bytes > REPLY_BYTES_MAX:
                self._parts.clear()
                self._reason = f"wrote a line longer than {REPLY_BYTES_MAX // MIB} MiB without a newline"
                self._signal(signal.SIGKILL)
            return
        whole = data[:end]
        if self._parts:
            whole = b"".join((*self._parts, whole))
        rest = data[end + 1 :]
        self._parts, self._parts_bytes = ([rest], len(rest)) if rest else ([], 0)
        for line in whole.split(b"\n"):  # the very same object, if it is one line
            if line and not line.isspace():
                self._on_line(line)

    # -- ending

    def _end(self) -> None:
        """Close its input, and go on to signals if that does not help."""
        if self._ending or self._exited:
            return
        self._ending = True
        if (pipe := self._stdin()) is not None:
            pipe.close()
        self._step = self._loop.call_later(STEP_S, self._terminate)

    def _terminate(self) -> None:
        self._signal(signal.SIGTERM)
        self._step = self._loop.call_later(STEP_S, self._kill)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._step = self._loop.call_later(STEP_S, self._finish)  # stuck in the kernel: not to be waited for

    def _deaf(self) -> None:
        self._reason = self._reason or "closed its output"
        self._tell()

    def _abandon(self) -> None:
        """Nobody wants it any more: `start` was cancelled."""
        self._on_exit = None
        self._signal(signal.SIGKILL)

    def _finish(self) -> None:
        self._cancel_timers()
        if self._transport is not None:
            if (pipe := self._stdin()) is not None and pipe.get_write_buffer_size():
                pipe.abort()  # nobody will read it, and only then would it close
            self._transport.close()
        self._tell()
        self._finished.set()

    def _tell(self) -> None:
        on_exit, self._on_exit = self._on_exit, None
        if on_exit is None or self._transport is None:
            return
        status = self._transport.get_returncode()
        code, number = (None, None) if status is None else (status, None) if status >= 0 else (None, -status)
        on_exit(ExitNotice(code, number, self._reason, self._stderr.lines(), time.monotonic() - self._started_s))

    def _signal(self, number: signal.Signals) -> None:
        if self._transport is not None and not self._exited:
            with suppress(ProcessLookupError, PermissionError):  # gone; macOS says so of zombies
                os.killpg(self.pid, number)

    def _cancel_timers(self) -> None:
        for timer in (self._linger, self._step):
            if timer is not None:
                timer.cancel()

    def _stdin(self) -> asyncio.WriteTransport | None:
        if self._transport is None or 0 not in self._open:
            return None
        return cast("asyncio.WriteTransport | None", self._transport.get_pipe_transport(0))
