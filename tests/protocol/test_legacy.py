"""The session era: what is lifted, how results and requests are written, and what never reaches its agents.

Source: specifications 2024-11-05 to 2025-11-25; hardening T10.
"""

import json
from typing import Any

import mcp_types
import pytest
from mcp_types import methods
from mcp_types.jsonrpc import JSONRPCNotification, JSONRPCRequest
from msgspec import Raw

from concento.model import errors
from concento.model.call import ALL, NO_ABILITIES, Call, Failure, Profile, Request, Result
from concento.model.errors import CallError, InvalidParams
from concento.model.principal import ANONYMOUS
from concento.protocol import legacy
from concento.protocol.jsonrpc import Message, parse
from concento.protocol.versions import LEGACY
from concento.upstream.welcome import greeting

ROOTS = Profile(Raw(b'{"roots":{}}'), frozenset({"roots"}))


def message(method: str, params: dict[str, Any] | None = None) -> Message:
    parsed = parse(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}).encode())
    assert isinstance(parsed, Message)
    return parsed


def lift(method: str, params: dict[str, Any] | None = None) -> Call:
    return legacy.lift(message(method, params), ALL, ANONYMOUS, profile=ROOTS, log_level="info", session="s")


def hello(**changes: Any) -> legacy.Hello:
    given = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    params = {key: value for key, value in {**given, **changes}.items() if value is not ...}
    return legacy.read_hello(message("initialize", params))


@pytest.mark.parametrize("version", LEGACY)
def test_a_revision_we_speak_is_agreed_to(version: str) -> None:
    assert hello(protocolVersion=version).revision == version


@pytest.mark.parametrize("version", ["2026-07-28", "2023-01-01", "", "2025-11-25 "])
def test_to_any_other_revision_our_newest_is_the_answer(version: str) -> None:
    assert hello(protocolVersion=version).revision == LEGACY[0]


def test_what_a_greeting_leaves_out_is_empty() -> None:
    said = hello(capabilities=..., clientInfo=...)
    assert (said.profile, said.info) == (NO_ABILITIES, Raw(b"{}"))
    assert hello(capabilities={"sampling": {}}).profile.abilities == {"sampling"}


@pytest.mark.parametrize(
    "changes",
    [
        {"protocolVersion": ...},
        {"protocolVersion": 1},
        {"protocolVersion": None},
        {"capabilities": []},
        {"capabilities": None},
        {"capabilities": "x"},
        {"clientInfo": []},
        {"clientInfo": 1},
    ],
)
def test_a_greeting_of_wrong_types_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidParams):
        hello(**changes)


def test_a_call_has_what_the_session_settled() -> None:
    call = lift("tools/call", {"name": "t", "arguments": {}, "_meta": {"progressToken": 1}})
    assert (call.name, call.log_level, call.session, call.mirrored) == ("t", "info", "s", None)
    assert call.meta == {"progressToken": Raw(b"1")}
    assert call.profile == ROOTS
    assert "_meta" not in call.params


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {}),
        ("tools/call", {"name": 1}),
        ("tools/call", {"name": None}),
        ("prompts/get", {"uri": "x"}),
        ("resources/read", {"name": "x"}),
    ],
)
def test_a_call_without_its_name_is_refused(method: str, params: dict[str, Any]) -> None:
    with pytest.raises(InvalidParams):
        lift(method, params)


# ---- results and errors


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("tools/list", {"tools": [], "nextCursor": ""}),
        ("tools/call", {"content": [], "structuredContent": {"resultType": "kept", "ttlMs": 1}, "isError": True}),
        ("resources/read", {"contents": [], "_meta": {"a": 1}}),
    ],
)
@pytest.mark.parametrize("version", ["2024-11-05", "2025-11-25"])
def test_a_modern_servers_result_loses_what_came_later(method: str, result: dict[str, Any], version: str) -> None:
    text = json.dumps({"resultType": "complete", "ttlMs": 5, "cacheScope": "public", **result}).encode()
    shown = json.loads(bytes(legacy.render(Result(Raw(text), "complete"))))
    assert shown == result
    methods.parse_server_result(method, version, shown)


@pytest.mark.parametrize(
    ("meta", "kept"),
    [
        ({"io.modelcontextprotocol/serverInfo": {"name": "s"}}, {}),
        ({"io.modelcontextprotocol/serverInfo": {"name": "s"}, "x": 1}, {"_meta": {"x": 1}}),
        ({}, {"_meta": {}}),
        ({"x": 1}, {"_meta": {"x": 1}}),
        ("odd", {"_meta": "odd"}),
    ],
)
def test_who_answered_is_not_said_again_with_every_result(meta: object, kept: dict[str, object]) -> None:
    """A legacy agent was told once, on initialize."""
    text = json.dumps({"content": [], "_meta": meta, "resultType": "complete"}).encode()
    assert json.loads(bytes(legacy.render(Result(Raw(text), "complete")))) == {"content": [], **kept}


def test_a_legacy_servers_result_is_relayed_as_received() -> None:
    text = Raw(b'{ "content":[], "n":1e2 }')
    assert legacy.render(Result(text)) is text


MODERN_CODES = (-32020, -32021, -32022)


@pytest.mark.parametrize("code", MODERN_CODES)
def test_no_agent_of_this_era_sees_a_code_of_the_next(code: int) -> None:
    assert legacy.error_code(Failure(code, "x")) in (-32602, -32603)


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CallError)]
)
def test_no_error_of_the_hubs_has_such_a_code_here(kind: type[CallError]) -> None:
    code = legacy.error_code(kind("x"))
    assert code not in MODERN_CODES
    assert code == kind.code or kind.code in MODERN_CODES


@pytest.mark.parametrize("code", [-32002, -32042, -32601, -31001, -32000, -32050, 7])
def test_other_codes_pass_through(code: int) -> None:
    assert legacy.error_code(Failure(code, "x")) == code


# ---- toward servers

WRITER = legacy.Writer("2025-06-18")


def written(request: Request) -> dict[str, Any]:
    text = WRITER.request(5, request)
    JSONRPCRequest.model_validate_json(text, strict=True)
    return json.loads(text)  # type: ignore[no-any-return]


def test_a_request_has_no_envelope() -> None:
    assert written(Request("tools/list", {}, {})) == {"jsonrpc": "2.0", "id": 5, "method": "tools/list"}
    assert written(Request("tools/call", {"name": "t"}, {}))["params"] == {"name": "t"}


def test_a_progress_token_is_the_hubs_own() -> None:
    sent = written(Request("tools/call", {"name": "t"}, {"progressToken": Raw(b'"mine"'), "x/y": Raw(b"1")}))
    assert sent["params"]["_meta"] == {"progressToken": 5, "x/y": 1, "dev.concento/hops": 1}
    methods.parse_client_request("tools/call", "2025-06-18", sent["params"])


def test_the_handshake_is_what_the_official_types_expect() -> None:
    text = legacy.Writer(LEGACY[0]).request(1, greeting(NO_ABILITIES))
    sent = JSONRPCRequest.model_validate_json(text, strict=True)
    mcp_types.InitializeRequestParams.model_validate(sent.params)
    assert JSONRPCNotification.model_validate_json(legacy.INITIALIZED, strict=True).params is None
    note = JSONRPCNotification.model_validate_json(WRITER.cancel(5), strict=True)
    assert note.params is not None
    mcp_types.CancelledNotificationParams.model_validate(note.params)
