"""The pooled client against a server that plays raw bytes, on real sockets: what it sends, keeps, refuses and drops.

Nothing here waits for time to pass: tests wait for what the other side has seen, all under one deadline.
"""

import asyncio
import gc
import re
import socket
import ssl
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any, cast

import anyio
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from concento.model.errors import BadReply, CallError, Overloaded, Unavailable
from concento.model.limits import HEAD_BYTES_MAX, MIB, REPLY_BYTES_MAX
from concento.protocol.sse import Event
from concento.transport.http import HttpPool, fields
from concento.transport.reply import ReplyReader, Response

WAIT_S = 10.0
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: bytes) -> bytes:
    return chunk(b"event: message\ndata: " + data + b"\n\n")


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    with anyio.fail_after(WAIT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event to wait on
            await asyncio.sleep(0)


class Peer(asyncio.Protocol):
    """The server's end of one connection: whole requests in, raw bytes out."""

    def __init__(self, server: "Server") -> None:
        self.requests: list[bytes] = []
        self.gone = False
        self._server = server
        self._bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.peers.append(self)

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        head, end, rest = self._bytes.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if end and len(rest) >= (int(length[1]) if length else 0):
            self.requests.append(self._bytes)
            self._bytes = b""
            self._server.answer(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._transport.close()

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()


class Server:
    """Listens on a free port; `answer` is called with the peer of each complete request, `peers` has all of them."""

    def __init__(self, answer: Callable[[Peer], None] | bytes) -> None:
        self.answer = answer if callable(answer) else lambda peer: peer.send(answer)
        self.peers: list[Peer] = []
        self.port = 0

    @property
    def hits(self) -> int:
        return sum(len(peer.requests) for peer in self.peers)

    async def heard(self, requests: int) -> None:
        """Wait until so many requests have come in all."""
        await until(lambda: self.hits >= requests)


@asynccontextmanager
async def serving(
    answer: Callable[[Peer], None] | bytes = b"", *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(answer)
    listener = await asyncio.get_running_loop().create_server(lambda: Peer(server), "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for peer in server.peers:
            peer.close()


@asynccontextmanager
async def pooled(server: Server, **options: Any) -> AsyncIterator[HttpPool]:
    """A pool to the server. In the end it must have lost no slot, and leave no socket."""
    scheme = "https" if "ssl_context" in options else "http"
    pool = HttpPool(f"{scheme}://127.0.0.1:{server.port}/mcp", name="docs", **options)
    try:
        yield pool
        await until(lambda: pool.busy == 0)
        assert pool.waiting == 0
    finally:
        await pool.close(abort=True)
    await until(lambda: all(peer.gone for peer in server.peers))


async def ask(pool: HttpPool, body: bytes = b"{}", method: str = "POST", **options: Any) -> Response:
    """One request, under the deadline that in the hub is the caller's."""
    with anyio.fail_after(WAIT_S):
        return await pool.request(pool.head(method, "/mcp"), body if method == "POST" else b"", **options)


def asking(pool: HttpPool, body: bytes = b"{}", **options: Any) -> asyncio.Task[Response]:
    """A request on its way, to be awaited or cancelled by the test."""
    return asyncio.get_running_loop().create_task(ask(pool, body, **options))


async def cancel(task: "asyncio.Task[Response]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class HandClock:
    """Time that moves when a test says so."""

    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return self.now_s


# -- what is sent


async def test_a_request_is_its_head_its_length_and_its_body() -> None:
    async with serving(OK) as server, pooled(server) as pool:
        head = pool.head("POST", "/mcp?a=b", [("Accept", "application/json")])
        await pool.request(head + fields([("Mcp-Name", "x")]), b'{"a":1}')
        await ask(pool, method="GET")
        post, get = server.peers[0].requests
    assert post == (
        b"POST /mcp?a=b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: application/json\r\nMcp-Name: x\r\n"
        b'Content-Length: 7\r\n\r\n{"a":1}'
    ) % (server.port)
    assert get == b"GET /mcp HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.port


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Example.com/x", b"example.com"),
        ("http://example.com:80", b"example.com"),
        ("https://example.com:443/", b"example.com"),
        ("https://example.com:80/", b"example.com:80"),
        ("http://[::1]:7/", b"[::1]:7"),
        ("http://[fe80::1%eth0]/", b"[fe80::1]"),
        ("http://b\u00fccher.example/", b"xn--bcher-kva.example"),
    ],
)
async def test_the_host_header_names_the_origin(url: str, host: bytes) -> None:
    assert HttpPool(url, name="docs").head("GET", "/") == b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n"


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http:///x", "http://u:p@x/", "x", "http://x:99999/", "http://a..b/", "http://[::1/"]
)
async def test_a_url_that_is_no_plain_origin_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        HttpPool(url, name="docs")
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    "field",
    [
        ("A", "x\r\nB: y"), ("A", "x\r\nB: y\r\n"), ("A", "x\n"), ("A", "x\r"), ("A", "x\0y"), ("A", "\u2028"),
        ("A\r\nB", "x"), ("A: x\r\nB", "y"), ("A b", "x"), ("", "x"), ("A:", "x"), ("\u00e4", "x"),
    ],
)  # fmt: skip
async def test_a_header_field_that_would_not_stay_in_its_line_is_refused(field: tuple[str, str]) -> None:
    pool = HttpPool("http://127.0.0.1:9/", name="docs")
    with pytest.raises(ValueError, match="header field"):
        pool.head("POST", "/", [("Accept", "*/*"), field])


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", "/a b"), ("POST", "/a\r\nX: y"), ("POST", "/\u00e9"), ("POST", ""), ("POST", "http://x/"),
     ("P OST", "/"), ("POST /\r\n", "/"), ("HEAD", "/"), ("CONNECT", "/"), ("", "/")],
)  # fmt: skip
async def test_a_request_line_that_would_be_read_otherwise_is_refused(method: str, target: str) -> None:
    with pytest.raises(ValueError, match="method and a target"):
        HttpPool("http://127.0.0.1:9/", name="docs").head(method, target)


