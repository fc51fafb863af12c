"""Keys by the API: made, shown once, rotated, revoked; each change recorded without a secret."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.admin.conftest import Desk, desk, written

from concento.testing.http_server import ScriptedHttpServer
from concento.testing.raw_agent import RawAgent, modern_request

KEYS = "/api/v1/keys"


@pytest.fixture
async def hub(tmp_path: Path, server: ScriptedHttpServer) -> AsyncIterator[Desk]:
    text = f"servers: {{time: {{url: {server.url}}}}}\nauth: {{api_keys: true}}\nroles: {{dev: {{allow: ['*']}}}}\n"
    async with desk(written(tmp_path, text)) as running:
        await running.listed("time__echo")
        yield running


async def lets_in(hub: Desk, key: str) -> bool:
    headers, body = modern_request("tools/list")
    async with RawAgent(hub.mcp) as agent:
        reply = await agent.post(None, body, {**headers, "Authorization": f"Bearer {key}"})
        return reply.status == 200


async def test_a_key_lets_in_at_once_until_it_is_revoked(hub: Desk) -> None:
    made = await hub.ask("POST", KEYS, {"subject": "ann", "roles": ["dev"], "ttl_s": 60})
    assert made.status == 201
    key = made.value["key"]
    assert await lets_in(hub, key)
    shown = await hub.get(made.headers["Location"])
    assert (shown["subject"], shown["roles"], shown["state"]) == ("ann", ["dev"], "good")
    assert key not in str([shown, await hub.get(KEYS)])
    for _ in range(2):
        assert (await hub.ask("POST", f"{KEYS}/{shown['id']}/revoke")).value["state"] == "revoked"
    assert not await lets_in(hub, key)
    entries = await hub.recorded(2)
    assert [entry["method"] for entry in entries] == ["keys/revoke", "keys/create"]
    assert (entries[0]["before"]["state"], entries[0]["after"]["state"]) == ("good", "revoked")
    assert key.rsplit("_", 1)[1] not in str(entries)


async def test_a_rotated_key_has_the_rights_of_the_old_one(hub: Desk) -> None:
    old = (await hub.ask("POST", KEYS, {"subject": "ann", "roles": ["dev"]})).value
    new = await hub.ask("POST", f"{KEYS}/{old['id']}/rotate", {})
    assert (new.status, new.value["subject"], new.value["roles"]) == (201, "ann", ["dev"])
    assert (await lets_in(hub, new.value["key"]), await lets_in(hub, old["key"])) == (True, False)
    assert (await hub.ask("POST", f"{KEYS}/{old['id']}/rotate", {})).status == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"subject": ""}, 422),
        ({"subject": "a\nb"}, 422),
        ({"subject": "ann", "roles": ["boss"]}, 422),
        ({"subject": "ann", "tenant": "nobody"}, 422),
        ({"subject": "ann", "scopes": ["a b"]}, 422),
        ({"subject": "ann", "ttl_s": 0}, 422),
        ({"subject": "ann", "is_admin": True}, 422),
        ({"subject": "ann", "id": "mine", "digest": "x"}, 422),
    ],
)
async def test_what_is_no_key_is_refused(hub: Desk, body: dict[str, object], status: int) -> None:
    """T32: nothing may be set but what is meant to be."""
    assert (await hub.ask("POST", KEYS, body)).status == status
    assert hub.hub.keys.records == []


async def test_a_key_that_is_nowhere_is_not_found(hub: Desk) -> None:
    for method, path in (("GET", ""), ("POST", "/revoke"), ("POST", "/rotate")):
        body: dict[str, object] | None = {} if path == "/rotate" else None
        assert (await hub.ask(method, f"{KEYS}/nowhere0000{path}", body)).status == 404
