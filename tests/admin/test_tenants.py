"""The admin of a tenant: all of their own, nothing of anybody else's, and no way out of what the operator set."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.admin.conftest import Desk, Told, desk, written

from concento.admin.access import TENANT_ADMIN
from concento.model.principal import Principal
from concento.testing.http_server import ScriptedHttpServer

ACME = "/api/v1/tenants/acme"


class House(Desk):
    """Asked by the admin of acme."""

    key: str

    async def asks(self, method: str, path: str, body: Any = None, **headers: str) -> Told:
        """One request of theirs."""
        return await self.ask(method, path, body, key=self.key, **headers)


@pytest.fixture
async def house(tmp_path: Path, server: ScriptedHttpServer) -> AsyncIterator[House]:
    text = f"""
servers: {{time: {{url: {server.url}}}, private: {{url: {server.url}}}}}
auth: {{api_keys: true}}
roles: {{user: {{allow: ["*"], members: ["*"]}}}}
tenants:
  acme: {{share: ["time.*"], limits: {{plan: {{rate: 5/s}}}}}}
  globex: {{servers: {{secret: {{url: {server.url}}}}}}}
"""
    async with desk(written(tmp_path, text)) as hub:
        await hub.listed("private__echo", "secret__echo", "time__echo")
        made = House(hub.hub, hub.mcp, hub.admin, hub._session)
        _, made.key = await hub.hub.keys.create("ann", tenant="acme", scopes=(TENANT_ADMIN,))
        yield made


async def test_they_register_a_server_of_their_own_which_nobody_else_sees(
    house: House, server: ScriptedHttpServer
) -> None:
    made = await house.asks("PUT", f"{ACME}/servers/mine", {"url": server.url})
    assert (made.status, made.value["tenant"], made.value["by"]) == (201, "acme", "ann")
    await house.state("acme/mine", "ready")
    status = await house.asks("GET", f"{ACME}/servers/mine/status")
    assert (status.value["state"], status.value["tools"]) == ("ready", 1)
    listed = (await house.asks("GET", f"{ACME}/servers")).value["items"]
    assert [one["name"] for one in listed] == ["mine"]
    assert (await house.asks("POST", f"{ACME}/servers/mine/drain")).status == 202
    assert (await house.asks("DELETE", f"{ACME}/servers/mine", If_Match=made.tag)).value == {"now": "gone"}


async def test_they_do_not_loosen_what_the_operator_set(house: House) -> None:
    plan = await house.asks("GET", f"{ACME}/limits/plan")
    assert plan.status == 200
    assert (await house.asks("PUT", f"{ACME}/limits/plan", {"rate": "999/s"}, If_Match=plan.tag)).status == 403
    await house.put(f"{ACME}/limits/more", {"rate": "3/s"})  # by the operator, at run time
    more = await house.asks("GET", f"{ACME}/limits/more")
    assert (await house.asks("DELETE", f"{ACME}/limits/more", If_Match=more.tag)).status == 403
    applied = await house.asks("POST", f"{ACME}/apply", {"limits": {"plan": {"rate": "999/s"}, "own": {"rate": "1/s"}}})
    assert applied.status == 403
    assert (await house.asks("GET", f"{ACME}/limits/own")).status == 404
    own = await house.asks("PUT", f"{ACME}/limits/own", {"rate": "1/s"})
    assert (await house.asks("DELETE", f"{ACME}/limits/own", If_Match=own.tag)).status == 200
    assert (await house.asks("PUT", ACME, {"share": ["*"]})).status == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"command": ["/usr/bin/env"]}, 403),
        ({"url": "https://x.example", "replicas": [{"command": ["/bin/sh"]}]}, 403),
        ({"url": "https://x.example", "credentials": {"bearer": "${env:HOME}"}}, 422),
        ({"url": "https://x.example", "credentials": {"bearer": "${file:/etc/passwd}"}}, 422),
        ({"url": "https://x.example", "credentials": {"bearer": "***"}}, 422),
        ({"url": "https://x.example", "tls": {"ca": "/etc/passwd"}}, 422),
        ({"url": "https://x.example", "credentials": {"oauth": {"token_url": "https://x.example"}}}, 422),
        ({"url": "http://169.254.169.254/latest"}, 422),
    ],
)
async def test_they_start_no_program_read_no_secret_and_send_the_hub_nowhere(
    house: House, body: dict[str, Any], status: int
) -> None:
    assert (await house.asks("PUT", f"{ACME}/servers/mine", body)).status == status
    assert "acme/mine" not in house.hub.current.snapshot.config.servers


async def test_they_learn_nothing_of_others(house: House) -> None:
    seen = []
    for path in ("servers", "views", "logical-tools", "roles", "policies", "limits", "guards", "keys", "audit"):
        told = await house.asks("GET", f"{ACME}/{path}")
        assert told.status == 200
        seen.append(str(told.value))
    twin = await house.asks("PUT", f"{ACME}/servers/private", {"url": "https://example.com/mcp"})
    assert twin.status == 422
    seen.append(str(twin.value).replace("/servers/private", ""))
    for tool in ("secret__echo", "secret.echo"):
        question = await house.asks("GET", f"/api/v1/explain?tool={tool}&subject=bob&tenant=globex")
        nowhere = await house.asks("GET", f"/api/v1/explain?tool={tool.replace('secret', 'absent')}&subject=bob")
        assert question.status == nowhere.status == 422
        assert str(question.value).replace("secret", "absent") == str(nowhere.value)
    assert not any(word in text for text in seen for word in ("globex", "secret"))


async def test_their_keys_are_of_their_tenant_and_give_nothing_of_the_hubs(house: House) -> None:
    made = await house.asks("POST", f"{ACME}/keys", {"subject": "bob", "roles": ["user"]})
    assert (made.status, made.value["tenant"]) == (201, "acme")
    found = house.hub.keys.find(made.value["key"], house.hub.wall())
    assert isinstance(found, Principal)
    assert found.tenant == "acme"
    for scope in ("concento:admin", "concento:viewer", "concento:operator"):
        refused = await house.asks("POST", f"{ACME}/keys", {"subject": "bob", "scopes": [scope]})
        assert refused.status == 403
    assert (await house.asks("POST", f"{ACME}/keys", {"subject": "bob", "tenant": "globex"})).status == 422
    other, _ = await house.hub.keys.create("eve", tenant="globex")
    assert (await house.asks("POST", f"{ACME}/keys/{other.id}/revoke")).status == 404
    assert [one["subject"] for one in (await house.asks("GET", f"{ACME}/keys")).value["keys"]] == ["ann", "bob"]
    assert (await house.asks("POST", f"{ACME}/keys/{made.value['id']}/revoke")).value["state"] == "revoked"


async def test_what_the_operator_drained_they_do_not_bring_back(house: House, server: ScriptedHttpServer) -> None:
    await house.asks("PUT", f"{ACME}/servers/mine", {"url": server.url})
    assert (await house.ask("POST", f"{ACME}/servers/mine/drain")).status == 202
    assert (await house.asks("POST", f"{ACME}/servers/mine/undrain")).status == 403
    assert (await house.ask("POST", f"{ACME}/servers/mine/undrain")).status == 200


async def test_a_tenant_is_replaced_with_all_it_has(house: House) -> None:
    await house.put(f"{ACME}/limits/more", {"rate": "3/s"})
    tenant = await house.ask("GET", ACME)
    assert set(tenant.value["config"]["limits"]) == {"plan", "more"}
    put = await house.put(ACME, {"share": []})
    assert (put.status, put.value["config"]) == (200, {"share": []})
    assert (await house.ask("GET", f"{ACME}/limits/more")).status == 404
    back = await house.ask("DELETE", ACME, If_Match=put.tag)
    assert back.value == {"now": "as in the file"}
    assert set((await house.ask("GET", ACME)).value["config"]["limits"]) == {"plan"}
