"""Values in headers: how they are written, and when they agree with the body.

The official SDK's codec is the oracle; where the hub differs, the difference stands here with its reason.
Source: specification 2026-07-28, basic/transports; hardening T9, T11, T12.
"""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mcp.shared.inbound import (
    decode_header_value,
    encode_header_value,
    mcp_param_headers,
    validate_mcp_param_headers,
)
from msgspec import Raw

from concento.model.errors import CallError, HeaderMismatch
from concento.protocol.headers import (
    INTEGER_MAX,
    ParamHeader,
    check_mirror,
    check_name,
    check_params,
    decode_value,
    encode_value,
    mirror_params,
)

FIELD_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
"""What survives a header field unharmed."""


@given(st.text())
@example("")
@example(" a")
@example("a ")
@example("a\tb")
@example("a\r\nX: y")
@example("=?base64?YQ==?=")
@example("=?base64??=")
@example("=?BASE64?YQ==?=")
@example("é")
@example("\x7f")
def test_any_value_survives_a_header(value: str) -> None:
    header = encode_value(value)
    assert FIELD_VALUE.fullmatch(header)
    assert decode_value(header) == value
    assert header == encode_header_value(value)


@pytest.mark.parametrize("value", ["a", "add", "demo__add", "file:///a%20b", "a b", "=?base64?", "?=", "=?base64?a"])
def test_a_plain_value_is_written_as_it_is(value: str) -> None:
    assert encode_value(value) == value


@pytest.mark.parametrize(
    "header",
    [
        "=?base64?YQ?=",  # padding left out
        "=?base64?YQ=?=",
        "=?base64?YQ===?=",
        "=?base64?YR==?=",  # bits left over
        "=?base64?Y Q==?=",
        "=?base64? YQ==?=",
        "=?base64?YQ==\n?=",
        "=?base64?YQ=\x0c=?=",
        "=?base64?w6k?=",
        "=?base64?/w==?=",  # not UTF-8
        "=?base64?7aCA?=",  # an encoded surrogate
        "=?base64?_-8=?=",  # the other alphabet
        "=?base64?é?=",
        "=?base64?!!!!?=",
        "=?base64?YQ==?=?=",
    ],
)
def test_an_encoding_that_is_not_the_one_way_is_refused(header: str) -> None:
    assert decode_value(header) is None


@pytest.mark.parametrize("header", [" a", "a ", "é", "a\x01b", "a\tb", "\x7f"])
def test_a_value_that_had_to_be_encoded_is_refused_bare(header: str) -> None:
    assert decode_value(header) is None


DIFFERENT_DECODING: Mapping[str, tuple[str | None, str]] = {
    "é": (None, "bare non-ASCII reads as Latin-1 here and as UTF-8 elsewhere: two names under one header"),
    "a\tb": (None, "the specification has it encoded, and some proxies fold a tab to a space"),
    " a": (None, "edge white space does not survive: no honest client sends it bare"),
    "=?base64?é?=": (None, "the SDK's decoder raises ValueError"),
    "=?base64?YQ==\n?=": (None, "the SDK takes it for a literal; neither matches a body that a client may mirror"),
}


@pytest.mark.parametrize(("header", "expected"), [(key, value[0]) for key, value in DIFFERENT_DECODING.items()])
def test_where_decoding_differs_from_the_sdk(header: str, expected: str | None) -> None:
    assert decode_value(header) == expected
    try:
        assert decode_header_value(header) != expected
    except ValueError:
        assert header == "=?base64?é?="


@given(
    st.from_regex(FIELD_VALUE, fullmatch=True)
    | st.text("=?base64YQw6k/+_-", max_size=12).map(lambda inner: f"=?base64?{inner}?=")
    | st.binary(max_size=8).map(lambda data: f"=?base64?{base64.b64encode(data).decode()}?=")
)
def test_every_field_value_decodes_as_the_sdk_decodes_it(header: str) -> None:
    assert decode_value(header) == decode_header_value(header)


