"""Messages in and out. The official types are the oracle for what is written.

Source: JSON-RPC 2.0; hardening T11, T26, R4.
"""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types.jsonrpc import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from msgspec import Raw

from concento.model.call import Failure, Request, Result
from concento.model.errors import BadReply
from concento.protocol import legacy, modern
from concento.protocol.jsonrpc import (
    Message,
    Push,
    Rejection,
    Response,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
    parse,
    parse_batch,
    parse_incoming,
    raw,
    read_object,
    read_string,
)


def request(id: str = "1", params: str | None = '{"a":1}', method: str = '"x"') -> bytes:
    rest = "" if params is None else f',"params":{params}'
    return f'{{"jsonrpc":"2.0","id":{id},"method":{method}{rest}}}'.encode()


def accepted(text: bytes) -> Message:
    message = parse(text)
    assert isinstance(message, Message), message.error
    return message


def code(text: bytes) -> int:
    rejection = parse(text)
    assert isinstance(rejection, Rejection)
    return rejection.error.code


# ---- what agents send


@pytest.mark.parametrize("id", ["1", "0", "-1", "-0", '"a"', '""', '"\\u0061"', "9" * 100, '"' + "a" * 10_000 + '"'])
def test_an_id_comes_back_as_it_was_written(id: str) -> None:
    assert accepted(request(id)).id == id.encode()


@pytest.mark.parametrize(
    "id",
    ["null", "true", "false", "1.0", "1.5", "1e2", "[1]", "{}", "9" * 5000, "-" + "9" * 5000, "1e400"],
)
def test_an_id_that_is_neither_string_nor_integer_is_an_invalid_request(id: str) -> None:
    rejection = parse(request(id))
    assert isinstance(rejection, Rejection)
    assert (rejection.error.code, rejection.id) == (-32600, None)


NOT_JSON = {
    "nothing": b"",
    "blank": b" \n",
    "cut": request()[:-1],
    "more after the end": request() + b"x",
    "two messages": request() + request(),
    "byte order mark": b"\xef\xbb\xbf" + request(),
    "UTF-16": request().decode().encode("utf-16"),
    "UTF-16 without a mark": request().decode().encode("utf-16-le"),
    "UTF-32 without a mark": request().decode().encode("utf-32-be"),
    "NaN": request(params='{"a":NaN}'),
    "Infinity": request(params='{"a":Infinity}'),
    "-Infinity": request(params='{"a":-Infinity}'),
    "lone surrogate in arguments": request(params='{"a":{"b":["\\ud800"]}}'),
    "surrogates in the wrong order": request(params='{"a":"\\udc00\\ud800"}'),
    "lone surrogate in a key": request(params='{"a":{"\\udfff":1}}'),
    "lone surrogate in the id": request('"\\ud800"'),
    "lone surrogate in the method": request(method='"\\udbff"'),
    "raw control character": request(params='{"a":"\n"}'),
    "NUL in a string": request(params='{"a":"\0"}'),
    "unknown escape": request(params='{"a":"\\x41"}'),
    "short escape": request(params='{"a":"\\u12"}'),
    "single quotes": request(params="{'a':1}"),
    "bare key": request(params="{a:1}"),
    "comma at the end of an array": request(params='{"a":[1,]}'),
    "comma at the end of an object": request(params='{"a":1,}'),
    "comment": request(params='{"a":1/**/}'),
    "leading zero": request(params='{"a":01}'),
    "plus": request(params='{"a":+1}'),
    "hexadecimal": request(params='{"a":0x1}'),
    "dot without digits": request(params='{"a":1.}'),
    "no digit before the dot": request(params='{"a":.5}'),
    "vertical tab between tokens": request(params='{"a":\v1}'),
    "no-break space between tokens": request(params='{"a":\u00a01}'),
    "not UTF-8 in a skipped string": request(params='{"a":"%"}').replace(b"%", b"\xff"),
    "open brackets without end": b"[" * 64,
}


