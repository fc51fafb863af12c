"""The listener over real sockets: order, limits in time, streams, disconnects, draining. Time moves by hand.

Source: RFC 9112; hardening T12, T26, T27, R15, R16, R25, R26; dependencies trap 6.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

import pytest
from tests.front.conftest import Front, Wire, listening

from concento.front.http import Exchange, HttpListener
from concento.front.identity.authenticator import Peer
from concento.front.parser import HttpHead, HttpRequest, Refusal
from concento.model import limits
from concento.model.config import Address
from concento.model.errors import StartError
from concento.model.principal import ANONYMOUS, Principal
from concento.testing.waiting import until

pytestmark = pytest.mark.timeout(30)


def get(path: str = "/", *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *fields, "", ""]).encode()


def post(body: bytes, *fields: str, length: int | None = None) -> bytes:
    lines = [
        "POST / HTTP/1.1",
        "Host: h",
        *fields,
        f"Content-Length: {len(body) if length is None else length}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


class Script:
    """A `serve` whose answers wait for the test; what it was asked, and how each task ended."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ended: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.exchanges: dict[str, Exchange] = {}

    async def __call__(self, request: HttpRequest, exchange: Exchange) -> None:
        path = request.head.path
        self.asked.append(path)
        self.exchanges[path] = exchange
        try:
            if path in self.gates:
                await self.gates[path].wait()
            exchange.reply(200, path.encode())
            self.ended.append(path)
        except asyncio.CancelledError:
            self.ended.append(f"{path} cancelled")
            raise

    def hold(self, path: str) -> asyncio.Event:
        """Have requests for a path wait."""
        self.gates[path] = asyncio.Event()
        return self.gates[path]

    async def reached(self, path: str) -> Exchange:
        """Wait until a request for a path has come."""
        await until(lambda: path in self.exchanges, f"{path} was asked for")
        return self.exchanges[path]


def answering(
    status: int, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
) -> Callable[..., Awaitable[None]]:
    async def serve(request: HttpRequest, exchange: Exchange) -> None:
        exchange.reply(status, body, headers)

    return serve


# ---- replies


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (200, b"{}", (), {"content-length": "2", "content-type": "application/json"}),
        (202, b"", (), {"content-length": "0"}),
        (204, b"", (), {}),
        (405, b"", (("allow", "POST"),), {"content-length": "0", "allow": "POST"}),
        (200, b"x", (("content-type", "text/html"),), {"content-length": "1", "content-type": "text/html"}),
        (
            429,
            b"{}",
            (("retry-after", "1"),),
            {"content-length": "2", "content-type": "application/json", "retry-after": "1"},
        ),
    ],
)
async def test_a_reply_is_whole(
    status: int, body: bytes, headers: tuple[tuple[str, str], ...], expected: dict[str, str]
) -> None:
    async with listening(answering(status, body, headers)) as front:
        wire = await front.connect()
        for _ in range(2):
            wire.send(get())
            got, fields, content = await wire.reply()
            assert fields.pop("date").endswith("GMT")
            assert (got, fields, content) == (status, expected, body)


@pytest.mark.parametrize("size", [65_535, 65_536, 3_000_000])
async def test_a_large_reply_arrives_whole(size: int) -> None:
    async with listening(answering(200, b"x" * size)) as front:
        wire = await front.connect()
        wire.send(get() * 3)
        for _ in range(3):
            assert len((await wire.reply())[2]) == size


async def test_only_the_first_reply_counts() -> None:
    async def serve(request: HttpRequest, exchange: Exchange) -> None:
        exchange.reply(200, b"1")
        exchange.reply(500, b"2")
        exchange.event(b"3")

    async with listening(serve) as front:
        wire = await front.connect()
        for _ in range(2):
            wire.send(get())
            assert (await wire.reply())[::2] == (200, b"1")


