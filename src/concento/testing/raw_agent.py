"""An agent in raw HTTP/1.1: it sends exactly what a test says and shows exactly what came back.

It validates nothing; `modern_request` and `legacy_initialize` write what a correct client would.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from ..protocol.sse import Event, SseParser

ACCEPT = "application/json, text/event-stream"
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Methods with an `Mcp-Name` header, and the parameter it mirrors."""

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

_READ_BYTES = 65536
_EVENT_BYTES_MAX = 64 * 1024 * 1024


def modern_request(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    id: int | str | None = 1,
    caps: Mapping[str, Any] | None = None,
    version: str = "2026-07-28",
    meta: Mapping[str, Any] | None = None,
) -> tuple[dict[str, str], bytes]:
    """Headers and body of one request of the stateless era. `id=None` makes it a notification."""
    envelope = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": dict(caps or {}),
        "io.modelcontextprotocol/clientInfo": {"name": "raw-agent", "version": "1"},
    }
    stated = dict(params or {})
    stated["_meta"] = {**envelope, **stated.get("_meta", {}), **(meta or {})}
    headers = {
        "Content-Type": "application/json",
        "Accept": ACCEPT,
        "MCP-Protocol-Version": version,
        "Mcp-Method": method,
    }
    if method in NAMED and NAMED[method] in stated:
        headers["Mcp-Name"] = mirrored(stated[NAMED[method]])
    return headers, _message(method, stated, id)


def legacy_initialize(
    version: str = "2025-11-25", *, id: int | str = 1, caps: Mapping[str, Any] | None = None
) -> tuple[dict[str, str], bytes]:
    """Headers and body of the request that opens a session."""
    info = {"name": "raw-agent", "version": "1"}
    params = {"protocolVersion": version, "capabilities": dict(caps or {}), "clientInfo": info}
    return {"Content-Type": "application/json", "Accept": ACCEPT}, _message("initialize", params, id)


def legacy_request(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    id: int | str | None = 1,
    session: str | None = None,
    version: str = "2025-11-25",
) -> tuple[dict[str, str], bytes]:
    """Headers and body of one message within a session. `id=None` makes it a notification."""
    headers = {"Content-Type": "application/json", "Accept": ACCEPT, "MCP-Protocol-Version": version}
    if session is not None:
        headers["Mcp-Session-Id"] = session
    return headers, _message(method, params, id)


def mirrored(value: str) -> str:
    """A header value for any text: as it is if it is plain, else in the `=?base64?…?=` form."""
    plain = all(" " <= character <= "~" for character in value) and value == value.strip(" ")
    if plain and not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def unmirrored(value: str | None) -> str | None:
    """The text that a mirrored header value stands for."""
    if value is None or not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    return base64.b64decode(value[9:-2]).decode()


def _message(method: str, params: Mapping[str, Any] | None, id: int | str | None) -> bytes:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if id is not None:
        message["id"] = id
    if params is not None:
        message["params"] = dict(params)
    return json.dumps(message).encode()


@dataclass(frozen=True, slots=True)
class RawReply:
    """A whole response. `events` is what its body says, if that is an event stream."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    events: tuple[Event, ...] = ()

    def header(self, name: str) -> str | None:
        """The first header field of that name."""
        return _first(self.headers, name)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def messages(self) -> list[Any]:
        """All JSON-RPC messages of the response, in order."""
        if self.events:
            return [json.loads(event.data) for event in self.events if event.data]
        return [self.json()] if self.body else []

    @property
    def message(self) -> Any:
        """The last of them, which is the answer."""
        return self.messages[-1]

    @property
    def result(self) -> Any:
        """The answer's result; fails if it is an error."""
        assert "result" in self.message, f"no result but {self.message}"
        return self.message["result"]

    @property
    def error(self) -> Any:
        """The answer's error; fails if it is a result."""
        assert "error" in self.message, f"no error but {self.message}"
        return self.message["error"]


class RawStream:
    """A response whose body is still open: iterate over its events, or read it to the end."""

    def __init__(self, wire: "_Wire", status: int, headers: tuple[tuple[str, str], ...]) -> None:
        self.status = status
        self.headers = headers
        self.received = b""
        """The body so far, chunked coding removed: shows comments and field order too."""
        self._wire = wire
        self._body = wire.body(headers, status)
        self._parser = SseParser(_EVENT_BYTES_MAX)
        self._waiting: list[Event] = []

    def header(self, name: str) -> str | None:
        """The first header field of that name."""
        return _first(self.headers, name)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            self._waiting.extend(self._parser.feed(await self._part()))
        return self._waiting.pop(0)

    async def next_message(self) -> Any:
        """The JSON-RPC message of the next event that has one."""
        while not (event := await anext(self)).data:
            pass
        return json.loads(event.data)

    async def read(self) -> bytes:
        """The whole body."""
        try:
            while True:
                await self._part()
        except StopAsyncIteration:
            return self.received

    async def _part(self) -> bytes:
        data = await anext(self._body)
        self.received += data
        return data

    def close(self) -> None:
        """Leave now: the server sees the connection close."""
        self._wire.close()


