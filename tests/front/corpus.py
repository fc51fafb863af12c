"""Requests that the hub must refuse, as raw bytes: the status and code each gets, and whether the connection closes.

What takes a whole hub to judge (sessions, servers, the admin listener) is in `tests/hostile/corpus.py`.
Source: hardening T8 to T12, T20, T26; RFC 9112.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS = -32700, -32600, -32602
HEADER_MISMATCH, UNSUPPORTED_VERSION = -32020, -32022

CHUNKS = {
    "signed": b"-2\r\n{}\r\n0\r\n\r\n",
    "plus": b"+2\r\n{}\r\n0\r\n\r\n",
    "hexadecimal mark": b"0x2\r\n{}\r\n0\r\n\r\n",
    "underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "no size": b"\r\n{}\r\n0\r\n\r\n",
    "no digit": b"g\r\n{}\r\n0\r\n\r\n",
    "beyond 64 bits": b"ffffffffffffffff1\r\n{}\r\n0\r\n\r\n",
    "bare LF": b"2\n{}\n0\n\n",
    "bare LF after the data": b"2\r\n{}\n0\r\n\r\n",
    "bare LF after an extension": b"2;a\n{}\r\n0\r\n\r\n",
    "CR CR LF": b"2\r\r\n{}\r\n0\r\n\r\n",
    "space before the size": b" 2\r\n{}\r\n0\r\n\r\n",
    "space after the size": b"2 \r\n{}\r\n0\r\n\r\n",
    "space before an extension": b"2 ;a=b\r\n{}\r\n0\r\n\r\n",
    "an open quote in an extension": b'2;a="b\r\n{}\r\n0\r\n\r\n',
    "too long": b"2\r\n{}a\r\n0\r\n\r\n",
    "too short": b"3\r\n{}\r\n0\r\n\r\n",
    "a length among the trailers": b"2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
    "a coding among the trailers": b"2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a malformed trailer": b"2\r\n{}\r\n0\r\nX Y: 1\r\n\r\n",
}


HEADS = {
    "a folded value": "GET /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Name: a\r\n b\r\n\r\n",
    "a folded first line": "GET /mcp HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "bare LF throughout": "GET /mcp HTTP/1.1\nHost: localhost\n\n",
    "bare LF after a field": "GET /mcp HTTP/1.1\r\nHost: localhost\n\r\n",
    "bare LF at the end": "GET /mcp HTTP/1.1\r\nHost: localhost\r\n\n",
    "bare CR in a value": "GET /mcp HTTP/1.1\r\nHost: localhost\rMcp-Name: a\r\n\r\n",
    "NUL in a value": "GET /mcp HTTP/1.1\r\nHost: local\0host\r\n\r\n",
    "a control character in a value": "GET /mcp HTTP/1.1\r\nHost: localhost\r\nX: a\x01b\r\n\r\n",
    "DEL in a value": "GET /mcp HTTP/1.1\r\nHost: localhost\r\nX: a\x7fb\r\n\r\n",
    "a space before the colon": "GET /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Name : a\r\n\r\n",
    "no colon": "GET /mcp HTTP/1.1\r\nHost localhost\r\n\r\n",
    "no name": "GET /mcp HTTP/1.1\r\n: localhost\r\n\r\n",
    "a name with a bracket": "GET /mcp HTTP/1.1\r\nMcp-(Name: a\r\n\r\n",
    "a name that is not ASCII": "GET /mcp HTTP/1.1\r\nMcp-Namé: a\r\n\r\n",
    "an underscore in place of a hyphen": "GET /mcp HTTP/1.1\r\nHost: localhost\r\nMcp_Name: a\r\n\r\n",
    "an underscore in a parameter's prefix": "GET /mcp HTTP/1.1\r\nHost: localhost\r\nMcp_Param-A: a\r\n\r\n",
    "an underscore in Mcp-Session_Id": "GET /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Session_Id: a\r\n\r\n",
    "an unknown method": "BREW /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method in lower case": "get /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tab in the request line": "GET\t/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space in the target": "GET /m cp HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a control character in the target": "GET /m\x01cp HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target that is not ASCII": "GET /mécp HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an absolute target": "GET http://localhost/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an absolute target elsewhere": "GET http://evil/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an authority as target": "GET localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target without a slash": "GET mcp HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an asterisk as target": "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two hosts": "GET /mcp HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
    "the same host twice": "GET /mcp HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    "two content types": "POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n",
    "another protocol": "GET /mcp HTPP/1.1\r\nHost: localhost\r\n\r\n",
    "a protocol in lower case": "GET /mcp http/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/1.2": "GET /mcp HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "HTTP/1.10": "GET /mcp HTTP/1.10\r\nHost: localhost\r\n\r\n",
    "a space first": " GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS greeting": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


LENGTHS = [
    ["Content-Length: 2", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: chunked", "Content-Length: 2"],
    ["Content-Length: 2", "Content-Length: 2"],
    ["Content-Length: 2", "Content-Length: 3"],
    ["Content-Length: 2, 2"],
    ["Content-Length: +2"],
    ["Content-Length: -2"],
    ["Content-Length: 0x2"],
    ["Content-Length: 2 2"],
    ["Content-Length: 2_0"],
    ["Content-Length:"],
    ["Content-Length: ²"],
    ["Transfer-Encoding: identity"],
    ["Transfer-Encoding: xchunked"],
    ["Transfer-Encoding: chunked, chunked"],
    ["Transfer-Encoding: gzip, chunked"],
    ["Transfer-Encoding: chunked, gzip"],
    ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    ['Transfer-Encoding: "chunked"'],
    ["Transfer-Encoding: \x0bchunked"],
    ["Transfer-Encoding:"],
    ["Content_Length: 2"],
    ["Transfer_Encoding: chunked"],
]


class Hostile(NamedTuple):
    """One raw request: the threat it is of, the status and the JSON-RPC code it gets, whether the connection ends."""

    id: str
    threat: str
    data: bytes
    status: int
    closes: bool
    code: int = INVALID_REQUEST

    @property
    def endless(self) -> bool:
        """Whether the request is not whole, so that whatever followed would be a part of it."""
        return self.id.startswith("endless")


def request(
    body: bytes = b"",
    *fields: str,
    method: str = "POST",
    target: str = "/mcp",
    host: str = "localhost",
    length: bool = True,
) -> bytes:
    """A well-formed request."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    if length and (body or method == "POST"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


