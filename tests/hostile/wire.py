"""A raw HTTP/1.1 connection that blocks, and replies read off it by a reader of its own."""

import json
import socket
from contextlib import suppress
from typing import Any, NamedTuple, Self

WAIT_S = 20.0
_READ_BYTES = 65536
_BODILESS = frozenset({204, 304})


class Reply(NamedTuple):
    """One whole reply."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        """The body as a JSON-RPC message: as it is, or the last event of a stream."""
        text = self.body
        if self.fields.get("content-type") == "text/event-stream":
            text = [line[6:] for line in self.body.splitlines() if line.startswith(b"data: ")][-1]
        value = json.loads(text)
        assert isinstance(value, dict)
        return value

    @property
    def code(self) -> int | None:
        """The JSON-RPC error's code, if it is one."""
        if self.fields.get("content-type") not in ("application/json", "text/event-stream"):
            return None
        error = self.message.get("error")
        return int(error["code"]) if isinstance(error, dict) else None


class Wire:
    """One connection. Every wait ends after `WAIT_S`, as a failure."""

    def __init__(self, address: tuple[str, int], source: str = "") -> None:
        self._socket = socket.create_connection(address, timeout=WAIT_S, source_address=(source, 0) if source else None)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Write, as far as the other side takes it: one that has refused us need not read the rest."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)

    def reply(self, *, bodiless: bool = False) -> Reply | None:
        """The next reply; None where the connection ended instead. `bodiless`: its body is not looked for."""
        while b"\r\n\r\n" not in self._rest:
            if not self._more():
                assert not self._rest, f"the connection ended within a head: {self._rest!r}"
                return None
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        status, fields = _head(head)
        if 100 <= status < 200:
            return self.reply(bodiless=bodiless)
        if bodiless or status in _BODILESS:
            return Reply(status, fields, b"")
        if fields.get("transfer-encoding") == "chunked":
            return Reply(status, fields, self._chunks())
        if "content-length" in fields:
            return Reply(status, fields, self._exactly(int(fields["content-length"])))
        while self._more():
            pass
        body, self._rest = self._rest, b""
        return Reply(status, fields, body)

    def ends(self) -> bool:
        """Whether the connection ends here; fails if anything more comes."""
        more = self._rest
        while not more:
            if not self._more():
                return True
            more = self._rest
        raise AssertionError(f"after the end came {more[:200]!r}")

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._line(), 16):
            body += self._exactly(size)
            assert self._line() == b""
        assert self._line() == b""
        return body

    def _line(self) -> bytes:
        while b"\r\n" not in self._rest:
            assert self._more(), "the connection ended within a body"
        line, _, self._rest = self._rest.partition(b"\r\n")
        return line

    def _exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            assert self._more(), "the connection ended within a body"
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def _more(self) -> bool:
        try:
            data = self._socket.recv(_READ_BYTES)
        except ConnectionResetError:
            return False
        self._rest += data
        return bool(data)


def parse(data: bytes) -> Reply:
    """A whole reply with a length, that was read by other means."""
    head, _, body = data.partition(b"\r\n\r\n")
    return Reply(*_head(head), body)


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split(" ")[1]), fields


def ask(address: tuple[str, int], data: bytes, *, head_only: bool = False) -> Reply:
    """One request on a connection of its own; `head_only`: the body may have no end."""
    with Wire(address) as wire:
        wire.send(data)
        reply = wire.reply(bodiless=head_only)
    assert reply is not None, "no reply"
    return reply
