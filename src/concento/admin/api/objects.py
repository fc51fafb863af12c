"""The objects of the configuration: looked at, put in place, taken away. The file's layer is never written.

A body is the JSON of what would stand in the file under that name.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from ...control.config.parts import KINDS, Where, pointer_of, schema_of
from ...control.layers import Layers, Object
from ...model.errors import ConcentoError, ConfigError
from ...model.tenant import DEFAULT_TENANT
from ..access import tenant_of
from ..describe import Hub, time_of
from ..masking import masked, unmasked
from ..operations import Answer, Asked, Operation
from ..permits import check, check_owner
from ..problems import ErrorAt, Problem, problem_of
from .paging import Paged, page

SEGMENTS: Final[Mapping[str, str]] = {kind: "logical-tools" if kind == "tools" else kind for kind in KINDS}
"""What each kind is called in paths: `tools` are those of the catalog."""

BODY_BYTES_MAX: Final = 256 * 1024
_SINGULAR: Final = {
    "servers": "server",
    "tools": "logical tool",
    "views": "view",
    "roles": "role",
    "policies": "policy",
    "limits": "limit",
    "guards": "guard",
    "tenants": "tenant",
}


class ObjectShown(Struct, frozen=True):
    """One object: where it came from, whether it runs, and what it says."""

    kind: str
    name: str
    tenant: str
    origin: Literal["file", "api"]
    in_file: bool
    """Whether the file has one of that name, which comes back when this one is deleted."""
    state: Literal["in force", "invalid"]
    """`invalid`: it is kept and stands aside, since it does not fit the rest any more."""
    problems: tuple[ErrorAt, ...]
    by: str | None
    """Who put it there."""
    since: str | None
    etag: str
    config: Any
    """What would stand in the file under that name; secrets as `***`."""


class ObjectsShown(Struct, frozen=True):
    """A page of objects. `next` is the cursor of the page after it."""

    items: tuple[ObjectShown, ...]
    next: str | None


class Which(Paged, frozen=True, forbid_unknown_fields=True):
    """Which objects."""

    kind: Literal["servers", "tools", "views", "roles", "policies", "limits", "guards", "tenants"] | None = None
    tenant: Annotated[str, Meta(max_length=64, description="Whose; the operator's own without it.")] | None = None
    origin: Literal["file", "api"] | None = None
    state: Literal["in force", "invalid"] | None = None


class Deleted(Struct, frozen=True):
    """What is there after an object was deleted."""

    now: Literal["gone", "as in the file"]


def shown(hub: Hub, one: Object) -> ObjectShown:
    """An object without its secrets."""
    part, where = one.part, one.where
    return ObjectShown(
        where.kind,
        where.name,
        where.tenant,
        one.origin,
        one.in_file,
        one.state,
        tuple(ErrorAt(pointer.removeprefix(where.pointer), message) for pointer, message in one.problems),
        None if part is None else part.by,
        None if part is None else time_of(part.since_s),
        hub.layers.etag(one) or "",
        concealed(hub, one.value),
    )


def concealed(hub: Hub, value: Any) -> Any:
    """A value without its secrets, those that the running configuration knows among them."""
    return masked(value, hub.current.snapshot.config.secrets)


# -- single ones


async def every(asked: Asked) -> ObjectsShown:
    """Objects of several kinds."""
    which: Which = asked.query
    own = tenant_of(asked.caller)
    tenant = own or which.tenant or DEFAULT_TENANT
    if tenant != DEFAULT_TENANT and (
        (own is not None and which.tenant not in (None, own))
        or asked.hub.layers.now.object(Where("tenants", tenant)) is None
    ):
        raise Problem(404, "there is no such thing")
    found = [
        one
        for kind in KINDS
        if which.kind in (None, kind)
        for one in asked.hub.layers.now.objects(kind, tenant)
        if which.origin in (None, one.origin) and which.state in (None, one.state)
    ]
    items, following = page(found, lambda one: one.where.pointer, which.limit, which.cursor)
    return ObjectsShown(tuple(shown(asked.hub, one) for one in items), following)


async def _list(kind: str, asked: Asked) -> ObjectsShown:
    found = sorted(asked.hub.layers.now.objects(kind, tenant_in(asked)), key=lambda one: one.where.name)
    items, following = page(found, lambda one: one.where.name, asked.query.limit, asked.query.cursor)
    return ObjectsShown(tuple(shown(asked.hub, one) for one in items), following)


async def _get(kind: str, asked: Asked) -> Answer:
    where = _where(kind, asked)
    one = asked.hub.layers.now.object(where)
    if one is None:
        raise _absent(kind, where.name)
    return Answer(told := shown(asked.hub, one), headers={"etag": f'"{told.etag}"'})


async def _put(kind: str, asked: Asked) -> Answer:
    where, hub = _where(kind, asked), asked.hub
    _check_name(where, asked.body)
    is_new = True

    def edits() -> dict[Where, Any]:
        nonlocal is_new
        before = hub.layers.now.object(where)
        is_new = before is None
        value = admitted(asked, where, asked.body, before)
        if before is None or before.part is None or before.value != value:
            check_precondition(hub.layers, before, asked.headers)
        return {where: value}

    await changed(asked, edits, "put", where.pointer)
    one = hub.layers.now.object(where)
    assert one is not None
    told = shown(hub, one)
    return Answer(told, 201 if is_new else 200, {"etag": f'"{told.etag}"', "location": path_of(where)})


async def _delete(kind: str, asked: Asked) -> Deleted:
    where, layers = _where(kind, asked), asked.hub.layers

    def edits() -> dict[Where, Any]:
        before = layers.now.object(where)
        if before is None:
            raise _absent(kind, where.name)
        check_owner(before, tenant_of(asked.caller))
        check_precondition(layers, before, asked.headers)
        if not layers.now.is_own(where):
            raise Problem(409, _not_own(before))
        return {where: None}

    await changed(asked, edits, "delete", where.pointer)
    return Deleted("gone" if layers.now.object(where) is None else "as in the file")


def _not_own(one: Object) -> str:
    what = _SINGULAR[one.where.kind]
    if one.part is not None:
        return f"the {what} came with its tenant: put the tenant without it"
    more = ", or drain it" if one.where.kind == "servers" else ""
    return f"the {what} is in the file: take it out there{more}"


def admitted(asked: Asked, where: Where, body: Any, before: Object | None) -> Any:
    """The value to keep of a body: with masked secrets as they were, if whoever sent it may have it there.

    Errors: Problem.
    """
    tenant, config = tenant_of(asked.caller), asked.hub.current.snapshot.config
    value, lost = body, list[str]()
    if tenant is None:
        value, lost = unmasked(body, None if before is None else before.value, config.secrets)
    check(where, value, before, config, tenant)
    if lost:
        told = "`***` stands for a secret that is there already, and here none is: write it, or a reference"
        raise Problem(422, told, [(pointer, told) for pointer in lost])
    return value


def check_precondition(layers: Layers, before: Object | None, headers: Mapping[str, str]) -> None:
    """Whether what is there is what whoever changes it has seen. Errors: Problem."""
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    tag = layers.etag(before)
    if none_match is not None and before is not None and none_match in ("*", f'"{tag}"'):
        raise Problem(412, "there is one already: get it, and send its ETag in If-Match")
    if match is not None and (before is None or match not in ("*", f'"{tag}"')):
        now = "there is none now" if before is None else "it was changed meanwhile"
        raise Problem(412, f"{now}: get it again, and send its ETag in If-Match")
    if before is not None and match is None and none_match is None:
        raise Problem(428, "send the ETag that it was got with in If-Match, so that nobody's change is lost")


def _check_name(where: Where, body: Any) -> None:
    if where.kind == "policies" and isinstance(body, dict) and body.get("name", where.name) != where.name:
        raise Problem(422, "'name' is another than in the path", [("/name", f"leave it out, or say {where.name!r}")])


# -- what changes share


async def changed(asked: Asked, edits: Any, how: str, root: str = "", *, dry: bool = False) -> Any:
    """Carry out a change, and have each object that is another in the audit record. Errors: Problem."""
    hub, caller = asked.hub, asked.caller
    try:
        change = await hub.layers.change(edits, caller.subject, tenant=tenant_of(caller) or "", dry=dry)
    except ConcentoError as error:
        raise _told(error, root, tenant_of(caller)) from None
    for where, before, after in () if dry else change.objects:
        was, now = (None if one is None else concealed(hub, one.value) for one in (before, after))
        if was != now or (before is None) != (after is None):
            hub.changed(caller, f"{where.kind}/{how}", where.pointer, asked.reason, was, now)
    return change


def _told(error: ConcentoError, root: str, tenant: str | None) -> Exception:
    """What somebody is told of a change that can't be; a tenant's admin nothing of what others have."""
    if tenant is not None and isinstance(error, ConfigError):
        own = [one for one in error.pointers if one[0].startswith(pointer_of("tenants", tenant))]
        error = ConfigError([], own or [("", "it does not go with what whoever runs the hub has set")])
    return problem_of(error, root) or error


def path_of(where: Where) -> str:
    """The path at which an object is."""
    tenant = "" if where.tenant == DEFAULT_TENANT else f"/tenants/{where.tenant}"
    return f"/api/v1{tenant}/{SEGMENTS[where.kind]}{pointer_of(where.name).replace('~1', '%2F')}"


def tenant_in(asked: Asked) -> str:
    """Whose objects a path is about. Errors: Problem, if there is no such tenant."""
    tenant = asked.path.get("tenant", DEFAULT_TENANT)
    if tenant != DEFAULT_TENANT and asked.hub.layers.now.object(Where("tenants", tenant)) is None:
        raise Problem(404, "there is no such thing")
    if "tenant" in asked.path and tenant == DEFAULT_TENANT:
        raise Problem(404, "the operator's own objects have no tenant in their paths")
    return tenant


def _where(kind: str, asked: Asked) -> Where:
    if kind == "tenants":
        return Where(kind, asked.path["tenant"])
    return Where(kind, asked.path["name"], tenant_in(asked))


def _absent(kind: str, name: str) -> Problem:
    return Problem(404, f"there is no {_SINGULAR[kind]} {name[:128]!r}")


def _operations(kind: str, of_tenant: bool) -> list[Operation]:
    whose = "/tenants/{tenant}" if of_tenant else ""
    name = "{tenant}" if kind == "tenants" else "{name:path}" if kind in ("policies", "limits", "guards") else "{name}"
    path, one = f"/api/v1{whose}/{SEGMENTS[kind]}", _SINGULAR[kind]
    of = " of a tenant's" if of_tenant else ""
    is_own = of_tenant
    made: list[Operation] = []
    if of_tenant or kind not in ("servers", "views"):  # those two lists say more, and are older
        made.append(
            Operation(
                "GET",
                path,
                f"All {one.replace('policy', 'policie')}s{of}",
                "viewer",
                partial(_list, kind),
                ObjectsShown,
                Paged,
                own=is_own,
                statuses=(404,) if of_tenant else (),
            )
        )
    single = f"{path}/{name}"
    return [
        *made,
        Operation(
            *("GET", single, f"One {one}{of}", "viewer", partial(_get, kind), ObjectShown),
            own=is_own or kind == "tenants",
            tagged=True,
            statuses=(404,),
        ),
        Operation(
            *("PUT", single, f"Put a {one}{of} in place", "admin", partial(_put, kind), ObjectShown),
            body=schema_of(kind),
            own=is_own,
            also={201: "It is new"},
            statuses=(404, 409, 412, 428, 503),
            conditional=True,
            body_bytes_max=BODY_BYTES_MAX,
        ),
        Operation(
            *("DELETE", single, f"Take away a {one}{of} that came by the API", "admin"),
            partial(_delete, kind),
            Deleted,
            own=is_own,
            statuses=(404, 409, 412, 422, 428, 503),
            conditional=True,
        ),
    ]


OPERATIONS: Final = (
    Operation(
        *("GET", "/api/v1/objects", "Objects of the configuration, by kind, origin and state", "viewer"),
        *(every, ObjectsShown, Which),
        own=True,
        statuses=(404,),
    ),
    *(one for kind in KINDS for one in _operations(kind, False)),
    *(one for kind in KINDS if kind not in ("tenants",) for one in _operations(kind, True)),
)
