"""The stateless era: which requests are lifted, which code each defect gets, how results and requests are written.

The official SDK's ladder is asked about every mutation, too; where it answers otherwise, the reason stands beside it.
Source: specification 2026-07-28, basic; hardening T8, T9, T10.
"""

import json
from collections.abc import Mapping
from typing import Any

import mcp_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS, InboundLadderRejection, classify_inbound_request
from mcp_types import methods
from mcp_types.jsonrpc import JSONRPCNotification, JSONRPCRequest
from msgspec import Raw, structs

from concento.model import errors
from concento.model.call import ALL, NO_ABILITIES, Call, Failure, Request, Result
from concento.model.errors import CallError
from concento.model.meta import HOPS
from concento.model.principal import ANONYMOUS
from concento.protocol import modern
from concento.protocol.headers import Head, encode_value
from concento.protocol.jsonrpc import Message, parse, raw
from concento.protocol.versions import LEGACY, MODERN, is_modern, negotiate

VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
INFO = "io.modelcontextprotocol/clientInfo"
LEVEL = "io.modelcontextprotocol/logLevel"
NOW = "2026-07-28"

ENVELOPE: dict[str, Any] = {VERSION: NOW, CAPABILITIES: {}}
BODY: dict[str, Any] = {"method": "tools/call", "params": {"name": "t", "arguments": {"a": 1}, "_meta": ENVELOPE}}
HEAD = Head(NOW, "tools/call", "t")


def message(body: Mapping[str, Any]) -> Message:
    parsed = parse(json.dumps({"jsonrpc": "2.0", "id": 1, **body}).encode())
    assert isinstance(parsed, Message)
    return parsed


def lift(body: Mapping[str, Any] = BODY, head: Head | None = HEAD) -> Call:
    return modern.lift(message(body), head, ALL, ANONYMOUS)


def code(body: Mapping[str, Any], head: Head | None) -> int:
    try:
        lift(body, head)
    except CallError as error:
        return error.code
    return 0


def theirs(body: Mapping[str, Any], head: Head | None) -> int:
    """What the SDK's ladder says to the same request."""
    headers = None
    if head is not None:
        given = {"mcp-protocol-version": head.version, "mcp-method": head.method, "mcp-name": head.name}
        headers = {name: value for name, value in given.items() if value is not None}
    verdict = classify_inbound_request(body, headers=headers)
    return verdict.code if isinstance(verdict, InboundLadderRejection) else 0


def params(**changes: Any) -> dict[str, Any]:
    """The body with other params; None leaves one out."""
    merged = {**BODY["params"], **changes}
    return {**BODY, "params": {key: value for key, value in merged.items() if value is not ...}}


def envelope(**changes: Any) -> dict[str, Any]:
    """The body with another envelope; `...` leaves a key out."""
    names = {"version": VERSION, "capabilities": CAPABILITIES, "info": INFO, "level": LEVEL}
    merged = {**ENVELOPE, **{names.get(name, name): value for name, value in changes.items()}}
    return params(_meta={key: value for key, value in merged.items() if value is not ...})


def asked(method: str, header: str | None, /, **rest: Any) -> tuple[dict[str, Any], Head]:
    return {"method": method, "params": {**rest, "_meta": ENVELOPE}}, Head(NOW, method, header)


def head(**changes: Any) -> Head:
    return structs.replace(HEAD, **changes)


