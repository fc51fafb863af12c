"""The server behind every candidate: as little MCP as there can be, so that what is measured is what stands in front of it.

python benchmarks/upstream.py PORT        # HTTP, both eras
python benchmarks/upstream.py stdio       # one child process
"""

import asyncio
import re
import sys

import uvloop

ID = re.compile(rb'"id":("[^"]*"|-?\d+)')
TOOLS = b",".join(
    b'{"name":"%b","description":"A tool","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}}'
    % name
    for name in [b"echo", b"big", *(b"tool_%d" % number for number in range(18))]
)
DISCOVERY = (
    b'{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},'
    b'"ttlMs":3600000,"cacheScope":"public","_meta":{}}'
)
GREETING = (
    b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"upstream","version":"1"}}'
)
MODERN_END = b',"resultType":"complete"'
LISTING_END = b',"ttlMs":3600000,"cacheScope":"public"'
SMALL = b'"content":[{"type":"text","text":"hello there"}],"isError":false'
BIG = b'"content":[{"type":"text","text":"%b"}],"isError":false' % (b"x" * 1_000_000)


def answer(body: bytes, modern: bool) -> bytes:
    """The reply to one request; its id is found, not parsed."""
    if b'"server/discover"' in body:
        result = DISCOVERY if modern else b""
    elif b'"initialize"' in body:
        result = b"" if modern else GREETING
    else:
        end = MODERN_END if modern else b""
        if b'"tools/list"' in body:
            result = b'{"tools":[%b]%b}' % (TOOLS, LISTING_END + end if modern else b"")
        else:
            result = b"{%b%b}" % (BIG if b'"big"' in body else SMALL, end)
    match = ID.search(body)
    id = match[1] if match else b"null"
    if not result:
        return b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32601,"message":"Method not found"}}' % id
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id, result)


class Connection(asyncio.Protocol):
    """One HTTP connection: `/mcp` is modern, `/legacy` keeps to sessions."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            self.reply(head, body)

    def reply(self, head: bytes, body: bytes) -> None:
        modern = not head.startswith((b"post /legacy", b"get /legacy", b"delete /legacy"))
        if not head.startswith(b"post"):
            self.write(b"405 Method Not Allowed", b"")
        elif b'"id"' not in body:
            self.write(b"202 Accepted", b"")
        else:
            session = b"Mcp-Session-Id: s\r\n" if b'"initialize"' in body else b""
            self.write(b"200 OK", answer(body, modern), session)

    def write(self, status: bytes, body: bytes, extra: bytes = b"") -> None:
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n" % (
            status,
            extra,
            len(body),
        )
        self.transport.write(head + body)  # type: ignore[attr-defined]


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def serve_stdio() -> None:
    while line := sys.stdin.buffer.readline():
        if b'"id"' in line:
            sys.stdout.buffer.write(answer(line, True) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        serve_stdio()
    else:
        uvloop.run(serve(int(sys.argv[1])))