async def test_a_defect_is_500_and_the_connection_lives() -> None:
    async def serve(request: HttpRequest, exchange: Exchange) -> None:
        if request.head.path == "/defect":
            raise RuntimeError("secret detail")
        exchange.reply(200)

    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    async with listening(serve) as front:
        wire = await front.connect()
        wire.send(get("/defect") + get("/"))
        status, _, body = await wire.reply()
        assert (status, json.loads(body)["error"]["code"]) == (500, -32603)
        assert b"secret" not in body
        assert (await wire.reply())[0] == 200
    assert [str(context["exception"]) for context in told] == ["secret detail"]


@pytest.mark.parametrize("how", ["cancelled", "forgotten"])
async def test_a_call_without_an_answer_may_have_run_and_is_told_so(how: str) -> None:
    """Proxies repeat a 503 unasked (hardening, reply rules)."""

    async def serve(request: HttpRequest, exchange: Exchange) -> None:
        if how == "cancelled":
            raise asyncio.CancelledError

    async with listening(serve) as front:
        status, _, body = await front.ask(get())
        assert status == 200
        assert json.loads(body)["error"]["data"]["outcome"] == "unknown"


# ---- order


async def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    script = Script()
    first = script.hold("/1")
    async with listening(script) as front:
        wire = await front.connect()
        wire.send(get("/1") + get("/2") + get("/3"))
        await script.reached("/1")
        assert script.asked == ["/1"]
        first.set()
        assert [(await wire.reply())[2] for _ in range(3)] == [b"/1", b"/2", b"/3"]
        assert script.asked == ["/1", "/2", "/3"]


@pytest.mark.parametrize(
    "bad", [b"nonsense\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", get("/refused"), post(b"", "Content-Length: 1")]
)
@pytest.mark.parametrize("together", [True, False])
async def test_a_bad_request_never_takes_the_reply_of_an_earlier_one(bad: bytes, together: bool) -> None:
    script = Script()
    first = script.hold("/1")

    def admit(head: HttpHead, peer: Peer) -> Refusal | Principal | None:
        return Refusal(403, "no") if head.path == "/refused" else ANONYMOUS

    async with listening(script, admit) as front:
        wire = await front.connect()
        wire.send(get("/1") + bad if together else get("/1"))
        await script.reached("/1")
        if not together:
            wire.send(bad)
        first.set()
        assert (await wire.reply())[::2] == (200, b"/1")
        status, fields, _ = await wire.reply()
        assert status in (400, 403, 505)
        assert fields["connection"] == "close"
        assert await wire.rest() == b""
        assert script.asked == ["/1"]


async def test_after_a_refusal_that_keeps_the_connection_the_next_request_is_served() -> None:
    script = Script()

    def admit(head: HttpHead, peer: Peer) -> Refusal | Principal | None:
        return (
            Refusal(404, "no", close=False, headers=(("x-why", "because"),)) if head.path == "/refused" else ANONYMOUS
        )

    async with listening(script, admit) as front:
        wire = await front.connect()
        wire.send(get("/1") + get("/refused") + get("/2"))
        assert (await wire.reply())[2] == b"/1"
        status, fields, body = await wire.reply()
        assert (status, fields["x-why"]) == (404, "because")
        assert json.loads(body)["id"] is None
        assert (await wire.reply())[2] == b"/2"
        assert script.asked == ["/1", "/2"]
        assert front.listener.refusals == {404: 1}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_the_connection_ends_where_the_agent_wants_it(version: str) -> None:
    async with listening(answering(200, b"{}")) as front:
        wire = await front.connect()
        wire.send(
            f"GET / HTTP/{version}\r\nHost: h\r\n{'Connection: close' if version == '1.1' else 'X: y'}\r\n\r\n".encode()
        )
        status, fields, _ = await wire.reply()
        assert (status, fields["connection"]) == (200, "close")
        assert await wire.rest() == b""


# ---- refused on the head


