"""API keys: made, listed, rotated and revoked while the hub runs. A key's text is in one answer, and nowhere else."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from ...front.identity.keys import KeyRecord
from ...model.tenant import DEFAULT_TENANT
from ..access import TENANT_ADMIN, tenant_of
from ..describe import Hub, time_of
from ..operations import Answer, Asked, Operation
from ..problems import Problem
from .paging import Paged, page

KEYS_MAX: Final = 10_000
"""Keys that the API makes, those that ended among them."""
_YEARS_S: Final = 10 * 366 * 86_400
_OURS: Final = "concento:"

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Seconds = Annotated[float, Meta(gt=0, le=_YEARS_S)]


class KeyShown(Struct, frozen=True):
    """A key without its secret."""

    id: str
    subject: str
    agent: str | None
    tenant: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    note: str
    created: str | None
    expires: str | None
    used: str | None
    state: str
    """good, revoked or expired."""


class KeysShown(Struct, frozen=True):
    """A page of keys, the oldest first."""

    keys: tuple[KeyShown, ...]
    next: str | None


class KeyMade(KeyShown, frozen=True):
    """A new key. `key` is its text, shown this once."""

    key: str


class NewKey(Struct, frozen=True, forbid_unknown_fields=True):
    """What a key is for."""

    subject: Name
    agent: Name | None = None
    tenant: Name = DEFAULT_TENANT
    roles: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()
    scopes: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()
    ttl_s: Seconds | None = None
    note: Annotated[str, Meta(max_length=256)] = ""


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old key is good yet."""

    overlap_s: Annotated[float, Meta(ge=0, le=30 * 86_400)] = 0.0


async def all_of_them(asked: Asked) -> KeysShown:
    """All keys, or a tenant's."""
    tenant = asked.path.get("tenant")
    records = [record for record in asked.hub.keys.records if tenant in (None, record.tenant)]
    found, following = page(records, lambda record: record.id, asked.query.limit, asked.query.cursor)
    return KeysShown(tuple(_shown(asked.hub, record) for record in found), following)


async def one(asked: Asked) -> KeyShown:
    """One key."""
    return _shown(asked.hub, _record(asked))


async def make(asked: Asked) -> Answer:
    """A new key."""
    given: NewKey = asked.body
    tenant = asked.path.get("tenant", given.tenant)
    if given.tenant not in (DEFAULT_TENANT, tenant):
        raise Problem(422, "'tenant' is another than in the path", [("/tenant", f"leave it out, or say {tenant!r}")])
    _check(asked, given, tenant)
    if len(asked.hub.keys.records) >= KEYS_MAX:
        raise Problem(409, f"there are {KEYS_MAX} keys already, those that ended among them")
    try:
        record, text = await asked.hub.keys.create(
            given.subject,
            agent=given.agent,
            tenant=tenant,
            roles=given.roles,
            scopes=given.scopes,
            ttl_s=given.ttl_s,
            note=given.note,
        )
    except ValueError as error:
        raise Problem(422, str(error)) from None
    return _made(asked, record, text, "create")


async def rotate(asked: Asked) -> Answer:
    """A new key with the rights of another."""
    old = _record(asked)
    try:
        record, text = await asked.hub.keys.rotate(old.id, asked.body.overlap_s)
    except ValueError as error:
        raise Problem(409, str(error)) from None
    return _made(asked, record, text, f"rotate of {old.id}")


async def revoke(asked: Asked) -> KeyShown:
    """End a key, and all that were derived from it."""
    before = _shown(asked.hub, _record(asked))
    record = await asked.hub.keys.revoke(before.id)
    after = _shown(asked.hub, record)
    if before.state != after.state:
        _note(asked, "revoke", before, after)
    return after


def _check(asked: Asked, given: NewKey, tenant: str) -> None:
    config = asked.hub.current.snapshot.config
    if tenant != DEFAULT_TENANT and tenant not in config.tenants:
        raise Problem(422, f"there is no tenant {tenant!r}", [("/tenant", "there is none of that name")])
    own = config.tenants[tenant].roles if tenant in config.tenants else {}
    for at, role in enumerate(given.roles):
        if role not in config.roles and role not in own:
            raise Problem(422, f"there is no role {role[:64]!r}", [(f"/roles/{at}", "there is none of that name")])
    for at, scope in enumerate(given.scopes):
        if tenant_of(asked.caller) is not None and scope.startswith(_OURS) and scope != TENANT_ADMIN:
            told = f"a tenant's admin gives no scope of the hub's but {TENANT_ADMIN}"
            raise Problem(403, told, [(f"/scopes/{at}", told)])


def _record(asked: Asked) -> KeyRecord:
    tenant, id = asked.path.get("tenant"), asked.path["id"]
    for record in asked.hub.keys.records:
        if record.id == id and tenant in (None, record.tenant):
            return record
    raise Problem(404, "there is no key of that id")


def _shown(hub: Hub, record: KeyRecord) -> KeyShown:
    return KeyShown(
        record.id,
        record.subject,
        record.agent,
        record.tenant,
        record.roles,
        record.scopes,
        record.note,
        time_of(record.created_s),
        time_of(record.expires_s),
        time_of(hub.keys.used_s.get(record.id)),
        record.problem(hub.wall()) or "good",
    )


def _made(asked: Asked, record: KeyRecord, text: str, how: str) -> Answer:
    shown = _shown(asked.hub, record)
    _note(asked, how, None, shown)
    whose = f"/tenants/{asked.path['tenant']}" if "tenant" in asked.path else ""
    made = {**msgspec.structs.asdict(shown), "key": text}
    return Answer(made, headers={"location": f"/api/v1{whose}/keys/{record.id}"})


def _note(asked: Asked, how: str, before: KeyShown | None, after: KeyShown) -> None:
    was, now = (None if one is None else msgspec.to_builtins(one) for one in (before, after))
    asked.hub.changed(asked.caller, f"keys/{how}", after.id, asked.reason, was, now)


def _operations(of_tenant: bool) -> tuple[Operation, ...]:
    path = "/api/v1/tenants/{tenant}/keys" if of_tenant else "/api/v1/keys"
    of: Any = {"own": True} if of_tenant else {}
    whose = " of a tenant" if of_tenant else ""
    return (
        Operation("GET", path, f"API keys{whose}, without their secrets", "admin", all_of_them, KeysShown, Paged, **of),
        Operation(
            *("POST", path, f"Make an API key{whose}", "admin", make, KeyMade),
            body=NewKey,
            status=201,
            statuses=(409,),
            **of,
        ),
        Operation(*("GET", f"{path}/{{id}}", f"One API key{whose}", "admin", one, KeyShown), statuses=(404,), **of),
        Operation(
            *("POST", f"{path}/{{id}}/rotate", f"Make a key{whose} with the rights of another", "admin"),
            *(rotate, KeyMade),
            body=Rotation,
            status=201,
            statuses=(404, 409),
            **of,
        ),
        Operation(
            *("POST", f"{path}/{{id}}/revoke", f"Revoke a key{whose}, and all that were derived of it", "admin"),
            *(revoke, KeyShown),
            statuses=(404,),
            **of,
        ),
    )


OPERATIONS: Final = (*_operations(False), *_operations(True))