LADDER: dict[str, tuple[Mapping[str, Any], Head | None, int]] = {
    # the envelope
    "no params": ({"method": "tools/call"}, HEAD, -32602),
    "no _meta": (params(_meta=...), HEAD, -32602),
    "empty _meta": (params(_meta={}), HEAD, -32602),
    "no version": (envelope(version=...), HEAD, -32602),
    "no capabilities": (envelope(capabilities=...), HEAD, -32602),
    "neither": (envelope(version=..., capabilities=...), HEAD, -32602),
    "no version, on stdio": (envelope(version=...), None, -32602),
    "a version that is a number": (envelope(version=20260728), HEAD, -32602),
    "a version that is null": (envelope(version=None), HEAD, -32602),
    "a version that is null, on stdio": (envelope(version=None), None, -32602),
    "a version that is a list": (envelope(version=[NOW]), HEAD, -32602),
    "capabilities that are null": (envelope(capabilities=None), HEAD, -32602),
    "capabilities that are a list": (envelope(capabilities=[]), HEAD, -32602),
    "capabilities that are a string": (envelope(capabilities="{}"), HEAD, -32602),
    "capabilities under another case": (
        envelope(capabilities=..., **{"io.modelcontextprotocol/ClientCapabilities": {}}),
        HEAD,
        -32602,
    ),
    # headers against the body
    "no version header": (BODY, head(version=None), -32020),
    "another version header": (BODY, head(version="2025-11-25"), -32020),
    "a later version header": (BODY, head(version="2027-01-01"), -32020),
    "an empty version header": (BODY, head(version=""), -32020),
    "an encoded version header": (BODY, head(version="=?base64?MjAyNi0wNy0yOA==?="), -32020),
    "no method header": (BODY, head(method=None), -32020),
    "another method header": (BODY, head(method="tools/list"), -32020),
    "a method header in another case": (BODY, head(method="Tools/Call"), -32020),
    "an empty method header": (BODY, head(method=""), -32020),
    "an encoded method header": (BODY, head(method="=?base64?dG9vbHMvY2FsbA==?="), -32020),
    "no name header": (BODY, head(name=None), -32020),
    "another name header": (params(name="delete_all"), head(name="safe"), -32020),
    "a name header in another case": (BODY, head(name="T"), -32020),
    "an empty name header": (BODY, head(name=""), -32020),
    "a name header of another encoding": (BODY, head(name="=?base64?dQ==?="), -32020),
    "a name header of a bad encoding": (BODY, head(name="=?base64?dA?="), -32020),
    "a name header with bits left over": (BODY, head(name="=?base64?dB==?="), -32020),
    "a name header that is not UTF-8": (params(name="\ufffd"), head(name="=?base64?/w==?="), -32020),
    "a name that looks encoded, mirrored literally": (
        params(name="=?base64?dA==?="),
        head(name="=?base64?dA==?="),
        -32020,
    ),
    "a name that is not ASCII, mirrored literally": (params(name="é"), head(name="é"), -32020),
    "a name that is not ASCII, as UTF-8 read as Latin-1": (params(name="é"), head(name="Ã©"), -32020),
    "two name headers": (BODY, head(repeated="mcp-name"), -32020),
    "two method headers": (BODY, head(repeated="mcp-method"), -32020),
    "two version headers": (BODY, head(repeated="mcp-protocol-version"), -32020),
    "two parameter headers": (BODY, head(repeated="mcp-param-region"), -32020),
    "a prompt's name header": (*asked("prompts/get", "q", name="p"), -32020),
    "a resource's name header": (*asked("resources/read", "a://c", uri="a://b"), -32020),
    "a resource's name in place of its URI": (*asked("resources/read", "n", uri="a://b", name="n"), -32020),
    "a task's name header": (*asked("tasks/get", "2", taskId="1"), -32020),
    "no name header for a task": (*asked("tasks/cancel", None, taskId="1"), -32020),
    # the version
    "an unknown later version": (envelope(version="2027-01-01"), head(version="2027-01-01"), -32022),
    "a legacy version": (envelope(version="2025-11-25"), head(version="2025-11-25"), -32022),
    "a version that is a word": (envelope(version="latest"), head(version="latest"), -32022),
    "an empty version": (envelope(version=""), head(version=""), -32022),
    "an unknown version, on stdio": (envelope(version="2027-01-01"), None, -32022),
    "an unknown version whose calls carry no name": (
        {**envelope(version="2027-01-01"), "params": {"_meta": {**ENVELOPE, VERSION: "2027-01-01"}}},
        head(version="2027-01-01", name=None),
        -32022,
    ),
    # the name
    "no name": (params(name=...), head(name=None), -32602),
    "no name but a header": (params(name=...), HEAD, -32602),
    "a name that is a number": (params(name=1), head(name="1"), -32602),
    "a name that is null": (params(name=None), head(name=None), -32602),
    "a name in a list": (params(name=["t"]), HEAD, -32602),
    "a resource without a URI": (*asked("resources/read", None), -32602),
    # all well
    "a call": (BODY, HEAD, 0),
    "a call on stdio": (BODY, None, 0),
    "an empty name": (params(name=""), head(name=""), 0),
    "an encoded name header": (BODY, head(name="=?base64?dA==?="), 0),
    "a name that looks encoded, encoded": (
        params(name="=?base64?dA==?="),
        head(name=encode_value("=?base64?dA==?=")),
        0,
    ),
    "a name that is not ASCII, encoded": (params(name="é"), head(name="=?base64?w6k=?="), 0),
    "a session header and a last event": (BODY, head(session="forged", last_event_id="7"), 0),
    "unknown parameter headers": (BODY, head(params={"mcp-param-x": "y"}), 0),
    "a name header where none is due": (*asked("tools/list", "t"), 0),
    "client info of a wrong type": (envelope(info=7), HEAD, 0),
    "a level of a wrong type": (envelope(level=7), HEAD, 0),
    "an unknown method": (*asked("x/y", None), 0),
    "a prompt": (*asked("prompts/get", "p", name="p"), 0),
    "a resource": (*asked("resources/read", "a://b", uri="a://b"), 0),
    "a task": (*asked("tasks/get", "1", taskId="1"), 0),
}