async def test_a_refusal_waits_for_no_body() -> None:
    script = Script()
    async with listening(script, lambda head, peer: Refusal(401, "who?")) as front:
        wire = await front.connect()
        wire.send(post(b"", length=1000))
        status, fields, _ = await wire.reply()
        assert (status, fields["connection"]) == (401, "close")
        assert await wire.rest() == b""
        assert script.asked == []


async def test_an_agent_that_still_sends_gets_the_refusal_whole() -> None:
    """To close a socket with unread bytes resets it, and the answer is lost on its way."""
    async with listening(answering(200)) as front:
        wire = await front.connect()
        body = b"x" * 2**20
        wire.send(post(body, length=16 * len(body)))
        for _ in range(15):
            wire.send(body)
            await asyncio.wait_for(wire.writer.drain(), 10)
        assert (await wire.reply())[0] == 413
        assert await wire.rest() == b""


async def test_an_agent_that_goes_on_sending_is_cut() -> None:
    async with listening(answering(200)) as front:
        wire = await front.connect()
        wire.send(post(b"", length=10**8))
        assert (await wire.reply())[0] == 413
        assert front.listener.connections == 1
        front.advance(limits.WRITE_WAIT_S + 1)
        await until(lambda: not front.listener.connections, "cut")


# ---- 100 Continue


async def test_an_agent_that_waits_is_asked_for_the_body() -> None:
    script = Script()
    async with listening(script) as front:
        wire = await front.connect()
        for _ in range(2):
            wire.send(post(b"", "Expect: 100-continue", length=2))
            assert await wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            wire.send(b"{}")
            assert (await wire.reply())[0] == 200


@pytest.mark.parametrize("together", [True, False])
async def test_a_pipelined_agent_is_asked_when_it_is_its_turn(together: bool) -> None:
    script = Script()
    first = script.hold("/1")
    asks = post(b"", "Expect: 100-continue", length=2)
    async with listening(script) as front:
        wire = await front.connect()
        wire.send(get("/1") + asks if together else get("/1"))
        await script.reached("/1")
        if not together:
            wire.send(asks)
            await until(lambda: front.connection._parser.wants_continue, "the head was read")
        first.set()
        assert (await wire.reply())[2] == b"/1"
        assert await wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(b"{}")
        assert (await wire.reply())[2] == b"/"


async def test_a_refused_agent_is_not_asked_for_the_body() -> None:
    async with listening(answering(200), lambda head, peer: Refusal(403, "no")) as front:
        wire = await front.connect()
        wire.send(post(b"", "Expect: 100-continue", length=2))
        assert (await wire.reply())[0] == 403


# ---- time


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\nHost: h\r\nX: ", b"POST / HTTP/1.1\r\n"])
async def test_a_head_that_drips_is_408(start: bytes) -> None:
    script = Script()
    async with listening(script) as front:
        wire = await front.connect()
        wire.send(start)
        await until(lambda: front.connection._parser.in_request, "it began")
        front.advance(limits.HEAD_WAIT_S - 1)
        assert front.listener.refusals == {}
        front.advance(2)
        status, fields, _ = await wire.reply()
        assert (status, fields["connection"]) == (408, "close")
        assert await wire.rest() == b""
        assert script.asked == []


async def test_a_body_that_drips_is_408() -> None:
    script = Script()
    async with listening(script) as front:
        wire = await front.connect()
        wire.send(post(b"", length=limits.BODY_BYTES_MAX))
        for second in range(1, round(limits.HEAD_WAIT_S) + 2):
            wire.send(b"x" * 100)
            await until(lambda: front.connection._parser.body_bytes == second * 100, "it came")  # noqa: B023
            front.advance(1)
        assert (await wire.reply())[0] == 408
        assert script.asked == []


