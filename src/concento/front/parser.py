"""HTTP/1.1 requests out of bytes: one frozen object a complete request. Sans-I/O, on llhttp.

The interface is narrow on purpose (bytes in, requests out), so that a faster scanner can take its place.
Source: hardening T9 (repeated routing fields), T12 (smuggling), T26 (sizes).
"""

from collections.abc import Callable, Mapping
from typing import Final

import httptools
from msgspec import Struct, structs

from ..model.limits import BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX
from ..model.principal import Principal
from ..protocol.headers import PARAM_PREFIX, Head

_NAMES: Final = (
    *("Host", "Origin", "Accept", "Content-Type", "Content-Encoding", "Content-Length", "Transfer-Encoding", "Expect"),
    *("Authorization", "Cookie", "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Session-Id", "Last-Event-ID"),
    *("Traceparent", "Tracestate", "Baggage"),
)
"""Fields that anything here reads; the rest are counted and forgotten."""
_READ: Final = {spelt.encode(): name.lower() for name in _NAMES for spelt in (name, name.lower())}
"""By their usual spellings, so that most need no folding."""
_PARAM_PREFIX: Final = PARAM_PREFIX.encode()
_SINGLE: Final = frozenset({"content-length", "transfer-encoding", "host", "content-type"})
_METHODS_WITHOUT_BODY: Final = frozenset({"GET", "DELETE", "HEAD", "OPTIONS"})


class HttpHead(Struct, frozen=True):
    """A request's head. `fields` has the ones that are read, lower-case; `repeated` those that came more than once."""

    method: str
    path: str
    query: str
    fields: Mapping[str, str]
    repeated: frozenset[str]
    params: Mapping[str, str]
    keep_alive: bool
    chunks: bool
    """Whether the agent's HTTP version knows chunked replies."""

    def protocol(self) -> Head:
        """The part that the protocol reads."""
        fields = self.fields
        routing = next((name for name in self.repeated if name.startswith("mcp-")), None)
        return Head(
            fields.get("mcp-protocol-version"),
            fields.get("mcp-method"),
            fields.get("mcp-name"),
            fields.get("mcp-session-id"),
            fields.get("last-event-id"),
            routing,
            self.params,
        )


class HttpRequest(Struct, frozen=True):
    """One complete request. `principal` is None where the head alone did not say who calls."""

    head: HttpHead
    body: bytes
    principal: Principal | None = None


class Refusal(Struct, frozen=True):
    """A request that is answered on its head, or for its form, alone. `close` ends the connection after the answer."""

    status: int
    reason: str
    close: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    head: HttpHead | None = None


_MALFORMED: Final = Refusal(400, "This is not an acceptable HTTP/1.1 request")
_LARGE: Final = Refusal(431, f"The request head has more than {HEADERS_MAX} fields or {HEAD_BYTES_MAX} bytes")


