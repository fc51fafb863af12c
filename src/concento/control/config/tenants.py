"""Tenants: servers, views, roles, policies, limits and guards of their own, and what the operator shares with each."""

from collections.abc import Iterable, Mapping
from typing import Final

from ...model.config import Server
from ...model.policy import Role
from ...model.tenant import DEFAULT_TENANT, Tenant
from . import keys
from .guards import GUARDS, build_guards
from .kinds import Entries, Items, Key, Keys, Parsed, Placed, Reader, Table, Text, WithPlace
from .limits import LIMITS, build_limits
from .logical import TOOLS
from .policy import POLICIES, ROLES, build_policies, build_roles
from .problems import Problems, unknown
from .texts import ALIAS, pattern

SHARE: Final = Key(
    "share",
    Items(WithPlace(Parsed(Text("a pattern over server.tool, such as docs.*"), pattern)), 'such as ["docs.*"]', 0),
    "What of the operator's servers its users may be granted, too: patterns over `server.name`.",
    example='["time.*"]',
)
SERVERS: Final = Key(
    "servers",
    keys.SERVERS.kind,
    "Its own servers, which nobody else sees.",
    example="{clock: {command: [uvx, mcp-server-time]}}",
)
TENANTS: Final = Key(
    "tenants",
    Entries(
        Keys("a tenant", SHARE, SERVERS, TOOLS, keys.VIEWS, ROLES, POLICIES, LIMITS, GUARDS),
        "tenant",
        ALIAS,
        "a-z, 0-9 and -, beginning with a letter, at most 20 in all",
    ),
    "Tenants beside the operator's own, which is called `default`. Nothing of one's can reach another.",
    example='{acme: {share: ["time.*"]}}',
)


def build_tenant(
    name: str,
    placed: Placed[Table],
    own: Iterable[Server],
    operators: Iterable[Server],
    operator_roles: Mapping[str, Role],
    file: str,
    reader: Reader,
) -> Tenant:
    """One tenant, beside its servers and views."""
    table, place = placed
    problems = reader.problems
    if name == DEFAULT_TENANT:
        problems.add(place, "the tenant 'default' is the operator's own: what it has stands at the top of the file")
    shared = {server.alias for server in operators}
    for text, where in table.get(SHARE) or ():
        alias = text.partition(".")[0]
        if not any(mark in alias for mark in "*?") and alias not in shared:
            problems.add(where, unknown("server", alias, shared))
    _refuse_twins(name, table, own, shared, problems)
    seen = {*shared, *(server.alias for server in own)}
    roles = build_roles(table, problems, seen)
    for role in roles:
        if role in operator_roles:
            told = f"the operator has a role {role!r}, whose rules may rest on it; take another name"
            problems.add((table.get(ROLES) or {})[role].place, told)
    return Tenant(
        name,
        tuple(text for text, _ in table.get(SHARE) or ()),
        roles,
        build_policies(table, {**operator_roles, **roles}, file, problems, seen),
        build_limits(table, {**operator_roles, **roles}, file, problems, seen),
        build_guards(table, {**operator_roles, **roles}, file, reader, seen),
    )


def _refuse_twins(name: str, table: Table, own: Iterable[Server], shared: set[str], problems: Problems) -> None:
    """A server of a tenant's that is called like one of the operator's would stand in its place."""
    servers = table.get(SERVERS) or {}
    for server in own:
        if server.alias in shared:
            told = f"the operator has a server {server.alias!r}, which may be shared with {name!r}; take another alias"
            problems.add(servers[server.alias].place, told)
