"""The HTTP listener for agents: connections, their order, their limits in time; replies and event streams.

A connection runs one exchange at a time and answers in order. One sweep a second looks at every connection, so that no
request pays for a timer. Source: hardening T12, T26, T27, R15, R16, R25, R26.
"""

import asyncio
import email.utils
import errno
import resource
import ssl
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import cast

from ..model import limits
from ..model.clock import Clock, SystemClock
from ..model.config import Address
from ..model.errors import StartError
from ..model.principal import Principal
from ..protocol.sse import encode_event
from .identity.authenticator import Peer
from .parser import HttpHead, HttpRequest, Refusal, RequestParser

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_KEEPALIVE = b":\n\n"
_COPIED_BYTES_MAX = 65536
"""A reply up to this size is joined with its head, so that it is one write; a larger one is not copied."""
_REQUEST_BYTES = 1024
_QUEUE_BYTES_MAX = 65536
"""Pipelined requests are read ahead up to this size; the bare request counts as `_REQUEST_BYTES`."""
_CROWDED = Refusal(
    503, "The hub holds too much of requests that have not come whole; repeat it later", headers=(("retry-after", "5"),)
)
_CUT = (
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-31002,"message":"The call was cut before it ended; it may have run",'
    b'"data":{"outcome":"unknown","retryable":false}}}'
)
"""Told in 200, since proxies repeat what gets a 503."""
_NOT_SENT = b'{"outcome":"not_sent","retryable":true}'

Serve = Callable[[HttpRequest, "Exchange"], Awaitable[None]]
Admit = Callable[[HttpHead, Peer], Refusal | Principal | None]
"""Judges a head: refused, or who calls; None where that takes waiting, which is done when the body has come."""
Meet = Callable[[asyncio.Transport], Peer]
"""Says who is at the other end of a new connection."""


class Exchange:
    """One request's way back: a whole reply, or an event stream that starts with the first event.

    `survives`: the agent may go away without ending the task that serves (legacy: a disconnect is no cancellation).
    """

    __slots__ = (
        "_connection",
        "_head",
        "ended",
        "headers",
        "last_write_s",
        "may_stream",
        "peer",
        "primer",
        "principal",
        "status",
        "streaming",
        "survives",
        "task",
    )

    def __init__(self, connection: "Connection", request: HttpRequest) -> None:
        self._connection = connection
        self._head = request.head
        self.peer = connection.peer
        self.principal = request.principal
        """Who is answered: once they are nobody any more, the exchange is cut."""
        self.task: asyncio.Task[None] | None = None
        self.may_stream = False
        """Whether the agent takes the reply as an event stream, too: then a long silence is broken by a comment."""
        self.streaming = False
        self.ended = False
        self.last_write_s = connection.listener.now_s
        self.survives = False
        self.status = 200
        """What a reply with a message in it is answered with, and what goes with that."""
        self.headers: tuple[tuple[str, str], ...] = ()
        self.primer: Callable[[], bytes] | None = None
        """Called when an event stream is opened; what it returns comes before the first event."""

    def disconnected(self) -> None:
        """The agent went away before the end."""
        self.ended = True
        if self.task is not None and not self.survives:
            self.task.cancel()

    def reply(self, status: int, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Send a whole reply; JSON unless the headers say otherwise. After a stream began, `body` is its last event."""
        if self.ended:
            return
        if self.streaming:
            self.event(body)
            self.end()
            return
        self.ended = True
        self._connection.send_reply(status, body, headers, keep_alive=self._head.keep_alive)

    def open_stream(self, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Commit to an event stream."""
        if self.streaming or self.ended:
            return
        self.streaming = True
        lines = [
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache, no-transform\r\n"
            b"x-accel-buffering: no\r\n",
            b"transfer-encoding: chunked\r\n" if self._head.chunks else b"connection: close\r\n",
            *(f"{name}: {value}\r\n".encode("latin-1") for name, value in headers),
            b"\r\n",
        ]
        self._write(b"".join(lines))
        if self.primer is not None and (primer := self.primer()):
            self._chunk(primer)

    def event(self, data: bytes, event: str = "message", id: str | None = None) -> None:
        """Send one event. A reader that lets too much wait loses the connection rather than an event."""
        self.open_stream()
        self._chunk(encode_event(data, event, id))

    def keep_alive(self) -> None:
        """Send a comment, so that nothing between us takes the silence for an end."""
        if self.may_stream:
            self.open_stream()
        if self.streaming and not self.ended:
            self._chunk(_KEEPALIVE)

    def end(self) -> None:
        """Finish the stream."""
        if self.streaming and not self.ended:
            self.ended = True
            self._connection.end_stream(chunks=self._head.chunks, keep_alive=self._head.keep_alive)

    def _chunk(self, data: bytes) -> None:
        if not self.ended:
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._head.chunks else data)

    def _write(self, data: bytes) -> None:
        self.last_write_s = self._connection.listener.now_s
        self._connection.send_streamed(data)