@pytest.mark.parametrize("text", NOT_JSON.values(), ids=NOT_JSON)
def test_what_parsers_disagree_about_is_no_json(text: bytes) -> None:
    assert code(text) in (-32700, -32600)
    assert isinstance(parse(text), Rejection)


@pytest.mark.parametrize("name", ["NaN", "lone surrogate in arguments", "byte order mark", "cut", "nothing"])
def test_what_is_no_json_is_a_parse_error(name: str) -> None:
    assert code(NOT_JSON[name]) == -32700


@pytest.mark.parametrize(
    ("text", "expected", "id"),
    [
        (b"[]", -32600, None),
        (b"[" + request() + b"]", -32600, None),
        (b"1", -32600, None),
        (b"null", -32600, None),
        (b'"x"', -32600, None),
        (b"{}", -32600, None),
        (b'{"id":1,"method":"x"}', -32600, b"1"),
        (b'{"jsonrpc":"1.0","id":1,"method":"x"}', -32600, b"1"),
        (b'{"jsonrpc":2.0,"id":1,"method":"x"}', -32600, b"1"),
        (b'{"jsonrpc":"2.0","id":1}', -32600, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"Method":"x"}', -32600, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"METHOD":"x","params":{}}', -32600, b"1"),
        (b'{"jsonrpc":"2.0","result":{}}', -32600, None),
        (request(method="1"), -32600, b"1"),
        (request(method="null"), -32600, b"1"),
        (request(params="[]"), -32602, b"1"),
        (request(params="[1]"), -32602, b"1"),
        (request(params="null"), -32602, b"1"),
        (request(params='"a"'), -32602, b"1"),
        (request(params='{"_meta":[]}'), -32602, b"1"),
        (request(params='{"_meta":null}'), -32602, b"1"),
    ],
)
def test_json_that_is_no_request_is_refused_with_the_id_it_had(text: bytes, expected: int, id: bytes | None) -> None:
    rejection = parse(text)
    assert isinstance(rejection, Rejection)
    assert (rejection.error.code, rejection.id) == (expected, id)


@pytest.mark.parametrize(
    "text",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}',
        b'{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}',
        b'{"jsonrpc":"2.0","id":1,"method":"a","\\u006dethod":"b"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "a", "method": "b"}',
        request(params='{"name":"safe","name":"delete_all"}'),
        request(params='{"name":"safe","\\u006eame":"delete_all"}'),
        request(params='{"name":"safe", "name":"delete_all"}'),
        request(params='{"_meta":{},"_meta":{}}'),
        request(params='{"_meta":{"a":1,"a":2}}'),
        request(params='{"_meta":{"a": 1, "a": 2}}'),
        request(params='{"_meta":{"a":1},"\\u005fmeta":{"a":2}}'),
        b'{"jsonrpc":"2.0","id":1,"method":"a","params":{},"params":{}}',
    ],
)
def test_a_member_named_twice_where_it_is_read_is_an_invalid_request(text: bytes) -> None:
    assert code(text) == -32600


@pytest.mark.parametrize(
    "params",
    [
        '{"name":"safe","Name":"delete_all"}',
        '{"NAME":"delete_all"}',
        '{"name":"safe","Arguments":{}}',
        '{"name":"safe","argument\u017f":{}}',
        '{"name":"safe","\\u004eame":"delete_all"}',
        '{"_META":{}}',
    ],
)
def test_a_member_that_a_parser_blind_to_case_would_read_is_an_invalid_request(params: str) -> None:
    """T11: encoding/json of Go takes the last of `name` and `Name`, and its server would run what we did not judge."""
    assert code(request(params=params)) == -32600


def test_what_is_read_may_be_part_of_another_name() -> None:
    assert accepted(request(params='{"name":"t","Names":1,"x-Name":2,"n":3}')).params.keys() == {
        "name",
        "Names",
        "x-Name",
        "n",
    }


def test_arguments_that_nobody_reads_are_kept_byte_for_byte() -> None:
    message = accepted(request(params='{"arguments":{"b":1,"b":2, "c":1e2,"d":' + "9" * 5000 + "}}"))
    assert bytes(message.params["arguments"]) == b'{"b":1,"b":2, "c":1e2,"d":' + b"9" * 5000 + b"}"