def code(error: pytest.ExceptionInfo[CallError]) -> int:
    return error.value.code


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (None, "a"),
        ("", "a"),
        ("b", "a"),
        ("A", "a"),
        ("a ", "a"),
        ("é", "é"),
        ("Ã©", "é"),
        ("=?base64?YQ==?=", "=?base64?YQ==?="),  # an intermediary decodes it, and sees another name
        ("=?base64?Yg==?=", "a"),
        ("=?base64?YQ?=", "a"),
        ("=?BASE64?YQ==?=", "a"),
        ("a,a", "a"),
        ("a, b", "a"),
    ],
)
def test_a_name_that_the_header_does_not_repeat_is_refused(header: str | None, name: str) -> None:
    with pytest.raises(HeaderMismatch) as error:
        check_name(header, name)
    assert code(error) == -32020


@given(st.text())
def test_a_name_agrees_with_its_own_encoding(name: str) -> None:
    check_name(encode_value(name), name)
    check_name(f"=?base64?{base64.b64encode(name.encode()).decode()}?=", name)  # needless, and legal


def test_only_names_and_parameters_may_be_encoded() -> None:
    check_mirror("Mcp-Method", "tools/call", "tools/call")
    with pytest.raises(HeaderMismatch):
        check_mirror("Mcp-Method", "=?base64?dG9vbHMvY2FsbA==?=", "tools/call")


# ---- parameters

REGION = ParamHeader(("region",), "Region", "string")
LIMIT = ParamHeader(("paging", "limit"), "Limit", "integer")
DRY = ParamHeader(("dry",), "Dry-Run", "boolean")
DECLARED = (REGION, LIMIT, DRY)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "paging": {"type": "object", "properties": {"limit": {"type": "integer", "x-mcp-header": "Limit"}}},
        "dry": {"type": "boolean", "x-mcp-header": "Dry-Run"},
    },
}


def fields(**values: str) -> dict[str, str]:
    return {f"mcp-param-{name.replace('_', '-')}": value for name, value in values.items()}


def agrees(arguments: str | None, sent: Mapping[str, str]) -> bool:
    try:
        check_params(DECLARED, None if arguments is None else Raw(arguments.encode()), sent)
    except HeaderMismatch:
        return False
    return True


AGREE: list[tuple[str | None, dict[str, str]]] = [
    (None, {}),
    ("{}", {}),
    ('{"region":null}', {}),
    ('{"region":"eu"}', fields(region="eu")),
    ('{"region":"é"}', fields(region="=?base64?w6k=?=")),
    ('{"region":""}', fields(region="")),
    ('{"paging":{"limit":42}}', fields(limit="42")),
    ('{"paging":{"limit":42}}', fields(limit="42.0")),
    ('{"paging":{"limit":42.0}}', fields(limit="42")),
    ('{"paging":{"limit":-7}}', fields(limit="-7")),
    ('{"paging":{"limit":0}}', fields(limit="-0")),
    (f'{{"paging":{{"limit":{INTEGER_MAX}}}}}', fields(limit=str(INTEGER_MAX))),
    ('{"dry":true}', fields(dry_run="true")),
    ('{"dry":false,"region":"eu","paging":{"limit":1}}', fields(dry_run="false", region="eu", limit="1")),
    ('{"paging":[1]}', {}),
    ('{"paging":"x"}', {}),
    ("{}", fields(unknown="x")),
]

DISAGREE: list[tuple[str | None, dict[str, str]]] = [
    (None, fields(region="eu")),
    ("{}", fields(region="eu")),
    ("{}", fields(region="")),
    ('{"region":null}', fields(region="null")),
    ('{"region":"eu"}', {}),
    ('{"region":"eu"}', fields(region="us")),
    ('{"region":"eu"}', fields(region="EU")),
    ('{"region":"eu"}', fields(region="=?base64?ZXU?=")),
    ('{"region":"é"}', fields(region="é")),
    ('{"region":"1"}', fields(region="1.0")),
    ('{"paging":{"limit":42}}', fields(limit="43")),
    ('{"paging":{"limit":42}}', fields(limit="42.5")),
    ('{"paging":{"limit":42}}', fields(limit="4_2")),
    ('{"paging":{"limit":42}}', fields(limit="+42")),
    ('{"paging":{"limit":42}}', fields(limit="42e0")),
    ('{"paging":{"limit":42}}', fields(limit=" 42")),
    ('{"paging":{"limit":42}}', fields(limit="0x2a")),
    ('{"paging":{"limit":42}}', fields(limit=encode_value("٤٢"))),
    ('{"paging":{"limit":42}}', fields(limit="42." + "0" * 100)),
    ('{"paging":{"limit":42}}', fields(limit="inf")),
    (f'{{"paging":{{"limit":{INTEGER_MAX}}}}}', fields(limit=f"{INTEGER_MAX - 1}.6")),  # equal once both are floats
    ('{"paging":{"limit":1}}', fields(limit="true")),
    ('{"paging":{"limit":true}}', fields(limit="1")),
    ('{"dry":true}', fields(dry_run="True")),
    ('{"dry":true}', fields(dry_run="1")),
    ('{"dry":"true"}', {}),
    ('{"region":["eu"]}', fields(region="eu")),
    ('{"region":{}}', fields(region="{}")),
]


