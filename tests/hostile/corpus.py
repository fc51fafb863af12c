"""The whole corpus: what any front must refuse, and what takes a whole hub to judge (its tools, its sessions).

Source: hardening T7 to T12, T26. The hub is that of `rig.py`: its server `a`, its tools `t`, `delete_all`, `mirrored`.
"""

import json
from collections.abc import Iterator
from typing import Any

from tests.front.corpus import CORPUS as FRONT
from tests.front.corpus import (
    ENVELOPE,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    JSON,
    NOW,
    UNSUPPORTED_VERSION,
    VERSION,
    Hostile,
    call,
    request,
)

METHOD_NOT_FOUND = -32601
ACCEPT = "Accept: application/json, text/event-stream"
LEGACY = "MCP-Protocol-Version: 2025-11-25"


def stolen() -> bytes:
    """The call that a smuggler wants to have run: whole, well-formed, and never to reach the server."""
    return call("Mcp-Name: delete_all", params={"name": "delete_all", "arguments": {"value": "x"}, "_meta": ENVELOPE})


def smuggled(*fields: str, body: bytes | None = None) -> bytes:
    """A request whose end two parsers may see in two places, and behind the nearer one a whole call."""
    return request(b"0\r\n\r\n" + stolen() if body is None else body, JSON, *fields, length=False)


def _smuggling() -> Iterator[Hostile]:
    behind = len(b"0\r\n\r\n" + stolen())
    for name, fields in {
        "both, the length first": ["Content-Length: 5", "Transfer-Encoding: chunked"],
        "both, the coding first": ["Transfer-Encoding: chunked", "Content-Length: 5"],
        "both, and the length takes all": [f"Content-Length: {behind}", "Transfer-Encoding: chunked"],
        "both, the coding in capitals": ["Content-Length: 5", "TRANSFER-ENCODING: CHUNKED"],
        "both, the coding after a tab": ["Content-Length: 5", "Transfer-Encoding:\tchunked"],
        "both, the coding before a tab": ["Content-Length: 5", "Transfer-Encoding: chunked\t"],
        "both, a coding of two": ["Content-Length: 5", "Transfer-Encoding: identity, chunked"],
        "both, a coding with a parameter": ["Content-Length: 5", "Transfer-Encoding: chunked;q=1"],
        "both, a list with a gap": ["Content-Length: 5", "Transfer-Encoding: ,chunked"],
        "both, a list with an end left open": ["Content-Length: 5", "Transfer-Encoding: chunked,"],
        "both, a coding nearly right": ["Content-Length: 5", "Transfer-Encoding: chunke"],
        "both, two codings in two fields": [
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "Transfer-encoding: cow",
        ],
        "both, a coding behind a form feed": ["Content-Length: 5", "Transfer-Encoding: \x0cchunked"],
        "both, a coding behind a non-breaking space": ["Content-Length: 5", "Transfer-Encoding: \xa0chunked"],
        "both, a space before the colon": ["Content-Length: 5", "Transfer-Encoding : chunked"],
        "both, a tab before the colon": ["Content-Length: 5", "Transfer-Encoding\t: chunked"],
        "both, the coding folded": ["Content-Length: 5", "Transfer-Encoding:\r\n chunked"],
        "both, the coding behind a bare LF": ["Content-Length: 5", "X: y\nTransfer-Encoding: chunked"],
        "both, the coding behind a bare CR": ["Content-Length: 5", "X: y\rTransfer-Encoding: chunked"],
        "both, a name that NUL cuts": ["Content-Length: 5", "Transfer-Encoding\0: chunked"],
        "both, an underscore": ["Content-Length: 5", "Transfer_Encoding: chunked"],
        "both, a name in quotes": ["Content-Length: 5", '"Transfer-Encoding": chunked'],
        "two lengths": ["Content-Length: 5", f"Content-Length: {behind}"],
        "two lengths, the far one first": [f"Content-Length: {behind}", "Content-Length: 5"],
        "two lengths in one field": [f"Content-Length: 5, {behind}"],
        "two lengths, one in another case": ["content-length: 5", f"CONTENT-LENGTH: {behind}"],
        "two lengths, one with an underscore": ["Content-Length: 5", f"Content_Length: {behind}"],
        "two lengths, one behind a bare LF": ["Content-Length: 5", f"X: y\nContent-Length: {behind}"],
        "two lengths, one folded": ["Content-Length: 5", f"Content-Length:\r\n {behind}"],
        "a length with a sign": ["Content-Length: +5"],
        "a length in octal clothes": ["Content-Length: 0o5"],
        "a length with an exponent": ["Content-Length: 5e0"],
        "a length with a decimal point": ["Content-Length: 5.0"],
        "a length with a vertical tab": ["Content-Length: \x0b5"],
        "a length in foreign digits": ["Content-Length: \xb5"],
        "a length with a semicolon": ["Content-Length: 5;"],
        "a space before the length's colon": ["Content-Length : 5"],
    }.items():
        yield Hostile(f"smuggle: {name}", "T12", smuggled(*fields), 400, True)
    chunked = "Transfer-Encoding: chunked"
    for name, body in {
        "a chunk's size ends in LF alone": b"0\n\r\n" + stolen(),
        "a chunk's size ends in CR alone": b"0\r\r\n" + stolen(),
        "a chunk's extension hides a line end": b"5;a=\n\r\nhello\r\n0\r\n\r\n" + stolen(),
        "a chunk's extension with a bare CR": b"5;a\rb\r\nhello\r\n0\r\n\r\n" + stolen(),
        "a chunk's size wraps at 64 bits": b"10000000000000000\r\n" + stolen(),
        "a chunk's size is negative": b"-1\r\n" + stolen(),
        "a chunk's size has a space within": b"0 0\r\n\r\n" + stolen(),
        "a chunk's data runs over": b"1\r\nab0\r\n\r\n" + stolen(),
        "a chunk's end is two bytes of other kind": b"1\r\naXY0\r\n\r\n" + stolen(),
        "trailers that are a request": b"0\r\n" + stolen(),
        "trailers with a length": b"0\r\nContent-Length: 1000\r\n\r\n" + stolen(),
        "trailers behind a bare LF": b"0\r\nX: y\n\r\n" + stolen(),
    }.items():
        yield Hostile(f"smuggle: {name}", "T12", smuggled(chunked, body=body), 400, True)
    for name, data in {
        "a coding in HTTP/1.0": smuggled(chunked).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        "a body of GET": smuggled("Content-Length: 5").replace(b"POST", b"GET", 1),
        "chunks of GET": smuggled(chunked).replace(b"POST", b"GET", 1),
        "chunks of DELETE": smuggled(chunked).replace(b"POST", b"DELETE", 1),
        "an upgrade with chunks": smuggled(chunked, "Connection: upgrade", "Upgrade: h2c"),
        "a tunnel": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + stolen(),
        "a request line that holds a request": b"POST /mcp HTTP/1.1\r\n\r\n".replace(b"/mcp", b"/mcp\x20HTTP/1.1")
        + stolen(),
    }.items():
        yield Hostile(f"smuggle: {name}", "T12", data, 400, True)


