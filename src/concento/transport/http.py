"""A pooled keep-alive HTTP/1.1 client for one origin, on llhttp: one write, one future and no timer a request.

A connection carries one request at a time and is used again only after a reply that ended where it should, so that
nothing of one reply can be taken for the next one's. A server that answers one request twice, late, can't be told from
one that is quick: what is in a reply must name its request, as JSON-RPC's ids do.
Cancelling the task that waits closes the connection, which for MCP over HTTP is the cancellation; so deadlines belong
to the caller. Redirects are returned, not followed. Source: hardening R1, R2, R4, R5, T12, T26.
"""

import asyncio
import os
import socket
import ssl as tls
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from re import compile as pattern
from typing import Final, cast
from urllib.parse import urlsplit

from ..model.clock import Clock, SystemClock
from ..model.errors import BadReply, Overloaded, Unavailable
from ..model.limits import CONNECT_WAIT_S, IDLE_S
from ..model.outbound import Reach
from .outbound import NotFetched, addresses
from .reply import OnEvent, OnHead, ReplyReader, Response

__all__ = ["HttpPool", "OnEvent", "OnHead", "Response", "fields"]

CONNECTIONS_MAX: Final = 256
"""Connections to one origin, unless the pool's owner says otherwise."""

QUEUE_MAX: Final = 1024
"""Requests that may wait for a connection; one more is refused."""

_KEEPALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPALIVE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""A peer that vanished is noticed after two minutes, even on a stream that has no deadline (R5)."""

_FIELDS: Final = pattern(r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n)*")
_METHOD: Final = pattern(r"(?!HEAD$|CONNECT$)[A-Z]+")
_TARGET: Final = pattern(r"/[\x21-\x7e]*")
_WRONG_NAME: Final = (62, 64)
"""OpenSSL's verdicts on a certificate for another host or address; its words for them tell the address."""


class _Stale(BadReply):
    """A connection that had served before closed without one byte of the reply: the server may never have read it."""


