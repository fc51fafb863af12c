"""What agents see, and how servers are: servers, tools, views; and who would see what, and why."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from ...control.config.problems import BY_API
from ...control.layers import Drain
from ...model.config import owned
from ...model.tenant import DEFAULT_TENANT
from .. import describe, explain
from ..access import tenant_of
from ..courtesy import aside
from ..operations import Answer, Asked, Operation
from ..problems import Problem
from .paging import LIMIT, Cursor, Paged, page

SEARCH_LIMIT: Final = 50
SEARCH_LIMIT_MAX: Final = 500


class DrainShown(Struct, frozen=True):
    """Why a server takes no calls."""

    by: str
    since: str | None
    reason: str


class ServerShown(Struct, frozen=True):
    """A server, how it is, and what it adds to the catalog."""

    alias: str
    """`tenant/alias` for a tenant's."""
    origin: Literal["file", "api"]
    state: str
    """starting, ready, asleep, waiting, failing, draining, drained or stopped."""
    error: str | None
    stale: bool
    era: str | None
    revision: str | None
    replicas: list[str]
    isolation: str
    start: str
    idle_stop_s: float | None
    sandbox: str | None
    required: bool
    tools: int
    prompts: int
    resources: int
    templates: int
    in_flight: int
    notes: list[str]
    held: int
    """Tools that wait for approval."""
    stderr: list[str]
    place: str
    """Where it is configured: `file:line`, or `api:/servers/docs`."""
    drained: DrainShown | None


class ServersShown(Struct, frozen=True):
    """All servers. `notes`: what logical tools leave out, and what stands aside."""

    servers: list[ServerShown]
    notes: list[str]
    next: str | None


class ToolRow(Struct, frozen=True):
    """A tool under its public name."""

    name: str
    server: str
    own_name: str
    description: str | None


class ToolsShown(Struct, frozen=True):
    """A page of tools; of a search the best first."""

    tools: list[ToolRow]
    next: str | None


class BoundShown(Struct, frozen=True):
    """One of the tools that a logical tool is bound to."""

    tool: str
    weight: int
    there: bool


class ToolShown(ToolRow, frozen=True, omit_defaults=True):
    """One tool, with its definition as agents get it and how its server is called."""

    definition: dict[str, Any]
    isolation: str
    state: str
    timeout_s: float
    replicas: list[str]
    strategy: str | None = None
    bound: list[BoundShown] = []


class ViewRow(Struct, frozen=True):
    """An endpoint of several servers, and about how many tokens its list costs whoever reads it."""

    endpoint: str
    tenant: str
    expose: str
    tools: int
    tokens: int
    tokens_of_all: int


class ViewsShown(Struct, frozen=True):
    """All of them."""

    views: list[ViewRow]
    next: str | None


class Find(Struct, frozen=True, forbid_unknown_fields=True):
    """Which tools."""

    search: Annotated[str, Meta(max_length=1000, description="Words; the best first.")] | None = None
    limit: Annotated[int, Meta(ge=1, le=LIMIT, description=f"Of a search at most {SEARCH_LIMIT_MAX}.")] | None = None
    cursor: Cursor | None = None
    refresh: Annotated[Literal["yes", "no"], Meta(description="`no` wakes no server that was never listed.")] = "yes"


class Who(Struct, frozen=True, forbid_unknown_fields=True):
    """Who would call what, and how."""

    tool: Annotated[str, Meta(description="Its public name, or `server.tool`.")]
    subject: Annotated[str, Meta(description="The user.")]
    agent: str | None = None
    tenant: str = DEFAULT_TENANT
    role: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    args: Annotated[str, Meta(description="Arguments, as JSON.")] | None = None
    address: str | None = None


class Explained(Struct, frozen=True):
    """Whether somebody sees a tool and may call it, by which rule, under which limits and guards."""

    principal: dict[str, Any]
    known_by: str
    tool: str
    visible: bool
    callable: bool
    reason: str
    rules: list[Any]
    strategy: str | None
    candidates: list[dict[str, Any]]
    limits: list[Any]
    guards: list[str]


# -- servers


async def servers(asked: Asked) -> dict[str, Any]:
    """All servers, as they are now."""
    told = describe.servers(asked.hub)
    rows, following = page(told["servers"], lambda row: str(row["alias"]), asked.query.limit, asked.query.cursor)
    layers = asked.hub.layers
    notes = [f"{BY_API}{where.pointer} stands aside: {why[0][1]}" for where, why in layers.now.misfits.items()]
    return {"servers": rows, "notes": [*told["notes"], *notes], "next": following}


async def status(asked: Asked) -> dict[str, Any]:
    """One server, as it is now."""
    return _status(asked, _key(asked))


def _status(asked: Asked, key: str) -> dict[str, Any]:
    row = describe.server(asked.hub, key)
    if row is None:
        raise Problem(404, f"there is no server {asked.path['name'][:64]!r}")
    return row


def _key(asked: Asked) -> str:
    return owned(asked.path.get("tenant", DEFAULT_TENANT), asked.path["name"])


async def drain(asked: Asked) -> Answer:
    """Have a server take no new calls; those that run end, which is to be seen at its status."""
    why = Drain(asked.caller.subject, asked.hub.wall(), asked.reason, tenant_of(asked.caller) or "")
    return Answer(await _drained(asked, why, "drain"), headers={"location": _status_path(asked)})


