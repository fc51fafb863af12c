"""Every role against every route, from the table that routes them. Source: hardening T32."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.admin.conftest import Desk, desk, written

from concento.admin.access import RANKS, SCOPES, TENANT_ADMIN
from concento.admin.api import OPERATIONS
from concento.admin.operations import Operation
from concento.front.identity import derived
from concento.front.identity.key_text import secret_in
from concento.testing.http_server import ScriptedHttpServer

WHO = {
    "nobody": None,
    "without scopes": (),
    "viewer": ("concento:viewer",),
    "operator": ("concento:operator",),
    "admin": ("concento:admin",),
    "tenant admin": (TENANT_ADMIN,),
    "tenant admin of the operator's": (TENANT_ADMIN,),
}
OF_TENANTS = [one for one in OPERATIONS if "tenant" in one.parameters]


def _id(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Desk, dict[str, str | None]]]:
    folder = tmp_path_factory.mktemp("house")
    text = "servers: {}\nauth: {api_keys: true}\ntenants: {acme: {}, globex: {}}\n"
    async with desk(written(folder, text)) as hub:
        keys: dict[str, str | None] = {}
        for who, scopes in WHO.items():
            tenant = "acme" if who == "tenant admin" else "default"
            made = None if scopes is None else await hub.hub.keys.create("u", tenant=tenant, scopes=scopes)
            keys[who] = None if made is None else made[1]
        yield hub, keys


async def asked(hub: Desk, operation: Operation, key: str | None, tenant: str = "acme") -> tuple[int, str]:
    """What an operation answers that is asked about nothing that is there, with a body that is none."""
    path = re.sub(r"\{tenant\}", tenant, operation.path)
    path = re.sub(r"\{[^}]*\}", "absent", path)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    sent: dict[str, Any] = {} if operation.body is None else {"json": []}
    async with (
        aiohttp.ClientSession() as session,
        session.request(operation.method, hub.admin + path, headers=headers, **sent) as reply,
    ):
        return reply.status, await reply.text()


@pytest.mark.parametrize("operation", OPERATIONS, ids=_id)
async def test_a_route_is_for_those_who_have_its_role(
    house: tuple[Desk, dict[str, str | None]], operation: Operation
) -> None:
    hub, keys = house
    for who in WHO:
        status, told = await asked(hub, operation, keys[who])
        if operation.role is None:
            assert status in (200, 503), (who, told)
        elif who == "nobody":
            assert status == 401, (who, told)
        else:
            is_high_enough = who in RANKS and RANKS.index(who) >= RANKS.index(operation.role)
            may = is_high_enough or (who == "tenant admin" and operation.own)
            assert (status != 403) is may, (who, status, told)
            assert status < 500, (who, told)


@pytest.mark.parametrize("operation", OF_TENANTS, ids=_id)
async def test_another_tenant_and_one_that_is_nowhere_are_answered_alike(
    house: tuple[Desk, dict[str, str | None]], operation: Operation
) -> None:
    hub, keys = house
    there = await asked(hub, operation, keys["tenant admin"], "globex")
    nowhere = await asked(hub, operation, keys["tenant admin"], "nowhere")
    assert there[0] in (403, 404)
    assert there[1].replace("globex", "nowhere") == nowhere[1]


def test_every_scope_is_asked_for_somewhere_and_every_operation_has_a_name_of_its_own() -> None:
    assert {one.role for one in OPERATIONS} == {None, *SCOPES.values()}
    names = [one.name for one in OPERATIONS]
    assert len(names) == len(set(names))


async def test_a_narrowed_key_opens_nothing(house: tuple[Desk, dict[str, str | None]]) -> None:
    """A derived key may never do more than its parent, and here it does nothing."""
    hub, keys = house
    whole = keys["admin"]
    assert whole is not None
    id, body = whole.removeprefix("concento_").split("_", 1)
    secret = secret_in(id, body)
    assert secret is not None
    chain = derived.derive(secret, expires_s=hub.hub.wall() + 60, seed=bytes(32), tools=("a.*",))
    assert (await hub.ask("GET", "/api/v1/servers", key=f"concento_{id}_d.{chain}")).status == 403


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
async def test_pages_of_other_sites_change_nothing(
    house: tuple[Desk, dict[str, str | None]], headers: dict[str, str]
) -> None:
    """T20, T32."""
    hub, _ = house
    for operation in OPERATIONS:
        if operation.method != "GET":
            path = re.sub(r"\{[^}]*\}", "absent", operation.path)
            assert (await hub.ask(operation.method, path, {}, **headers)).status == 403, operation.path


async def test_without_auth_whoever_is_on_this_machine_runs_the_hub(tmp_path: Path, server: ScriptedHttpServer) -> None:
    async with desk(written(tmp_path, f"servers: {{time: {{url: {server.url}}}}}\n"), token=None) as hub:
        assert (await hub.ask("PUT", "/api/v1/limits/all", {"rate": "5/s"})).status == 201
