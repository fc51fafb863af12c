"""The server behind every candidate: as little MCP as there can be, so that what is measured is what stands before it.

    python benchmarks/upstream.py PORT          # HTTP: /mcp is modern, /legacy keeps sessions
    python benchmarks/upstream.py stdio         # a child process that answers in the era it is asked in

`/many/{server}/{tools}/mcp` and `…/legacy` are more servers, with that many tools. Tools: `echo` returns the argument
`text`, `big` a text of 1 MB, `events` reports progress 100 times and then returns `text`; `calls` tells how many calls
of the others were answered, `pid` which process this is; `tool_…` fill the list. Members are found, not parsed.
"""

import asyncio
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import cast

import uvloop

TOOLS, EVENTS, BIG_BYTES = 20, 100, 1_000_000
NAMED = ("echo", "big", "events", "calls", "pid")
DISCOVERY = (
    b'{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":3600000,'
    b'"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"upstream","version":"1"}}}'
)
GREETING = (
    b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"upstream","version":"1"}}'
)
NOTHING: dict[bytes, tuple[bytes, bytes]] = {
    b"prompts/list": (b"prompts", b""),
    b"resources/list": (b"resources", b""),
    b"resources/templates/list": (b"resourceTemplates", b""),
}
"""Lists that some gateways ask for though none was declared."""
MODERN_LIST = b',"resultType":"complete","ttlMs":3600000,"cacheScope":"public"'
MODERN_RESULT = b',"resultType":"complete"'
BIG = b"x" * BIG_BYTES
ACKNOWLEDGED = (
    b'{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":'
    b'{"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/subscriptionId":%b}}}'
)
PROGRESS = (
    b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%b,"progress":%d,"total":%d,'
    b'"message":"a step of the work is done"}}'
)

ID = re.compile(rb'"id":\s*("[^"]*"|-?\d+)')
METHOD = re.compile(rb'"method":\s*"([^"]*)"')
TOOL = re.compile(rb'"name":\s*"(echo|big|events|calls|pid|tool_\d+)"')
TEXT = re.compile(rb'"text":\s*"([^"\\]*)"')
TOKEN = re.compile(rb'"progressToken":\s*("[^"]*"|\d+)')
IS_MODERN = b"io.modelcontextprotocol/protocolVersion"


def tool_names(count: int) -> list[str]:
    """What a server of so many tools calls them."""
    return [*NAMED, *(f"tool_{number}" for number in range(count))][:count]


@functools.cache
def definitions(count: int, server: int = 0) -> bytes:
    """The definitions of a server's tools, about 430 bytes each as real ones have."""
    return b",".join(
        b'{"name":"%b","description":"Look something up in the part of the inventory that server %d keeps, and tell '
        b'what was found there, newest first","inputSchema":{"type":"object","properties":{"text":{"type":"string",'
        b'"description":"What to look for"},"n":{"type":"integer","description":"How many at most"},"since":{"type":'
        b'"string","description":"No older than this day"}},"required":["text"]},"annotations":{"readOnlyHint":true}}'
        % (name.encode(), server)
        for name in tool_names(count)
    )


