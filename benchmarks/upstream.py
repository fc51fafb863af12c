"""The server behind every candidate: as little MCP as there can be, so that what is measured is what stands before it.

    python benchmarks/upstream.py PORT        # HTTP: /mcp is modern, /legacy keeps sessions
    python benchmarks/upstream.py stdio       # modern, one child process

Its tools: `echo` returns the argument `text`, `big` a text of 1 MB, `calls` how many calls of the others were answered,
and 17 more fill the list. Members are found, not parsed, so it takes compact JSON only.
"""

import asyncio
import re
import sys
from typing import cast

import uvloop

NAMES = [b"echo", b"big", b"calls", *(b"tool_%d" % number for number in range(17))]
TOOLS = b",".join(
    b'{"name":"%b","description":"A tool","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}}'
    % name
    for name in NAMES
)
DISCOVERY = (
    b'{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":3600000,'
    b'"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"upstream","version":"1"}}}'
)
GREETING = (
    b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"upstream","version":"1"}}'
)
MODERN_LIST = b',"resultType":"complete","ttlMs":3600000,"cacheScope":"public"'
MODERN = b',"resultType":"complete"'
BIG = b"x" * 1_000_000

ID = re.compile(rb'"id":("[^"]*"|-?\d+)')
TEXT = re.compile(rb'"text":"([^"\\]*)"')


class Server:
    """Answers of both eras, and the count of calls that shows whether they really came this far."""

    def __init__(self) -> None:
        self.calls = 0

    def answer(self, body: bytes, modern: bool) -> tuple[bytes, bytes]:
        """The HTTP status and the message for one request."""
        found = ID.search(body)
        id = found[1] if found else b"null"
        result = self._result(body, modern)
        if result is None:
            status = b"404 Not Found" if modern else b"200 OK"
            return status, b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32601,"message":"Method not found"}}' % id
        return b"200 OK", b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id, result)

    def _result(self, body: bytes, modern: bool) -> bytes | None:
        if b'"tools/call"' in body:
            return b'{"content":[{"type":"text","text":"%b"}],"isError":false%b}' % (
                self._text(body),
                MODERN if modern else b"",
            )
        if b'"tools/list"' in body:
            return b'{"tools":[%b]%b}' % (TOOLS, MODERN_LIST if modern else b"")
        if modern:
            return DISCOVERY if b'"server/discover"' in body else None
        return GREETING if b'"initialize"' in body else b"{}" if b'"ping"' in body else None

    def _text(self, body: bytes) -> bytes:
        if b'"name":"calls"' in body:
            return b"%d" % self.calls
        self.calls += 1
        if b'"name":"big"' in body:
            return BIG
        found = TEXT.search(body)
        return found[1] if found else b""


class Connection(asyncio.Protocol):
    """One HTTP connection, kept open; requests with a length only."""

    def __init__(self, server: Server) -> None:
        self.server = server
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
        legacy = head.startswith(b"post /legacy")
        opening = legacy and b'"initialize"' in body
        if not head.startswith(b"post "):
            self.write(b"405 Method Not Allowed", b"")
        elif legacy and not opening and b"\r\nmcp-session-id:" not in head:
            self.write(b"400 Bad Request", b"")
        elif b'"id":' not in body:
            self.write(b"202 Accepted", b"")
        else:
            status, message = self.server.answer(body, not legacy)
            self.write(status, message, b"Mcp-Session-Id: s\r\n" if opening else b"")

    def write(self, status: bytes, body: bytes, fields: bytes = b"") -> None:
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
        self.transport.write(head % (status, fields, len(body)) + body)


async def serve(port: int) -> None:
    server = Server()
    listener = await asyncio.get_running_loop().create_server(
        lambda: Connection(server), "127.0.0.1", port, backlog=4096
    )
    await listener.serve_forever()


def serve_stdio() -> None:
    server = Server()
    while line := sys.stdin.buffer.readline():
        if b'"id":' in line:
            sys.stdout.buffer.write(server.answer(line, True)[1] + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        serve_stdio()
    else:
        uvloop.run(serve(int(sys.argv[1])))