# -- replies


async def test_a_json_reply_comes_with_status_headers_and_body() -> None:
    reply = b"HTTP/1.1 404 Gone\r\nX-One:  1 \r\nx-one: 2\r\nEmpty:\r\nContent-Length: 3\r\n\r\nabc"
    async with serving(reply) as server, pooled(server) as pool:
        response = await ask(pool)
    assert response == Response(404, {"x-one": "1, 2", "empty": "", "content-length": "3"}, b"abc")


@pytest.mark.parametrize(
    ("reply", "status", "body", "kept"),
    [
        (CHUNKED + chunk(b"ab") + chunk(b"cd") + chunk(b"e") + LAST, 200, b"abcde", True),
        (CHUNKED + b"2;x=y\r\nab\r\n" + LAST, 200, b"ab", True),
        (CHUNKED.replace(b"chunked", b"Chunked") + LAST, 200, b"", True),
        (b"HTTP/1.1 204 No\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 202 Yes\r\nContent-Length: 0\r\n\r\n", 202, b"", True),
        (b"HTTP/1.1 202 Yes\r\n\r\n", 202, b"", False),
        (b"HTTP/1.1 202 Yes\r\n\r\nabc", 202, b"", False),
        (b"HTTP/1.1 307 Go\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n", 307, b"", True),
        (OK.replace(b"{}", b"\xff\0"), 200, b"\xff\0", True),
        (OK.replace(b"Content-Type", b"Connection: close\r\nContent-Type"), 200, b"{}", False),
        (OK.replace(b"HTTP/1.1", b"HTTP/1.0"), 200, b"{}", False),
        (OK.replace(b"1.1 200 OK\r\n", b"1.0 200 OK\r\nConnection: keep-alive\r\n"), 200, b"{}", True),
        (OK.replace(b"Content-Type", b"Content-Encoding: identity\r\nContent-Type"), 200, b"{}", True),
        (OK.replace(b"Content-Type", b"Upgrade: h2c\r\nContent-Type"), 200, b"{}", True),
        (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"{}", True),
        (STREAM + event(b"1") + LAST, 200, b"event: message\ndata: 1\n\n", True),
    ],
)  # fmt: skip
async def test_a_reply_ends_where_it_says_and_only_then_is_its_connection_kept(
    reply: bytes, status: int, body: bytes, kept: bool
) -> None:
    async with serving(reply) as server, pooled(server) as pool:
        for _ in range(2):
            response = await ask(pool)
            assert (response.status, response.body, response.truncated) == (status, body, False)
            assert not {"link", "0"} & response.headers.keys()
        assert len(server.peers) == (1 if kept else 2)