def _names() -> Iterator[Hostile]:
    """Header and body that name two things, where both exist."""
    for name, data in {
        "a safe tool before another": call("Mcp-Name: t", params={"name": "delete_all", "_meta": ENVELOPE}),
        "another tool before a safe one": call("Mcp-Name: delete_all"),
        "a tool's name with the server's": call("Mcp-Name: a__t"),
        "a tool's own name": call("Mcp-Name: echo"),
        "a name with a space inside": call("Mcp-Name: t t"),
        "a name in single quotes": call("Mcp-Name: 't'"),
        "a name with a look-alike": call("Mcp-Name: \xfe"),
        "a name in encoded words of mail": call("Mcp-Name: =?utf-8?B?dA==?="),
        "a name in another case of the marker": call("Mcp-Name: =?BASE64?dA==?="),
        "a name encoded twice": call("Mcp-Name: =?base64?PT9iYXNlNjQ/ZEE9PT89?="),
        "an encoded name with white space": call("Mcp-Name: =?base64?dA== ?="),
        "an encoded name in the other alphabet": call("Mcp-Name: =?base64?_-8=?="),
        "an encoded name that is no UTF-8": call("Mcp-Name: =?base64?/w==?="),
        "an empty encoded name": call("Mcp-Name: =?base64??="),
        "an encoded version": call(f"MCP-Protocol-Version: =?base64?{'MjAyNi0wNy0yOA=='}?="),
        "a version in quotes": call(f'MCP-Protocol-Version: "{NOW}"'),
        "a list of versions": call(f"MCP-Protocol-Version: {NOW}, {NOW}"),
        "a list of methods": call("Mcp-Method: tools/list, tools/call"),
        "a method with a slash more": call("Mcp-Method: tools//call"),
        "the method of a list for a call": call("Mcp-Method: prompts/get"),
        "a name for a prompt": call(
            "Mcp-Name: t", method="prompts/get", params={"name": "greet", "arguments": {"who": "x"}, "_meta": ENVELOPE}
        ),
        "a name for a resource": call(
            "Mcp-Name: test://static/text", method="resources/read", params={"uri": "test://other", "_meta": ENVELOPE}
        ),
        "no name for a resource": call(
            "X-Without: Mcp-Name", method="resources/read", params={"uri": "test://other", "_meta": ENVELOPE}
        ),
    }.items():
        yield Hostile(f"mirror: {name}", "T9", data, 400, False, HEADER_MISMATCH)
    given = {"region": "north"}
    for name, fields, arguments in (
        ("is missing", [], given),
        ("differs", ["Mcp-Param-Region: south"], given),
        ("differs in case", ["Mcp-Param-Region: North"], given),
        ("is empty", ["Mcp-Param-Region:"], given),
        ("comes twice", ["Mcp-Param-Region: north", "Mcp-Param-Region: south"], given),
        ("comes twice alike", ["Mcp-Param-Region: north", "mcp-param-region: north"], given),
        ("is a list", ["Mcp-Param-Region: north, south"], given),
        ("is badly encoded", ["Mcp-Param-Region: =?base64?bm9ydGg?="], given),
        ("is encoded and differs", ["Mcp-Param-Region: =?base64?c291dGg=?="], given),
        ("repeats no argument", ["Mcp-Param-Region: north"], {}),
        ("repeats an argument that is null", ["Mcp-Param-Region: null"], {"region": None}),
        ("stands for text with a line end, bare", ["Mcp-Param-Region: north"], {"region": "north\r\nX: y"}),
    ):
        data = call(
            "Mcp-Name: mirrored", *fields, params={"name": "mirrored", "arguments": arguments, "_meta": ENVELOPE}
        )
        yield Hostile(f"mirror: a parameter that {name}", "T9", data, 400, False, HEADER_MISMATCH)