async def test_a_body_that_comes_steadily_is_taken() -> None:
    script = Script()
    async with listening(script) as front:
        wire = await front.connect()
        rate, seconds = limits.BODY_RATE_BYTES_S, 30
        wire.send(post(b"", length=rate * seconds))
        for second in range(1, seconds):
            wire.send(b"x" * rate)
            await until(lambda: front.connection._parser.body_bytes == second * rate, "it came")  # noqa: B023
            front.advance(1)
        wire.send(b"x" * rate)
        assert (await wire.reply())[0] == 200


CHUNKS = (
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + b"x" * 100_000 + b"\r\n0\r\nX: y\r\n"
)


@pytest.mark.parametrize("start", [post(b"x" * 100_000, length=200_000), CHUNKS], ids=["its length", "its trailers"])
async def test_a_body_that_came_fast_may_not_drip_its_end(start: bytes) -> None:
    async with listening(Script()) as front:
        wire = await front.connect()
        wire.send(start)
        await until(lambda: front.connection._parser.body_bytes == 100_000, "it came")
        front.advance(limits.HEAD_WAIT_S + 1)
        assert front.listener.refusals == {}
        front.advance(limits.HEAD_WAIT_S + 1)
        assert (await wire.reply())[0] == 408


async def test_bodies_under_way_are_bounded_together_and_small_ones_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """T26."""
    monkeypatch.setattr(limits, "BODIES_BYTES_MAX", 100_000)
    script = Script()
    async with listening(script) as front:
        first, second = await front.connect(), await front.connect()
        first.send(post(b"x" * 60_000, length=80_000))
        await until(lambda: front.listener.body_bytes == 60_000, "the first is under way")
        second.send(post(b"x" * 60_000, length=80_000))
        status, fields, body = await second.reply()
        error = json.loads(body)["error"]
        assert (status, error["code"], error["data"]["outcome"]) == (503, -31004, "not_sent")
        assert fields["retry-after"] == "5"
        assert await second.rest() == b""
        assert front.listener.body_bytes == 60_000
        assert (await front.ask(post(b"{}")))[0] == 200
        first.send(b"x" * 20_000)
        assert (await first.reply())[0] == 200
        assert front.listener.body_bytes == 0
        gone = await front.connect()
        gone.send(post(b"x" * 60_000, length=80_000))
        await until(lambda: front.listener.body_bytes == 60_000, "one more is under way")
        gone.close()
        await until(lambda: front.listener.body_bytes == 0, "and gone")


async def test_an_idle_connection_is_closed_and_a_used_one_is_not() -> None:
    script = Script()
    async with listening(script) as front:
        used, idle = await front.connect(), await front.connect()
        for _ in range(3):
            front.advance(limits.IDLE_S / 2)
            used.send(get())
            assert (await used.reply())[0] == 200
        assert await idle.rest() == b""
        assert front.listener.connections == 1


async def test_a_long_call_is_not_idle() -> None:
    script = Script()
    gate = script.hold("/")
    async with listening(script) as front:
        wire = await front.connect()
        wire.send(get())
        await script.reached("/")
        front.advance(limits.IDLE_S * 3)
        gate.set()
        assert (await wire.reply())[0] == 200


async def test_a_reader_that_takes_nothing_is_cut() -> None:
    async with listening(answering(200, b"x" * 8 * 2**20)) as front:
        wire = await front.connect(receive_bytes=4096)
        wire.send(get())
        await until(lambda: front.connection._stalled_s is not None, "it stalls")
        front.advance(limits.WRITE_WAIT_S + 2)
        await until(lambda: not front.listener.connections, "cut")
        wire.close()


async def test_a_reader_that_takes_a_little_is_not_cut() -> None:
    async with listening(answering(200, b"x" * 8 * 2**20)) as front:
        wire = await front.connect(receive_bytes=4096)
        wire.send(get())
        await until(lambda: front.connection._stalled_s is not None, "it stalls")
        for _ in range(5):
            waiting = front.connection._waiting_bytes()
            while front.connection._waiting_bytes() == waiting:
                await asyncio.wait_for(wire.reader.read(65536), 10)
            front.advance(limits.WRITE_WAIT_S - 2)
        assert front.listener.connections == 1