class HttpPool:
    """Connections to one origin. `name` is what errors call the server; its address is told to nobody.

    Errors: ValueError, for a URL that is no plain http:// or https:// one.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        ssl_context: tls.SSLContext | None = None,
        connections_max: int = CONNECTIONS_MAX,
        queue_max: int = QUEUE_MAX,
        connect_wait_s: float = CONNECT_WAIT_S,
        idle_s: float = IDLE_S,
        clock: Clock | None = None,
        reach: Reach | None = None,
    ) -> None:
        self._url, self._reach = url, reach
        secure, self._host, self._port, self._authority = _origin(url)
        self.name = name
        self.loop = asyncio.get_running_loop()  # kept: asking for it costs a system call on Python 3.11
        self._ssl = (ssl_context or _default_context()) if secure else None
        self._connections_max = connections_max
        self._queue_max = queue_max
        self._connect_wait_s = connect_wait_s
        self._idle_s = idle_s
        self._now_s = (clock or SystemClock()).monotonic
        self._slots = connections_max
        """Connections that may still be made."""
        self._idle: dict[_Connection, float] = {}
        """Since when each rests; the last is the next to be used."""
        self._line: deque[asyncio.Future[_Connection | None]] = deque()
        """Requests waiting for a connection, or (None) for a slot to make one in."""
        self._sockets: set[_Connection] = set()
        self._closed = False
        self._unwritten: list[tuple[asyncio.Transport, bytes]] = []
        self._gone: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<HttpPool {self.name!r}: {self.busy} busy, {self.idle} idle, {self.waiting} waiting>"

    @property
    def busy(self) -> int:
        """Connections that carry a request or are being made for one."""
        return self._connections_max - self._slots - len(self._idle)

    @property
    def idle(self) -> int:
        """Connections that rest."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return len(self._line)

    def head(self, method: str, target: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
        """A request line and header fields, made once for many requests; `fields` makes more to append.

        Errors: ValueError, for what would not stay in its line.
        """
        if _METHOD.fullmatch(method) is None or _TARGET.fullmatch(target) is None:
            raise ValueError("a request needs a method and a target of visible ASCII characters that begins with /")
        return f"{method} {target} HTTP/1.1\r\nHost: {self._authority}\r\n".encode("ascii") + fields(headers)

    async def request(
        self,
        head: bytes,
        body: bytes = b"",
        on_event: OnEvent | None = None,
        *,
        on_head: OnHead | None = None,
        repeatable: bool = False,
    ) -> Response:
        """Send one request; returns with its reply, or once its event stream has ended or `on_event` ended it.

        `head` comes from the method of that name. An event stream nobody takes events of is a body like any other.
        A request that is `repeatable` is sent again if the connection it went out on turns out to have been closed.
        Errors: Unavailable, Overloaded (nothing was sent); BadReply (outcome unknown); what the callbacks raise.
        """
        length = b"Content-Length: %d\r\n" % len(body) if body or head.startswith(b"P") else b""
        data = b"%b%b\r\n%b" % (head, length, body)
        while True:
            connection = self._take() or await self._connection()
            reply = connection.send(data, on_head, on_event)
            try:
                return await reply
            except asyncio.CancelledError:
                connection.forsake(reply)
                raise
            except _Stale:
                if not repeatable:
                    raise

    async def close(self, *, abort: bool = False) -> None:
        """Take no more requests and close what is idle; running ones go on, their connections close after them.

        With `abort` they end too, and no connection is left on return.
        """
        self._closed = True
        for turn in self._line:
            if not turn.done():
                turn.set_exception(self._disconnected())
        self._line.clear()
        for connection in tuple(self._sockets if abort else self._idle):
            connection.abort()
        if abort and self._sockets:
            self._gone = self._gone or self.loop.create_future()
            await asyncio.shield(self._gone)

    # -- finding a connection

    def _take(self) -> "_Connection | None":
        """The connection that was used last: the least likely to be closed by the server, and the others grow old."""
        while self._idle:
            connection, since_s = self._idle.popitem()
            if connection.is_open and self._now_s() - since_s <= self._idle_s:
                return connection
            connection.abort()
        return None

    async def _connection(self) -> "_Connection":
        """An idle connection, a new one, or the next to come free."""
        while True:
            if self._closed:
                raise self._disconnected()
            if (connection := self._take()) is not None:
                return connection
            if self._slots:
                self._slots -= 1
                return await self._connect()
            offer = await self._turn()
            if offer is None:
                return await self._connect()
            if offer.is_open:
                return offer

    async def _turn(self) -> "_Connection | None":
        """Wait in line for a connection or a slot."""
        if len(self._line) >= self._queue_max:
            raise Overloaded(f"The server {self.name!r} has {self._queue_max} requests waiting", retry_after_s=1.0)
        turn: asyncio.Future[_Connection | None] = self.loop.create_future()
        self._line.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):
                    self._line.remove(turn)
            elif turn.exception() is None:
                self._pass_on(turn.result())
            raise

    async def _connect(self) -> "_Connection":
        """A new connection, in a slot already taken."""
        connection = _Connection(self)
        try:
            async with asyncio.timeout(self._connect_wait_s):
                await self._reached(connection)
            if self._closed:
                raise self._disconnected()
            if not connection.is_open:
                raise ConnectionResetError
        except BaseException as error:
            connection.abort()
            if isinstance(error, OSError):
                raise Unavailable(f"The server {self.name!r} {_why(error)}", retry_after_s=1.0) from None
            raise
        return connection

    async def _reached(self, connection: "_Connection") -> None:
        """Connect to the host; where others said which, to an address of it that was judged a moment ago."""
        if self._reach is None:
            await self.loop.create_connection(lambda: connection, self._host, self._port, ssl=self._ssl)
            return
        try:
            found = await addresses(self._url, self._reach)
        except NotFetched as error:
            raise Unavailable(f"The server {self.name!r} can't be asked: {error}") from None
        name = None if self._ssl is None else self._host
        for address in found[:-1]:
            with suppress(OSError):
                await self.loop.create_connection(
                    lambda: connection, address, self._port, ssl=self._ssl, server_hostname=name
                )
                return
        await self.loop.create_connection(
            lambda: connection, found[-1], self._port, ssl=self._ssl, server_hostname=name
        )

    def _disconnected(self) -> Unavailable:
        return Unavailable(f"The server {self.name!r} was disconnected")

    # -- connections call these

    def opened(self, connection: "_Connection") -> None:
        """A connection has a socket."""
        self._sockets.add(connection)

    def release(self, connection: "_Connection") -> None:
        """A connection has finished its request and can take another."""
        if self._closed:
            connection.abort()
        elif not self._offer(connection):
            now_s = self._idle[connection] = self._now_s()
            oldest, since_s = next(iter(self._idle.items()))
            if now_s - since_s > self._idle_s:
                oldest.abort()

    def write_soon(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write when everything that is ready to run has run: requests that go out together wake the server once."""
        if not self._unwritten:
            self.loop.call_soon(self._write)
        self._unwritten.append((transport, data))

    def _write(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        for transport, data in unwritten:
            if not transport.is_closing():
                transport.write(data)

    def retire(self, connection: "_Connection") -> None:
        """A connection takes no more requests: its slot is free."""
        self._idle.pop(connection, None)
        self._pass_on(None)

    def lost(self, connection: "_Connection") -> None:
        """A connection's socket is closed."""
        self._sockets.discard(connection)
        if not self._sockets and self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _pass_on(self, offer: "_Connection | None") -> None:
        if offer is not None:
            self.release(offer)
        elif not self._offer(None):
            self._slots += 1

    def _offer(self, offer: "_Connection | None") -> bool:
        """Give a connection, or a slot, to the request that has waited longest."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(offer)
                return True
        return False


class _Connection(asyncio.Protocol):
    """One connection to the origin, and one of the pool's slots until it takes no more requests."""

    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader(pool.name)
        self._reply: asyncio.Future[Response] | None = None
        self._served = False
        self._retired = False

    @property
    def is_open(self) -> bool:
        """Whether it can take a request."""
        return not self._retired and self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes, on_head: OnHead | None, on_event: OnEvent | None) -> "asyncio.Future[Response]":
        """Write one request; its reply settles the future."""
        assert self._transport is not None
        self._reader.begin(on_head, on_event)
        self._reply = reply = self._pool.loop.create_future()
        self._pool.write_soon(self._transport, data)
        return reply

    def forsake(self, reply: "asyncio.Future[Response]") -> None:
        """Nobody waits for this reply any more: close, unless it came first and another request is on its way."""
        if self._reply is reply:
            self.abort()

    def abort(self) -> None:
        """Close at once, and fail the request that is on its way."""
        self._end(clean=False)
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._pool.opened(self)
        if self._retired:  # given up while it was being made
            self._transport.abort()
            return
        peer = self._transport.get_extra_info("socket")
        with suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                if hasattr(socket, option):
                    peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            self.abort()  # nobody asked: it must not become the next reply
            return
        try:
            response = self._reader.feed(data)
        except Exception as error:  # the server's fault, or one of the caller's callbacks: either way for the caller
            self._reply = None
            if not reply.done():
                reply.set_exception(error)
            self.abort()
            return
        if response is None:
            return
        self._reply = None
        self._served = True
        if not reply.done():
            reply.set_result(response)
        assert self._transport is not None
        if self._reader.ended_well and not self._transport.get_write_buffer_size():
            self._pool.release(self)
        else:
            self.abort()

    def eof_received(self) -> None:
        self._end(clean=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(clean=False)
        self._transport = None
        self._reader.discard()
        self._pool.lost(self)

    def _end(self, *, clean: bool) -> None:
        """Take no more requests. `clean`: the server said that it has no more to say (over TLS, under its seal)."""
        reply, self._reply = self._reply, None
        if reply is not None and not reply.done():
            response = self._reader.end(clean)
            if response is not None:
                reply.set_result(response)
            elif self._reader.is_silent and self._served:
                reply.set_exception(_Stale(f"The server {self._pool.name!r} closed a kept connection without a reply"))
            else:
                place = "without a reply" if self._reader.is_silent else "in the middle of a reply"
                reply.set_exception(BadReply(f"The server {self._pool.name!r} closed the connection {place}"))
        if not self._retired:
            self._retired = True
            self._pool.retire(self)


def fields(headers: Iterable[tuple[str, str]]) -> bytes:
    """Header fields as they go into a request. Errors: ValueError, for one that would not stay in its line."""
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    text = "".join(lines)
    if _FIELDS.fullmatch(text) is None or text.count("\n") != len(lines):
        raise ValueError("a header field has a name or value that HTTP can't carry")
    return text.encode("latin-1")


def _origin(url: str) -> tuple[bool, str, int, str]:
    """Whether it is https, the host and port to connect to, and what the Host header says."""
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise ValueError("a server's URL begins with http:// or https:// and a host, without user and password")
    secure = parts.scheme == "https"
    default = 443 if secure else 80
    port = parts.port or default
    if ":" in host:
        authority = f"[{host.partition('%')[0]}]"
    else:
        host = authority = host.encode("idna").decode("ascii")
    return secure, host, port, authority if port == default else f"{authority}:{port}"


@cache
def _default_context() -> tls.SSLContext:
    """Made once: reading the authorities' certificates takes tens of milliseconds."""
    return tls.create_default_context()


def _why(error: OSError) -> str:
    """Why there is no connection, without the address."""
    if isinstance(error, tls.SSLCertVerificationError):
        wrong_name = error.verify_code in _WRONG_NAME
        return (
            f"shows a certificate {'for another host' if wrong_name else f'we do not trust ({error.verify_message})'}"
        )
    if isinstance(error, tls.SSLError):
        return "can't be spoken to over TLS"
    if isinstance(error, socket.gaierror):
        return "can't be reached: its host name has no address"
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection"
    if isinstance(error, ConnectionResetError):
        return "closed the connection at once"
    if isinstance(error, TimeoutError):
        return "can't be connected to in time"
    return f"can't be reached ({os.strerror(error.errno)})" if error.errno else "can't be reached"