class Server:
    """Answers of both eras, and the count of calls that shows whether they really came this far."""

    def __init__(self) -> None:
        self.calls = 0

    def answer(self, body: bytes, modern: bool, tools: int = TOOLS, server: int = 0) -> tuple[bytes, bytes]:
        """The HTTP status and the message for one request."""
        found = ID.search(body)
        id = found[1] if found else b"null"
        result = self._result(body, modern, tools, server)
        if result is None:
            status = b"404 Not Found" if modern else b"200 OK"
            return status, b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32601,"message":"Method not found"}}' % id
        return b"200 OK", b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id, result)

    def _result(self, body: bytes, modern: bool, tools: int, server: int) -> bytes | None:
        if b'"tools/call"' in body:
            return b'{"content":[{"type":"text","text":"%b"}],"isError":false%b}' % (
                self._text(body),
                MODERN_RESULT if modern else b"",
            )
        found = METHOD.search(body)
        method = found[1] if found else b""
        if method == b"tools/list":
            return b'{"tools":[%b]%b}' % (definitions(tools, server), MODERN_LIST if modern else b"")
        if method in NOTHING:
            return b'{"%b":[%b]%b}' % (*NOTHING[method], MODERN_LIST if modern else b"")
        if modern:
            return DISCOVERY if method == b"server/discover" else None
        return GREETING if method == b"initialize" else b"{}" if method == b"ping" else None

    def _text(self, body: bytes) -> bytes:
        found = TOOL.search(body)
        name = found[1] if found else b""
        if name == b"calls":
            return b"%d" % self.calls
        if name == b"pid":
            return b"%d" % os.getpid()
        self.calls += 1
        if name == b"big":
            return BIG
        said = TEXT.search(body)
        return said[1] if said else b""

    def progress(self, body: bytes) -> Iterator[bytes]:
        """What a call of `events` reports before it answers; nothing if nobody asked for it."""
        token = TOKEN.search(body)
        if token and b'"tools/call"' in body and (found := TOOL.search(body)) and found[1] == b"events":
            for number in range(1, EVENTS + 1):
                yield PROGRESS % (token[1], number, EVENTS)


class Connection(asyncio.Protocol):
    """One HTTP connection, kept open; requests with a length only."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            stop = end + 4 + (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
            if len(self.buffer) < stop:
                return
            body, self.buffer = self.buffer[end + 4 : stop], self.buffer[stop:]
            self.reply(head, body)

    def reply(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1]
        legacy = path.endswith(b"/legacy")
        opening = legacy and b'"initialize"' in body
        if not head.startswith(b"post "):
            self.write(b"405 Method Not Allowed", b"")
        elif legacy and not opening and b"\r\nmcp-session-id:" not in head:
            self.write(b"400 Bad Request", b"")
        elif b'"id":' not in body:
            self.write(b"202 Accepted", b"")
        elif b'"subscriptions/listen"' in body and not legacy:
            found = ID.search(body)
            self.begin_stream()
            self.event(ACKNOWLEDGED % (found[1] if found else b"null"))
        elif b"progressToken" in body and (progress := list(self.server.progress(body))):
            self.begin_stream()
            self.stream(iter([*progress, self.server.answer(body, not legacy)[1]]))
        else:
            many = path.split(b"/") if path.startswith(b"/many/") else (b"", b"", b"0", b"%d" % TOOLS)
            status, message = self.server.answer(body, not legacy, int(many[3]), int(many[2]))
            self.write(status, message, b"Mcp-Session-Id: s\r\n" if opening else b"")

    def write(self, status: bytes, body: bytes, fields: bytes = b"") -> None:
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
        self.transport.write(head % (status, fields, len(body)) + body)

    def begin_stream(self) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )

    def stream(self, messages: Iterator[bytes]) -> None:
        """One event each time round the loop, as work that goes on would send them."""
        message = next(messages, None)
        if message is None:
            self.transport.write(b"0\r\n\r\n")
        else:
            self.event(message)
            self.loop.call_soon(self.stream, messages)

    def event(self, message: bytes) -> None:
        event = b"event: message\ndata: %b\n\n" % message
        self.transport.write(b"%x\r\n%b\r\n" % (len(event), event))


async def serve(port: int) -> None:
    server = Server()
    connection: Callable[[], Connection] = lambda: Connection(server)  # noqa: E731 - a factory, typed
    listener = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", port, backlog=4096)
    await listener.serve_forever()


def serve_stdio() -> None:
    server = Server()
    while line := sys.stdin.buffer.readline():
        if b'"id":' in line:
            sys.stdout.buffer.write(server.answer(line, IS_MODERN in line)[1] + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        serve_stdio()
    else:
        uvloop.run(serve(int(sys.argv[1])))
