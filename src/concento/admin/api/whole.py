"""The configuration as a whole: what runs, as a file that `serve` takes; and many objects put in place at once."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from ...control.config.export import exported
from ...control.config.kinds import Schema
from ...control.config.parts import KINDS, Where, json_of, schema_of
from ...control.config.policy import POLICIES
from ...control.federation import last_known
from ...control.layers import Change
from ...model.tenant import DEFAULT_TENANT
from ...observe.audit.query import entries, opened
from ..access import tenant_of
from ..courtesy import aside
from ..masking import masked, masks
from ..operations import Answer, Asked, Operation
from ..permits import check_owner
from ..problems import Problem
from ..replay import replay
from .objects import admitted, changed, concealed, tenant_in

APPLY_BYTES_MAX: Final = 1024 * 1024
APPLIED_MAX: Final = 500
"""Objects in one request."""
REPLAYED_MAX: Final = 1000
"""Recorded calls that a dry run holds against what would be."""


class Export(Struct, frozen=True, forbid_unknown_fields=True):
    """How it is written."""

    origin: Annotated[Literal["0", "1"], Meta(description="`1`: say of each object where it came from.")] = "0"


class Dry(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether it is only tried."""

    dry_run: Annotated[bool, Meta(description="Change nothing, and say what would change.")] = False


class Applied(Struct, frozen=True):
    """What happened to an object, or would. `before` and `after` without secrets."""

    kind: str
    name: str
    tenant: str
    what: Literal["created", "changed", "deleted", "unchanged"]
    before: Any
    after: Any


class Changes(Struct, frozen=True):
    """What a request changed, or would. `replay`: how recorded calls would fare then, in a dry run of the hub's."""

    dry_run: bool
    changes: tuple[Applied, ...]
    replay: dict[str, Any] | None


async def export(asked: Asked) -> Answer:
    """What runs."""
    hub, layers = asked.hub, asked.hub.layers
    config = hub.current.snapshot.config
    if config.path is None:
        raise Problem(409, "this hub was started without a configuration file")
    is_told = asked.query.origin == "1"

    def remark(where: Where) -> str:
        one = layers.now.object(where) if is_told else None
        if one is None:
            return ""
        return "file" if one.part is None else f"api: by {one.part.by!r}"

    def show(value: Any) -> Any:
        return masked(value, config.secrets)

    root = layers.now.merged
    text = await aside(exported, root, show, remark)
    hidden = masks(show(json_of(root)))
    head = f"# What runs; paths are relative to {config.path.absolute().parent}\n"
    head += "".join(f"# *** stands for a secret that is written in full: {pointer}\n" for pointer in hidden)
    return Answer(head + text)


async def apply(asked: Asked) -> Changes:
    """Put all objects of a body in place, and take those away that are null; all of them or none."""
    wanted = _wanted(asked)
    layers, tenant = asked.hub.layers, tenant_of(asked.caller)

    def edits() -> dict[Where, Any]:
        made: dict[Where, Any] = {}
        for where, body in wanted.items():
            before = layers.now.object(where)
            if body is None:
                if before is None:
                    continue
                check_owner(before, tenant)
                if not layers.now.is_own(where):
                    told = "it is in the file, or came with its tenant: take it out there"
                    raise Problem(409, told, [(where.pointer, told)])
                made[where] = None
                continue
            try:
                value = admitted(asked, where, body, before)
            except Problem as problem:
                errors = [(where.pointer + pointer, detail) for pointer, detail in problem.errors]
                raise Problem(problem.status, problem.detail, errors or [(where.pointer, problem.detail)]) from None
            if before is None or before.value != value or before.problems:
                made[where] = value
        return made

    dry = asked.query.dry_run
    change: Change = await changed(asked, edits, "apply", dry=dry)
    by_where = {where: (before, after) for where, before, after in change.objects}
    told = tuple(_applied(asked, where, *by_where.get(where, (None, None)), where in by_where) for where in wanted)
    return Changes(dry, told, await _replayed(asked, change) if dry and tenant is None else None)