async def test_a_reply_without_length_ends_with_its_connection() -> None:
    def answer(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nab")
        peer.send(b"cd")
        peer.close()

    async with serving(answer) as server, pooled(server) as pool:
        assert (await ask(pool)).body == b"abcd"


async def test_a_reply_without_length_that_is_reset_is_no_reply() -> None:
    heads: list[Response] = []
    async with serving(b"HTTP/1.1 200 OK\r\n\r\nab") as server, pooled(server) as pool:
        task = asking(pool, on_head=heads.append)
        await until(lambda: bool(heads))
        server.peers[0].reset()
        with pytest.raises(BadReply):
            await task


async def test_a_reply_in_single_bytes_is_the_same() -> None:
    reply = b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + chunk(b'{"a":') + chunk(b"1}") + b"0\r\nX: y\r\n\r\n"
    reader = ReplyReader("docs")
    for _ in range(2):
        reader.begin(None, None)
        answers = [reader.feed(bytes([byte])) for byte in reply]
        assert not any(answers[:-1])
        assert answers[-1] == Response(
            200, {"content-type": "application/json", "transfer-encoding": "chunked"}, b'{"a":1}'
        )
        assert reader.ended_well


async def test_what_comes_in_a_trailer_is_no_header_of_this_reply_or_the_next() -> None:
    def answer(peer: Peer) -> None:
        trailer = b"0\r\nMcp-Name: evil\r\nMcp-Session-Id: evil\r\n\r\n"
        peer.send(CHUNKED + chunk(b"{}") + trailer if len(peer.requests) == 1 else OK)

    async with serving(answer) as server, pooled(server) as pool:
        first, second = await ask(pool), await ask(pool)
        assert len(server.peers) == 1
    assert first.headers.keys() == {"content-type", "transfer-encoding"}
    assert second.headers.keys() == {"content-type", "content-length"}


async def test_the_head_is_told_before_the_body_comes() -> None:
    heads: list[Response] = []
    async with serving(OK[:-2]) as server, pooled(server) as pool:
        task = asking(pool, on_head=heads.append)
        await until(lambda: bool(heads))
        assert (heads[0].status, heads[0].body, task.done()) == (200, b"", False)
        server.peers[0].send(b"{}")
        assert await task is heads[0]
        assert heads[0].body == b"{}"


async def test_a_reply_of_a_megabyte_is_copied_once() -> None:
    body = b"x" * MIB
    replies = [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MIB + body,
        CHUNKED + b"".join(chunk(body[i : i + 10_000]) for i in range(0, MIB, 10_000)) + LAST,
    ]
    async with serving(lambda peer: peer.send(replies[len(peer.requests) % 2])) as server, pooled(server) as pool:
        await ask(pool)
        await ask(pool)
        gc.collect()
        tracemalloc.start()
        try:
            for _ in replies:
                tracemalloc.reset_peak()
                before, _peak = tracemalloc.get_traced_memory()
                response = await ask(pool)
                assert tracemalloc.get_traced_memory()[1] - before < 2.5 * MIB
                assert response.body == body
                del response
        finally:
            tracemalloc.stop()


async def test_a_reply_in_a_million_tiny_chunks_costs_little_more_than_its_bytes() -> None:
    reader = ReplyReader("docs")
    reader.begin(None, None)
    reader.feed(CHUNKED)
    piece = chunk(b"xy") * 1000
    tracemalloc.start()
    try:
        for _ in range(200):
            reader.feed(piece)
        assert tracemalloc.get_traced_memory()[1] < 2 * MIB
    finally:
        tracemalloc.stop()
    response = reader.feed(LAST)
    assert response is not None
    assert len(response.body) == 400_000


# -- event streams


async def test_events_are_told_as_they_come_and_the_stream_ends_with_an_empty_body() -> None:
    events: list[Event] = []
    async with serving(STREAM + event(b"1")) as server, pooled(server) as pool:
        task = asking(pool, on_event=events.append)
        await until(lambda: len(events) == 1)
        server.peers[0].send(event(b"2")[:9])
        server.peers[0].send(event(b"2")[9:] + LAST)
        response = await task
        assert (response.status, response.body, response.truncated) == (200, b"", False)
        assert [e.data for e in events] == [b"1", b"2"]
        assert repr(pool) == "<HttpPool 'docs': 0 busy, 1 idle, 0 waiting>"


@pytest.mark.parametrize("name", ["text/event-stream", "Text/Event-Stream ; charset=utf-8", "text/event-stream;x"])
async def test_an_event_stream_is_known_by_its_media_type(name: str) -> None:
    events: list[Event] = []
    reply = STREAM.replace(b"text/event-stream", name.encode()) + event(b"1") + LAST
    async with serving(reply) as server, pooled(server) as pool:
        assert (await ask(pool, on_event=events.append)).body == b""
    assert [e.data for e in events] == [b"1"]


@pytest.mark.parametrize("name", ["application/json", "text/event-streams", "x; text/event-stream", ""])
async def test_any_other_reply_is_a_body_even_for_who_takes_events(name: str) -> None:
    events: list[Event] = []
    async with serving(OK.replace(b"application/json", name.encode())) as server, pooled(server) as pool:
        assert (await ask(pool, on_event=events.append)).body == b"{}"
    assert events == []


@pytest.mark.parametrize("ending", ["with", "after", "never"])
async def test_a_stream_that_was_heard_enough_is_left_and_its_connection_kept_only_if_it_ended_too(
    ending: str,
) -> None:
    heard: list[bytes] = []

    def enough(event: Event) -> bool:
        heard.append(event.data)
        return event.data == b"2"

    def answer(peer: Peer) -> None:
        peer.send(STREAM + event(b"1") + event(b"2") + event(b"3") + (LAST if ending == "with" else b""))

    async with serving(answer) as server, pooled(server) as pool:
        for _ in range(2):
            assert (await ask(pool, on_event=enough)).status == 200
            if ending == "after":
                server.peers[-1].send(LAST)
        assert heard == [b"1", b"2"] * 2
        assert len(server.peers) == (1 if ending == "with" else 2)


@pytest.mark.parametrize("rest", [b"garbage", LAST + OK, LAST + b"H"])
async def test_garbage_behind_the_event_that_was_enough_costs_only_the_connection(rest: bytes) -> None:
    async with serving(STREAM + event(b"1") + rest) as server, pooled(server) as pool:
        assert (await ask(pool, on_event=lambda event: True)).status == 200
        assert (pool.busy, pool.idle) == (0, 0)


async def test_an_event_over_the_bound_is_a_bad_reply() -> None:
    async with serving(STREAM + chunk(b"data: " + bytes(REPLY_BYTES_MAX))) as server, pooled(server) as pool:
        with pytest.raises(BadReply, match="event of more than"):
            await ask(pool, on_event=lambda event: None)


@pytest.mark.parametrize("how", [Peer.close, Peer.reset])
async def test_a_stream_that_breaks_off_is_told_from_one_that_ends(how: Callable[[Peer], None]) -> None:
    events: list[Event] = []
    async with serving(STREAM + event(b"1") + b"5\r\ndata") as server, pooled(server) as pool:
        task = asking(pool, on_event=events.append)
        await until(lambda: bool(events))
        how(server.peers[0])
        assert (await task).truncated
        assert len(events) == 1


async def test_a_stream_without_length_ends_with_its_connection() -> None:
    def answer(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        peer.close()

    async with serving(answer) as server, pooled(server) as pool:
        assert not (await ask(pool, on_event=lambda event: None)).truncated


def test_a_stream_cut_at_any_byte_gives_the_same_events() -> None:
    reply = STREAM + event(b'{"a":1}') + event(b"2") + chunk(b": ping\r\n\r\ndata: 3\r\n\r\n") + LAST
    for cut in range(len(reply) + 1):
        events: list[bytes] = []
        reader = ReplyReader("docs")
        reader.begin(None, lambda event, events=events: events.append(event.data))  # type: ignore[misc]
        answers = [reader.feed(reply[:cut]) if cut else None, reader.feed(reply[cut:])]
        assert events == [b'{"a":1}', b"2", b"3"]
        assert any(answers)
        assert reader.ended_well


async def test_what_a_callback_raises_reaches_the_caller_and_closes_the_connection() -> None:
    def fail(thing: object) -> None:
        raise KeyError("mine")

    async with serving(STREAM + event(b"1") + LAST) as server, pooled(server) as pool:
        with pytest.raises(KeyError, match="mine"):
            await ask(pool, on_event=fail)
        with pytest.raises(KeyError, match="mine"):
            await ask(pool, on_head=fail)
        assert (pool.busy, pool.idle) == (0, 0)


GOOD = [
    OK,
    CHUNKED + chunk(b"{") + chunk(b"}") + b"0\r\nX: y\r\n\r\n",
    STREAM + event(b"1") + event(b"2") + LAST,
    b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" + OK,
]


@given(st.lists(st.sampled_from(GOOD), min_size=1, max_size=4), st.lists(st.integers(1, 200), max_size=6))
def test_replies_one_after_the_other_are_read_the_same_however_they_are_cut(
    replies: list[bytes], cuts: list[int]
) -> None:
    whole, cut = ReplyReader("docs"), ReplyReader("docs")
    for reply in replies:
        told: list[list[bytes]] = [[], []]
        for reader, events in zip((whole, cut), told, strict=True):
            reader.begin(None, lambda event, events=events: events.append(event.data))  # type: ignore[misc]
        places = sorted({0, len(reply), *(place for place in cuts if place < len(reply))})
        *early, last = [cut.feed(reply[a:b]) for a, b in pairwise(places)]
        assert not any(early)
        assert last == whole.feed(reply)
        assert told[0] == told[1]
        assert cut.ended_well
        assert whole.ended_well


@given(st.sampled_from(GOOD), st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=3)), min_size=1, max_size=4))
def test_a_damaged_reply_raises_nothing_but_its_one_error(reply: bytes, damage: list[tuple[int, bytes]]) -> None:
    for place, text in damage:
        reply = reply[:place] + text + reply[place + 1 :]
    reader = ReplyReader("docs")
    reader.begin(None, lambda event: None)
    with suppress(BadReply):
        reader.feed(reply)
        reader.end(clean=True)


