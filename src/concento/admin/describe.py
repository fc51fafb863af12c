"""The JSON of the admin API, as plain values, without secrets: no environment, no headers, no credentials."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from ..catalog.logical import Logical
from ..catalog.meta_tools import tokens
from ..catalog.search import ToolIndex
from ..catalog.slices import Entry, Slice
from ..control.config.problems import BY_API
from ..control.layers import Layers
from ..credentials.connecting import Connecting
from ..front.identity.authenticator import Authenticator
from ..front.identity.hosts import Hosts
from ..front.identity.keys import ApiKeys
from ..gateway.promotions import Promotions
from ..model.call import ALL, Endpoint
from ..model.config import ChildReplica, Isolation, Replica, Server
from ..model.principal import ANONYMOUS, Principal
from ..model.tenant import DEFAULT_TENANT
from ..observe.alerts import Alerts
from ..observe.audit import AuditLog
from ..observe.experiments import Experiments
from ..observe.metrics import Metrics
from ..observe.record import Records
from ..observe.traces import Tracing
from ..observe.usage import Usage
from ..policy.limits import Limits
from ..protocol.jsonrpc import read_object, read_string
from ..snapshot import Current, Freshness
from ..store.contract import Store
from ..upstream.pool import Upstreams

STDERR_LINES = 20

REMEMBERS: Mapping[Isolation, str] = {
    "shared": "all callers share what its server remembers between calls",
    "principal": "what its server remembers between calls belongs to one principal",
    "session": "what its server remembers between calls belongs to one session; an agent without sessions has that of "
    "its principal, or asks for a handle (`dev.concento/session`)",
}


class Hub(Protocol):
    """What the admin API reads of a hub."""

    current: Current
    upstreams: Upstreams
    metrics: Metrics
    hosts: Hosts
    identity: Authenticator
    keys: ApiKeys
    limits: Limits
    experiments: Experiments
    tracing: Tracing
    connecting: Connecting
    layers: Layers
    records: Records
    store: Store
    audit: AuditLog | None
    alerts: Alerts
    usage: Usage | None

    @property
    def promotions(self) -> Promotions:
        """What the operator decided of experiments."""
        ...

    async def approve(self, server: str, tool: str, digest: str, by: str) -> bool:
        """Show a tool that was held back, if its definition still is that one."""
        ...

    def changed(
        self, by: Principal, method: str, name: str, reason: str, before: Any = None, after: Any = None
    ) -> None:
        """Have it in the audit record that an operator changed something, with what it was and is."""
        ...

    @property
    def turns(self) -> Mapping[str, int]:
        """How often each logical tool was called, by its key."""
        ...

    @property
    def federation(self) -> Freshness:
        """Who brings lists up to date."""
        ...

    def is_ready(self) -> bool:
        """Whether it takes calls."""
        ...

    def wall(self) -> float:
        """Unix time."""
        ...


def servers(hub: Hub) -> dict[str, Any]:
    """`{"servers": [...], "notes": [...]}`: per server its alias (`tenant/alias` for a tenant's), state, error, era,
    revision, replicas, how its children start and what they are kept in, counts, calls in flight, and the last lines of
    its standard error; and what logical tools leave out."""
    slices = hub.current.snapshot.slices.values()
    snapshot = hub.current.snapshot
    notes = [*snapshot.logical_notes(), *snapshot.lookalike_notes()]
    return {"servers": [_server(hub, slice) for slice in slices], "notes": notes}


def server(hub: Hub, key: str) -> dict[str, Any] | None:
    """One server as `servers` has it; None if there is none."""
    slice = hub.current.snapshot.slices.get(key)
    return None if slice is None else _server(hub, slice)


def _server(hub: Hub, slice: Slice) -> dict[str, Any]:
    health = slice.health
    live = next((upstream for upstream in hub.upstreams if upstream.server.key == slice.server.key), None)
    drain = hub.layers.now.kept.drained.get(slice.server.key)
    stderr = live.health().stderr if live is not None else health.stderr
    return {
        "alias": slice.server.key,
        "state": health.state,
        "error": health.error,
        "stale": health.stale,
        "era": health.era,
        "revision": health.revision,
        "replicas": [_replica(replica) for replica in slice.server.replicas],
        "isolation": slice.server.isolation,
        "start": slice.server.start,
        "idle_stop_s": slice.server.idle_stop_s,
        "sandbox": _sandbox(slice.server),
        "required": slice.server.required,
        "tools": len(slice.tools),
        "prompts": len(slice.prompts),
        "resources": len(slice.resources),
        "templates": len(slice.templates),
        "in_flight": live.in_flight if live is not None else 0,
        "notes": list(slice.notes),
        "held": len(slice.held),
        "stderr": list(stderr[-STDERR_LINES:]),
        "place": slice.server.place,
        "origin": "api" if slice.server.place.startswith(BY_API) else "file",
        "drained": None if drain is None else {"by": drain.by, "since": time_of(drain.since_s), "reason": drain.reason},
    }


def time_of(seconds: float | None) -> str | None:
    """A time as it is told."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _sandbox(server: Server) -> str | None:
    """What its children are kept in; of replicas that differ, the first one's that has any."""
    children = [replica for replica in (*server.replicas, server.beside) if isinstance(replica, ChildReplica)]
    return next((child.sandbox.kind for child in children if child.sandbox is not None), None)


def _replica(replica: Replica) -> str:
    """A replica without what may be secret: the program of a command, the origin and path of a URL."""
    if isinstance(replica, ChildReplica):
        return f"stdio: {replica.as_written or replica.command[0]}"
    parts = urlsplit(replica.as_written or replica.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def refresh(hub: Hub) -> None:
    """Have servers listed that never were, as an agent's list does: those that sleep are woken for it."""
    view = hub.current.snapshot.view(ALL, ANONYMOUS)
    if view is not None:
        await hub.federation.refresh(view, "tools", ANONYMOUS)


def tools(hub: Hub, search: str | None = None, limit: int = 50) -> dict[str, Any]:
    """`{"tools": [{name, server, own_name, description}, ...]}`: all, or those that fit a search, best first."""
    entries = _entries(hub)
    if search is not None:
        index = ToolIndex(entries)
        entries = index.search(search, limit)
        index.close()
    return {"tools": [_tool(hub, entry) for entry in entries]}


def views(hub: Hub) -> dict[str, Any]:
    """`{"views": [{endpoint, tenant, expose, tools, tokens, tokens_of_all}, ...]}`: the endpoints of several servers.

    `tokens`: about what the list of tools costs whoever reads it; `tokens_of_all`: what all tools would.
    """
    snapshot = hub.current.snapshot
    endpoints = [(tenant, ALL) for tenant in (DEFAULT_TENANT, *snapshot.config.tenants)]
    for key, view in snapshot.config.views.items():
        tenant = key.removesuffix(view.name).removesuffix("/") or DEFAULT_TENANT
        endpoints.append((tenant, Endpoint("view", view.name)))
    told = []
    for tenant, endpoint in endpoints:
        whole = snapshot.whole(endpoint, tenant)
        path = "/mcp" if endpoint is ALL else f"/views/{endpoint.name}/mcp"
        one = {"endpoint": path, "tenant": tenant, "expose": whole.expose, "tools": len(whole.items("tools"))}
        told.append({**one, "tokens": tokens(whole.listed("tools")), "tokens_of_all": whole.tokens_of_all})
    return {"views": told}


def tool(hub: Hub, name: str) -> dict[str, Any] | None:
    """One tool with its whole definition and how its server is called; None if there is none."""
    snapshot = hub.current.snapshot
    whole = snapshot.whole(ALL, DEFAULT_TENANT)
    if (own := whole.meta_tools.get(name)) is not None:
        return _meta_tool(name, own)
    logical = whole.tool(name)
    if logical is not None and logical.logical is not None:
        entry, server, more = logical.logical.entry, logical.server, _bound(logical.logical)
    else:
        of = ((slice.server, entry) for slice in snapshot.slices.values() for entry in slice.tools)
        found = next(((server, entry) for server, entry in of if entry.public == name), None)
        if found is None:
            return None
        (server, entry), more = found, {}
    return {
        **_tool(hub, entry),
        **more,
        "definition": json.loads(entry.raw, parse_float=_number, parse_int=_number),
        "isolation": server.isolation,
        "state": REMEMBERS[server.isolation],
        "timeout_s": server.timeout_s,
        "replicas": [_replica(replica) for replica in server.replicas],
    }


def _meta_tool(name: str, raw: bytes) -> dict[str, Any]:
    definition = json.loads(raw)
    return {
        **{"name": name, "server": "the hub itself", "own_name": name, "description": definition["description"]},
        **{"definition": definition, "isolation": "shared", "state": "it remembers nothing", "timeout_s": 30.0},
        "replicas": [],
    }


def _bound(logical: Logical) -> dict[str, Any]:
    """What a logical tool is bound to, and which of it is there."""
    there = {(choice.bound.alias, choice.bound.own) for choice in logical.choices}
    bound = [
        {"tool": f"{one.alias}.{one.own}", "weight": one.weight, "there": (one.alias, one.own) in there}
        for one in logical.tool.bind
    ]
    return {"strategy": logical.tool.strategy, "bound": bound}


def _number(text: str) -> int | float | str:
    """A number of a server's schema; as a string where no double holds it, since JSON has no name for infinity."""
    number = float(text)
    if not math.isfinite(number):
        return text
    return number if set(text) & set(".eE") else int(text)


def names(hub: Hub) -> list[str]:
    """All tool names."""
    return [entry.public for entry in _entries(hub)]


def _entries(hub: Hub) -> list[Entry]:
    snapshot = hub.current.snapshot
    whole = snapshot.whole(ALL, DEFAULT_TENANT)
    logical = [entry for entry in whole.items("tools") if not entry.alias]
    return logical + [entry for slice in snapshot.slices.values() for entry in slice.tools]


def _tool(hub: Hub, entry: Entry) -> dict[str, Any]:
    description = read_string((read_object(entry.raw) or {}).get("description"))
    tool = None if entry.alias else hub.current.snapshot.config.tools.get(entry.own)
    server = entry.alias if tool is None else ", ".join(dict.fromkeys(bound.alias for bound in tool.bind))
    return {"name": entry.public, "server": server, "own_name": entry.own, "description": description}