def _wanted(asked: Asked) -> dict[Where, Any]:
    """The objects of a body, by where they belong. Errors: Problem."""
    body, tenant = asked.body, tenant_in(asked)
    if not isinstance(body, dict):
        raise Problem(422, "expected an object with kinds of objects in it", [("", "expected an object")])
    found: dict[Where, Any] = {}
    for kind, objects in body.items():
        if kind not in KINDS or (kind == "tenants" and tenant != DEFAULT_TENANT):
            told = f"unknown kind {kind[:64]!r}; known: {', '.join(KINDS)}"
            raise Problem(422, told, [(f"/{kind[:64]}", told)])
        if isinstance(objects, list) and kind == POLICIES.name:
            objects = _by_name(objects)
        if not isinstance(objects, dict):
            raise Problem(422, f"expected an object with {kind} by name", [(f"/{kind}", "expected an object")])
        for name, value in objects.items():
            if kind == POLICIES.name and isinstance(value, dict) and value.get("name", name) != name:
                raise Problem(422, "a rule is called otherwise than where it stands", [(f"/{kind}/{name}/name", name)])
            found[Where(kind, name, tenant)] = value
    if len(found) > APPLIED_MAX:
        raise Problem(413, f"more than {APPLIED_MAX} objects at a time")
    return found


def _by_name(rules: list[Any]) -> dict[str, Any]:
    """Rules as a file has them, by their names. Errors: Problem."""
    found: dict[str, Any] = {}
    for at, rule in enumerate(rules):
        name = rule.get("name") if isinstance(rule, dict) else None
        if not isinstance(name, str) or name in found:
            told = "a rule that is applied needs a name of its own"
            raise Problem(422, told, [(f"/{POLICIES.name}/{at}", told)])
        found[name] = rule
    return found


def _applied(asked: Asked, where: Where, before: Any, after: Any, is_changed: bool) -> Applied:
    what: Literal["created", "changed", "deleted", "unchanged"] = "unchanged"
    if is_changed:
        what = "created" if before is None else "deleted" if after is None else "changed"
    was, now = (None if one is None else concealed(asked.hub, one.value) for one in (before, after))
    return Applied(where.kind, where.name, where.tenant, what, was, now)


async def _replayed(asked: Asked, change: Change) -> dict[str, Any] | None:
    """How the calls recorded last would fare."""
    hub = asked.hub
    path = hub.current.snapshot.config.audit_path
    if hub.audit is None or path is None:
        return None
    snapshot = await last_known(change.config, hub.store)

    def work() -> dict[str, Any]:
        with opened(path) as database:
            recorded = entries(database, REPLAYED_MAX, {"kind": "call"})
        return replay(snapshot, hub.keys.records, recorded, hub.promotions).told()

    return await aside(work)


def _schema(tenant: bool) -> Schema:
    """Kinds of objects, each by name; null takes one away."""
    kinds = [kind for kind in KINDS if not tenant or kind != "tenants"]
    values = {kind: {"anyOf": [schema_of(kind), {"type": "null"}]} for kind in kinds}
    objects: dict[str, Schema] = {
        kind: {"type": "object", "additionalProperties": value} for kind, value in values.items()
    }
    objects["policies"] = {"anyOf": [objects["policies"], {"type": "array", "items": schema_of("policies")}]}
    return {"type": "object", "properties": objects, "additionalProperties": False}


OPERATIONS: Final = (
    Operation(
        *("GET", "/api/v1/config", "What runs, as YAML that `check` and `serve` take", "admin", export),
        *({"type": "object"}, Export),
        media="application/yaml",
        statuses=(409,),
    ),
    Operation(
        *("POST", "/api/v1/apply", "Put many objects in place at once, or say what that would do", "admin"),
        *(apply, Changes, Dry, _schema(False)),
        statuses=(409, 503),
        body_bytes_max=APPLY_BYTES_MAX,
    ),
    Operation(
        *("POST", "/api/v1/tenants/{tenant}/apply", "Put many objects of a tenant's in place at once", "admin"),
        *(apply, Changes, Dry, _schema(True)),
        own=True,
        statuses=(404, 409, 503),
        body_bytes_max=APPLY_BYTES_MAX,
    ),
)
