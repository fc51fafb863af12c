"""HTTP/1.1 replies out of bytes, one at a time, their event streams as they come. Sans-I/O, on llhttp.

Its counterpart toward agents is `front/parser.py`. A trailer's fields are never header fields, nothing is decompressed,
and only `chunked` is unpacked. Source: hardening R4, T12, T26.
"""

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import Final

import httptools
from msgspec import Struct

from ..model.errors import BadReply
from ..model.limits import HEAD_BYTES_MAX, HEADERS_MAX, REPLY_BYTES_MAX
from ..protocol.sse import Event, EventTooLarge, SseParser

_SPELT_BYTES_MAX: Final = 64


class Response(Struct):
    """A reply: its status, its header fields by lower-case name (repeated ones joined by commas), its body.

    An event stream has no body. It is `truncated` if it broke off rather than ended.
    """

    status: int
    headers: dict[str, str]
    body: bytes = b""
    truncated: bool = False


OnHead = Callable[[Response], None]
"""Takes a reply as soon as its head is there, before its body or events."""

OnEvent = Callable[[Event], bool | None]
"""Takes one event of a streamed reply; True ends the request."""


class ReplyReader:
    """Bytes in, one reply out, then the next. Sans-I/O; whoever feeds it closes the connection after an error."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parser = httptools.HttpResponseParser(self)
        self.begin(None, None)

    def begin(self, on_head: OnHead | None, on_event: OnEvent | None) -> None:
        """Expect a reply."""
        self.is_silent = True
        """No byte of it has come."""
        self.ended_well = False
        """Its last byte was the last that came, and the connection may be used again."""
        self._on_head = on_head
        self._on_event = on_event
        self._response: Response | None = None
        self._headers: dict[str, str] = {}
        self._headers_count = 0
        self._head_bytes = 0
        self._framing_bytes = 0
        self._has_length = False
        self._events: SseParser | None = None
        self._body = b""
        self._long_body: BytesIO | None = None
        self._is_enough = False
        self._is_complete = False
        self._keeps_alive = False

    def feed(self, data: bytes) -> Response | None:
        """Take bytes as they come; the reply once it is there. Errors: BadReply; what the callbacks raise."""
        self.is_silent = False
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if not self._is_enough:
                raise (error.__context__ or error) from None
            self._is_complete = False
        except httptools.HttpParserError:
            if not self._is_enough:
                raise self._bad("sent something that is no HTTP/1.1 reply") from None
            self._is_complete = False
        if self._is_complete or self._is_enough:
            return self._finish()
        if self._framing_bytes > HEAD_BYTES_MAX:
            raise self._head_too_large()
        return None

    def end(self, clean: bool) -> Response | None:
        """The connection ended: the reply, if it may end so or is an event stream that breaks off."""
        response = self._response
        if response is None:
            return None
        if self._events is not None:
            response.truncated = self._has_length or not clean
        elif self._has_length or not clean:
            return None
        return self._finish()

    def discard(self) -> None:
        """Let go of llhttp, which holds our callbacks: else every closed connection would be a cycle."""
        del self._parser

    def _finish(self) -> Response | None:
        response = self._response
        if response is not None:
            response.body = self._body if self._long_body is None else self._long_body.getvalue()
        self.ended_well = self._is_complete and self._keeps_alive
        self._response = self._on_head = self._on_event = self._events = self._long_body = None
        self._body = b""
        return response

    def _bad(self, what: str) -> BadReply:
        return BadReply(f"The server {self._name!r} {what}")

    def _head_too_large(self) -> BadReply:
        return self._bad(f"sent a reply head of more than {HEADERS_MAX} fields or {HEAD_BYTES_MAX} bytes")

    def _body_too_large(self) -> BadReply:
        return self._bad(f"sent a reply of more than {REPLY_BYTES_MAX} bytes")

    # -- llhttp calls these

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise self._bad("sent more than one reply to a request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._response is not None:
            return  # a trailer: never a header
        self._headers_count += 1
        self._head_bytes += len(name) + len(value)
        if self._headers_count > HEADERS_MAX or self._head_bytes > HEAD_BYTES_MAX:
            raise self._head_too_large()
        key = _spelt(name) if len(name) <= _SPELT_BYTES_MAX else name.decode("latin-1").lower()
        text = value.decode("latin-1").strip(" \t")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, {}
        if status == 101 or not 100 <= status <= 599:
            raise self._bad(f"answered with HTTP status {status}, which nobody asked for")
        if status < 200:
            return
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if coding is not None and coding.lower() != "chunked":
            raise self._bad("sent a reply in a transfer coding other than chunked")
        if headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise self._bad("sent a compressed reply that nobody asked for")
        self._has_length = coding is not None or length is not None
        self._response = response = Response(status, headers)
        if self._on_event is not None and _is_event_stream(headers):
            self._events = SseParser(REPLY_BYTES_MAX)
        elif length is not None and int(length) > REPLY_BYTES_MAX:
            raise self._body_too_large()
        if self._on_head is not None:
            self._on_head(response)
        if status == 202 and not self._has_length:
            self._is_enough = True  # it has no body, and some servers fail to say so

    def on_body(self, data: bytes) -> None:
        self._framing_bytes = 0
        if self._is_enough:
            return
        if self._events is not None:
            self._hear(self._events, data)
        elif self._long_body is not None:
            if self._long_body.tell() + len(data) > REPLY_BYTES_MAX:
                raise self._body_too_large()
            self._long_body.write(data)
        elif self._body:
            self._long_body = BytesIO()  # not a list: a million short chunks would outweigh their bytes
            self._long_body.write(self._body)
            self._long_body.write(data)
            self._body = b""
        else:
            self._body = data

    def _hear(self, events: SseParser, data: bytes) -> None:
        try:
            heard = events.feed(data)
        except EventTooLarge:
            raise self._bad(f"sent an event of more than {REPLY_BYTES_MAX} bytes") from None
        for event in heard:
            if self._on_event is not None and self._on_event(event):
                self._is_enough = True
                return

    def on_message_complete(self) -> None:
        if self._response is not None:  # else it was a 1xx
            self._is_complete = True
            self._keeps_alive = self._parser.should_keep_alive()


@lru_cache(maxsize=512)
def _spelt(name: bytes) -> str:
    """A field name in lower case; servers use the same few over and over."""
    return name.decode("latin-1").lower()


def _is_event_stream(headers: dict[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "text/event-stream"