class RawAgent:
    """Sends requests to one origin. Whole replies reuse idle connections; a stream has one of its own.

    `bearer`: a key or token that goes with every request which brings no Authorization of its own.
    Every wait ends with TimeoutError after `wait_s`; only the events of a stream may be waited for longer.
    """

    def __init__(self, url: str, *, wait_s: float = 30.0, bearer: str | None = None) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 80
        self.path = parts.path or "/"
        self.wait_s = wait_s
        self.bearer = bearer
        self._idle: list[_Wire] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def post(self, path: str | None, body: object = b"", headers: Headers = ()) -> RawReply:
        """POST and read the whole response. `body`: bytes as they are, other values as JSON; path None: the URL's."""
        return await self.request("POST", path, body, headers)

    async def get(self, path: str | None = None, headers: Headers = ()) -> RawReply:
        """GET and read the whole response."""
        return await self.request("GET", path, b"", headers)

    async def modern(self, method: str, params: Mapping[str, Any] | None = None, **options: Any) -> RawReply:
        """One `modern_request`, posted to the URL's own path."""
        headers, body = modern_request(method, params, **options)
        return await self.post(None, body, headers)

    async def begin(self, version: str = "2025-11-25", **options: Any) -> str:
        """One `legacy_initialize`, posted to the URL's own path: the id of the session it opened, "" if none."""
        headers, body = legacy_initialize(version, **options)
        return (await self.post(None, body, headers)).header("mcp-session-id") or ""

    async def request(self, method: str, path: str | None, body: object = b"", headers: Headers = ()) -> RawReply:
        """Any request and its whole response."""
        async with asyncio.timeout(self.wait_s):
            stream, wire = await self._send(method, path, body, headers, self._idle.pop() if self._idle else None)
            try:
                whole = await stream.read()
            except BaseException:
                wire.close()
                raise
        if wire.reusable:
            self._idle.append(wire)
        else:
            wire.close()
        events: tuple[Event, ...] = ()
        if (stream.header("content-type") or "").startswith("text/event-stream"):
            events = tuple(SseParser(_EVENT_BYTES_MAX).feed(whole))
        return RawReply(stream.status, stream.headers, whole, events)

    @asynccontextmanager
    async def stream(
        self, method: str = "POST", path: str | None = None, body: object = b"", headers: Headers = ()
    ) -> AsyncIterator[RawStream]:
        """A request whose response is read piece by piece, on a connection that closes at the end of the context."""
        async with asyncio.timeout(self.wait_s):
            stream, wire = await self._send(method, path, body, headers, None)
        try:
            yield stream
        finally:
            wire.close()

    async def raw(self, data: bytes) -> bytes:
        """Send these bytes on a connection of their own, and return all that comes until the server closes it."""
        async with asyncio.timeout(self.wait_s):
            wire = await _Wire.open(self.host, self.port)
            try:
                wire.writer.write(data)
                return await wire.reader.read()
            finally:
                wire.close()

    async def _send(
        self, method: str, path: str | None, body: object, headers: Headers, wire: "_Wire | None"
    ) -> "tuple[RawStream, _Wire]":
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        given = {name.lower() for name, _ in fields}
        if "host" not in given:
            fields.insert(0, ("Host", f"{self.host}:{self.port}"))
        if self.bearer is not None and "authorization" not in given:
            fields.append(("Authorization", f"Bearer {self.bearer}"))
        if not given & {"content-length", "transfer-encoding"} and (content or method == "POST"):
            fields.append(("Content-Length", str(len(content))))
        lines = [f"{method} {path or self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
        if wire is not None and wire.reader.at_eof():
            wire.close()
            wire = None
        wire = wire or await _Wire.open(self.host, self.port)
        try:
            wire.writer.write("\r\n".join(lines).encode("latin-1") + content)
            status, received = await wire.head()
        except BaseException:
            wire.close()
            raise
        return RawStream(wire, status, received), wire


@dataclass(slots=True)
class _Wire:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    reusable: bool = field(default=False)
    """The last response has been read to its end and the server keeps the connection."""

    @classmethod
    async def open(cls, host: str, port: int) -> "_Wire":
        return cls(*await asyncio.open_connection(host, port, limit=2**20))

    def close(self) -> None:
        self.writer.close()

    async def head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        self.reusable = False
        while True:
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
            status = int(lines[0].split(" ")[1])
            if status >= 200:
                break
        pairs = (line.partition(":") for line in lines[1:])
        return status, tuple((name, value.strip()) for name, _, value in pairs)

    async def body(self, headers: tuple[tuple[str, str], ...], status: int) -> AsyncIterator[bytes]:
        if "chunked" in (_first(headers, "transfer-encoding") or ""):
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield (await self.reader.readexactly(size + 2))[:-2]
            while (await self.reader.readuntil(b"\r\n")) != b"\r\n":
                pass
        elif (length := _first(headers, "content-length")) is not None or status in (204, 304):
            left = int(length or 0)
            while left:
                data = await self.reader.read(min(left, _READ_BYTES))
                if not data:
                    raise asyncio.IncompleteReadError(b"", left)
                left -= len(data)
                yield data
        else:
            while data := await self.reader.read(_READ_BYTES):
                yield data
            return
        self.reusable = "close" not in (_first(headers, "connection") or "").lower()


def _first(headers: tuple[tuple[str, str], ...], name: str) -> str | None:
    return next((value for key, value in headers if key.lower() == name.lower()), None)