# -- replies that are none

HEAD = b"HTTP/1.1 200 OK\r\n"
GARBAGE = {
    "html without a head": b"<html>no</html>\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "http/2 frames": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
    "tls alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "zeros": bytes(100),
    "a request": b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 000": b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
    "bare line feeds": OK.replace(b"\r\n", b"\n"),
    "bare carriage returns": OK.replace(b"\r\n", b"\r"),
    "a folded field": HEAD + b"A: 1\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a NUL in a field": HEAD + b"A: a\0b\r\nContent-Length: 0\r\n\r\n",
    "a control character in a field": HEAD + b"A: a\x01b\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": HEAD + b"Content-Length : 0\r\n\r\n",
    "a field without a name": HEAD + b": x\r\nContent-Length: 0\r\n\r\n",
    "a field without a colon": HEAD + b"abc\r\nContent-Length: 0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\nab",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a length that overflows": HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
    "a length over the bound": HEAD + b"Content-Length: %d\r\n\r\n" % (REPLY_BYTES_MAX + 1),
    "length and chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + LAST,
    "chunks declared twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
    "another transfer coding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST,
    "chunked not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n" + LAST,
    "almost chunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + LAST,
    "a chunk size that is no number": CHUNKED + b"zz\r\n",
    "a chunk size with a sign": CHUNKED + b"-1\r\n",
    "a chunk size with a prefix": CHUNKED + b"0x2\r\nab\r\n",
    "a chunk size that overflows": CHUNKED + b"f" * 17 + b"\r\n",
    "a chunk longer than its size": CHUNKED + b"2\r\nabc\r\n",
    "a chunk ended by a line feed": CHUNKED + b"2\nab\n",
    "a compressed reply": OK.replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1),
    "an upgrade": b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    "an upgrade to nothing": b"HTTP/1.1 101 Go\r\n\r\n",
    "two replies": OK + OK,
    "a reply and the beginning of one": OK + b"H",
    "a body behind a 204": b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n{}",
    "more behind a last reply": OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + b"x",
    "too many fields": HEAD + b"".join(b"A%d: x\r\n" % i for i in range(101)) + b"Content-Length: 0\r\n\r\n",
    "too many of one field": HEAD + b"A: x\r\n" * 101 + b"Content-Length: 0\r\n\r\n",
    "a large head": HEAD + b"A: " + b"x" * HEAD_BYTES_MAX + b"\r\nContent-Length: 0\r\n\r\n",
    "a head without an end": HEAD + b"A: " + b"x" * (HEAD_BYTES_MAX + 1),
    "a reason without an end": b"HTTP/1.1 200 " + b"x" * (HEAD_BYTES_MAX + 1),
    "endless interim replies": b"HTTP/1.1 100 Continue\r\n\r\n" * 4000,
    "a trailer without an end": CHUNKED + chunk(b"{}") + b"0\r\nA: " + b"x" * MIB,
    "a large chunk extension": CHUNKED + b"2;a=" + b"x" * (HEAD_BYTES_MAX + 1),
    "a body over the bound": CHUNKED + b"%x\r\n" % (REPLY_BYTES_MAX + 1) + bytes(REPLY_BYTES_MAX + 1),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_reply_that_is_none_fails_its_request_alone(garbage: bytes) -> None:
    """The server keeps the connection open: the client must find out by itself (R4, T12, T26)."""

    def answer(peer: Peer) -> None:
        peer.send(garbage if peer is server.peers[0] else OK)

    async with serving(answer) as server, pooled(server) as pool:
        with pytest.raises(BadReply) as caught:
            await ask(pool)
        assert (caught.value.code, caught.value.outcome) == (-31006, "unknown")
        assert "127.0.0.1" not in str(caught.value)
        assert (pool.busy, pool.idle) == (0, 0)
        assert (await ask(pool)).body == b"{}"
        await until(lambda: server.peers[0].gone)