def test_meta_is_taken_out_of_the_params() -> None:
    message = accepted(request(params='{"a":1,"_meta":{"progressToken":7}}'))
    assert message.params == {"a": Raw(b"1")}
    assert message.meta == {"progressToken": Raw(b"7")}


@pytest.mark.parametrize("params", [None, "{}", "{ }"])
def test_a_request_without_params_has_none(params: str | None) -> None:
    message = accepted(request(params=params))
    assert (message.kind, message.params, message.meta) == ("request", {}, None)


def test_a_message_without_an_id_is_a_notification() -> None:
    message = accepted(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}')
    assert (message.kind, message.id, message.method) == ("notification", None, "notifications/cancelled")


@pytest.mark.parametrize("answer", ['"result":{"a":1}', '"error":{"code":-1,"message":"no"}'])
def test_an_answer_to_a_request_of_ours_is_a_response(answer: str) -> None:
    message = accepted(b'{"jsonrpc":"2.0","id":"7",%b}' % answer.encode())
    assert (message.kind, message.id, message.method) == ("response", b'"7"', "")


def test_members_that_are_unknown_are_not_kept() -> None:
    message = accepted(b'{"jsonrpc":"2.0","id":1,"method":"a","Method":"b","extra":1,"params":{"x":1}}')
    assert (message.method, set(message.params)) == ("a", {"x"})


@pytest.mark.parametrize("depth", [62, 63])
def test_the_envelope_counts_into_the_depth(depth: int) -> None:
    text = request(params='{"a":' + "[" * depth + "]" * depth + "}")
    assert isinstance(parse(text), Message if depth == 62 else Rejection)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, request(params='{"a":' + "[" * 9000 + "}")])
def test_hostile_nesting_is_refused_and_no_error_of_ours(text: bytes) -> None:
    assert code(text) in (-32600, -32700)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
WHITE_SPACE: list[dict[str, Any]] = [
    {},
    {"separators": (",", ":")},
    {"indent": 0},
    {"indent": "\t"},
    {"separators": (" \r\n,", "\t: ")},
    {"sort_keys": True, "separators": (",", ":")},
]