def _members() -> Iterator[Hostile]:
    """Bodies that two JSON parsers read apart, where it matters which tool runs on what."""
    mirrored = (JSON, f"MCP-Protocol-Version: {NOW}", "Mcp-Method: tools/call", "Mcp-Name: t")

    def body(params: str) -> bytes:
        envelope = json.dumps(ENVELOPE)
        text = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params},"_meta":{envelope}}}}}'
        return request(text.encode(), *mirrored)

    for name, params in {
        "Name beside name": '"name":"t","Name":"delete_all"',
        "NAME before name": '"NAME":"delete_all","name":"t"',
        "Arguments beside arguments": '"name":"t","arguments":{},"Arguments":{"text":"x"}',
        "Arguments in place of arguments": '"name":"t","Arguments":{"text":"x"}',
        "arguments with a long s": '"name":"t","arguments":{},"argument\u017f":{"text":"x"}',
        "a name in escapes beside name": '"name":"t","\\u004eame":"delete_all"',
        "_Meta beside _meta": '"name":"t","_Meta":{}',
    }.items():
        yield Hostile(f"body: {name}", "T11", body(params), 400, False, INVALID_REQUEST)
    ref = {"type": "ref/prompt", "name": "greet", "Name": "other"}
    asked = {"ref": ref, "argument": {"name": "who", "value": ""}, "_meta": ENVELOPE}
    data = call("X-Without: Mcp-Name", method="completion/complete", params=asked)
    yield Hostile("body: Name beside name in a reference", "T11", data, 400, False, INVALID_REQUEST)
    named = (JSON, f"MCP-Protocol-Version: {NOW}", "Mcp-Method: tools/call", "Mcp-Name: mirrored")
    for name, arguments, code in (
        ("a mirrored argument twice", '{"region":"north","region":"south"}', INVALID_REQUEST),
        ("a mirrored argument twice, in escapes", '{"region":"north","\\u0072egion":"south"}', INVALID_REQUEST),
        ("a member twice below arguments that are read", '{"region":"north","x":{"y":1,"y":2}}', INVALID_REQUEST),
        ("5,000 digits in arguments that are read", '{"region":"north","n":' + "9" * 5000 + "}", INVALID_PARAMS),
    ):
        stated = f'{{"name":"mirrored","arguments":{arguments},"_meta":{json.dumps(ENVELOPE)}}}'
        text = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{stated}}}'
        data = request(text.encode(), *named, "Mcp-Param-Region: north")
        yield Hostile(f"body: {name}", "T26" if "digits" in name else "T11", data, 400, False, code)
    wide = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","x":[' + "[],[]," * 50_000 + "[]]}}"
    yield Hostile("body: 100,001 arrays", "T26", request(wide.encode(), *mirrored), 400, False)
    fields = (f"Mcp-Param-X{number}: a" for number in range(100))
    yield Hostile("100 parameters in fields", "T26", call(*fields), 431, True)
    data = request(b"1;" + b"a" * 400_000, JSON, "Transfer-Encoding: chunked", length=False)
    yield Hostile("endless extension", "T26", data, 431, True)
    data = request(b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", JSON, "Transfer-Encoding: chunked", length=False)
    yield Hostile("20,000 trailers", "T26", data, 431, True)


def _eras() -> Iterator[Hostile]:
    """Requests that dress one era up as the other, and sessions that are nobody's."""

    def legacy(*fields: str, method: str = "ping", params: Any = None, target: str = "/mcp") -> bytes:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, **({} if params is None else {"params": params})}
        return request(json.dumps(message).encode(), JSON, ACCEPT, *fields, target=target)

    t = {"name": "t", "arguments": {"text": "x"}}
    steered = ("Mcp-Method: tools/list", "Mcp-Name: safe")
    for name, data, status, code in (
        ("a legacy call without a session", legacy(LEGACY, method="tools/call", params=t), 400, INVALID_REQUEST),
        ("mirrors on a legacy call", legacy(LEGACY, *steered, method="tools/call", params=t), 400, INVALID_REQUEST),
        ("no version and no session", legacy(method="tools/call", params=t), 400, INVALID_REQUEST),
        ("a version before the first", legacy("MCP-Protocol-Version: 2023-01-01"), 400, INVALID_REQUEST),
        ("a version that is a path", legacy("MCP-Protocol-Version: ../../x"), 400, INVALID_REQUEST),
        ("a modern version without an envelope", legacy(f"MCP-Protocol-Version: {NOW}"), 400, INVALID_PARAMS),
        ("a coming version without an envelope", legacy("MCP-Protocol-Version: 2027-01-01"), 400, INVALID_PARAMS),
        (
            "a session beside a modern version",
            legacy(f"MCP-Protocol-Version: {NOW}", "Mcp-Session-Id: x", method="tools/call", params=t),
            400,
            INVALID_PARAMS,
        ),
        (
            "a legacy version in the envelope",
            call(version="2025-11-25", params={**t, "_meta": {**ENVELOPE, VERSION: "2025-11-25"}}),
            400,
            UNSUPPORTED_VERSION,
        ),
        ("a method that is none", call(method="tools/execute"), 404, METHOD_NOT_FOUND),
        ("a method in another case", call(method="Tools/Call"), 404, METHOD_NOT_FOUND),
        ("a method of the server's side", call(method="sampling/createMessage"), 404, METHOD_NOT_FOUND),
        ("a method of the other era", call(method="resources/subscribe"), 404, METHOD_NOT_FOUND),
        (
            "a response",
            request(b'{"jsonrpc":"2.0","id":1,"result":{}}', JSON, f"MCP-Protocol-Version: {NOW}"),
            400,
            -32600,
        ),
    ):
        yield Hostile(f"era: {name}", "T10", data, status, False, code)
    forged = "Mcp-Session-Id: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    for name, data, status, code in (
        ("forged", legacy(LEGACY, forged, method="tools/call", params=t), 404, INVALID_REQUEST),
        ("empty", legacy(LEGACY, "Mcp-Session-Id:", method="tools/call", params=t), 404, INVALID_REQUEST),
        ("long", legacy(LEGACY, "Mcp-Session-Id: " + "A" * 9000), 404, INVALID_REQUEST),
        ("a path", legacy(LEGACY, "Mcp-Session-Id: ../../x"), 404, INVALID_REQUEST),
        ("a wildcard", legacy(LEGACY, "Mcp-Session-Id: *"), 404, INVALID_REQUEST),
        ("two", legacy(LEGACY, forged, forged + "B"), 404, INVALID_REQUEST),
        ("forged on a view", legacy(LEGACY, forged, target="/views/a/mcp"), 404, INVALID_REQUEST),
        ("forged on a server", legacy(LEGACY, forged, target="/servers/a/mcp"), 404, INVALID_REQUEST),
        ("forged, to listen", request(b"", LEGACY, forged, ACCEPT, method="GET"), 404, INVALID_REQUEST),
        ("forged, to end it", request(b"", LEGACY, forged, method="DELETE"), 404, INVALID_REQUEST),
        ("none, to end it", request(b"", LEGACY, method="DELETE"), 400, INVALID_REQUEST),
        ("forged on a stream", legacy(target="/messages?session=AAAA"), 404, INVALID_REQUEST),
        ("none on a stream", legacy(target="/messages"), 404, INVALID_REQUEST),
        ("two on a stream", legacy(target="/messages?session=a&session=b"), 404, INVALID_REQUEST),
    ):
        yield Hostile(f"session: {name}", "T7", data, status, False, code)


CORPUS = [*FRONT, *(hostile for part in (_smuggling, _names, _members, _eras) for hostile in part())]