@pytest.mark.parametrize("how", [Peer.close, Peer.reset])
@pytest.mark.parametrize(
    "part",
    [b"", b"H", b"HTTP/1.1 200 OK\r\nA", OK[:-3], OK[:-1], CHUNKED, CHUNKED + b"2\r\na", CHUNKED + chunk(b"{}"),
     CHUNKED + chunk(b"{}") + b"0\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"],
)  # fmt: skip
async def test_a_connection_that_ends_before_its_reply_leaves_the_outcome_unknown(
    part: bytes, how: Callable[[Peer], None]
) -> None:
    def answer(peer: Peer) -> None:
        peer.send(part)
        how(peer)

    async with serving(answer) as server, pooled(server) as pool:
        with pytest.raises(BadReply) as caught:
            await ask(pool)
        assert caught.value.outcome == "unknown"
        assert (pool.busy, pool.idle) == (0, 0)


async def test_bytes_on_an_idle_connection_never_reach_the_next_request() -> None:
    wrong = OK.replace(b"{}", b"[]")
    async with serving(OK) as server, pooled(server) as pool:
        await ask(pool)
        server.peers[0].send(wrong)
        await until(lambda: pool.idle == 0)
        assert (await ask(pool)).body == b"{}"
        assert len(server.peers) == 2


async def test_a_reply_before_the_whole_request_was_read_ends_the_connection() -> None:
    def accept(peer: Peer) -> None:
        peer._transport.pause_reading()
        peer.send(OK)

    async with serving() as server, pooled(server) as pool:
        task = asking(pool, b"x" * (32 * MIB))
        await until(lambda: bool(server.peers and server.peers[0]._bytes))
        accept(server.peers[0])
        assert (await task).body == b"{}"
        assert (pool.busy, pool.idle) == (0, 0)
        server.peers[0]._transport.resume_reading()


# -- connecting


async def test_a_refused_connection_says_that_nothing_was_sent_and_tells_no_address() -> None:
    async with serving() as server:
        pass
    pool = HttpPool(f"http://127.0.0.1:{server.port}/", name="docs")
    with pytest.raises(Unavailable, match="'docs' refused the connection") as caught:
        await ask(pool)
    assert (caught.value.code, caught.value.outcome) == (-31001, "not_sent")
    assert "127.0.0.1" not in str(caught.value)
    assert (pool.busy, pool.idle) == (0, 0)