@given(
    id=st.integers() | st.text(),
    method=st.text(),
    params=st.dictionaries(st.text(), VALUES, max_size=4),
    meta=st.none() | st.dictionaries(st.text(), VALUES, max_size=3),
    style=st.sampled_from(WHITE_SPACE),
    ascii=st.booleans(),
)
def test_a_request_reads_alike_however_it_is_written(
    id: int | str,
    method: str,
    params: dict[str, Any],
    meta: dict[str, Any] | None,
    style: dict[str, Any],
    ascii: bool,
) -> None:
    params.pop("_meta", None)
    sent = params if meta is None else {**params, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": id, "method": method, "params": sent}
    message = accepted(json.dumps(body, ensure_ascii=ascii, **style).encode())
    assert (message.kind, message.method) == ("request", method)
    assert message.id is not None
    assert json.loads(message.id) == id
    assert {key: json.loads(bytes(value)) for key, value in message.params.items()} == params
    read = None if message.meta is None else {key: json.loads(bytes(value)) for key, value in message.meta.items()}
    assert read == meta


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_a_message_or_a_rejection(text: bytes) -> None:
    assert isinstance(parse(text), Message | Rejection)


@given(st.data())
def test_any_damage_to_a_request_gives_a_message_or_a_rejection(data: st.DataObject) -> None:
    text = bytearray(request(params='{"name":"t","arguments":{"a":[1,"\\u00e9"]},"_meta":{"k":"v"}}'))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        kind = data.draw(st.integers(0, 2))
        if kind == 0:
            del text[at]
        elif kind == 1:
            text[at] = data.draw(st.integers(0, 255))
        else:
            text[at:at] = bytes(text[: data.draw(st.integers(0, 20))])
    result = parse(bytes(text))
    assert isinstance(result, Message | Rejection)
    if isinstance(result, Message):  # then every parser must read it, and read the same
        json.loads(bytes(text))


def test_a_batch_is_divided_into_its_messages() -> None:
    assert parse_batch(b" [" + request("1") + b" , " + request("2") + b"]") == [request("1"), request("2")]
    assert parse_batch(b"[]") == []
    assert parse_batch(request()) is None
    assert parse_batch(b"[1,") is None
    assert parse_batch(b"[" * 100_000) is None


# ---- what agents get

IDS = st.integers(-(2**53), 2**53) | st.text(max_size=20)


@given(IDS, st.dictionaries(st.text(max_size=8), VALUES, max_size=3))
def test_a_result_is_what_the_official_types_expect(id: int | str, result: dict[str, Any]) -> None:
    text = encode_result(bytes(raw(id)), raw(result))
    response = JSONRPCResponse.model_validate_json(text, strict=True)
    assert (response.id, response.result) == (id, result)


@given(st.none() | IDS, st.integers(-40_000, -1), st.text(), st.none() | st.dictionaries(st.text(), st.integers()))
def test_an_error_is_what_the_official_types_expect(
    id: int | str | None, number: int, message: str, data: dict[str, int] | None
) -> None:
    text = encode_error(None if id is None else bytes(raw(id)), number, message, data)
    error = JSONRPCError.model_validate_json(text, strict=True)
    assert (error.id, error.error.code, error.error.message, error.error.data) == (id, number, message, data)
    assert ("data" in json.loads(text)["error"]) == (data is not None)


def test_raw_data_of_an_error_is_relayed() -> None:
    assert json.loads(encode_error(b"1", -1, "no", Raw(b'{"a":[1]}')))["error"]["data"] == {"a": [1]}


@given(IDS, st.text(), st.dictionaries(st.text(max_size=8), VALUES, max_size=3))
def test_requests_and_notifications_are_what_the_official_types_expect(
    id: int | str, method: str, params: dict[str, Any]
) -> None:
    sent = JSONRPCRequest.model_validate_json(encode_request(id, method, params), strict=True)
    assert (sent.id, sent.method, sent.params) == (id, method, params)
    note = JSONRPCNotification.model_validate_json(encode_notification(method, params), strict=True)
    assert (note.method, note.params) == (method, params)
    assert json.loads(encode_notification(method, raw(params)))["params"] == params


@given(id=st.integers() | st.text(), params=st.dictionaries(st.text(), VALUES, max_size=3))
def test_what_is_written_has_no_line_break(id: int | str, params: dict[str, Any]) -> None:
    assert b"\n" not in encode_request(id, "a\nb", params)
    assert b"\n" not in encode_error(bytes(raw(id)), -1, "a\nb", params)


# ---- what servers send


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', Response(1, Result(Raw(b"{}"), links=False))),
        (b'{"id":"1","result":{}}', Response("1", Result(Raw(b"{}"), links=False))),
        (b' { "id" : 1 , "result" : { "a":1 } } ', Response(1, Result(Raw(b'{ "a":1 }'), links=False))),
        (
            b'{"id":1,"result":{"resultType":"complete","isError":true}}',
            Response(1, Result(Raw(b'{"resultType":"complete","isError":true}'), "complete", True, links=False)),
        ),
        (b'{"id":1,"result":{"isError":"true"}}', Response(1, Result(Raw(b'{"isError":"true"}'), links=False))),
        (b'{"id":1,"error":{"code":-1,"message":"no"}}', Response(1, Failure(-1, "no"))),
        (b'{"id":1,"error":{"code":-1}}', Response(1, Failure(-1, ""))),
        (
            b'{"id":null,"error":{"code":-1,"message":"no","data":[1]}}',
            Response(None, Failure(-1, "no", Raw(b"[1]"))),
        ),
        (b'{"method":"n","params":{"a":1}}', Push(None, "n", Raw(b'{"a":1}'))),
        (b'{"id":3,"method":"ping"}', Push(3, "ping", Raw(b"{}"))),
        (b'{"id":1,"result":{},"unknown":[1]}', Response(1, Result(Raw(b"{}"), links=False))),
    ],
)
def test_a_servers_message_is_read_tolerantly(text: bytes, expected: Response | Push) -> None:
    assert parse_incoming(text) == expected


