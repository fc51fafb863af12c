"""One way to a server's tools, spoken by hand in either era, so that no client library stands in what is measured."""

import http.client
import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from email.message import Message
from typing import Any, Literal

from .refused import Refused

Era = Literal["modern", "legacy"]
Json = dict[str, Any]

ANSWER_S = 30.0
PROGRESS = "notifications/progress"
_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
_HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks without the proxy that the environment may name."""


class Route:
    """An endpoint, the era spoken there, what the tools behind it are called, and what the agent proves itself by."""

    def __init__(self, url: str, era: Era, public: Callable[[str], str] = str, token: str = "") -> None:
        self.url, self.era, self.public, self.token = url, era, public, token
        self.session = open_session(url) if era == "legacy" else ""

    def call(self, tool: str, text: str, id: int, *, progress: bool = False) -> bytes:
        """The message that calls a tool."""
        params = {"name": self.public(tool), "arguments": {"text": text, "n": 3}}
        return request("tools/call", params, self.era, id, {"progressToken": id} if progress else {})

    def headers(self, tool: str) -> dict[str, str]:
        """The header fields that go with it."""
        proof = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return fields("tools/call", self.era, self.public(tool), self.session) | proof

    def hear(self, tool: str, text: str = "", id: int = 1, *, progress: bool = False) -> list[Json]:
        """Call a tool: all messages of the answer, the result last."""
        body = self.call(tool, text, id, progress=progress)
        heard = messages(*post(self.url, body, self.headers(tool)))
        if not heard:
            raise Refused(f"{self.url} answers nothing")
        return heard

    def ask(self, tool: str, text: str = "", id: int = 1) -> Json:
        """Call a tool: the message with its result."""
        return self.hear(tool, text, id)[-1]

    def served(self) -> int:
        """How many calls the server has answered."""
        return int(text_of(self.ask("calls")))

    def stream_head(self) -> bytes:
        """The request that opens a stream on which the agent is told of changes, as it goes over the wire."""
        host = urllib.parse.urlsplit(self.url)
        if self.era == "legacy":
            wanted = fields("", "legacy", session=self.session) | {"Accept": "text/event-stream"}
            return _head("GET", host.path, host.netloc, wanted)
        body = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, "modern")
        return raw_post(self.url, fields("subscriptions/listen", "modern"), body)


def text_of(message: Json) -> str:
    """The text that a tool returned. Errors: Refused, if it returned none."""
    try:
        return str(message["result"]["content"][0]["text"])
    except (KeyError, IndexError, TypeError):
        raise Refused(f"an answer without a text: {str(message)[:300]}") from None


def encode(message: Json) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def request(method: str, params: Json, era: Era, id: int = 1, meta: Json | None = None) -> bytes:
    stamped = (meta or {}) | (_META if era == "modern" else {})
    more = {"_meta": stamped} if stamped else {}
    return encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params | more})


def fields(method: str, era: Era, name: str = "", session: str = "") -> dict[str, str]:
    """The header fields of a request. `session` is empty before a legacy session has begun, or where there is none."""
    common = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if era == "modern":
        named = {"Mcp-Name": name} if name else {}
        return common | {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method} | named
    begun = {"Mcp-Session-Id": session} if session else {}
    return common | ({} if method == "initialize" else {"MCP-Protocol-Version": "2025-11-25"}) | begun


def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, str]:
    """The body of the answer and its media type. Errors: Refused."""
    answer, told = _post(url, body, headers)
    return answer, told.get_content_type()


def open_session(url: str) -> str:
    """Shake hands; the session's id, empty where the gateway keeps no sessions."""
    _, told = _post(url, request("initialize", _HELLO, "legacy"), fields("initialize", "legacy"))
    session = str(told.get("Mcp-Session-Id", ""))
    done = encode({"jsonrpc": "2.0", "method": "notifications/initialized"})
    _post(url, done, fields("notifications/initialized", "legacy", session=session))
    return session


def _post(url: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, Message]:
    try:
        with _LOCAL.open(urllib.request.Request(url, body, headers), timeout=ANSWER_S) as reply:
            return reply.read(), reply.headers
    except urllib.error.HTTPError as error:
        with error:
            raise Refused(f"the endpoint answers {error.code} {error.read()[:300].decode(errors='replace')}") from None
    except (OSError, http.client.HTTPException) as error:
        raise Refused(f"the endpoint does not answer: {error!r}") from None


def messages(body: bytes, media_type: str) -> list[Json]:
    """The JSON-RPC messages of an answer, whether it came whole or as an event stream. Errors: Refused."""
    try:
        if media_type == "text/event-stream":
            lines = body.replace(b"\r\n", b"\n").split(b"\n")
            return [json.loads(line[5:]) for line in lines if line.startswith(b"data:") and line[5:].strip()]
        return [json.loads(body)]
    except ValueError:
        raise Refused(f"an answer that is no JSON: {body[:300]!r}") from None


def raw_post(url: str, headers: dict[str, str], body: bytes) -> bytes:
    """A POST as it goes over the wire."""
    host = urllib.parse.urlsplit(url)
    return _head("POST", host.path, host.netloc, headers | {"Content-Length": str(len(body))}) + body


def _head(method: str, path: str, host: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_until(source: socket.socket, mark: bytes) -> bytes:
    """What comes, up to and possibly beyond a mark. Errors: Refused, if the connection ends before."""
    received = b""
    try:
        while mark not in received:
            if not (data := source.recv(4096)):
                raise Refused(f"a connection was closed after {received[:300]!r}")
            received += data
    except TimeoutError:
        raise Refused(f"nothing came within {source.gettimeout():g} s, after {received[:300]!r}") from None
    return received


def read_exactly(source: socket.socket, start: bytes, count: int) -> bytes:
    """`start` and what comes after it, up to `count` bytes."""
    received = bytearray(start)
    while len(received) < count:
        if not (data := source.recv(65536)):
            raise Refused(f"a connection was closed after {len(received)} of {count} bytes")
        received += data
    return bytes(received)


def is_closed(source: socket.socket) -> bool:
    """Whether the other side has ended a connection on which nothing is expected."""
    source.setblocking(False)
    try:
        while data := source.recv(65536):
            del data  # a comment that keeps the stream alive
    except BlockingIOError:
        return False
    return True
