"""One JSON line a call, written off the loop: a call only appends to a list.

Lines wait at most `FLUSH_S`; what a slow disk can't take beyond `LINES_MAX` is dropped and counted, never awaited.
"""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct

from .record import Record

FLUSH_S: Final = 0.1
LINES_MAX: Final = 100_000
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""A log file of the hub's own choosing is rotated to `.1` at this size."""


class Line(Struct, omit_defaults=True):
    """What is written of a call. Names only: no arguments, no results, no credentials."""

    time: float
    """When the call began, in Unix seconds."""
    trace: str
    """The caller's W3C trace id, or one the hub made; errors bear the same as `traceId`."""
    method: str
    """The MCP method."""
    end: str
    """How it ended: as the label `outcome` of the metrics."""
    ms: float
    """Milliseconds from the parsed request to the reply."""
    endpoint: str = "all"
    """Where it came in: `all`, `view:NAME` or `server:ALIAS`."""
    tenant: str = "default"
    """Whose it is."""
    subject: str = "anonymous"
    """Who called."""
    server: str | None = None
    """The server that was chosen."""
    tool: str | None = None
    """The server's own name of the tool."""
    code: int | None = None
    """The code of the error."""
    attempts: int = 0
    """How many replicas were tried."""
    bytes: int = 0
    """Bytes of the result."""


_encode_lines = msgspec.json.Encoder().encode_lines


class AccessLog:
    """A sink of closed records that writes to `open_file()`'s stream from a thread of its own."""

    def __init__(self, open_file: Callable[[], IO[bytes]], path: Path | None = None) -> None:
        self._open = open_file
        self._path = path
        self._lines: list[Line] = []
        self._wake = threading.Event()
        self._stop = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._write, name="access-log", daemon=True)
        self._thread.start()

    @classmethod
    def to_file(cls, path: Path) -> "AccessLog":
        """Append to a file; it is rotated once it has grown large."""
        return cls(lambda: path.open("ab", buffering=0), path)

    @classmethod
    def to_stderr(cls) -> "AccessLog":
        """Write to standard error."""
        return cls(lambda: sys.stderr.buffer)

    def __call__(self, record: Record) -> None:
        """Take a closed record."""
        if len(self._lines) >= LINES_MAX:
            self.dropped += 1
            return
        call = record.call
        endpoint = call.endpoint
        self._lines.append(
            Line(
                round(record.wall_s, 3),
                record.trace_id,
                call.method[:64],
                record.end,
                round(record.duration_s * 1000, 2),
                "all" if endpoint.kind == "all" else f"{endpoint.kind}:{endpoint.name}",
                call.principal.tenant,
                call.principal.subject,
                record.server,
                record.tool,
                record.code,
                record.attempts,
                record.reply_bytes,
            )
        )

    def _write(self) -> None:
        try:
            file = self._open()
        except OSError:
            self.dropped = LINES_MAX
            return
        while True:
            stopping = self._stop.wait(FLUSH_S)
            lines, self._lines = self._lines, []
            if lines:
                try:
                    file.write(_encode_lines(lines))
                    file.flush()
                    if self._path is not None and file.tell() > FILE_BYTES_MAX:
                        file.close()
                        self._path.replace(self._path.with_suffix(self._path.suffix + ".1"))
                        file = self._open()
                except (OSError, ValueError):
                    self.dropped += len(lines)
            if stopping:
                if self._path is not None:
                    file.close()
                return

    def close(self) -> None:
        """Write what waits and end."""
        self._stop.set()
        self._thread.join(timeout=2.0)
