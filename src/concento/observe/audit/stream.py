"""Entries to somewhere else, as they are written: a file of JSON lines, or syslog. Nothing waits for it.

What can't be delivered is counted; the record itself is in the database.
"""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

_PRIORITY: Final = 13 * 8 + 6
"""Facility "log audit", severity "informational" (RFC 5424)."""
_DATAGRAM_BYTES_MAX: Final = 8192


class Stream:
    """One destination: `file:PATH`, `syslog:HOST:PORT` (UDP) or `syslog:/dev/log`."""

    def __init__(self, where: str) -> None:
        self.dropped = 0
        self._kind, _, self._place = where.partition(":")
        self._file = -1
        self._socket: socket.socket | None = None
        self._host = socket.gethostname()

    def send(self, bodies: Sequence[bytes]) -> None:
        """Deliver entries, or count them as dropped."""
        try:
            if self._kind == "file":
                self._append(b"".join(body + b"\n" for body in bodies))
            else:
                self._datagrams(bodies)
        except OSError:
            self.dropped += len(bodies)
            self.close()

    def _append(self, data: bytes) -> None:
        path = Path(self._place)
        if self._file >= 0:
            try:
                same = os.fstat(self._file).st_ino == path.stat().st_ino
            except FileNotFoundError:
                same = False
            if not same:  # rotated from outside
                self.close()
        if self._file < 0:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        while data:
            data = data[os.write(self._file, data) :]

    def _datagrams(self, bodies: Sequence[bytes]) -> None:
        if self._socket is None:
            self._socket = self._connected()
        for body in bodies:
            head = f"<{_PRIORITY}>1 - {self._host} concento {os.getpid()} audit - ".encode()
            try:
                self._socket.send((head + body)[:_DATAGRAM_BYTES_MAX])
            except BlockingIOError:
                self.dropped += 1

    def _connected(self) -> socket.socket:
        if self._place.startswith("/"):
            return _connected(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), self._place)
        host, _, port = self._place.rpartition(":")
        family, kind, protocol, _, where = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        return _connected(socket.socket(family, kind, protocol), where)

    def close(self) -> None:
        """Let go."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connected(made: socket.socket, where: Any) -> socket.socket:
    made.setblocking(False)
    try:
        made.connect(where)
    except BaseException:
        made.close()
        raise
    return made