# ---- event streams


class Streaming:
    """A `serve` that streams what the test pushes."""

    def __init__(self) -> None:
        self.exchange: Exchange | None = None
        self.over = asyncio.Event()
        self.cancelled = False

    async def __call__(self, request: HttpRequest, exchange: Exchange) -> None:
        if request.head.path == "/plain":
            exchange.reply(200, b"plain")
            return
        exchange.may_stream = request.head.path == "/may"
        if not exchange.may_stream:
            exchange.open_stream()
        self.exchange = exchange
        try:
            await self.over.wait()
            exchange.reply(200, b'{"last":1}')
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def opened(self, front: Front, wire: Wire, path: str = "/") -> Exchange:
        wire.send(get(path))
        await until(lambda: self.exchange, "it was asked")
        assert self.exchange is not None
        return self.exchange


async def test_a_stream_is_events_in_chunks_and_the_connection_goes_on() -> None:
    streaming = Streaming()
    async with listening(streaming) as front:
        wire = await front.connect()
        exchange = await streaming.opened(front, wire)
        exchange.event(b'{"n":1}')
        status, fields = await wire.head()
        assert status == 200
        assert fields["content-type"] == "text/event-stream"
        assert fields["x-accel-buffering"] == "no"
        assert (fields["transfer-encoding"], "content-length" in fields) == ("chunked", False)
        assert b'data: {"n":1}\n\n' in await wire.until(b"\n\n\r\n")
        streaming.over.set()
        assert b'data: {"last":1}\n\n' in await wire.until(b"0\r\n\r\n")
        wire.send(get("/plain"))
        assert (await wire.reply())[2] == b"plain"


async def test_a_stream_for_http_1_0_ends_with_the_connection() -> None:
    streaming = Streaming()
    streaming.over.set()
    async with listening(streaming) as front:
        wire = await front.connect()
        wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        _, fields = await wire.head()
        assert "transfer-encoding" not in fields
        assert fields["connection"] == "close"
        body = await wire.rest()
        assert body.endswith(b'data: {"last":1}\n\n')


async def test_silence_on_a_stream_is_broken_by_comments() -> None:
    streaming = Streaming()
    async with listening(streaming) as front:
        wire = await front.connect()
        await streaming.opened(front, wire)
        await wire.head()
        for _ in range(3):
            front.advance(limits.KEEPALIVE_S)
            assert await wire.until(b"\n\n\r\n") == b"3\r\n:\n\n\r\n"


async def test_an_event_puts_the_comment_off() -> None:
    streaming = Streaming()
    async with listening(streaming) as front:
        wire = await front.connect()
        exchange = await streaming.opened(front, wire)
        await wire.head()
        front.advance(limits.KEEPALIVE_S - 1)
        exchange.event(b"x")
        front.advance(limits.KEEPALIVE_S - 1)
        exchange.event(b"y")
        assert b":\n\n" not in await wire.until(b"data: y\n\n\r\n")


async def test_a_long_silence_commits_to_a_stream_only_where_the_agent_takes_one() -> None:
    streaming = Streaming()
    async with listening(streaming) as front:
        wire = await front.connect()
        exchange = await streaming.opened(front, wire, "/may")
        front.advance(limits.KEEPALIVE_S - 1)
        assert not exchange.streaming
        front.advance(2)
        assert exchange.streaming
        status, fields = await wire.head()
        assert (status, fields["content-type"]) == (200, "text/event-stream")
        streaming.over.set()
        assert b'{"last":1}' in await wire.until(b"0\r\n\r\n")

    script = Script()
    gate = script.hold("/")
    async with listening(script) as front:
        wire = await front.connect()
        wire.send(get())
        await script.reached("/")
        front.advance(limits.KEEPALIVE_S * 2)
        gate.set()
        assert (await wire.reply())[2] == b"/"