JSON = "Content-Type: application/json"
NOW = "2026-07-28"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
ENVELOPE: Mapping[str, Any] = {VERSION: NOW, CAPABILITIES: {}}


def call(
    *fields: str,
    params: object = None,
    method: str = "tools/call",
    version: str = NOW,
    meta: Mapping[str, Any] = ENVELOPE,
) -> bytes:
    """A modern call. `fields` replace mirrored header fields of the same names; `X-Without: name` leaves one out."""
    mirrored = {"MCP-Protocol-Version": version, "Mcp-Method": method, "Mcp-Name": "t"}
    replaced = {field.partition(":")[0].lower() for field in fields}
    replaced |= {field.partition(":")[2].strip().lower() for field in fields if field.startswith("X-Without")}
    kept = [f"{key}: {value}" for key, value in mirrored.items() if key.lower() not in replaced]
    stated = {"name": "t", "arguments": {}, "_meta": {**meta, VERSION: version}} if params is None else params
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": stated}).encode()
    return request(body, JSON, *kept, *fields)


HEALTHY = call()
"""What must pass at any time."""


def _framing() -> Iterator[Hostile]:
    for name, text in HEADS.items():
        yield Hostile(f"head: {name}", "T12", text.encode("latin-1"), 400, True)
    for name, wire in CHUNKS.items():
        yield Hostile(
            f"chunk: {name}", "T12", request(wire, JSON, "Transfer-Encoding: chunked", length=False), 400, True
        )
    for fields in LENGTHS:
        data = request(b"2\r\n{}\r\n0\r\n\r\n", JSON, *fields, length=False)
        yield Hostile(f"length: {' | '.join(fields)}", "T12", data, 400, True)
    for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
        yield Hostile(f"body of {method}", "T12", request(b"{}", JSON, method=method), 400, True)
    for version in ("0.9", "2.0"):
        yield Hostile(
            f"HTTP/{version}", "T12", request(b"", JSON).replace(b"HTTP/1.1", f"HTTP/{version}".encode()), 505, True
        )
    for name, data in {
        "a request within the body": request(
            b"0\r\n\r\nGET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n", JSON, "Transfer-Encoding: chunked"
        ),
        "a request behind the chunks": request(
            b"0\r\n\r\n" + HEALTHY, JSON, "Content-Length: 4", "Transfer-Encoding: chunked", length=False
        ),
        "garbage": bytes(range(256)),
        "zeros": b"\0" * 1000,
    }.items():
        yield Hostile(name, "T12", data, 400, True)


