"""HTTP requests out of bytes, however they arrive.

Source: RFC 9112; hardening T9, T12, T26; dependencies trap 6.
"""

import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.front.corpus import CHUNKS, HEADS, LENGTHS

from concento.front.parser import HttpHead, HttpRequest, Refusal, RequestParser
from concento.model.limits import BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX

Item = HttpRequest | Refusal

HOST = b"Host: localhost\r\n"


def admit_all(_: HttpHead) -> Refusal | None:
    return None


def feed(*parts: bytes, admit: Callable[[HttpHead], Refusal | None] = admit_all) -> list[Item]:
    parser = RequestParser(admit)
    return [item for part in parts for item in parser.feed(part)]


def one(*parts: bytes) -> HttpRequest:
    (item,) = feed(*parts)
    assert isinstance(item, HttpRequest), item
    return item


def statuses(items: list[Item]) -> list[int | str]:
    """What became of each request: its path, or the status it was refused with."""
    return [item.status if isinstance(item, Refusal) else item.head.path for item in items]


def get(path: str = "/mcp", *fields: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(body: bytes = b"{}", *fields: str, path: str = "/mcp") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def chunked(wire: bytes, *fields: str) -> bytes:
    lines = ["POST /mcp HTTP/1.1", "Host: localhost", *fields, "Transfer-Encoding: chunked", "", ""]
    return "\r\n".join(lines).encode("latin-1") + wire


# ---- requests


def test_a_request_shows_what_is_read_of_it() -> None:
    request = one(
        post(
            b'{"a":1}',
            "Content-Type: application/json",
            "MCP-PROTOCOL-VERSION:2026-07-28",
            "mcp-method: \t tools/call \t ",
            "Mcp-Name: =?base64?w6k=?=",
            "Mcp-Param-Region: eu",
            "MCP-PARAM-Limit: 5",
            "X-Other: forgotten",
            path="/views/coding/mcp?a=b?c",
        )
    )
    head = request.head
    assert (head.method, head.path, head.query, request.body) == ("POST", "/views/coding/mcp", "a=b?c", b'{"a":1}')
    assert head.keep_alive
    assert head.chunks
    assert "x-other" not in head.fields
    protocol = head.protocol()
    assert (protocol.version, protocol.method, protocol.name) == ("2026-07-28", "tools/call", "=?base64?w6k=?=")
    assert protocol.params == {"mcp-param-region": "eu", "mcp-param-limit": "5"}
    assert protocol.repeated is None


@pytest.mark.parametrize("name", ["Mcp-Name", "mcp-name", "MCP-NAME", "mCP-nAmE"])
def test_a_field_is_found_in_any_case(name: str) -> None:
    assert one(get("/mcp", f"{name}: a b")).head.protocol().name == "a b"


@pytest.mark.parametrize("value", ["x", " x", "x ", "\tx\t", "   x \t "])
def test_white_space_around_a_value_is_no_part_of_it(value: str) -> None:
    assert one(get("/mcp", f"Mcp-Name:{value}")).head.protocol().name == "x"


@pytest.mark.parametrize("name", ["Mcp-Name", "Mcp-Method", "MCP-Protocol-Version", "Mcp-Param-Region"])
@pytest.mark.parametrize("second", ["a", "b"])
def test_a_routing_field_that_comes_twice_is_told(name: str, second: str) -> None:
    head = one(get("/mcp", f"{name}: a", f"{name.lower()}: {second}")).head
    assert head.protocol().repeated == name.lower()


def test_a_repeated_accept_is_one_list() -> None:
    head = one(get("/mcp", "Accept: application/json", "Accept: text/event-stream")).head
    assert head.fields["accept"] == "application/json, text/event-stream"


@pytest.mark.parametrize(
    ("version", "field", "keeps"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: close\r\n", False),
        ("1.0", "", False),
        ("1.0", "Connection: keep-alive\r\n", True),
    ],
)
def test_the_connection_is_kept_as_its_version_says(version: str, field: str, keeps: bool) -> None:
    head = one(f"GET /mcp HTTP/{version}\r\nHost: localhost\r\n{field}\r\n".encode()).head
    assert (head.keep_alive, head.chunks) == (keeps, version == "1.1")


def test_an_http_1_0_request_needs_no_host() -> None:
    assert "host" not in one(b"GET /mcp HTTP/1.0\r\n\r\n").head.fields


def test_empty_lines_before_a_request_are_skipped() -> None:
    assert statuses(feed(b"\r\n\r\n" + get() + b"\r\n" + get("/b"))) == ["/mcp", "/b"]


# ---- bytes as they come

EXAMPLES: dict[str, bytes] = {
    "get": get("/mcp", "Mcp-Name: a b ", "Accept: x", "Accept: y"),
    "post": post(b'{"a":"\r\n\r\n"}', "Mcp-Name: x"),
    "post without body": post(b""),
    "pipelined": post(b"1") + get("/b") + post(b"22", path="/c"),
    "chunked": chunked(b"2\r\n{}\r\n0\r\n\r\n"),
    "chunked, with extensions": chunked(b'2;a=b;c="d e"\r\n{}\r\n1;x\r\n \r\n0;y\r\n\r\n'),
    "chunked, with trailers": chunked(b"2\r\n{}\r\n0\r\nMcp-Name: late\r\nX: y\r\n\r\n", "Mcp-Method: m") + get("/b"),
    "refused in the middle": get("/a") + get("/refused") + get("/c"),
    "refused with a body": get("/a") + post(b"xx", path="/refused") + get("/c"),
    "malformed in the middle": get("/a") + b"GET /b HTTP/1.1\r\nHost\r\n\r\n" + get("/c"),
    "upgrade": get("/a", "Connection: Upgrade", "Upgrade: websocket") + get("/b"),
    "upgrade with a body": post(b"{}", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAA")
    + get("/b")
    + post(b"33", "Connection: upgrade", "Upgrade: h2c", path="/c"),
    "two lengths": get("/a") + b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "HTTP/1.0": b"GET /mcp HTTP/1.0\r\n\r\n",
}


def judge(head: HttpHead) -> Refusal | None:
    return Refusal(404, "nothing here", close=False) if head.path == "/refused" else None


@pytest.mark.parametrize("data", EXAMPLES.values(), ids=EXAMPLES)
def test_a_split_at_any_byte_changes_nothing(data: bytes) -> None:
    whole = feed(data, admit=judge)
    assert whole
    for at in range(1, len(data)):
        assert feed(data[:at], data[at:], admit=judge) == whole
    assert feed(*(data[at : at + 1] for at in range(len(data))), admit=judge) == whole


@given(st.lists(st.sampled_from(list(EXAMPLES.values())), max_size=3), st.lists(st.integers(0, 600), max_size=5))
def test_any_splits_of_any_requests_change_nothing(examples: list[bytes], cuts: list[int]) -> None:
    data = b"".join(examples)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[start:end] for start, end in pairwise(places)]
    assert feed(*parts, admit=judge) == feed(data, admit=judge)


@given(st.binary(max_size=300))
def test_any_bytes_give_requests_or_refusals(data: bytes) -> None:
    assert all(isinstance(item, Item) for item in feed(data))
    assert all(isinstance(item, Item) for item in feed(get()[:-2] + data))


def test_pipelined_requests_come_in_order() -> None:
    assert statuses(feed(get("/1") + post(b"x", path="/2") + get("/3"))) == ["/1", "/2", "/3"]


def test_after_a_refusal_that_closes_nothing_is_taken() -> None:
    parser = RequestParser(admit_all)
    assert statuses(parser.feed(get("/a") + b"nonsense\r\n\r\n" + get("/b"))) == ["/a", 400]
    assert parser.feed(get("/c")) == []


# ---- refused on the head


def test_a_request_refused_on_its_head_goes_no_further() -> None:
    assert statuses(feed(get("/refused") + get("/b"), admit=judge)) == [404, "/b"]


@pytest.mark.parametrize(
    "data",
    [
        post(b"{}", path="/refused"),
        chunked(b"2\r\n{}\r\n0\r\n\r\n").replace(b"/mcp", b"/refused"),
        get("/refused").replace(b"GET", b"HEAD"),
    ],
)
def test_a_refusal_closes_where_the_next_request_could_be_mistaken(data: bytes) -> None:
    """A body nobody reads, and an answer to HEAD that has one, would shift what follows."""
    (refusal,) = feed(data + get("/b"), admit=judge)
    assert isinstance(refusal, Refusal)
    assert refusal.close


def test_a_refusal_comes_before_the_body() -> None:
    (refusal,) = feed(b"POST /refused HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n", admit=judge)
    assert isinstance(refusal, Refusal)
    assert refusal.status == 404


# ---- upgrades


def test_a_wish_to_upgrade_is_ignored_and_the_request_answered() -> None:
    """RFC 9110, 7.8. Java's HttpClient sends one with its first request; llhttp would leave out the body."""
    items = feed(EXAMPLES["upgrade with a body"])
    assert [(item.head.path, item.body) for item in items if isinstance(item, HttpRequest)] == [
        ("/mcp", b"{}"),
        ("/b", b""),
        ("/c", b"33"),
    ]


def test_many_upgrades_in_one_read_are_answered() -> None:
    count = 3000
    assert len(feed(get("/a", "Connection: Upgrade", "Upgrade: h2c") * count)) == count


def test_an_upgrade_with_a_body_of_unknown_length_is_refused() -> None:
    data = chunked(b"2\r\n{}\r\n0\r\n\r\n", "Connection: Upgrade", "Upgrade: h2c")
    assert statuses(feed(data)) == [400]


def test_a_tunnel_is_refused() -> None:
    assert statuses(feed(b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n" + get())) == [400]


# ---- framing


@pytest.mark.parametrize("wire", CHUNKS.values(), ids=CHUNKS)
def test_a_malformed_chunk_is_refused(wire: bytes) -> None:
    assert statuses(feed(chunked(wire))) == [400]


@pytest.mark.parametrize(
    "fields",
    LENGTHS,
    ids=lambda fields: " | ".join(fields),
)
def test_a_length_that_two_parsers_could_read_apart_is_refused(fields: list[str]) -> None:
    head = "\r\n".join(["POST /mcp HTTP/1.1", "Host: localhost", *fields, "", ""]).encode("latin-1")
    assert statuses(feed(head + b"2\r\n{}\r\n0\r\n\r\n" + get("/smuggled"))) == [400]


def test_chunks_are_no_part_of_http_1_0() -> None:
    data = chunked(b"2\r\n{}\r\n0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert statuses(feed(data)) == [400]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "fields", ["Content-Length: 2\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
)
def test_a_method_without_a_body_has_none(method: str, fields: str) -> None:
    assert statuses(feed(f"{method} /mcp HTTP/1.1\r\nHost: localhost\r\n{fields}".encode())) == [400]


def test_a_trailer_is_no_header() -> None:
    request = one(
        chunked(
            b"2\r\n{}\r\n0\r\nMcp-Name: late\r\nMcp-Param-A: late\r\nMcp-Session-Id: late\r\nContent-Type: x\r\n\r\n",
            "Mcp-Name: early",
        )
    )
    assert request.head.protocol().name == "early"
    assert request.head.protocol().params == {}
    assert request.head.protocol().session is None
    assert request.head.protocol().repeated is None
    late = one(chunked(b"0\r\nMcp-Name: late\r\nAuthorization: Bearer x\r\n\r\n"))
    assert late.head.protocol().name is None
    assert "authorization" not in late.head.fields


@pytest.mark.parametrize("text", HEADS.values(), ids=HEADS)
def test_a_malformed_head_is_refused(text: str) -> None:
    items = feed(text.encode("latin-1") + get("/smuggled"))
    assert statuses(items) == [400]
    assert isinstance(items[0], Refusal)
    assert items[0].close


@pytest.mark.parametrize("version", ["0.9", "2.0"])
def test_another_version_of_http_is_not_spoken(version: str) -> None:
    assert statuses(feed(f"GET /mcp HTTP/{version}\r\nHost: localhost\r\n\r\n".encode() + get())) == [505]


def test_underscores_in_names_that_nobody_reads_are_let_be() -> None:
    assert one(get("/mcp", "X_Forwarded_For: 1")).head.path == "/mcp"


def test_an_asterisk_is_a_target_for_options() -> None:
    assert statuses(feed(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")) == ["*"]


# ---- sizes


def test_as_many_fields_as_the_limit_pass_and_one_more_does_not() -> None:
    fields = [f"X-{number}: a" for number in range(HEADERS_MAX - 1)]
    assert statuses(feed(get("/mcp", *fields))) == ["/mcp"]
    assert statuses(feed(get("/mcp", *fields, "X: a"))) == [431]


@pytest.mark.parametrize(
    "large",
    [
        get("/" + "a" * (HEAD_BYTES_MAX + 1)),
        get("/mcp", "Mcp-Name: " + "a" * (HEAD_BYTES_MAX + 1)),
        get("/mcp", "X-Other: " + "a" * (HEAD_BYTES_MAX + 1)),
        get("/mcp", "Mcp-Param-A: " + "a" * (HEAD_BYTES_MAX + 1)),
        get("/mcp", *(f"X-{number}: {'a' * 1000}" for number in range(80))),
        get("/mcp", *(f"X-{'n' * 1000}{number}: a" for number in range(80))),
    ],
    ids=["target", "a field that is read", "one that is not", "a parameter", "many fields", "long names"],
)
@pytest.mark.parametrize("size", [1000, 16_384, 65_536, 300_000])
def test_a_large_head_is_refused_however_it_comes(large: bytes, size: int) -> None:
    assert statuses(feed(*(large[at : at + size] for at in range(0, len(large), size)))) == [431]


def test_a_head_just_within_the_limit_passes_however_it_comes() -> None:
    data = get("/mcp", "X-Other: " + "a" * (HEAD_BYTES_MAX - 200))
    for size in (1000, 65_536, 300_000):
        assert statuses(feed(*(data[at : at + size] for at in range(0, len(data), size)))) == ["/mcp"]


def test_a_large_body_in_the_same_read_makes_no_large_head() -> None:
    assert len(one(post(b"x" * (BODY_BYTES_MAX // 2))).body) == BODY_BYTES_MAX // 2


@pytest.mark.parametrize(
    "start",
    [b"GET /", b"GET /mcp HTTP/1.1\r\nX", b"GET /mcp HTTP/1.1\r\nX: ", chunked(b"0\r\nX: "), chunked(b"2;"), b""],
    ids=["target", "name", "value", "trailer", "extension", "empty lines"],
)
def test_a_line_without_end_is_refused_and_not_kept(start: bytes) -> None:
    parser = RequestParser(admit_all)
    parser.feed(start)
    part = b"\r\n" * 2048 if not start else b"a" * 4096
    tracemalloc.start()
    try:
        answers = [statuses(parser.feed(part)) for _ in range(HEAD_BYTES_MAX // 4096 + 3)]
        assert [431] in answers
        assert sum(map(len, answers)) == 1
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_trailers_without_end_are_refused() -> None:
    parser = RequestParser(admit_all)
    parser.feed(chunked(b"2\r\n{}\r\n0\r\n"))
    items = [item for _ in range(100) for item in parser.feed(b"X: y\r\n" * 500)]
    assert statuses(items) == [431]


@pytest.mark.parametrize(("count", "expected"), [(HEADERS_MAX - 2, "/mcp"), (HEADERS_MAX - 1, 431)])
def test_trailers_count_as_fields_however_they_come(count: int, expected: int | str) -> None:
    data = chunked(b"0\r\n" + b"X: y\r\n" * count + b"\r\n")
    assert statuses(feed(data)) == [expected]
    assert statuses(feed(*(data[at : at + 1] for at in range(len(data))))) == [expected]


@pytest.mark.parametrize(("size", "expected"), [(BODY_BYTES_MAX, "/mcp"), (BODY_BYTES_MAX + 1, 413)])
def test_a_body_of_the_limit_passes_and_one_byte_more_does_not(size: int, expected: int | str) -> None:
    body = b"x" * size
    assert statuses(feed(post(body))) == [expected]
    assert statuses(feed(chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)))) == [expected]


@pytest.mark.parametrize("length", [BODY_BYTES_MAX + 1, 10**12, 10**40, 2**64 - 1])
def test_a_body_announced_too_large_is_refused_unread(length: int) -> None:
    head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()
    assert statuses(feed(head)) in ([413], [400])  # beyond 64 bits it is no number to llhttp


def test_a_chunk_announced_too_large_is_refused_as_it_comes() -> None:
    parser = RequestParser(admit_all)
    assert parser.feed(chunked(b"fffffffffff\r\n")) == []
    items = [item for _ in range(BODY_BYTES_MAX // 65536 + 1) for item in parser.feed(b"x" * 65536)]
    assert statuses(items) == [413]


def test_a_body_in_the_smallest_chunks_takes_no_more_memory_than_it_is() -> None:
    parser = RequestParser(admit_all)
    parser.feed(chunked(b""))
    part = b"2\r\n{}\r\n" * 4096
    tracemalloc.start()
    try:
        for _ in range(2 * 2**20 // 8192):
            assert parser.feed(part) == []
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    (item,) = parser.feed(b"0\r\n\r\n")
    assert isinstance(item, HttpRequest)
    assert item.body == b"{}" * 2**20


# ---- 100 Continue


@pytest.mark.parametrize(
    ("head", "waits"),
    [
        ("POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", True),
        ("POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n", True),
        ("POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n", False),
        ("POST /mcp HTTP/1.0\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", False),
        ("POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}", False),
        ("POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n", False),
    ],
)
def test_whether_an_agent_waits_to_be_asked_for_the_body(head: str, waits: bool) -> None:
    parser = RequestParser(admit_all)
    parser.feed(head.encode())
    assert parser.wants_continue is waits


def test_whether_a_request_is_under_way_is_known() -> None:
    parser = RequestParser(admit_all)
    assert not parser.in_request
    data = post(b"{}")
    parser.feed(data[:1])
    assert parser.in_request
    parser.feed(data[1:-1])
    assert (parser.in_request, parser.body_bytes) == (True, 1)
    parser.feed(data[-1:])
    assert (parser.in_request, parser.body_bytes) == (False, 0)