async def test_a_slow_reader_of_events_is_cut_at_the_bound() -> None:
    """R26: a stalled reader and far more events than the bound."""
    streaming = Streaming()
    async with listening(streaming) as front:
        wire = await front.connect(receive_bytes=4096)
        exchange = await streaming.opened(front, wire)
        event = b"x" * 10_000
        most = 0
        for _ in range(10_000):
            if exchange.ended or not front.listener.connections:
                break
            exchange.event(event)
            most = max(most, front.connection._waiting_bytes() if front.listener.connections else 0)
            await asyncio.sleep(0)
        assert front.listener.overflowed == 1
        assert most <= limits.EVENT_QUEUE_BYTES_MAX + 2 * len(event)
        await until(lambda: streaming.cancelled, "the call was cancelled")
        exchange.event(event)
        assert front.listener.overflowed == 1


async def test_a_large_last_event_is_not_held_against_the_reader() -> None:
    streaming = Streaming()
    async with listening(streaming) as front:
        wire = await front.connect(receive_bytes=4096)
        exchange = await streaming.opened(front, wire)
        exchange.reply(200, b"x" * 4 * 2**20)
        assert len(await asyncio.wait_for(_body(wire), 20)) > 4 * 2**20
        assert front.listener.overflowed == 0
        streaming.over.set()


async def _body(wire: Wire) -> bytes:
    await wire.head()
    body = b""
    while size := int((await wire.reader.readuntil(b"\r\n")), 16):
        body += await wire.reader.readexactly(size + 2)
    return body


async def test_replies_to_a_pipelining_agent_that_reads_nothing_are_bounded() -> None:
    """Each reply may be large and each request is small: without a bound, memory is the agent's to fill."""
    size, count = 256 * 1024, 400
    script: list[str] = []

    async def serve(request: HttpRequest, exchange: Exchange) -> None:
        script.append(request.head.path)
        exchange.reply(200, b"x" * size)

    async with listening(serve) as front:
        wire = await front.connect(receive_bytes=4096)
        wire.send(get() * count)
        await until(lambda: front.connection._stalled_s is not None, "it stalls")
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(script) < 40
        assert front.connection._waiting_bytes() <= limits.EVENT_QUEUE_BYTES_MAX + 2 * size
        for _ in range(count):
            assert len((await wire.reply())[2]) == size
        assert len(script) == count


# ---- agents that go away


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("abruptly", [False, True])
async def test_a_disconnect_cancels_the_call(streaming: bool, abruptly: bool) -> None:
    script = Script()
    script.hold("/")
    async with listening(script) as front:
        wire = await front.connect()
        wire.send(get())
        exchange = await script.reached("/")
        if streaming:
            exchange.event(b"{}")
            await wire.head()
        if abruptly:
            plug = wire.writer.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wire.close()
        await until(lambda: script.ended == ["/ cancelled"], "cancelled")
        exchange.reply(200, b"late")
        exchange.event(b"later")


async def test_a_disconnect_cancels_the_call_of_an_agent_that_asked_ahead() -> None:
    script = Script()
    script.hold("/1")
    async with listening(script) as front:
        wire = await front.connect()
        wire.send(get("/1") + get("/2") + post(b"x" * 10_000))
        await script.reached("/1")
        wire.close()
        await until(lambda: script.ended == ["/1 cancelled"], "cancelled")
        assert script.asked == ["/1"]


async def test_what_is_asked_ahead_is_bounded_and_all_answered() -> None:
    script = Script()
    first = script.hold("/1")
    count = 300
    async with listening(script) as front:
        wire = await front.connect()
        wire.send(get("/1"))
        await script.reached("/1")
        body = b"x" * 100_000
        wire.send(post(body) * count)
        await until(lambda: not front.connection._transport.is_reading(), "it stopped reading")  # type: ignore[union-attr]
        assert len(front.connection._queue) <= 10
        first.set()
        assert [(await wire.reply())[2] for _ in range(count + 1)] == [b"/1", *[b"/"] * count]


