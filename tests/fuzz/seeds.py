"""Where fuzzing begins: examples of each format, the words it is made of, and every input that once showed a defect.

A new find goes to `FOUND`, with what it showed. Seeds of cut streams begin with one byte that decides the cuts.
"""

import itertools
from pathlib import Path

from tests.front.corpus import CHUNKS, HEADS, HEALTHY, LENGTHS, request
from tests.hostile.corpus import CORPUS

SMALL = 4096
CONFIGS = Path(__file__).parent.parent / "control" / "configs"
_BODIES = [hostile.data.partition(b"\r\n\r\n")[2] for hostile in CORPUS if len(hostile.data) < SMALL]
_RESULT = b'{"jsonrpc":"2.0","id":1,"result":{"content":[],"resultType":"complete","isError":true}}'
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

EXAMPLES: dict[str, list[bytes]] = {
    "request": [
        b"0" + HEALTHY,
        b"1" + HEALTHY + HEALTHY,
        *(b"2" + text.encode("latin-1") for text in HEADS.values()),
        *(b"3" + request(b"2\r\n{}\r\n0\r\n\r\n", *fields, length=False) for fields in LENGTHS),
        *(b"4" + request(wire, "Transfer-Encoding: chunked", length=False) + HEALTHY for wire in CHUNKS.values()),
        b"5" + request(b"2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n", "Transfer-Encoding: chunked", length=False) + HEALTHY,
        b"6" + request(b"{}", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c") + HEALTHY,
        b"7" + request(target="/refused", method="GET") + request(b"{}", target="/refused"),
        b"8" + request(b"{}", "Expect: 100-continue"),
        b"9GET /mcp HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + HEALTHY,
    ],
    "reply": [
        b"0" + _OK,
        b"1HTTP/1.1 100 Continue\r\n\r\n" + _OK,
        b"2" + _STREAM + b"b\r\ndata: {}\n\n\r\n0\r\n\r\n",
        b"3HTTP/1.1 202 Accepted\r\n\r\n",
        b"4HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n",
        b"5HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 1\ndata: x\n\n",
        b"6" + _OK + _OK,
        b"7HTTP/1.1 404 Not Found\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
    ],
    "sse": [
        b"0data: {}\n\n",
        b"1\xef\xbb\xbfid: 1\r\nevent: endpoint\r\ndata: a\r\ndata:b\r\n\r\n:comment\r\rretry: 10\n\ndata\n\n",
    ],
    "jsonrpc": [HEALTHY.partition(b"\r\n\r\n")[2], *filter(None, _BODIES)],
    "incoming": [
        _RESULT,
        b'{"jsonrpc":"2.0","id":"a","error":{"code":-32602,"message":"no","data":[1]}}',
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}',
    ],
    "headers": [
        b"plain",
        b" space ",
        "é".encode(),
        b"=?base64?dA==?=",
        b"=?base64?PT9iYXNlNjQ/ZEE9PT89?=",
        b"a\r\nX: y",
    ],
    "hosts": [
        b"localhost:7400\nhttp://localhost:7400",
        b"[::1]:1\nhttps://[::1]",
        b"LOCALHOST\nnull",
        b"localhost@evil\nhttp://localhost@evil",
    ],
    "config": [path.read_bytes() for path in sorted(CONFIGS.rglob("*.yaml")) if path.stat().st_size < SMALL],
    "names": [
        b"echo\nEcho\nech\xc3\xb6\necho_0123abcd",
        b"a__b\nb\n_b\n__b",
        b"file:///x\nurn:x\ns://a/b{c}\n{d}\nconcento://a!/x",
    ],
}

WORDS: dict[str, list[bytes]] = {
    "request": [
        *(
            b"GET ",
            b"POST ",
            b"/mcp",
            b" HTTP/1.1\r\n",
            b"Host: a\r\n",
            b"Content-Length: ",
            b"Transfer-Encoding: chunked",
        ),
        *(
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b": ",
            b"0\r\n\r\n",
            b"5\r\n",
            b";a=b",
            b"Connection: upgrade\r\n",
            b"\0",
        ),
    ],
    "reply": [
        *(b"HTTP/1.1 200 OK\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n", b"0\r\n\r\n"),
        *(
            b"Content-Type: text/event-stream\r\n",
            b"data: x\n\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"204",
            b"304",
            b"HTTP/1.0",
        ),
    ],
    "sse": [
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b"\xef\xbb\xbf",
        b"12",
        b"\xff",
    ],
    "jsonrpc": [
        *(
            b'"jsonrpc":"2.0"',
            b'"id":',
            b'"method":"tools/call"',
            b'"params":{',
            b'"_meta":{',
            b'"name":',
            b'"Name":',
            b"{",
            b"}",
        ),
        *(
            b"[",
            b"]",
            b",",
            b":",
            b'"',
            b"\\u0061",
            b"\\ud800",
            b"1e400",
            b"-0",
            b"null",
            b"\xef\xbb\xbf",
            b"\xc3\xa9",
            b" ",
        ),
    ],
    "incoming": [
        b'"id":',
        b'"result":{',
        b'"error":{',
        b'"code":',
        b'"method":',
        b"{",
        b"}",
        b"1e400",
        b"\\ud800",
        b",",
        b'"',
    ],
    "headers": [b"=?base64?", b"?=", b"=", b"dA==", b" ", b"\r\n", b"\0", b"\xff", b"\xc3\xa9"],
    "hosts": [
        *(
            b"localhost",
            b"127.0.0.1",
            b"[::1]",
            b"http://",
            b"https://",
            b":",
            b"@",
            b"/",
            b"\\",
            b"#",
            b"?",
            b"\n",
            b"\t",
        ),
        *(b".", b"null", b"evil", b"%", b"[", b"]", b" ", b",", b"\xa0", b"\x01"),
    ],
    "config": [
        *(
            b"servers:",
            b"views:",
            b"\n  ",
            b"a: ",
            b"{",
            b"}",
            b"[",
            b"]",
            b"url: http://h/x",
            b"command: [x]",
            b"${env:SECRET}",
        ),
        *(
            b"${",
            b"&a ",
            b"*a",
            b"<<: ",
            b"!!python/object:x",
            b"---\n",
            b"\t",
            b"'",
            b'"',
            b"|\n",
            b"? ",
            b"mcpServers:",
        ),
    ],
    "names": [
        b"__",
        b"_",
        b"a",
        b"b",
        b"\n",
        b"!",
        b"://",
        b"concento",
        b"%",
        b"{",
        b"}",
        b"\xff",
        b"_0123abcd",
        b"A" * 50,
    ],
}

FOUND: list[tuple[str, bytes]] = [
    ("hosts", b"localhost\nht\ttp://local\thost"),  # urlsplit drops tabs, and a page's name was read without them
    ("hosts", b"localhost\nhttp://evil@localhost/path?query#fragment"),  # no browser writes an origin so
]
"""Inputs that showed a defect once, with their target."""


def of(target: str) -> list[bytes]:
    """All that fuzzing of a target begins with."""
    if target == "every":  # in the order of `targets.TARGETS`, which is that of EXAMPLES
        return [bytes([number]) + data for number, name in enumerate(EXAMPLES) for data in of(name)]
    return [*EXAMPLES.get(target, ()), *(data for name, data in FOUND if name == target)]


def words(target: str) -> list[bytes]:
    """What to put in anywhere."""
    return list(itertools.chain(*WORDS.values())) if target == "every" else WORDS.get(target, [b"!", b"?"])