async def undrain(asked: Asked) -> dict[str, Any]:
    """Have it take calls again."""
    return await _drained(asked, None, "undrain")


async def _drained(asked: Asked, drain: Drain | None, how: str) -> dict[str, Any]:
    key, hub = _key(asked), asked.hub
    before, tenant = hub.layers.now.kept.drained.get(key), tenant_of(asked.caller)
    _status(asked, key)  # that it is there
    if tenant is not None and before is not None and before.tenant != tenant:
        raise Problem(403, "whoever runs the hub has drained it: only they bring it back")
    if (before is None) != (drain is None):
        await hub.layers.drain(key, drain)
        hub.changed(asked.caller, f"servers/{how}", key, asked.reason, before is not None, drain is not None)
    return _status(asked, key)


def _status_path(asked: Asked) -> str:
    tenant = asked.path.get("tenant")
    return f"/api/v1{'' if tenant is None else f'/tenants/{tenant}'}/servers/{asked.path['name']}/status"


# -- tools and views


async def tools(asked: Asked) -> ToolsShown:
    """All tools, or those that a search finds."""
    query: Find = asked.query
    if query.refresh == "yes":
        await describe.refresh(asked.hub)
    if query.search is not None:
        limit = SEARCH_LIMIT if query.limit is None else query.limit
        if limit > SEARCH_LIMIT_MAX:
            raise Problem(422, f"a search finds at most {SEARCH_LIMIT_MAX}", [("/limit", "too large for a search")])
        if query.cursor is not None:
            raise Problem(422, "a search has one page: raise its limit", [("/cursor", "a search has one page")])
        found = await aside(describe.tools, asked.hub, query.search, limit)
        return ToolsShown([ToolRow(**row) for row in found["tools"]], None)
    rows, following = page(
        describe.tools(asked.hub)["tools"], lambda row: str(row["name"]), query.limit or LIMIT, query.cursor
    )
    return ToolsShown([ToolRow(**row) for row in rows], following)


async def tool(asked: Asked) -> ToolShown:
    """One tool."""
    found = describe.tool(asked.hub, asked.path["name"])
    if found is None:
        await describe.refresh(asked.hub)
        found = describe.tool(asked.hub, asked.path["name"])
    if found is None:
        raise Problem(404, f"there is no tool {asked.path['name'][:128]!r}")
    bound = [BoundShown(**one) for one in found.pop("bound", ())]
    return ToolShown(**found, bound=bound)


async def views(asked: Asked) -> ViewsShown:
    """The endpoints of several servers."""
    await describe.refresh(asked.hub)
    rows, following = page(
        describe.views(asked.hub)["views"],
        lambda row: f"{row['tenant']} {row['endpoint']}",
        *(asked.query.limit, asked.query.cursor),
    )
    return ViewsShown([ViewRow(**row) for row in rows], following)


async def explained(asked: Asked) -> dict[str, Any]:
    """Whether somebody sees a tool, and may call it."""
    who: Who = asked.query
    question = explain.Question(
        who.tool,
        who.subject,
        agent=who.agent,
        tenant=tenant_of(asked.caller) or who.tenant,
        roles=who.role,
        scopes=who.scope,
        arguments=who.args,
        address=who.address,
    )
    return explain.answer(asked.hub, question, within=tenant_of(asked.caller) is not None)


_DRAINING: Final = (404, 409, 503)
OPERATIONS: Final = (
    Operation(
        "GET", "/api/v1/servers", "Servers, how they are and what they add", "viewer", servers, ServersShown, Paged
    ),
    Operation(
        *("GET", "/api/v1/servers/{name}/status", "How a server is", "viewer", status, ServerShown), statuses=(404,)
    ),
    Operation(
        *("POST", "/api/v1/servers/{name}/drain", "Give a server no new calls; running ones end", "operator"),
        *(drain, ServerShown),
        status=202,
        statuses=_DRAINING,
    ),
    Operation(
        *("POST", "/api/v1/servers/{name}/undrain", "Give a server calls again", "operator", undrain, ServerShown),
        statuses=_DRAINING,
    ),
    Operation(
        *("GET", "/api/v1/tenants/{tenant}/servers/{name}/status", "How a server of a tenant's is", "viewer"),
        *(status, ServerShown),
        own=True,
        statuses=(404,),
    ),
    Operation(
        *("POST", "/api/v1/tenants/{tenant}/servers/{name}/drain", "Give a tenant's server no new calls", "operator"),
        *(drain, ServerShown),
        own=True,
        status=202,
        statuses=_DRAINING,
    ),
    Operation(
        *("POST", "/api/v1/tenants/{tenant}/servers/{name}/undrain", "Give a tenant's server calls again", "operator"),
        *(undrain, ServerShown),
        own=True,
        statuses=_DRAINING,
    ),
    Operation("GET", "/api/v1/tools", "Tools, all or searched", "viewer", tools, ToolsShown, Find),
    Operation(
        *("GET", "/api/v1/tools/{name}", "One tool, with its definition", "viewer", tool, ToolShown), statuses=(404,)
    ),
    Operation(
        *("GET", "/api/v1/views", "The endpoints of several servers, and what their lists cost an agent", "viewer"),
        *(views, ViewsShown, Paged),
    ),
    Operation(
        *("GET", "/api/v1/explain", "Whether somebody sees a tool and may call it, by which rule and limits", "viewer"),
        *(explained, Explained, Who),
        own=True,
    ),
)
