"""Server-sent events: events out of bytes, and bytes out of events. Sans-I/O.

Data stays bytes, as it is nearly always JSON; only the small fields become text.
Source: WHATWG HTML, 9.2.5 and 9.2.6 (parsing and interpreting an event stream).
"""

import re
from typing import Final

from msgspec import Struct

_BOM: Final = b"\xef\xbb\xbf"
_LF: Final = 10
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_UNFIT: Final = re.compile(r"[\r\n\0]")
_RETRY_DIGITS_MAX: Final = 9


class EventTooLarge(ValueError):
    """A stream holds an event of more bytes than the parser takes."""


class Event(Struct, frozen=True):
    """One event. `id` and `retry_ms` are the last that the stream named so far, with this event or before it."""

    event: str
    data: bytes
    id: str | None = None
    retry_ms: int | None = None


class SseParser:
    """Feeds on the bytes of one stream, however they are cut; `feed` returns the events that became complete.

    What the end of the stream cuts off is no event. After an error it takes no more.
    """

    def __init__(self, event_bytes_max: int) -> None:
        self._event_bytes_max = event_bytes_max
        self._line = bytearray()
        """The beginning of a line whose end has not come."""
        self._at_start = True
        self._after_cr = False
        self._id: str | None = None
        self._retry_ms: int | None = None
        self._reset()

    def _reset(self) -> None:
        self._event = ""
        self._data: bytes | bytearray | None = None
        self._bytes = 0

    def feed(self, data: bytes | memoryview) -> list[Event]:
        """Take bytes as they come. Errors: EventTooLarge."""
        data = bytes(data)
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == _LF:  # the other half of a CR LF
                data = data[1:]
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        events: list[Event] = []
        if end:
            self._after_cr = data.endswith(b"\r")
            whole = data[:end]
            if self._line:
                whole = bytes(self._line) + whole
                self._line.clear()
            if self._at_start:
                self._at_start = False
                whole = whole.removeprefix(_BOM)
            for line in whole.splitlines():
                if line:
                    self._field(line)
                else:
                    if self._data is not None:
                        events.append(Event(self._event or "message", bytes(self._data), self._id, self._retry_ms))
                    self._reset()
        if end < len(data):
            self._line += data[end:]
            self._check(len(self._line))
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._count(line)
            if self._data is None:
                self._data = value
            else:
                if isinstance(self._data, bytes):
                    self._data = bytearray(self._data)  # not a list: a million short lines would outweigh their bytes
                self._data += b"\n"
                self._data += value
        elif name == b"event":
            self._count(line)
            self._event = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._count(line)
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _RETRY_DIGITS_MAX:
            self._retry_ms = int(value)

    def _count(self, line: bytes) -> None:
        self._bytes += len(line) + 1
        self._check(0)

    def _check(self, more_bytes: int) -> None:
        if self._bytes + more_bytes > self._event_bytes_max:
            raise EventTooLarge(f"an event has more than {self._event_bytes_max} bytes")


def encode_event(data: bytes, event: str = "message", id: str | None = None) -> bytes:
    """One event as it goes on a stream. Errors: ValueError, for a name or id with a line break or NUL."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_LINE_END.split(data))
    head = f"event: {event}\n"
    if id is not None:
        if _UNFIT.search(id):
            raise ValueError("an event's id can't hold a line break or NUL")
        head += f"id: {id}\n"
    if event != "message" and _UNFIT.search(event):
        raise ValueError("an event's name can't hold a line break or NUL")
    return b"%bdata: %b\n\n" % (head.encode(), data)