DIFFERENT: Mapping[str, tuple[int, str]] = {
    "a version that is a number": (-32020, "a wrong type is a wrong type on every transport"),
    "a version that is null": (-32020, "the same"),
    "a version that is a list": (-32020, "the same"),
    "capabilities that are null": (0, "the SDK checks that shape later"),
    "capabilities that are a list": (0, "the same"),
    "capabilities that are a string": (0, "the same"),
    "a name that is not ASCII, mirrored literally": (0, "read as UTF-8 by others: two names under one header"),
    "two name headers": (0, "the SDK looks for repeats before its ladder"),
    "two method headers": (0, "the same"),
    "two version headers": (0, "the same"),
    "two parameter headers": (0, "the same, after its ladder"),
    "a task's name header": (0, "the SDK knows no tasks yet"),
    "no name header for a task": (0, "the same"),
    "no name": (0, "the SDK checks a name when it dispatches"),
    "no name but a header": (0, "the same"),
    "a name that is a number": (-32020, "no header agrees with a number"),
    "a name that is null": (0, "the SDK checks a name when it dispatches"),
    "a name in a list": (-32020, "no header agrees with a list"),
    "a resource without a URI": (0, "the SDK checks a URI when it dispatches"),
}
"""Where the SDK's ladder answers otherwise, its answer, and the reason for ours."""


@pytest.mark.parametrize(("body", "head", "expected"), LADDER.values(), ids=LADDER)
def test_each_defect_gets_its_code(body: Mapping[str, Any], head: Head | None, expected: int) -> None:
    assert code(body, head) == expected


@pytest.mark.parametrize("case", LADDER)
def test_the_ladder_is_the_sdks_but_for_what_is_listed(case: str) -> None:
    body, head, expected = LADDER[case]
    assert theirs(body, head) == (DIFFERENT[case][0] if case in DIFFERENT else expected)
    assert case not in DIFFERENT or DIFFERENT[case][0] != expected


def test_an_unsupported_version_is_answered_with_those_that_are() -> None:
    with pytest.raises(errors.UnsupportedVersion) as error:
        lift(envelope(version="2027-01-01"), head(version="2027-01-01"))
    data = mcp_types.UnsupportedProtocolVersionErrorData.model_validate(error.value.data)
    assert data.requested == "2027-01-01"
    assert set(data.supported) == {*MODERN, *LEGACY}


def test_the_first_defect_wins() -> None:
    assert code(envelope(version=...), head(method="x", version="2027-01-01")) == -32602
    assert code(envelope(version="2027-01-01"), head(method="x", version="2027-01-01")) == -32020
    assert code({**envelope(version="2027-01-01"), "method": "x"}, None) == -32022


def test_a_call_has_all_that_the_request_said_and_no_envelope() -> None:
    body = envelope(info={"name": "c"}, level="warning", progressToken=7, **{"x/y": [1]})
    call = lift(body, head(params={"mcp-param-a": "1"}, session="forged"))
    assert (call.method, call.name, call.log_level, call.session) == ("tools/call", "t", "warning", None)
    assert call.meta == {"progressToken": Raw(b"7"), "x/y": Raw(b"[1]")}
    assert set(call.params) == {"name", "arguments"}
    assert call.mirrored == {"mcp-param-a": "1"}
    assert call.profile is NO_ABILITIES
    assert lift(head=None).mirrored is None


@pytest.mark.parametrize("level", ["loud", "WARNING", "", 7, None, ["info"]])
def test_a_level_that_is_none_asks_for_no_messages(level: object) -> None:
    assert lift(envelope(level=level)).log_level is None


