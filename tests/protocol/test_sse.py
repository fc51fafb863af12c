"""Event streams: every rule of WHATWG HTML 9.2.6 that a server may use, whatever pieces the bytes come in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concento.protocol.sse import Event, EventTooLarge, SseParser, encode_event

MAX = 1 << 20


def parse(*pieces: bytes, bytes_max: int = MAX) -> list[Event]:
    parser = SseParser(bytes_max)
    return [event for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b'event: message\ndata: {"a": 1}\n\n', [Event("message", b'{"a": 1}')]),
        (b"data: 1\n\ndata: 2\n\n", [Event("message", b"1"), Event("message", b"2")]),
        (b"data: 1\r\rdata: 2\r\n\r\n", [Event("message", b"1"), Event("message", b"2")]),
        (b"data: 1\ndata: 2\rdata: 3\r\n\n", [Event("message", b"1\n2\n3")]),
        (b"data: 1\r\ndata: 2\r\n\r\ndata: 3\r\n\r\n", [Event("message", b"1\n2"), Event("message", b"3")]),
        (b"data:1\ndata: 2\ndata:  3\n\n", [Event("message", b"1\n2\n 3")]),
        (b"data\n\n", [Event("message", b"")]),
        (b"data\ndata\n\n", [Event("message", b"\n")]),
        (b"data: a:b\n\n", [Event("message", b"a:b")]),
        (b"event: endpoint\ndata: /x\n\n", [Event("endpoint", b"/x")]),
        (b"event: a\nevent: b\ndata: 1\n\n", [Event("b", b"1")]),
        (b"event: a\n\ndata: 1\n\n", [Event("message", b"1")]),
        (b"event:\ndata: 1\n\n", [Event("message", b"1")]),
        (b": ping\n\n:\ndata: 1\n: more\n\n", [Event("message", b"1")]),
        (b"\n\n\r\n\r", []),
        (b"odd: x\nDATA: y\ndata : z\n data: w\n\n", []),
        (b"data: 1\n", []),
        (b"data: 1\n\ndata: cut", [Event("message", b"1")]),
        (b"\xef\xbb\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\n", [Event("message", b"1")]),
        (b"data: \xff\xc3\xa9\x0b\x0c\xe2\x80\xa8\n\n", [Event("message", b"\xff\xc3\xa9\x0b\x0c\xe2\x80\xa8")]),
        (b"id: 7\ndata: 1\n\ndata: 2\n\n", [Event("message", b"1", "7"), Event("message", b"2", "7")]),
        (b"id: 7\n\ndata: 1\n\nid\ndata: 2\n\n", [Event("message", b"1", "7"), Event("message", b"2", "")]),
        (b"id: 7\nid: 8\0\ndata: 1\n\n", [Event("message", b"1", "7")]),
        (b"retry: 250\ndata: 1\n\n", [Event("message", b"1", None, 250)]),
        (b"retry: 2.5\nretry: -1\nretry:\nretry: " + b"9" * 5000 + b"\ndata: 1\n\n", [Event("message", b"1")]),
        (b"id: 1\nretry: 3\ndata:\n\n", [Event("message", b"", "1", 3)]),
    ],
)
def test_a_stream_is_read_the_same_whole_and_byte_by_byte(stream: bytes, events: list[Event]) -> None:
    assert parse(stream) == events
    assert parse(*(stream[i : i + 1] for i in range(len(stream)))) == events


PARTS = [
    b"data", b"event", b"id", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\0", b"\xef\xbb\xbf", b"x", b"12", b"\xff",
    b"data:1\r\n", b"\r\ndata:2",
]  # fmt: skip
streams = st.lists(st.sampled_from(PARTS), max_size=60).map(b"".join)


@given(streams, st.lists(st.integers(0, 200), max_size=8))
def test_where_the_bytes_are_cut_does_not_matter(stream: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert parse(*pieces) == parse(stream)


@given(
    st.binary(max_size=50),
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=9),
    st.none() | st.just("5"),
)
def test_what_is_encoded_reads_back_but_for_line_ends(data: bytes, name: str, id: str | None) -> None:
    [event] = parse(encode_event(data, name, id))
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert event == Event(name, lines, id)


def test_a_line_end_that_was_begun_is_not_waited_for() -> None:
    parser = SseParser(MAX)
    assert parser.feed(b"data: 1\r\n\r") == [Event("message", b"1")]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: 2\n\n") == [Event("message", b"2")]


def test_views_and_empty_pieces_are_taken() -> None:
    parser = SseParser(MAX)
    assert parser.feed(b"") == []
    assert parser.feed(memoryview(b"xdata: 1\r")[1:]) == []
    assert parser.feed(memoryview(b"")) == []
    assert parser.feed(memoryview(b"\n\n")) == [Event("message", b"1")]


@pytest.mark.parametrize(
    "pieces",
    [
        (b"data: " + b"x" * 100 + b"\n",),
        (b"data: " + b"x" * 60, b"x" * 60),
        tuple(b"data: x\n" for _ in range(20)),
        tuple(b"data\n" for _ in range(30)),
        tuple(b"id: 1\n" for _ in range(30)),
        (b"event: " + b"x" * 100 + b"\n",),
        (b"x" * 60, b"x" * 60),
        (b"data: " + b"x" * 60 + b"\n", b"id: " + b"x" * 60),
    ],
)
def test_an_event_of_too_many_bytes_is_refused_before_it_ends(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(EventTooLarge):
        parse(*pieces, bytes_max=100)


def test_the_bound_is_for_an_event_not_for_a_stream() -> None:
    parser = SseParser(100)
    for _ in range(1000):
        assert len(parser.feed(b": a comment without an empty line\n")) == 0
        assert len(parser.feed(b"id: 1\ndata: " + b"x" * 80 + b"\n\n")) == 1


def test_many_short_pieces_of_one_long_line_cost_linear_time() -> None:
    parser = SseParser(1 << 22)
    parser.feed(b"data: ")
    for _ in range(1 << 17):
        parser.feed(b"0123456789")
    [event] = parser.feed(b"\n\n")
    assert len(event.data) == 10 << 17


def test_an_event_on_one_line_is_framed_as_it_is() -> None:
    assert encode_event(b'{"a":1}') == b'event: message\ndata: {"a":1}\n\n'
    assert encode_event(b"{\n}", id="7") == b"event: message\nid: 7\ndata: {\ndata: }\n\n"
    assert encode_event(b"") == b"event: message\ndata: \n\n"


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b"])
def test_a_name_or_id_that_would_break_its_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        encode_event(b"1", event=text)
    with pytest.raises(ValueError, match="line break"):
        encode_event(b"1", id=text)