@pytest.mark.parametrize(("arguments", "sent"), AGREE)
def test_parameters_that_agree_pass(arguments: str | None, sent: dict[str, str]) -> None:
    assert agrees(arguments, sent)


@pytest.mark.parametrize(("arguments", "sent"), DISAGREE)
def test_parameters_that_differ_are_refused(arguments: str | None, sent: dict[str, str]) -> None:
    assert not agrees(arguments, sent)


DIFFERENT_PARAMETERS: Mapping[tuple[str | None, str], str] = {
    ('{"region":"é"}', "é"): "bare non-ASCII, as in names",
    ('{"paging":{"limit":42}}', "42." + "0" * 100): "sixteen zeros say as much as a hundred",
}
"""Where the SDK lets a header pass that the hub refuses, and why."""


@pytest.mark.parametrize(("arguments", "sent"), [*AGREE, *DISAGREE])
def test_parameters_agree_where_the_sdk_says_so(arguments: str | None, sent: dict[str, str]) -> None:
    theirs = validate_mcp_param_headers(SCHEMA, json.loads(arguments or "{}"), sent) is None
    if theirs != agrees(arguments, sent):
        assert (arguments, next(iter(sent.values()))) in DIFFERENT_PARAMETERS


@pytest.mark.parametrize(
    "arguments",
    [
        '{"region":"eu","region":"us"}',
        '{"region":"eu","\\u0072egion":"us"}',
        '{"paging":{"limit":1,"limit":2}}',
        '{"other":{"a":1,"a":2}}',
    ],
)
@pytest.mark.parametrize("sent", [fields(region="eu"), fields(region="us"), {}])
def test_arguments_that_are_read_name_no_member_twice(arguments: str, sent: dict[str, str]) -> None:
    for read in (lambda: check_params(DECLARED, Raw(arguments.encode()), sent), lambda: mirror(arguments)):
        with pytest.raises(CallError) as error:
            read()
        assert code(error) == -32600


def test_a_number_too_long_to_read_is_the_callers_fault() -> None:
    with pytest.raises(CallError) as error:
        mirror('{"region":"eu","x":' + "9" * 5000 + "}")
    assert error.value.fault == "caller"


def mirror(arguments: str | None) -> dict[str, str]:
    return dict(mirror_params(DECLARED, None if arguments is None else Raw(arguments.encode())))


PATHS = {param.path: param.header for param in DECLARED}
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "region": st.none() | st.text(),
        "paging": st.fixed_dictionaries({}, optional={"limit": st.integers(-INTEGER_MAX, INTEGER_MAX)}) | st.text(),
        "dry": st.booleans(),
        "x": st.floats(allow_nan=False),
    },
)


@given(ARGUMENTS)
def test_mirrored_parameters_are_those_of_the_sdk_and_agree(arguments: dict[str, Any]) -> None:
    arguments.pop("x", None) if arguments.get("x") in (float("inf"), float("-inf")) else None
    sent = mirror(json.dumps(arguments))
    assert sent == mcp_param_headers(PATHS, arguments)
    assert all(FIELD_VALUE.fullmatch(value) for value in sent.values())
    assert agrees(json.dumps(arguments), {name.lower(): value for name, value in sent.items()})
    assert validate_mcp_param_headers(SCHEMA, arguments, sent) is None


def test_what_no_header_can_say_is_not_mirrored() -> None:
    assert mirror(None) == {}
    assert mirror(f'{{"region":["eu"],"paging":{{"limit":{INTEGER_MAX + 1}}},"dry":null}}') == {}