@pytest.mark.parametrize(
    ("body", "head", "expected"),
    [
        (BODY, None, True),
        (BODY, HEAD, True),
        (params(_meta=...), HEAD, True),
        (params(_meta=...), head(version="2027-01-01"), True),
        (params(_meta={VERSION: "2025-11-25"}), head(version="2025-11-25"), True),
        (params(_meta={CAPABILITIES: {}}), None, False),
        (params(_meta=...), None, False),
        (params(_meta=...), head(version=None), False),
        (params(_meta=...), head(version="2025-11-25"), False),
    ],
)
def test_the_era_shows_in_the_envelope_or_the_version_header(
    body: Mapping[str, Any], head: Head | None, expected: bool
) -> None:
    assert modern.is_addressed(message(body), head) is expected


@pytest.mark.parametrize(
    ("body", "head", "expected"),
    [
        (params(), HEAD, True),
        (params(), None, False),
        (params(), head(version=None), False),
        (params(), head(version="2025-11-25"), False),
        (params(_meta=...), HEAD, False),
        (params(_meta=...), None, False),
    ],
)
def test_initialize_is_of_the_era_that_has_it_unless_envelope_and_header_say_otherwise(
    body: Mapping[str, Any], head: Head | None, expected: bool
) -> None:
    assert modern.is_addressed(message({**body, "method": "initialize"}), head) is expected


def test_versions_are_told_apart_by_their_date() -> None:
    assert all(map(is_modern, [*MODERN, "2026-12-01", "2030-01-01"]))
    assert not any(map(is_modern, LEGACY))
    assert [negotiate(version) for version in LEGACY] == list(LEGACY)
    assert {negotiate("1999-01-01"), negotiate("2026-07-28"), negotiate("")} == {LEGACY[0]}


# ---- results

TOOL = {"name": "t", "inputSchema": {"type": "object"}}
RESULTS: dict[str, tuple[dict[str, Any], type[Any]]] = {
    "server/discover": (
        {
            "supportedVersions": [NOW],
            "capabilities": {},
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "s", "version": "1"}},
        },
        mcp_types.DiscoverResult,
    ),
    "tools/list": ({"tools": [TOOL]}, mcp_types.ListToolsResult),
    "prompts/list": ({"prompts": [{"name": "p"}]}, mcp_types.ListPromptsResult),
    "resources/list": ({"resources": [{"name": "r", "uri": "a://b"}]}, mcp_types.ListResourcesResult),
    "resources/templates/list": (
        {"resourceTemplates": [{"name": "r", "uriTemplate": "a://{b}"}]},
        mcp_types.ListResourceTemplatesResult,
    ),
    "resources/read": ({"contents": [{"uri": "a://b", "text": "x"}]}, mcp_types.ReadResourceResult),
    "tools/call": ({"content": [{"type": "text", "text": "x"}]}, mcp_types.CallToolResult),
    "prompts/get": ({"messages": []}, mcp_types.GetPromptResult),
    "completion/complete": ({"completion": {"values": []}}, mcp_types.CompleteResult),
}


def rendered(method: str, text: bytes, kind: str | None = None) -> dict[str, Any]:
    pairs = json.loads(bytes(modern.render(method, Result(Raw(text), kind))), object_pairs_hook=list)
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), "a member named twice"
    return json.loads(bytes(modern.render(method, Result(Raw(text), kind))))  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", RESULTS)
def test_a_legacy_servers_result_becomes_one_of_this_era(method: str) -> None:
    result, model = RESULTS[method]
    whole = rendered(method, json.dumps(result).encode())
    added: dict[str, object] = {"resultType": "complete"}
    if issubclass(model, mcp_types.CacheableResult):
        added |= {"ttlMs": 0, "cacheScope": "private"}
    assert whole == {**result, **added}
    assert (method in modern.CACHEABLE) == issubclass(model, mcp_types.CacheableResult)
    parsed = methods.parse_server_result(method, NOW, whole)
    assert isinstance(parsed, model)


@pytest.mark.parametrize(
    "text", [b"{}", b"{ }", b'{"a":1}', b'{ "a" : 1 }', b'{\n"a":1\n}', b'{"a":{"resultType":"x"}}']
)
def test_a_result_of_any_form_gets_its_type(text: bytes) -> None:
    assert rendered("tools/call", text) == {**json.loads(text), "resultType": "complete"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"resultType":null,"tools":[]}', {"ttlMs": 0, "cacheScope": "private"}),
        (b'{"tools":[],"ttlMs":5}', {"ttlMs": 5, "cacheScope": "private"}),
        (b'{"tools":[],"cacheScope":"public","ttlMs":5}', {"ttlMs": 5, "cacheScope": "public"}),
    ],
)
def test_a_field_that_a_legacy_server_sent_is_not_named_twice(text: bytes, expected: dict[str, Any]) -> None:
    assert rendered("tools/list", text) == {"tools": [], "resultType": "complete", **expected}


