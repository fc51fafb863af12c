"""An HTTP/1.1 server for fault tests: it records every request and leaves every byte of the answer to the test.

It is no web server: no routing, no defaults, no politeness. What MCP servers say is in `mcp_server.py`.
"""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, cast

import httptools

from .waiting import WAIT_S, until

HeaderFields = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Hit:
    """One request as it arrived. `headers` keep their order and spelling; `connection` counts from 1."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        """The first header field of that name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def message(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def rpc(self) -> str | None:
        """The JSON-RPC method, if the body is a request or notification."""
        message = self.message
        return message.get("method") if isinstance(message, dict) else None

    @property
    def name(self) -> str | None:
        """The tool, prompt or resource that is asked for."""
        params = self.message.get("params") if self.rpc else None
        return (params.get("name") or params.get("uri")) if isinstance(params, dict) else None


class Conn:
    """One client connection, with control over every byte that goes back."""

    def __init__(self, number: int, transport: asyncio.Transport, server: "ScriptedHttpServer") -> None:
        self.number = number
        self._server = server
        self.gone = asyncio.Event()
        """Set when the connection has ended, by whichever side."""
        self.writable = asyncio.Event()
        self.writable.set()
        self._transport = transport

    async def send(self, data: bytes) -> None:
        """Write bytes as they are; waits while the client does not read. Errors: ConnectionError once it is gone."""
        await self.writable.wait()
        if self.gone.is_set() or self._transport.is_closing():
            raise ConnectionError("the client has closed the connection")
        self._transport.write(data)

    async def respond(
        self,
        status: int = 200,
        body: bytes = b"",
        *,
        content_type: str | None = "application/json",
        headers: HeaderFields = (),
    ) -> None:
        """A whole response; the connection stays open."""
        fields = [*headers, ("Content-Length", str(len(body)))]
        if body and content_type is not None:
            fields.insert(0, ("Content-Type", content_type))
        await self.send(head(status, fields) + body)

    async def json(self, value: object, status: int = 200, *, headers: HeaderFields = ()) -> None:
        """A whole response with a JSON body."""
        await self.respond(status, json.dumps(value).encode(), headers=headers)

    async def start_events(self, *, headers: HeaderFields = ()) -> None:
        """The head of an event stream, in chunked coding."""
        fields = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"), *headers]
        await self.send(head(200, [*fields, ("Transfer-Encoding", "chunked")]))

    async def event(
        self, data: object, *, event: str | None = "message", id: str | None = None, retry_ms: int | None = None
    ) -> None:
        """One event on a started stream. Bytes are sent as they are, other values as JSON."""
        text = data if isinstance(data, bytes) else json.dumps(data).encode()
        named = (("event", event), ("id", id), ("retry", retry_ms))
        fields = [b"%s: %s\n" % (key.encode(), str(value).encode()) for key, value in named if value is not None]
        fields += [b"data: %s\n" % line for line in text.split(b"\n")]
        await self.chunk(b"".join(fields) + b"\n")

    async def chunk(self, data: bytes) -> None:
        """One chunk of a started stream."""
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def end_events(self) -> None:
        """The regular end of a started stream; the connection stays open."""
        await self.send(b"0\r\n\r\n")

    def close(self) -> None:
        """Close after what was sent."""
        self._transport.close()

    def abort(self) -> None:
        """Reset the connection."""
        connection = self._transport.get_extra_info("socket")
        with suppress(OSError, NotImplementedError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def hang(self) -> None:
        """Say nothing more; returns when the client has given up."""
        await self.gone.wait()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something on this connection beside the handler, which may return. It ends with the server."""
        self._server._spawn(work, self)


def head(status: int, headers: HeaderFields) -> bytes:
    """A status line and header fields."""
    phrase = HTTPStatus(status).phrase if status in {s.value for s in HTTPStatus} else "Odd"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


Handler = Callable[[Hit, Conn], Awaitable[None]]
"""Answers one request; the requests of one connection come one after the other."""


class ScriptedHttpServer:
    """Listens on 127.0.0.1 while its context is open.

        async with ScriptedHttpServer(handler) as server:
            ...
            assert not server.hits("tools/call")

    A handler that raises resets its connection, and the error is raised again at the end of the context; so is what is
    wrong with a request that is no HTTP.
    """

    def __init__(self, handler: Handler, *, path: str = "/mcp", tls: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.path = path
        self.port = 0
        self.accepted = 0
        """Connections accepted so far."""
        self.conns: list[Conn] = []
        """Connections open now."""
        self.errors: list[Exception] = []
        self._tls = tls
        self._hits: list[Hit] = []
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The address of its endpoint."""
        return f"{self.origin}{self.path}"

    @property
    def origin(self) -> str:
        """Its scheme, host and port."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def hits(
        self, rpc: str | None = None, *, method: str | None = None, name: str | None = None, path: str | None = None
    ) -> list[Hit]:
        """The requests so far, all or those with that JSON-RPC method, HTTP method, tool or other name, path."""
        return [
            hit
            for hit in self._hits
            if (rpc is None or hit.rpc == rpc)
            and (method is None or hit.method == method)
            and (name is None or hit.name == name)
            and (path is None or hit.path.partition("?")[0] == path)
        ]

    async def arrived(
        self, rpc: str | None = None, *, count: int = 1, wait_s: float = WAIT_S, **chosen: str
    ) -> list[Hit]:
        """Wait until that many such requests have arrived; the arguments are those of `hits`."""
        await until(
            lambda: len(self.hits(rpc, **chosen)) >= count,
            f"{count} requests {rpc or ''} {chosen or ''}",
            lambda: [hit.rpc or hit.method for hit in self._hits],
            wait_s=wait_s,
        )
        return self.hits(rpc, **chosen)

    async def start(self) -> None:
        """Listen: on a free port at first, later on the same again."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Protocol(self), "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be gone: refuse connections and reset those that are open. `start` brings it back."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for conn in list(self.conns):
            conn.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if error is None and self.errors:
            raise ExceptionGroup("the handler of a scripted server failed", self.errors)

    def _take(self, hit: Hit) -> None:
        self._hits.append(hit)

    def _spawn(self, work: Coroutine[Any, Any, None], conn: Conn) -> None:
        task = asyncio.create_task(self._guarded(work, conn))  # noqa: TID251 - owned by the server, ended in stop()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # which a task that was cancelled too early never began

    async def _serve(self, conn: Conn, hits: "asyncio.Queue[Hit | None]") -> None:
        while (hit := await hits.get()) is not None:
            await self.handler(hit, conn)
        conn.close()

    async def _guarded(self, work: Coroutine[Any, Any, None], conn: Conn) -> None:
        try:
            await work
        except ConnectionError:
            pass  # the client left while it was being answered
        except Exception as error:
            self.errors.append(error)
            conn.abort()


class _Protocol(asyncio.Protocol):
    """Turns the bytes of one connection into hits."""

    def __init__(self, server: ScriptedHttpServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._queue: asyncio.Queue[Hit | None] = asyncio.Queue()
        self._headers: list[tuple[str, str]] = []
        self._path = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server.accepted += 1
        self._conn = Conn(self._server.accepted, cast(asyncio.Transport, transport), self._server)
        self._server.conns.append(self._conn)
        self._conn.begin(self._server._serve(self._conn, self._queue))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._server.errors.append(error)
            self._queue.put_nowait(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.conns.remove(self._conn)
        self._conn.gone.set()
        self._conn.writable.set()
        self._queue.put_nowait(None)

    def pause_writing(self) -> None:
        self._conn.writable.clear()

    def resume_writing(self) -> None:
        self._conn.writable.set()

    def on_message_begin(self) -> None:
        self._headers, self._path, self._body = [], b"", b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        hit = Hit(method, self._path.decode("latin-1"), tuple(self._headers), self._body, self._conn.number)
        self._server._take(hit)
        self._queue.put_nowait(hit)