async def test_a_host_without_address_is_unavailable_and_not_named() -> None:
    with pytest.raises(Unavailable) as caught:
        await ask(HttpPool("http://secret-host.invalid/", name="docs", connect_wait_s=WAIT_S))
    assert caught.value.outcome == "not_sent"
    assert "secret-host" not in str(caught.value)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def client_tls(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


async def test_https_is_spoken_to_who_the_certificate_names(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    names = []
    server_tls.sni_callback = lambda sock, name, context: names.append(name)
    async with serving(OK, tls=server_tls) as server, pooled(server, ssl_context=client_tls) as pool:
        assert (await ask(pool, b"x" * MIB)).body == b"{}"
        assert (await ask(pool)).body == b"{}"
        assert len(server.peers) == 1
        by_name = HttpPool(f"https://localhost:{server.port}/", name="docs", ssl_context=client_tls)
        assert (await ask(by_name)).body == b"{}"
        await by_name.close(abort=True)
    assert names == [None, "localhost"]


async def test_a_certificate_of_an_unknown_authority_is_refused(server_tls: ssl.SSLContext) -> None:
    context = ssl.create_default_context()
    async with serving(OK, tls=server_tls) as server, pooled(server, ssl_context=context) as pool:
        with pytest.raises(Unavailable, match="certificate") as caught:
            await ask(pool)
        assert caught.value.outcome == "not_sent"
        assert server.hits == 0


async def test_a_certificate_for_another_host_is_refused_without_naming_either(client_tls: ssl.SSLContext) -> None:
    ca, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("elsewhere.example").configure_cert(context)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    async with serving(OK, tls=context) as server, pooled(server, ssl_context=trusting) as pool:
        with pytest.raises(Unavailable, match="another host") as caught:
            await ask(pool)
        assert "127.0.0.1" not in str(caught.value)


async def test_tls_with_a_server_that_has_none_is_unavailable(client_tls: ssl.SSLContext) -> None:
    async with serving(OK) as server, pooled(server, ssl_context=client_tls) as pool:
        server.answer = Peer.close
        task = asking(pool)
        await until(lambda: bool(server.peers and server.peers[0]._bytes))
        server.peers[0].send(b"HTTP/1.1 400 No\r\n\r\n")
        with pytest.raises(Unavailable) as caught:
            await task
        assert caught.value.outcome == "not_sent"


async def test_a_handshake_that_is_not_answered_ends_in_time_and_leaves_no_socket(client_tls: ssl.SSLContext) -> None:
    async with serving() as server, pooled(server, ssl_context=client_tls, connect_wait_s=0.05) as pool:
        with pytest.raises(Unavailable, match="in time") as caught:
            await ask(pool)
        assert caught.value.outcome == "not_sent"
        await until(lambda: server.peers[0].gone)


async def test_a_tls_reply_without_length_needs_the_servers_own_end(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """A cut by someone in between must not pass for the end of the reply."""
    server_tls.sni_callback = None

    def answer(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nab")
        if len(server.peers) == 1:
            peer.close()

    heads: list[Response] = []
    async with serving(answer, tls=server_tls) as server, pooled(server, ssl_context=client_tls) as pool:
        assert (await ask(pool)).body == b"ab"
        task = asking(pool, on_head=heads.append)
        await until(lambda: bool(heads))
        with socket.socket(fileno=socket.dup(_fileno(server.peers[1]))) as beneath:
            beneath.shutdown(socket.SHUT_WR)
        with pytest.raises(BadReply):
            await task


def _fileno(peer: Peer) -> int:
    return cast(int, peer._transport.get_extra_info("socket").fileno())


# -- keeping, queueing, closing


async def test_the_connection_used_last_is_used_next() -> None:
    async with serving() as server, pooled(server) as pool:
        tasks = []
        for n in range(3):
            tasks.append(asking(pool))
            await server.heard(n + 1)
        assert repr(pool) == "<HttpPool 'docs': 3 busy, 0 idle, 0 waiting>"
        for n in (1, 0, 2):
            server.peers[n].send(OK)
            await tasks[n]
        assert (pool.busy, pool.idle) == (0, 3)
        server.answer = lambda peer: peer.send(OK)
        await ask(pool)
        await ask(pool)
        assert [len(peer.requests) for peer in server.peers] == [1, 1, 3]


async def test_an_idle_connection_that_the_server_closes_is_dropped_at_once() -> None:
    async with serving(OK) as server, pooled(server) as pool:
        await ask(pool)
        server.peers[0].close()
        await until(lambda: pool.idle == 0)
        assert pool.busy == 0
        assert (await ask(pool)).status == 200


async def test_connections_idle_for_too_long_are_closed_when_another_rests_or_is_wanted() -> None:
    clock = HandClock()
    async with serving() as server, pooled(server, idle_s=60.0, clock=clock) as pool:
        tasks = [asking(pool), asking(pool)]
        await server.heard(2)
        for peer in server.peers:
            peer.send(OK)
        await asyncio.gather(*tasks)
        server.answer = lambda peer: peer.send(OK)
        clock.now_s += 50
        await ask(pool)
        clock.now_s += 11
        await ask(pool)
        assert pool.idle == 1
        clock.now_s += 61
        await ask(pool)
        assert (pool.idle, len(server.peers)) == (1, 3)
        await until(lambda: [peer.gone for peer in server.peers] == [True, True, False])


async def test_requests_beyond_the_connections_wait_in_order_and_beyond_the_queue_are_refused() -> None:
    async with serving() as server, pooled(server, connections_max=1, queue_max=2) as pool:
        first = asking(pool, b"1")
        await server.heard(1)
        second, third = asking(pool, b"2"), asking(pool, b"3")
        await until(lambda: pool.waiting == 2)
        assert repr(pool) == "<HttpPool 'docs': 1 busy, 0 idle, 2 waiting>"
        with pytest.raises(Overloaded) as caught:
            await ask(pool)
        assert (caught.value.code, caught.value.outcome) == (-31004, "not_sent")
        for n, task in enumerate((first, second, third), 1):
            await server.heard(n)
            server.peers[0].send(OK)
            await task
        assert [request[-1:] for request in server.peers[0].requests] == [b"1", b"2", b"3"]
        assert len(server.peers) == 1


async def test_a_newcomer_does_not_pass_those_who_wait() -> None:
    async with serving() as server, pooled(server, connections_max=1) as pool:
        order: list[bytes] = []

        async def record(body: bytes) -> None:
            await ask(pool, body)
            order.append(body)
            if body == b"1":
                await record(b"new")

        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(record(b"1"))]
        await server.heard(1)
        tasks += [loop.create_task(record(b"2")), loop.create_task(record(b"3"))]
        await until(lambda: pool.waiting == 2)
        server.answer = lambda peer: peer.send(OK)
        server.peers[0].send(OK)
        await asyncio.gather(*tasks)
        assert order == [b"1", b"2", b"3", b"new"]
        assert len(server.peers) == 1


async def test_who_waits_gets_a_new_connection_if_the_one_before_closes() -> None:
    async with serving() as server, pooled(server, connections_max=1) as pool:
        first = asking(pool)
        await server.heard(1)
        second = asking(pool)
        await until(lambda: pool.waiting == 1)
        server.peers[0].close()
        with pytest.raises(BadReply):
            await first
        await server.heard(2)
        server.peers[1].send(OK)
        assert (await second).status == 200


async def test_who_waits_for_a_server_that_went_away_is_told() -> None:
    async with serving() as server:
        async with pooled(server, connections_max=1) as pool:
            first = asking(pool)
            await server.heard(1)
            rest = [asking(pool) for _ in range(5)]
            await until(lambda: pool.waiting == 5)
            pool._port = 1
            server.peers[0].reset()
            errors = await asyncio.gather(first, *rest, return_exceptions=True)
        assert [type(error) for error in errors] == [BadReply, *[Unavailable] * 5]


@pytest.mark.parametrize("stage", ["connecting", "sent", "in the head", "in the body", "in a stream"])
async def test_cancelling_closes_the_connection_whatever_it_is_doing(stage: str) -> None:
    parts = {"in the head": OK[:20], "in the body": OK[:-1], "in a stream": STREAM + event(b"1")}
    told: list[object] = []
    async with serving(parts.get(stage, b"")) as server, pooled(server) as pool:
        task = asking(pool, on_event=told.append, on_head=told.append)
        if stage == "connecting":
            await until(lambda: pool.busy == 1)
        else:
            await server.heard(1)
        if stage in ("in the body", "in a stream"):
            await until(lambda: bool(told))
        await cancel(task)
        assert (pool.busy, pool.idle, pool.waiting) == (0, 0, 0)
        await until(lambda: all(peer.gone for peer in server.peers))
        server.answer = lambda peer: peer.send(OK)
        assert (await ask(pool)).body == b"{}"


async def test_cancelling_at_any_step_loses_no_slot() -> None:
    """A cancellation after each possible number of steps of the loop, those within connecting and replying too."""
    async with serving(OK) as server, pooled(server, connections_max=2) as pool:
        for steps in range(40):
            tasks = [asking(pool, repeatable=True) for _ in range(4)]
            for _ in range(steps):
                await asyncio.sleep(0)
            tasks[steps % 4].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(task.cancelled() for task in tasks) <= 1
            assert all(task.cancelled() or task.result().body == b"{}" for task in tasks)
            assert pool.busy == 0


async def test_cancelling_while_waiting_leaves_the_line() -> None:
    async with serving() as server, pooled(server, connections_max=1, queue_max=1) as pool:
        first = asking(pool)
        await server.heard(1)
        for _ in range(3):
            second = asking(pool)
            await until(lambda: pool.waiting == 1)
            await cancel(second)
            assert pool.waiting == 0
        server.peers[0].send(OK)
        await first
        assert (pool.busy, pool.idle) == (0, 1)


async def test_a_connection_offered_to_a_request_that_is_cancelled_goes_to_the_next() -> None:
    async with serving() as server, pooled(server, connections_max=1) as pool:
        first = asking(pool)
        await server.heard(1)
        second, third = asking(pool), asking(pool)
        await until(lambda: pool.waiting == 2)
        reader = next(iter(pool._sockets))
        reader.data_received(OK)  # the reply comes, and in the same step of the loop its heir is cancelled
        second.cancel()
        await first
        await server.heard(2)
        assert second.cancelled()
        server.peers[0].send(OK)
        assert (await third).status == 200
        assert len(server.peers) == 1


async def test_cancelling_after_the_reply_came_spares_who_uses_the_connection_next() -> None:
    async with serving() as server, pooled(server, connections_max=1) as pool:
        first, second = asking(pool), asking(pool)
        await server.heard(1)
        await until(lambda: pool.waiting == 1)
        next(iter(pool._sockets)).data_received(OK)
        first.cancel()
        await server.heard(2)
        assert first.cancelled()
        server.peers[0].send(OK)
        assert (await second).status == 200
        assert len(server.peers) == 1


async def stale(server: Server, pool: HttpPool) -> None:
    """Leave an idle connection that the server closes on the next request, as one does whose patience just ended."""
    server.answer = lambda peer: peer.send(OK)
    await ask(pool)
    server.answer = lambda peer: peer.close() if len(peer.requests) > 1 else peer.send(OK)


async def test_a_kept_connection_that_closes_without_a_byte_is_replaced_for_what_may_be_repeated() -> None:
    async with serving() as server, pooled(server) as pool:
        await stale(server, pool)
        assert (await ask(pool, repeatable=True)).status == 200
        assert [len(peer.requests) for peer in server.peers] == [2, 1]


async def test_what_may_not_be_repeated_is_not() -> None:
    async with serving() as server, pooled(server) as pool:
        await stale(server, pool)
        with pytest.raises(BadReply) as caught:
            await ask(pool)
        assert caught.value.outcome == "unknown"
        assert server.hits == 2


@pytest.mark.parametrize("part", [b"", b"H"])
async def test_what_failed_on_a_new_connection_or_after_a_byte_is_not_repeated(part: bytes) -> None:
    def answer(peer: Peer) -> None:
        if part and len(peer.requests) == 1:
            peer.send(OK)
        else:
            peer.send(part)
            peer.close()

    async with serving(answer) as server, pooled(server) as pool:
        if part:
            await ask(pool)
        with pytest.raises(BadReply):
            await ask(pool, repeatable=True)
        assert len(server.peers) == 1


async def test_a_closed_pool_lets_requests_finish_but_takes_none() -> None:
    async with serving() as server, pooled(server, connections_max=2) as pool:
        done, running = asking(pool), asking(pool)
        await server.heard(2)
        waiting = asking(pool)
        await until(lambda: pool.waiting == 1)
        await pool.close()
        with pytest.raises(Unavailable):
            await waiting
        with pytest.raises(Unavailable):
            await ask(pool)
        for peer in server.peers:
            peer.send(OK)
        assert [(await done).status, (await running).status] == [200, 200]
        await until(lambda: all(peer.gone for peer in server.peers))
        assert repr(pool) == "<HttpPool 'docs': 0 busy, 0 idle, 0 waiting>"


async def test_an_aborted_pool_ends_requests_and_leaves_no_connection() -> None:
    async with serving() as server, pooled(server) as pool:
        running = asking(pool)
        await server.heard(1)
        await pool.close(abort=True)
        with pytest.raises(CallError) as caught:
            await running
        assert caught.value.outcome == "unknown"
        assert not pool._sockets


async def test_a_request_that_is_connecting_when_the_pool_closes_is_not_sent() -> None:
    async with serving(OK) as server, pooled(server) as pool:
        task = asking(pool)
        await until(lambda: pool.busy == 1)
        await pool.close(abort=True)
        with pytest.raises(Unavailable) as caught:
            await task
        assert caught.value.outcome == "not_sent"
        assert server.hits == 0


async def test_a_vanished_peer_is_looked_for() -> None:
    async with serving(OK) as server, pooled(server) as pool:
        await ask(pool)
        transport = next(iter(pool._sockets))._transport
        assert transport is not None
        assert transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_calls_leave_no_reference_cycles_even_when_their_connections_close() -> None:
    replies = {b"json": OK, b"stay": STREAM + event(b"1") + LAST, b"ends": STREAM + event(b"1")}
    async with serving(lambda peer: peer.send(replies[peer.requests[-1][-4:]])) as server, pooled(server) as pool:

        async def some() -> None:
            for body in replies:
                await pool.request(pool.head("POST", "/"), body, lambda event: True)
            await until(lambda: len(pool._sockets) <= 1)

        await some()
        gc.collect()
        gc.disable()
        try:
            await some()
            assert not any(isinstance(thing, (ReplyReader, Response)) for thing in _garbage())
        finally:
            gc.enable()


def _garbage() -> list[object]:
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