async def test_a_call_that_survives_a_disconnect_runs_to_its_end() -> None:
    """R15: in the legacy era a disconnect is no cancellation."""
    script = Script()
    gate = script.hold("/")
    async with listening(script) as front:
        wire = await front.connect()
        wire.send(get())
        (await script.reached("/")).survives = True
        wire.close()
        await until(lambda: not front.listener.connections, "gone")
        gate.set()
        await until(lambda: script.ended == ["/"], "it ran to its end")


async def test_many_that_go_away_at_once_leave_nothing() -> None:
    """R27, in small."""
    script = Script()
    script.hold("/")
    async with listening(script) as front:
        wires = [await front.dial() for _ in range(200)]
        for wire in wires:
            wire.send(get())
        await until(lambda: len(front.listener.running) == 200, "all are served")
        for wire in wires:
            wire.close()
        await until(lambda: not front.listener.running and not front.listener.connections, "nothing is left")
        assert len(script.ended) == 200


# ---- connections


async def test_one_address_holds_so_many_connections_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS_MAX", 5)
    async with listening(answering(200)) as front:
        held = [await front.connect() for _ in range(5)]
        more = await front.dial()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await more.reply()
        assert front.listener.refusals == {429: 1}
        for wire in held:
            wire.send(get())
            assert (await wire.reply())[0] == 200
        held.pop().close()
        await until(lambda: front.listener.connections == 4, "one left")
        assert (await front.ask(get()))[0] == 200


async def test_an_address_in_use_is_told_with_its_remedy() -> None:
    async with listening(answering(200)) as front:
        with pytest.raises(StartError, match="in use"):
            await HttpListener(lambda head, peer: None, answering(200)).start(front.address)


async def test_a_host_that_is_none_is_told() -> None:
    with pytest.raises(StartError):
        await HttpListener(lambda head, peer: None, answering(200)).start(Address("256.0.0.1", 0))


# ---- draining


async def test_draining_finishes_what_runs_and_takes_nothing_new() -> None:
    """R16."""
    script = Script()
    gate = script.hold("/1")
    async with listening(script) as front:
        busy, idle, reading = [await front.connect() for _ in range(3)]
        busy.send(get("/1") + get("/2"))
        reading.send(post(b"", length=5))
        await script.reached("/1")
        drained = asyncio.ensure_future(front.listener.drain(10))  # noqa: TID251 - awaited below
        assert await idle.rest() == b""
        assert await reading.rest() == b""
        with pytest.raises(OSError, match=r".*"):
            await front.dial()
        assert not drained.done()
        gate.set()
        status, fields, body = await busy.reply()
        assert (status, fields["connection"], body) == (200, "close", b"/1")
        assert await busy.rest() == b""
        assert await drained == 0
        assert script.asked == ["/1"]


async def test_what_does_not_finish_in_time_is_cut_and_told_so() -> None:
    script = Script()
    script.hold("/")
    async with listening(script) as front:
        plain, stream, gone = [await front.connect() for _ in range(3)]
        for wire in (plain, gone):
            wire.send(get())
        await until(lambda: len(script.asked) == 2, "two are asked")
        stream.send(get())
        await until(lambda: len(script.asked) == 3, "three are asked")
        script.exchanges["/"].event(b"{}")
        await stream.head()
        assert await front.listener.drain(0.01) == 3
        status, fields, body = await plain.reply()
        assert (status, fields["connection"]) == (200, "close")
        assert json.loads(body)["error"]["data"] == {"outcome": "unknown", "retryable": False}
        assert (await stream.rest()).endswith(b"0\r\n\r\n")
        assert script.ended == ["/ cancelled"] * 3
