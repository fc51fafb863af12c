"""The same formats read a second time, by code that shares none with ours: what both accept, both must read alike.

h11 for requests, the standard library's `json` for JSON, and for event streams the specification's rules written out.
"""

import json
import re
from typing import Any, NamedTuple

import h11

_LINE_END = re.compile(rb"\r\n|\r|\n")


class Twice(ValueError):
    """A JSON object names a member twice."""


class Pairs(list[tuple[str, Any]]):
    """An object as it was written, repeats and all."""

    @property
    def members(self) -> dict[str, Any]:
        """The object. Errors: Twice."""
        members = dict(self)
        if len(members) != len(self):
            raise Twice
        return members


def json_pairs(text: bytes) -> Any:
    """A strict reading: UTF-8 without a mark, no NaN, objects as `Pairs`, numbers as they are written."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text.decode(), object_pairs_hook=Pairs, parse_constant=refuse, parse_int=str, parse_float=str)


def requests(stream: bytes) -> list[tuple[str, str, bytes]]:
    """Method, target and body of each request that h11 reads, up to the first that it doesn't."""
    connection = h11.Connection(h11.SERVER)
    found: list[tuple[str, str, bytes]] = []
    head, body = None, b""
    try:
        connection.receive_data(stream)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                found.append((head.method.decode(), head.target.decode("latin-1"), body))
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
            else:
                return found
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        return found


class Event(NamedTuple):
    """One server-sent event."""

    event: str
    data: bytes
    id: str | None


def events(stream: bytes) -> list[Event]:
    """WHATWG HTML, 9.2.6, step by step."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    *lines, _ = _LINE_END.split(stream)  # what no line end follows is no line
    found: list[Event] = []
    kind, data, last_id = "", b"", None
    for line in lines:
        if not line:
            if data:
                found.append(Event(kind or "message", data.removesuffix(b"\n"), last_id))
            kind, data = "", b""
            continue
        field, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if field == b"event":
            kind = value.decode(errors="replace")
        elif field == b"data":
            data += value + b"\n"
        elif field == b"id" and b"\0" not in value:
            last_id = value.decode(errors="replace")
    return found