def test_a_modern_servers_result_is_relayed_as_received() -> None:
    text = Raw(b'{"resultType":"complete", "tools":[],"ttlMs":60000 ,"cacheScope":"public"}')
    assert modern.render("tools/list", Result(text, "complete")) is text


# ---- statuses


def test_the_statuses_are_those_of_the_sdk_and_the_hubs_own() -> None:
    own = {-31003: 429, -31004: 503, -31007: 403, -32002: 400}
    assert {**ERROR_CODE_HTTP_STATUS, **own} == dict(modern.STATUS)


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CallError)]
)
@pytest.mark.parametrize("outcome", ["not_sent", "unknown", "failed"])
def test_no_call_that_may_have_run_gets_a_status_that_proxies_repeat(kind: type[CallError], outcome: Any) -> None:
    status = modern.status(kind("x", outcome=outcome))
    assert status in (200, 400, 403, 404) or (status in (429, 503) and outcome == "not_sent")


@pytest.mark.parametrize("number", [-31004, -31003, -31001, -32603, -32000, -32002, 503])
def test_no_error_that_a_server_answered_with_is_repeated(number: int) -> None:
    assert modern.status(Failure(number, "x")) in (200, 400)


# ---- toward servers

WRITER = modern.Writer(NOW, {"name": "hub", "version": "1"})


def written(request: Request, id: int | str = 5) -> dict[str, Any]:
    text = WRITER.request(id, request)
    JSONRPCRequest.model_validate_json(text, strict=True)
    return json.loads(text)  # type: ignore[no-any-return]


def test_a_request_carries_the_hubs_envelope_and_the_callers_context() -> None:
    meta = {"traceparent": Raw(b'"00-1-2-01"'), "progressToken": Raw(b'"mine"'), INFO: Raw(b'{"name":"forged"}')}
    sent = written(Request("tools/call", {"name": Raw(b'"t"'), "arguments": Raw(b'{"a":1e2}')}, meta, "t", "warning"))
    assert sent["id"] == 5
    assert sent["params"]["_meta"] == {
        VERSION: NOW,
        CAPABILITIES: {},
        INFO: {"name": "hub", "version": "1"},
        LEVEL: "warning",
        "progressToken": 5,
        "traceparent": "00-1-2-01",
        HOPS: 1,
    }
    assert b'"arguments":{"a":1e2}' in WRITER.request(5, Request("tools/call", {"arguments": Raw(b'{"a":1e2}')}, {}))
    methods.parse_client_request(sent["method"], NOW, sent["params"])


def test_nothing_is_asked_that_the_caller_did_not_ask() -> None:
    meta = written(Request("tools/list", {}, {}))["params"]["_meta"]
    assert set(meta) == {VERSION, CAPABILITIES, INFO, HOPS}


def test_a_cancellation_names_the_request() -> None:
    note = JSONRPCNotification.model_validate_json(WRITER.cancel(5), strict=True)
    assert note.method == "notifications/cancelled"
    assert note.params is not None
    assert note.params["requestId"] == 5


@given(st.text(), st.sampled_from(["tools/call", "prompts/get", "resources/read"]))
def test_what_the_hub_writes_another_hub_accepts(name: str, method: str) -> None:
    key = {"resources/read": "uri"}.get(method, "name")
    request = Request(method, {key: raw(name)}, {}, name, None, (("Mcp-Param-A", "1"),))
    fields = {field.lower(): value for field, value in WRITER.headers(request)}
    mirrored = {field: value for field, value in fields.items() if field.startswith("mcp-param-")}
    received = Head(fields["mcp-protocol-version"], fields["mcp-method"], fields["mcp-name"], params=mirrored)
    parsed = parse(WRITER.request(1, request))
    assert isinstance(parsed, Message)
    call = modern.lift(parsed, received, ALL, ANONYMOUS)
    assert (call.name, call.mirrored) == (name, {"mcp-param-a": "1"})
    body = json.loads(WRITER.request(1, request))
    assert not isinstance(classify_inbound_request(body, headers=fields), InboundLadderRejection)