def _sizes() -> Iterator[Hostile]:
    for name, data in {
        "long target": request(b"", target="/" + "a" * 70_000),
        "long field": request(b"", "Mcp-Name: " + "a" * 70_000),
        "long field that nobody reads": request(b"", "X-Other: " + "a" * 70_000),
        "long field name": request(b"", "X" * 70_000 + ": a"),
        "101 fields": request(b"", *(f"X-{number}: a" for number in range(99))),
        "1,000 fields": request(b"", *(f"X-{number}: a" for number in range(1000))),
        "endless target": b"GET /" + b"a" * 400_000,
        "endless field": b"GET /mcp HTTP/1.1\r\nX: " + b"a" * 400_000,
        "endless empty lines": b"\r\n" * 200_000,
    }.items():
        yield Hostile(name, "T26", data, 431, True)
    for length in (4 * 2**20 + 1, 10**9, 10**12):
        data = request(b"", JSON, f"Content-Length: {length}", length=False)
        yield Hostile(f"body of {length} bytes", "T26", data, 413, True)
    large = b"x" * (4 * 2**20 + 1)
    yield Hostile("large body, sent", "T26", request(large, JSON), 413, True)
    data = request(b"%x\r\n%b\r\n0\r\n\r\n" % (len(large), large), JSON, "Transfer-Encoding: chunked", length=False)
    yield Hostile("large chunk", "T26", data, 413, True)


def _addressees() -> Iterator[Hostile]:
    for host in ("evil.example", "localhost.evil.example", "127.0.0.2", "0x7f.1", "", "localhost:80@evil.example"):
        yield Hostile(f"host {host!r}", "T20", request(b"{}", JSON, host=host), 403, True)
    for origin in ("null", "", "http://evil.example", "http://localhost.evil.example", "http://localhost@evil.example"):
        yield Hostile(f"origin {origin!r}", "T20", request(b"{}", JSON, f"Origin: {origin}"), 403, True)
    yield Hostile("two origins", "T20", request(b"{}", JSON, *["Origin: http://localhost"] * 2), 403, True)
    yield Hostile("no host", "T20", b"GET /mcp HTTP/1.1\r\n\r\n", 400, True)
    for target in (
        "/",
        "/mcp/",
        "/mcp#a",
        "/MCP",
        "//mcp",
        "/../mcp",
        "/%6dcp",
        "/views//mcp",
        "/servers/a/b/mcp",
        "/admin",
    ):
        yield Hostile(f"GET {target}", "T11", request(method="GET", target=target), 404, False)
        yield Hostile(f"POST {target}", "T11", request(b"{}", JSON, target=target), 404, True)
    for target in ("/mcp", "/views/a/mcp", "/servers/a/mcp"):
        for method in ("PUT", "PATCH", "OPTIONS", "TRACE"):
            yield Hostile(f"{method} {target}", "T8", request(method=method, target=target), 405, False)
        yield Hostile(f"HEAD {target}", "T8", request(method="HEAD", target=target), 405, True)
        for method in ("GET", "DELETE"):
            data = request(b"", f"MCP-Protocol-Version: {NOW}", "Mcp-Session-Id: forged", method=method, target=target)
            yield Hostile(f"modern {method} {target}", "T8", data, 405, False)
    for target in ("/health/live", "/sse"):
        yield Hostile(f"POST {target}", "T8", request(b"{}", JSON, target=target), 405, True)
    yield Hostile("GET /messages", "T8", request(method="GET", target="/messages"), 405, False)