@pytest.mark.parametrize(
    ("part", "links"),
    [
        (rb'{"type":"resource_link","uri":"s://x","name":"n"}', True),
        (rb'{"type":"\u0072esource","resource":{"uri":"s://x"}}', True),
        (rb'{"type":"text","text":"a \"line\"\n"}', False),
    ],
)
def test_a_result_says_whether_a_uri_may_be_in_it(part: bytes, links: bool) -> None:
    message = parse_incoming(b'{"id":1,"result":{"content":[%b]}}' % part)
    assert isinstance(message, Response)
    assert isinstance(message.reply, Result)
    assert message.reply.links is links


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"id":1}',
        b'{"id":1,"result":[]}',
        b'{"id":1,"result":null}',
        b'{"id":1,"result":"ok"}',
        b'{"id":1.5,"result":{}}',
        b'{"id":true,"result":{}}',
        b'{"id":[1],"result":{}}',
        b'{"id":1,"result":{"resultType":5}}',
        b'{"id":1,"error":"no"}',
        b'{"id":1,"error":null}',
        b'{"id":1,"error":{"message":"no"}}',
        b'{"id":1,"error":{"code":"1","message":"no"}}',
        b'{"method":1}',
        b'{"id":1,"result":{"a":"\xff"}}',
        b'{"id":1,"result":{"a":"\\ud800"}}',
        b'{"id":1,"result":{"a":NaN}}',
        b'\xef\xbb\xbf{"id":1,"result":{}}',
        b'{"id":1,"result":{}} x',
        b'{"id":' + b"9" * 5000 + b',"result":{}}',
        b'{"id":1,"result":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    ],
)
def test_what_is_no_message_of_a_server_is_a_bad_reply(text: bytes) -> None:
    with pytest.raises(BadReply):
        parse_incoming(text)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_of_a_server_give_a_message_or_a_bad_reply(text: bytes) -> None:
    with suppress(BadReply):
        assert isinstance(parse_incoming(text), Response | Push)


@given(VALUES, VALUES)
def test_a_reply_of_any_shape_gives_a_message_or_a_bad_reply(id: object, result: object) -> None:
    for member in ("result", "error", "method", "params"):
        with suppress(BadReply):
            parse_incoming(msgspec.json.encode({"id": id, member: result}))


def test_raw_values_are_read_only_as_what_they_are() -> None:
    assert read_string(Raw(b'"a"')) == "a"
    assert read_string(Raw(b"1")) is None
    assert read_string(None) is None
    assert read_object(Raw(b'{"a":1}')) == {"a": Raw(b"1")}
    assert read_object(Raw(b"[]")) is None
    assert read_object(b"{") is None


def test_no_message_smuggles_another_on_a_line_of_its_own() -> None:
    """Between tokens JSON may break lines, and stdio frames by lines: what an agent wrote on one must not arrive."""
    hidden = b'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"hidden"}}'
    message = accepted(request(params='{"name":"seen","arguments":[\r\n' + hidden.decode() + "\n]}"))
    asked = Request(message.method, message.params, {"k": Raw(b'[\n"\\n"\n]')})
    for writer in (modern.Writer("2026-07-28", {}), legacy.Writer("2025-11-25")):
        text = writer.request(1, asked)
        assert b"\n" not in text
        assert b"\r" not in text
        assert json.loads(text)["params"]["arguments"] == [json.loads(hidden)]
        assert json.loads(text)["params"]["_meta"]["k"] == ["\n"]
    spread = Raw(b'{\r"a":\n"b\\n"}')
    for text in (
        encode_result(b"1", spread),
        encode_error(b"1", -1, "no", spread),
        encode_notification("n", spread),
        encode_request(1, "n", spread),
    ):
        assert b"\n" not in text
        assert b"\r" not in text
        assert b'"b\\n"' in text
