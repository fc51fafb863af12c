"""What is not refused but must do no harm: it reaches the server defused, or not at all.

Source: hardening T7, T8, T12.
"""

import json

import pytest
from tests.front.corpus import CAPABILITIES, NOW, VERSION, call, request
from tests.hostile.rig import Rig, answers, healthy
from tests.hostile.wire import Reply, ask

from concento.testing.raw_agent import legacy_initialize, legacy_request, mirrored, unmirrored

META = {VERSION: NOW, CAPABILITIES: {}}


def sent(rig: Rig, headers: dict[str, str], body: bytes, target: str = "/mcp", method: str = "POST") -> Reply:
    fields = [f"{name}: {value}" for name, value in headers.items()]
    return ask(rig.address, request(body, *fields, target=target, method=method))


def begun(rig: Rig, **chosen: str) -> str:
    headers, body = legacy_initialize()
    return sent(rig, {**headers, **chosen}, body).fields["mcp-session-id"]


@pytest.mark.parametrize(
    "value",
    ["north\r\nX-Evil: 1", "north\nMcp-Name: delete_all", "north\r\n\r\nPOST / HTTP/1.1", "\0", "é ", "=?base64?"],
)
def test_a_line_end_in_a_mirrored_argument_starts_no_field(rig: Rig, value: str) -> None:
    params = {"name": "mirrored", "arguments": {"region": value}, "_meta": META}
    reply = ask(rig.address, call("Mcp-Name: mirrored", f"Mcp-Param-Region: {mirrored(value)}", params=params))
    assert reply.status == 200
    rig.server.hits()
    headers = rig.server.last["headers"]
    assert unmirrored(headers["mcp-param-region"]) == value
    assert headers["mcp-name"] == "mirrored"
    assert "x-evil" not in headers
    assert rig.server.last["params"]["arguments"]["region"] == value


def test_a_session_beside_a_modern_call_is_neither_used_nor_told(rig: Rig) -> None:
    data = healthy("modern").replace(b"Mcp-Name: t", b"Mcp-Name: t\r\nMcp-Session-Id: " + begun(rig).encode())
    reply = ask(rig.address, data)
    assert answers(reply, "modern")
    assert "mcp-session-id" not in reply.fields
    rig.server.hits()
    assert rig.server.last["headers"]["mcp-method"] == "tools/call"
    assert "mcp-session-id" not in rig.server.last["headers"]


def test_no_internal_or_hop_by_hop_field_of_an_agents_reaches_a_server(rig: Rig) -> None:
    """T3, T24: nothing of a request's head is passed on but what mirrors its body."""
    fields = (
        "Authorization: Bearer canary",
        "X-Concento-Principal: canary",
        "Cookie: canary",
        "X-Forwarded-For: canary",
    )
    more = ("Connection: keep-alive, Mcp-Name", "Proxy-Authorization: canary", "TE: canary", "Forwarded: canary")
    params = {"name": "t", "arguments": {"text": "x"}, "_meta": META}
    assert ask(rig.address, call(*fields, *more, params=params)).status == 200
    rig.server.hits()
    assert "canary" not in json.dumps(rig.server.last)


def test_sessions_have_ids_that_nobody_guesses_or_chooses(rig: Rig) -> None:
    ids = {begun(rig, **{"Mcp-Session-Id": "mine"}) for _ in range(50)}
    assert len(ids) == 50
    assert all(len(id) >= 32 for id in ids)


@pytest.mark.parametrize("target", ["/views/a/mcp", "/servers/a/mcp", "/messages?session={id}"])
def test_a_session_is_none_on_another_route(rig: Rig, target: str) -> None:
    id = begun(rig)
    headers, body = legacy_request("tools/call", {"name": "t", "arguments": {"text": "x"}}, session=id)
    before = rig.server.hits()
    assert sent(rig, headers, body, target.format(id=id)).status == 404
    assert rig.server.hits() == before
    assert sent(rig, headers, body).status == 200


def test_a_session_that_was_ended_is_gone(rig: Rig) -> None:
    id = begun(rig)
    assert sent(rig, {"Mcp-Session-Id": id}, b"", method="DELETE").status == 204
    headers, body = legacy_request("ping", session=id)
    assert sent(rig, headers, body).status == 404
    assert sent(rig, {"Mcp-Session-Id": id}, b"", method="DELETE").status == 404
