"""A pooled keep-alive HTTP/1.1 client for one origin, on llhttp: one write, one future and no timer a request.

A connection carries one request at a time. Cancelling the task that waits closes the connection, which for MCP over
HTTP is the cancellation. A reply that is not exactly one well-formed message ends its connection, so that nothing of it
can be taken for the next one's. Source: hardening R1, R4, R5, T12, T26.
"""

import asyncio
import ssl as tls
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

from ..model.errors import BadReply, CallError, Overloaded, Unavailable
from ..model.limits import CONNECT_WAIT_S, HEAD_BYTES_MAX, HEADERS_MAX, IDLE_S, REPLY_BYTES_MAX
from ..protocol.sse import Event, SseParser

OnEvent = Callable[[Event], bool | None]
"""Takes one event of a streamed reply; True ends the request."""

QUEUE_MAX: Final = 1024
"""Requests that may wait for a connection; one more is refused."""


class Response:
    """A reply: its status, its header fields by lower-case name, its body (empty if it was an event stream)."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self.body = b""


class _Connection(asyncio.Protocol):
    """One connection to the origin."""

    def __init__(self, pool: "HttpPool") -> None:
        self.idle_since_s = 0.0
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Response] | None = None
        self._on_event: OnEvent | None = None
        self._reset()

    def _reset(self) -> None:
        self._response: Response | None = None
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._events: SseParser | None = None
        self._in_body = False

    # -- asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            self.abort()  # bytes nobody asked for must not become the next reply
            return
        if not self._in_body:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(BadReply(f"The server {self._pool.name!r} wants another protocol than HTTP"))
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._fail(cause if isinstance(cause, CallError) else BadReply(str(cause)))
        except httptools.HttpParserError:
            self._fail(BadReply(f"The server {self._pool.name!r} sent something that is no HTTP reply"))
        if not self._in_body and self._head_bytes > HEAD_BYTES_MAX and self._waiting is not None:
            self._fail(
                BadReply(f"The server {self._pool.name!r} sent a reply head of more than {HEAD_BYTES_MAX} bytes")
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._pool.lost(self)
        if self._waiting is not None and not self._finish_at_end():
            self._fail(BadReply(f"The server {self._pool.name!r} closed the connection in the middle of a reply"))

    # -- llhttp calls these

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # a trailer: never a header
        if len(self._headers) >= HEADERS_MAX:
            raise BadReply(f"The server {self._pool.name!r} sent more than {HEADERS_MAX} header fields")
        key = _spelt(name)
        text = value.decode("latin-1").strip(" \t")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, {}
        if 100 <= status < 200:
            return
        self._in_body = True
        self._response = Response(status, headers)
        if headers.get("content-encoding", "identity") != "identity":
            raise BadReply(f"The server {self._pool.name!r} sent a compressed reply that nobody asked for")
        if self._on_event is not None and headers.get("content-type", "").startswith("text/event-stream"):
            self._events = SseParser(REPLY_BYTES_MAX)
        elif len(headers.get("content-length", "")) > 9 or int(headers.get("content-length") or 0) > REPLY_BYTES_MAX:
            raise self._too_large()

    def on_body(self, data: bytes) -> None:
        if self._events is not None:
            for event in self._events.feed(data):
                if self._waiting is not None and self._on_event is not None and self._on_event(event):
                    self._settle()
        else:
            self._size += len(data)
            if self._size > REPLY_BYTES_MAX:
                self._parts.clear()
                raise self._too_large()
            self._parts.append(data)

    def _too_large(self) -> BadReply:
        return BadReply(f"The server {self._pool.name!r} sent a reply of more than {REPLY_BYTES_MAX} bytes")

    def on_message_complete(self) -> None:
        response = self._response
        if response is None:
            return  # 1xx
        response.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        keep = self._parser.should_keep_alive()
        self._settle()
        self._reset()
        if keep and self._transport is not None and not self._transport.is_closing():
            self._pool.release(self)
        else:
            self.abort()

    # -- the pool calls these

    def send(self, data: bytes, on_event: OnEvent | None) -> "asyncio.Future[Response]":
        """Write one request; its reply settles the future."""
        assert self._transport is not None
        self._waiting = waiting = self._pool.loop.create_future()
        self._on_event = on_event
        self._transport.write(data)
        return waiting

    @property
    def is_open(self) -> bool:
        """Whether it can take a request."""
        return self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _finish_at_end(self) -> bool:
        """Whether the end of the connection is the end of the reply (an event stream, or no length given)."""
        if self._response is None or "content-length" in self._response.headers:
            return False
        if "chunked" in self._response.headers.get("transfer-encoding", "") and self._events is None:
            return False
        self._response.body = b"".join(self._parts)
        self._settle()
        return True

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done() and self._response is not None:
            waiting.set_result(self._response)

    def _fail(self, error: CallError) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
        self.abort()


class HttpPool:
    """Connections to one origin. `name` is what errors call the server; its address is told to nobody."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        ssl_context: tls.SSLContext | None = None,
        connections_max: int = 256,
        connect_wait_s: float = CONNECT_WAIT_S,
        idle_s: float = IDLE_S,
    ) -> None:
        parts = urlsplit(url)
        self.name = name
        self.loop = asyncio.get_running_loop()  # kept: asking for it costs a system call on Python 3.11
        self._host = parts.hostname or ""
        self._ssl = (ssl_context or tls.create_default_context()) if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._ssl is not None else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._connect_wait_s = connect_wait_s
        self._idle_s = idle_s
        self._free = connections_max
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._line: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __repr__(self) -> str:
        return f"<HttpPool {self.name}: {self.busy} busy, {len(self._idle)} idle, {len(self._line)} waiting>"

    @property
    def busy(self) -> int:
        """Connections that carry a request."""
        return len(self._all) - len(self._idle)

    def head(self, method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
        """A request line and header fields, written once for many requests. Errors: ValueError, for a line break."""
        line = f"{method} {target} HTTP/1.1\r\n".encode("latin-1")
        return line + _fields([("Host", self._authority), *headers])

    async def request(self, head: bytes, body: bytes = b"", on_event: OnEvent | None = None) -> Response:
        """Send one request and wait for its reply, or for its event stream to end or be ended by `on_event`.

        `head` comes from the method of that name.
        Errors: Unavailable, Overloaded (nothing was sent); BadReply (outcome unknown).
        """
        data = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        connection = self._idle_connection() or await self._connection()
        waiting = connection.send(data, on_event)
        try:
            return await waiting
        finally:
            if connection._waiting is waiting or (connection._response is not None and connection._events is not None):
                self._drop(connection, waiting)

    def _drop(self, connection: _Connection, waiting: "asyncio.Future[Response]") -> None:
        """Close a connection whose request was cancelled, or whose stream was ended early."""
        if connection._waiting is None or connection._waiting is waiting:
            connection._waiting = None
            connection.abort()

    # -- connections

    def _idle_connection(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connection(self) -> _Connection:
        """A free connection, a new one, or a place in line for one."""
        if self._free <= 0:
            await self._wait()
            if (connection := self._idle_connection()) is not None:
                return connection
        self._free -= 1
        connection = _Connection(self)
        try:
            async with asyncio.timeout(self._connect_wait_s):
                await self.loop.create_connection(lambda: connection, self._host, self._port, ssl=self._ssl)
        except (OSError, TimeoutError) as error:
            self._freed()
            raise Unavailable(f"The server {self.name!r} {_why(error)}", retry_after_s=1.0) from None
        except BaseException:
            connection.abort()
            if connection._transport is None:
                self._freed()
            raise
        self._all.add(connection)
        return connection

    async def _wait(self) -> None:
        if len(self._line) >= QUEUE_MAX:
            raise Overloaded(f"The server {self.name!r} has {QUEUE_MAX} requests waiting", retry_after_s=1.0)
        turn: asyncio.Future[None] = self.loop.create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()
            raise

    def release(self, connection: _Connection) -> None:
        """A connection has finished its request."""
        now_s = self.loop.time()
        connection.idle_since_s = now_s
        self._idle.append(connection)
        if self._line:
            self._next()
        elif now_s - self._idle[0].idle_since_s > self._idle_s:
            self._idle.pop(0).abort()
        if self._closed:
            connection.abort()

    def lost(self, connection: _Connection) -> None:
        """A connection is gone."""
        if connection in self._all:
            self._all.discard(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._freed()

    def _freed(self) -> None:
        self._free += 1
        self._next()

    def _next(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def close(self, *, abort: bool = False) -> None:
        """Close the idle connections now and the busy ones after their request; all at once with `abort`."""
        self._closed = True
        for connection in tuple(self._all if abort else self._idle):
            connection.abort()


@lru_cache(maxsize=512)
def _spelt(name: bytes) -> str:
    """A field name in lower case; servers use the same few over and over."""
    return name.decode("latin-1").lower()


def _fields(headers: Iterable[tuple[str, str]]) -> bytes:
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if text.count("\n") != text.count("\r\n") or text.count("\r") != text.count("\n") or "\0" in text:
        raise ValueError("a header field holds a line break")
    return text.encode("latin-1")


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "can't be connected to in time"
    if isinstance(error, tls.SSLCertVerificationError):
        return f"shows a certificate that does not verify ({error.verify_message})"
    if isinstance(error, tls.SSLError):
        return "can't be spoken to over TLS"
    if isinstance(error, ConnectionRefusedError):
        return "refuses connections"
    return (
        f"can't be reached ({error.strerror or 'its name has no address'})" if isinstance(error, OSError) else "failed"
    )