class Connection(asyncio.Protocol):
    """One agent's TCP connection."""

    def __init__(self, listener: "HttpListener") -> None:
        self.listener = listener
        self.peer = Peer()
        self.exchange: Exchange | None = None
        self.since_s = listener.now_s
        """When the present phase began: waiting for a head, reading a body, idle."""
        self._transport: asyncio.Transport | None = None
        self._parser: RequestParser
        self._queue: deque[HttpRequest | Refusal] = deque()
        self._closing = False
        self._held_bytes = 0
        """What this connection counts for in `HttpListener.body_bytes`."""
        self._seen_bytes = 0
        """What had come of the present body when its speed was last looked at."""
        self._stalled_s: float | None = None
        self._stalled_bytes = 0

    # -- asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=limits.EVENT_QUEUE_BYTES_MAX)
        admit = self.listener.admit
        self.peer = peer = self.listener.meet(transport)
        self._parser = RequestParser(lambda head: admit(head, peer))
        self.listener.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return  # the rest of a request that was refused
        parser = self._parser
        if not parser.in_request:
            self.since_s = self.listener.now_s
            self._seen_bytes = 0
        ready = parser.feed(data)
        if parser.body_bytes != self._held_bytes:
            self._hold(parser.body_bytes)
            if parser.body_bytes and self.listener.body_bytes > limits.BODIES_BYTES_MAX:
                parser.give_up()
                self._hold(0)
                ready.append(_CROWDED)
        if ready:
            self._queue.extend(ready)
            if self.exchange is None:
                self._next()
            if self._is_full and self._transport is not None and not self._closing:
                self._transport.pause_reading()
        if parser.wants_continue:
            self._continue()

    def eof_received(self) -> None:
        return None  # an agent that half-closes is gone

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._hold(0)
        self.listener.closed(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None and not exchange.ended:
            exchange.disconnected()
            if exchange.task is not None:
                self.listener.adopt(exchange.task)

    def pause_writing(self) -> None:
        self._stalled_s = self.listener.now_s
        self._stalled_bytes = self._waiting_bytes()

    def resume_writing(self) -> None:
        self._stalled_s = None
        if self.exchange is None:
            self._next()

    def _hold(self, body_bytes: int) -> None:
        self.listener.body_bytes += body_bytes - self._held_bytes
        self._held_bytes = body_bytes

    # -- one exchange after the other

    def _next(self) -> None:
        while self._queue and self.exchange is None and not self._closing and self._stalled_s is None:
            item = self._queue.popleft()
            if isinstance(item, Refusal):
                self.listener.refused(item)
                self.send_reply(item.status, refusal_body(item), item.headers, keep_alive=not item.close)
            else:
                exchange = Exchange(self, item)
                self.exchange = exchange
                exchange.task = self.listener.run(item, exchange)
        if self._transport is not None and not self._transport.is_reading() and not self._is_full:
            self._transport.resume_reading()

    @property
    def _is_full(self) -> bool:
        """Whether so much is pipelined that reading stops: only then goes an agent's leaving unnoticed."""
        return (
            bool(self._queue)
            and sum(_REQUEST_BYTES + len(item.body) for item in self._queue if isinstance(item, HttpRequest))
            > _QUEUE_BYTES_MAX
        )

    def _continue(self) -> None:
        """Ask for the body that an agent holds back, once it is its turn."""
        if self.exchange is None and not self._queue and not self._closing:
            self._parser.wants_continue = False
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _finished(self, keep_alive: bool) -> None:
        self.exchange = None
        self.since_s = self.listener.now_s
        if not keep_alive or self.listener.draining:
            self._end()
        elif self._queue:
            self._next()
        elif self._parser.wants_continue:
            self._continue()

    # -- writing

    def send_reply(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...], *, keep_alive: bool) -> None:
        """Write a whole reply and go on to the next request."""
        keep_alive = keep_alive and not self.listener.draining
        head = b"HTTP/1.1 %d %b\r\n%b" % (status, _REASONS.get(status, b""), self.listener.date)
        if status != 204:
            head += b"content-length: %d\r\n" % len(body)
        if headers:
            named = {name for name, _ in headers}
            head += b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in headers)
            if body and "content-type" not in named:
                head += b"content-type: application/json\r\n"
        elif body:
            head += b"content-type: application/json\r\n"
        if not keep_alive:
            head += b"connection: close\r\n"
        if len(body) < _COPIED_BYTES_MAX:
            self._write_soon(b"%b\r\n%b" % (head, body))
        else:
            self._write(head + b"\r\n")
            self._write(body)
        self._finished(keep_alive)

    def send_streamed(self, data: bytes) -> None:
        """Write a part of an event stream, unless too much waits already."""
        if self._stalled_s is not None:
            self.listener.overflowed += 1
            self.abort()
        else:
            self._write(data)

    def end_stream(self, *, chunks: bool, keep_alive: bool) -> None:
        """Write the end of an event stream and go on to the next request."""
        if chunks:
            self._write(b"0\r\n\r\n")
        self._finished(keep_alive and chunks)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self.listener.write_now()
            self._transport.write(data)

    def _write_soon(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self.listener.write_soon(self._transport, data)

    def _end(self) -> None:
        """Close once the agent has what was written. What it is still sending is read and forgotten until then, since
        to close on it would destroy an answer under way."""
        self.listener.write_now()
        transport, parser = self._transport, self._parser
        is_sending = parser.in_request or parser.refused
        if transport is None or transport.is_closing() or not is_sending or not transport.can_write_eof():
            self.close()
            return
        self._closing = True
        self._queue.clear()
        transport.write_eof()
        if not transport.is_reading():
            transport.resume_reading()

    def close(self) -> None:
        """Close after what was written has gone out."""
        self._closing = True
        self.listener.write_now()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    # -- time

    def sweep(self, now_s: float) -> None:
        """Look whether the agent keeps to the limits in time."""
        if self._stalled_s is not None:
            waiting = self._waiting_bytes()
            if waiting != self._stalled_bytes:
                self._stalled_s, self._stalled_bytes = now_s, waiting
            elif now_s - self._stalled_s > limits.WRITE_WAIT_S:
                self.abort()
        elif self.exchange is not None:
            exchange = self.exchange
            if (exchange.streaming or exchange.may_stream) and now_s - exchange.last_write_s >= limits.KEEPALIVE_S:
                exchange.keep_alive()
        elif self._closing:
            if now_s - self.since_s > limits.WRITE_WAIT_S:
                self.abort()
        elif self._parser.in_request:
            if now_s - self.since_s > limits.HEAD_WAIT_S:
                come_bytes, seen_bytes = self._parser.body_bytes, self._seen_bytes
                if come_bytes - min(seen_bytes, come_bytes) < limits.HEAD_WAIT_S * limits.BODY_RATE_BYTES_S:
                    self._queue.append(Refusal(408, "The request came too slowly"))
                    self._next()
                self.since_s, self._seen_bytes = now_s, come_bytes
        elif now_s - self.since_s > limits.IDLE_S:
            self.close()

    def _waiting_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()


def met(transport: asyncio.Transport) -> Peer:
    """Who is at the other end, as far as an address says."""
    peer = transport.get_extra_info("peername")
    return Peer(peer[0] if peer else "")


class HttpListener:
    """A bound socket and its connections. `admit` judges heads; `serve` answers requests, one task each."""

    def __init__(self, admit: Admit, serve: Serve, *, meet: Meet = met, clock: Clock | None = None) -> None:
        self.admit = admit
        self.meet = meet
        self.draining = False
        self.overflowed = 0
        """Streams closed because their reader was too slow."""
        self.date = b""
        self._serve = serve
        self._loop = asyncio.get_running_loop()  # kept: asking for it costs a system call on Python 3.11
        self._clock = clock or SystemClock()
        self.now_s = self._clock.monotonic()
        """Monotonic time as of the last sweep: exact to a second, free to read."""
        self._connections: set[Connection] = set()
        self.body_bytes = 0
        """What has come of bodies that are not whole."""
        self._per_address: Counter[str] = Counter()
        files_max, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._per_address_max = limits.CONNECTIONS_PER_ADDRESS_MAX
        if files_max != resource.RLIM_INFINITY:  # no address takes more than half of what there is for all
            self._per_address_max = min(self._per_address_max, files_max // 2)
        self._tasks: set[asyncio.Task[None]] = set()
        self._unwritten: list[tuple[asyncio.Transport, bytes]] = []
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self.refusals: Counter[int] = Counter()
        """Refusals on the head alone, by status."""

    async def start(self, address: Address, tls: ssl.SSLContext | None = None) -> Address:
        """Bind and listen; returns the address with the port that was given. Errors: StartError."""
        handshake_s = None if tls is None else limits.HEAD_WAIT_S
        try:
            self._server = await self._loop.create_server(
                lambda: Connection(self),
                *(address.host, address.port),
                backlog=1024,
                reuse_address=True,
                ssl=tls,
                ssl_handshake_timeout=handshake_s,
            )
        except OSError as error:
            raise StartError(bind_problem(address, error)) from error
        self._sweep()
        return Address(address.host, self._server.sockets[0].getsockname()[1])

    def run(self, request: HttpRequest, exchange: Exchange) -> "asyncio.Task[None]":
        """Serve one request in a task of its own."""
        return self._loop.create_task(self._serve_one(request, exchange))

    def write_soon(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write when everything that has come in was looked at.

        Written one after the other, replies find the agents' machine awake; each alone would wake it anew, which costs
        more than the rest of the write.
        """
        if not self._unwritten:
            self._loop.call_soon(self.write_now)
        self._unwritten.append((transport, data))

    def write_now(self) -> None:
        """Write what waits."""
        if self._unwritten:
            unwritten, self._unwritten = self._unwritten, []
            for transport, data in unwritten:
                transport.write(data)

    def adopt(self, task: "asyncio.Task[None]") -> None:
        """Keep a task whose connection, which held it until now, is gone."""
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve_one(self, request: HttpRequest, exchange: Exchange) -> None:
        try:
            await self._serve(request, exchange)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the last edge: an agent always gets an answer
            self._loop.call_exception_handler(
                {"message": f"{request.head.method} {request.head.path} failed", "exception": error}
            )
            exchange.reply(500, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"Internal error"}}')
        finally:
            if not exchange.ended and exchange.streaming:
                exchange.end()
            elif not exchange.ended:
                exchange.reply(200, _CUT)

    def opened(self, connection: Connection) -> None:
        """A connection was made."""
        self._per_address[connection.peer.address] += 1
        self._connections.add(connection)
        if self._per_address[connection.peer.address] > self._per_address_max:
            self.refusals[429] += 1
            connection.abort()

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self._per_address[connection.peer.address] -= 1
        if not self._per_address[connection.peer.address]:
            del self._per_address[connection.peer.address]

    def cut(self, is_alive: Callable[[Principal], bool]) -> int:
        """Cut what is served to those who are nobody any more. Returns how many exchanges that were."""
        dead = [
            connection
            for connection in self._connections
            if (exchange := connection.exchange) is not None
            and exchange.principal is not None
            and not is_alive(exchange.principal)
        ]
        for connection in dead:
            connection.abort()
        return len(dead)

    def refused(self, refusal: Refusal) -> None:
        """A request was answered on its head alone."""
        self.refusals[refusal.status] += 1

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    def _sweep(self) -> None:
        self.now_s = self._clock.monotonic()
        self.date = b"date: %b\r\n" % email.utils.formatdate(self._clock.wall(), usegmt=True).encode()
        for connection in tuple(self._connections):
            connection.sweep(self.now_s)
        self._sweeper = self._loop.call_later(1.0, self._sweep)

    @property
    def running(self) -> set[asyncio.Task[None]]:
        """The tasks that serve right now."""
        held = (connection.exchange.task for connection in self._connections if connection.exchange is not None)
        return {task for task in (*held, *self._tasks) if task is not None and not task.done()}

    async def drain(self, wait_s: float) -> int:
        """Stop accepting, let what runs finish for at most `wait_s`, then cut it. Returns how many were cut."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            if connection.exchange is None:
                connection.close()
        running = self.running
        if running:
            _, running = await asyncio.wait(running, timeout=wait_s)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=1.0)
        for connection in tuple(self._connections):
            connection.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return len(running)


def refusal_body(refusal: Refusal) -> bytes:
    """The JSON-RPC error of a refusal on the head: it carries no id, since no body was read."""
    text = refusal.reason.replace("\\", "\\\\").replace('"', '\\"').encode()
    if refusal.status == 429:
        return b'{"jsonrpc":"2.0","id":null,"error":{"code":-31003,"message":"%b","data":%b}}' % (text, _NOT_SENT)
    if refusal.status == 503:
        return b'{"jsonrpc":"2.0","id":null,"error":{"code":-31004,"message":"%b","data":%b}}' % (text, _NOT_SENT)
    return b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"%b"}}' % text


def bind_problem(address: Address, error: OSError) -> str:
    """Why an address can't be listened on, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use; stop the other program or set another `listen` address"
    if error.errno == errno.EACCES:
        return f"{address} may not be used by this user; take a port above 1023"
    return f"{address} can't be used: {error.strerror or error}"
