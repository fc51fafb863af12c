"""Server-sent events: framing for both directions. Sans-I/O."""

from msgspec import Struct

from ..model.errors import BadReply


class Event(Struct, frozen=True):
    event: str
    data: bytes
    id: str | None = None
    retry_ms: int | None = None


class SseParser:
    def __init__(self, event_bytes_max: int) -> None:
        self._max = event_bytes_max
        self._buffer = b""
        self._data: list[bytes] = []
        self._event = ""
        self._id: str | None = None
        self._size = 0

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        buffer = self._buffer + data if self._buffer else data
        lines = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._buffer = lines.pop()
        for line in lines:
            if not line:
                if self._data:
                    events.append(Event(self._event or "message", b"\n".join(self._data), self._id))
                self._data, self._event, self._size = [], "", 0
                continue
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                self._data.append(value)
                self._size += len(value)
            elif name == b"event":
                self._event = value.decode(errors="replace")
            elif name == b"id":
                self._id = value.decode(errors="replace")
        if self._size + len(self._buffer) > self._max:
            raise BadReply("event too large")
        return events


def encode_event(data: bytes, event: str = "message", id: str | None = None) -> bytes:
    lines = b"".join(b"data: %b\n" % line for line in data.split(b"\n"))
    return b"event: %b\n%b\n" % (event.encode(), lines)