def _media() -> Iterator[Hostile]:
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/jsonp",
        "json",
        "",
    ):
        yield Hostile(f"type {kind!r}", "T20", request(b"{}", f"Content-Type: {kind}"), 415, True)
    yield Hostile("no type", "T20", request(b"{}"), 415, True)
    for coding in ("gzip", "br", "deflate", "identity, gzip", "GZIP", "x"):
        yield Hostile(
            f"coding {coding!r}", "T26", request(b"\x1f\x8b\x08", JSON, f"Content-Encoding: {coding}"), 415, True
        )


def _bodies() -> Iterator[Hostile]:
    good = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t", "_meta": ENVELOPE}})
    mirrored = (JSON, f"MCP-Protocol-Version: {NOW}", "Mcp-Method: tools/call", "Mcp-Name: t")
    start, end = good[:-1], good[1:]
    unreadable = {
        "empty": b"",
        "blank": b"  ",
        "cut": good[:-1].encode(),
        "two": (good + good).encode(),
        "trailing": (good + "x").encode(),
        "mark": b"\xef\xbb\xbf" + good.encode(),
        "UTF-16": good.encode("utf-16"),
        "UTF-32": good.encode("utf-32-le"),
        "Latin-1": good.replace('"t"', '"\xe9"').encode("latin-1"),
        "overlong": good.encode().replace(b'"t"', b'"\xc1\xb4"'),
        "surrogate bytes": good.encode().replace(b'"t"', b'"\xed\xa0\x80"'),
        "lone surrogate": good.replace('"t"', '"\\ud800"').encode(),
        "NaN": (start + ',"x":NaN}').encode(),
        "Infinity": (start + ',"x":-Infinity}').encode(),
        "leading zero": (start + ',"x":01}').encode(),
        "comma": (start + ",}").encode(),
        "comment": (start + "/**/}").encode(),
        "control": (start + ',"x":"\x01"}').encode(),
        "gzip": b"\x1f\x8b\x08" + bytes(100),
        "form": b"method=tools%2Fcall",
        "HTML": b"<html></html>",
    }
    misread = {
        "array": b"[]",
        "batch": f"[{good}]".encode(),
        "number": b"1",
        "null": b"null",
        "repeated method": ('{"method":"x",' + end).encode(),
        "repeated method, escaped": ('{"\\u006dethod":"x",' + end).encode(),
        "repeated id": ('{"id":2,' + end).encode(),
        "repeated params": ('{"params":{},' + end).encode(),
        "repeated name": good.replace('"name"', '"name": "x", "name"').encode(),
        "repeated _meta": good.replace('"_meta"', '"_meta": {}, "_meta"').encode(),
        "repeated version": good.replace(f'"{VERSION}"', f'"{VERSION}": "x", "{VERSION}"').encode(),
        "repeated deep, with white space": good.replace('"name"', '"arguments": {"a": 1, "a": 2}, "name"').encode(),
        "Method": good.replace('"method"', '"Method"').encode(),
        "JSONRPC": good.replace('"jsonrpc"', '"JSONRPC"').encode(),
        "version 1.0": good.replace('"2.0"', '"1.0"').encode(),
        "id null": good.replace('"id": 1', '"id": null').encode(),
        "id true": good.replace('"id": 1', '"id": true').encode(),
        "id float": good.replace('"id": 1', '"id": 1.5').encode(),
        "id object": good.replace('"id": 1', '"id": {}').encode(),
        "method number": good.replace('"tools/call"', "1").encode(),
    }
    misshapen = {
        "params array": json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": [1]}).encode(),
        "params null": json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": None}).encode(),
        "meta array": json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"_meta": []}}).encode(),
    }
    outsize = {
        "id of 5,000 digits": good.replace('"id": 1', '"id": ' + "9" * 5000).encode(),
        "65 deep": (start + ',"x":' + "[" * 64 + "]" * 64 + "}").encode(),
        "100,000 deep": (start + ',"x":' + "[" * 100_000 + "]" * 100_000 + "}").encode(),
        "100,000 deep, open": b"[" * 100_000,
        "100,000 deep, objects": b'{"a":' * 100_000,
        "10,001 keys": (start + "".join(f',"k{number}":1' for number in range(10_001)) + "}").encode(),
        "quotes without end": b"[" * 65 + b'"' + b'\\"' * 500_000,
    }
    for threat, code, bodies in (
        ("T11", PARSE_ERROR, unreadable),
        ("T11", INVALID_REQUEST, misread),
        ("T11", INVALID_PARAMS, misshapen),
        ("T26", INVALID_REQUEST, outsize),
    ):
        for name, body in bodies.items():
            yield Hostile(f"body: {name}", threat, request(body, *mirrored), 400, False, code)