class RequestParser:
    """Feeds on bytes; `feed` returns what became complete, in order. After a refusal that closes, it takes no more."""

    def __init__(self, admit: Callable[[HttpHead], Refusal | Principal | None]) -> None:
        self._admit = admit
        self._parser = httptools.HttpRequestParser(self)
        self._ready: list[HttpRequest | Refusal] = []
        self._head: HttpHead | None = None
        self._principal: Principal | None = None
        self.refused = False
        """After the refusal that was last returned, nothing more is read."""
        self._answered = False
        """The present request was refused by an answer that keeps the connection: it goes no further."""
        self._owed_bytes = 0
        """What is missing of a body that is read here, since llhttp takes it for the protocol asked for."""
        self.wants_continue = False
        """The agent waits for `100 Continue` before it sends the body."""
        self.in_request = False
        """Bytes of a request have come that is not complete."""
        self.body_bytes = 0
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._fields: dict[str, str] = {}
        self._params: dict[str, str] = {}
        self._repeated: frozenset[str] = frozenset()
        self._count = 0
        self._unread_bytes = 0
        self._framing_bytes = 0
        self._body: bytes | bytearray = b""
        self._malformed: str | None = None

    def feed(self, data: bytes) -> list[HttpRequest | Refusal]:
        """Take bytes as they come."""
        if self.refused:
            return []
        self._framing_bytes += len(data)
        try:
            if self._owed_bytes:
                self._feed_around(data, 0)
            else:
                self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_around(data, upgrade.args[0])
        except httptools.HttpParserError:
            self._refuse(_MALFORMED)
        if self._framing_bytes - len(data) > HEAD_BYTES_MAX:
            self._refuse(Refusal(431, f"The request head, or what is around its body, is over {HEAD_BYTES_MAX} bytes"))
        ready, self._ready = self._ready, []
        return ready

    def give_up(self) -> None:
        """Take no more, and let go of what has come of a body."""
        self.refused = True
        self._body = b""
        self.body_bytes = 0

    def _feed_around(self, data: bytes, at: int) -> None:
        """Go on after the head of a request that asks for an upgrade: the wish is ignored, the request is answered."""
        view = memoryview(data)
        while at < len(data) and not self.refused:
            if self._owed_bytes:
                part = data[at : at + self._owed_bytes]
                at += len(part)
                self._owed_bytes -= len(part)
                self.on_body(part)
                if not self._owed_bytes:
                    self.on_message_complete()
                continue
            try:
                self._parser.feed_data(view[at:])
                return
            except httptools.HttpParserUpgrade as upgrade:
                at += upgrade.args[0]
            except httptools.HttpParserError:
                self._refuse(_MALFORMED)

    def _refuse(self, refusal: Refusal) -> None:
        if not self.refused:
            self.refused = refusal.close
            self._ready.append(refusal)

    # -- llhttp calls these

    def on_message_begin(self) -> None:
        self.in_request = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count += 1
        if self._head is not None:  # a trailer: never a header, but bounded like one
            if self._count > HEADERS_MAX:
                self._refuse(_LARGE)
            return
        field = _READ.get(name)
        if field is None:
            field = _READ.get(key := name.lower())
        else:
            key = name
        if field is not None:
            if field in self._fields:
                self._repeated |= {field}
                if field == "accept":
                    self._fields[field] += ", " + value.decode("latin-1")
            else:
                self._fields[field] = value.decode("latin-1").strip(" \t")
        elif key.startswith(_PARAM_PREFIX):
            text = key.decode("latin-1")
            if text in self._params:
                self._repeated |= {text}
            self._params[text] = value.decode("latin-1").strip(" \t")
            self._unread_bytes += len(name) + len(value)
        else:
            self._unread_bytes += len(name) + len(value)
            if b"_" in key and _imitates(key.replace(b"_", b"-")):
                self._malformed = "A header field name with an underscore imitates one with a hyphen"

    def on_headers_complete(self) -> None:
        if self.refused:
            return
        path, _, query = self._url.decode("latin-1").partition("?")
        version = self._parser.get_http_version()
        self._head = head = HttpHead(
            self._parser.get_method().decode(),
            path,
            query,
            self._fields,
            self._repeated,
            self._params,
            self._parser.should_keep_alive(),
            version == "1.1",
        )
        verdict = self._check(head, version) or self._admit(head)
        if isinstance(verdict, Refusal):
            self._refuse(verdict if verdict.close or _ends_here(head) else structs.replace(verdict, close=True))
            self._answered = True
            return
        self._principal = verdict
        self.wants_continue = head.chunks and self._fields.get("expect", "").lower() == "100-continue"
        if self._parser.should_upgrade():
            self._owed_bytes = int(self._fields.get("content-length", "0"))

    def _check(self, head: HttpHead, version: str) -> Refusal | None:
        fields = head.fields
        if version not in ("1.1", "1.0"):
            return Refusal(505, "This endpoint speaks HTTP/1.1")
        if self._count > HEADERS_MAX or (
            (self._framing_bytes > HEAD_BYTES_MAX or self._unread_bytes > HEAD_BYTES_MAX) and self._is_large()
        ):
            return _LARGE
        if self._malformed is not None:
            return Refusal(400, self._malformed)
        if head.path[:1] != "/" and head.method != "OPTIONS":
            return Refusal(400, "The request target must be a path")
        if head.repeated and _SINGLE & head.repeated:
            return Refusal(400, "A header field that must be single came more than once")
        length = fields.get("content-length", "0")
        if "transfer-encoding" in fields:
            if "content-length" in fields:
                return Refusal(400, "Content-Length and Transfer-Encoding exclude each other")
            if fields["transfer-encoding"].lower() != "chunked" or not head.chunks or self._parser.should_upgrade():
                return Refusal(400, "The only Transfer-Encoding taken is chunked, in HTTP/1.1, without an upgrade")
            length = "1"
        if length != "0" and head.method in _METHODS_WITHOUT_BODY:
            return Refusal(400, f"A {head.method} request must not carry a body")
        if len(length) > 9 or int(length) > BODY_BYTES_MAX:
            return Refusal(413, f"The body is larger than {BODY_BYTES_MAX} bytes")
        return None

    def _is_large(self) -> bool:
        """Whether the head, and not the start of the body that came with it, is beyond the limit."""
        return len(self._url) + self._unread_bytes + sum(map(len, self._fields.values())) > HEAD_BYTES_MAX

    def on_body(self, data: bytes) -> None:
        if self.refused:
            return
        self._framing_bytes = 0
        self.body_bytes += len(data)
        if self.body_bytes > BODY_BYTES_MAX:
            self._body = b""
            self._refuse(Refusal(413, f"The body is larger than {BODY_BYTES_MAX} bytes"))
        elif not self._body:
            self._body = data
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data

    def on_message_complete(self) -> None:
        if self._owed_bytes:
            return
        self.in_request = False
        self.wants_continue = False
        if self.refused:
            return
        head, self._head = self._head, None
        body, answered, principal = self._body, self._answered, self._principal
        self.body_bytes = 0
        self._answered = False
        self._reset()
        if head is not None and not answered:
            self._ready.append(HttpRequest(head, bytes(body), principal))


def _ends_here(head: HttpHead) -> bool:
    """Whether the next request follows right after this head, and after an answer that has a body."""
    fields = head.fields
    return head.method != "HEAD" and "transfer-encoding" not in fields and fields.get("content-length", "0") == "0"


def _imitates(dashed: bytes) -> bool:
    """Whether a name with underscores would be one we read, to a parser that takes them for hyphens."""
    return dashed in _READ or dashed.startswith(_PARAM_PREFIX)