def _mirrors() -> Iterator[Hostile]:
    mismatches: dict[str, bytes] = {
        "no version": call("X-Without: MCP-Protocol-Version"),
        "no method": call("X-Without: Mcp-Method"),
        "no name": call("X-Without: Mcp-Name"),
        "other version": call("MCP-Protocol-Version: 2027-01-01"),
        "legacy version": call("MCP-Protocol-Version: 2025-11-25"),
        "other method": call("Mcp-Method: tools/list"),
        "method in another case": call("Mcp-Method: Tools/Call"),
        "encoded method": call("Mcp-Method: =?base64?dG9vbHMvY2FsbA==?="),
        "other name": call("Mcp-Name: safe"),
        "name in another case": call("Mcp-Name: T"),
        "empty name": call("Mcp-Name:"),
        "two names": call("Mcp-Name: t", "Mcp-Name: delete_all"),
        "two names alike": call("Mcp-Name: t", "mcp-name: t"),
        "two methods": call("Mcp-Method: tools/call", "Mcp-Method: tools/list"),
        "two versions": call(f"MCP-Protocol-Version: {NOW}", "MCP-Protocol-Version: 2025-11-25"),
        "two parameters": call("Mcp-Param-A: 1", "Mcp-Param-A: 2"),
        "list of names": call("Mcp-Name: t, t"),
        "bad padding": call("Mcp-Name: =?base64?dA?="),
        "bits left over": call("Mcp-Name: =?base64?dB==?="),
        "other encoded name": call("Mcp-Name: =?base64?dQ==?="),
        "not base64": call("Mcp-Name: =?base64?!?="),
        "quoted name": call('Mcp-Name: "t"'),
        "escaped name": call("Mcp-Name: %74"),
    }
    for name, data in mismatches.items():
        yield Hostile(f"mirror: {name}", "T9", data, 400, False, HEADER_MISMATCH)
    body = call().partition(b"\r\n\r\n")[2]
    fields = (JSON, f"MCP-Protocol-Version: {NOW}", "Mcp-Method: tools/call", "Transfer-Encoding: chunked")
    wire = b"%x\r\n%b\r\n0\r\nMcp-Name: t\r\n\r\n" % (len(body), body)
    data = request(wire, *fields, length=False)
    yield Hostile("mirror: name among the trailers", "T9", data, 400, False, HEADER_MISMATCH)
    for name, data in {
        "no _meta": call(params={"name": "t"}),
        "no capabilities": call(params={"name": "t", "_meta": {VERSION: NOW}}),
        "no version in the body": call(params={"name": "t", "_meta": {CAPABILITIES: {}}}),
        "version null": call(params={"name": "t", "_meta": {**ENVELOPE, VERSION: None}}),
        "version number": call(params={"name": "t", "_meta": {**ENVELOPE, VERSION: 20260728}}),
        "capabilities null": call(meta={CAPABILITIES: None}),
        "capabilities array": call(meta={CAPABILITIES: []}),
        "name number": call(params={"name": 1, "_meta": ENVELOPE}),
        "name missing": call(params={"_meta": ENVELOPE}),
        "uri missing": call(method="resources/read", params={"_meta": ENVELOPE}),
    }.items():
        yield Hostile(f"envelope: {name}", "T10", data, 400, False, INVALID_PARAMS)
    for version in ("2027-01-01", "latest"):
        data = call(version=version)
        yield Hostile(f"envelope: version {version}", "T10", data, 400, False, UNSUPPORTED_VERSION)


CORPUS = [hostile for part in (_framing, _sizes, _addressees, _media, _bodies, _mirrors) for hostile in part()]
