"""A whole configuration from its checked keys: what holds between them, and every default filled in."""

import re
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ...model.auth import Auth
from ...model.config import Address, Config, Server, View, owned
from ...model.logical import LogicalTool
from ...model.tenant import DEFAULT_TENANT, Tenant
from . import keys
from .alerts import build_alerts
from .audit import build_audit
from .auth import build_auth, build_tls
from .guards import build_guards
from .kinds import EMPTY, Key, Placed, Reader, Table
from .limits import build_limits
from .logical import TOOLS, build_logical
from .policy import VALIDATE, build_policies, build_roles, check_validate
from .prices import build_budgets, build_prices, build_usage
from .problems import Problems, unknown
from .search import EXPOSE, build_search
from .servers import Context, build_server
from .telemetry import BAGGAGE, build_traces
from .tenants import SERVERS as TENANT_SERVERS
from .tenants import TENANTS, build_tenant
from .vault import build_outbound, build_vault, check_users

STATE_FILE: Final = "concento.db"


def build(root: Table, path: Path, env: Mapping[str, str], reader: Reader) -> Config:
    """The configuration. Once a problem is noted, the value is of no use."""
    names, defaults, telemetry = (root.get(key) or EMPTY for key in (keys.NAMES, keys.DEFAULTS, keys.TELEMETRY))
    context = Context(reader, str(path), defaults, frozenset(reader.references.names), outbound=build_outbound(root))
    problems = reader.problems
    placed = root.get(keys.SERVERS) or {}
    servers = {alias: build_server(alias, table, context) for alias, table in placed.items()}
    tools = build_logical(root, DEFAULT_TENANT, servers, str(path), problems)
    views = _views(root, DEFAULT_TENANT, servers, tools, problems)
    _refuse_second_bare(placed, problems)
    operators = tuple(servers.values())
    aliases = {server.alias for server in operators}
    roles = build_roles(root, problems, aliases)
    tenants: dict[str, Tenant] = {}
    tables = [(alias, table) for alias, (table, _) in placed.items()]
    for name, tenant in (root.get(TENANTS) or {}).items():
        own = tenant.value.get(TENANT_SERVERS) or {}
        tables += [(alias, table) for alias, (table, _) in own.items()]
        theirs = [build_server(alias, table, context._replace(tenant=name)) for alias, table in own.items()]
        servers |= {server.key: server for server in theirs}
        _refuse_second_bare({**placed, **own}, problems)
        tenants[name] = build_tenant(name, tenant, theirs, operators, roles, str(path), reader)
        seen = {server.alias: server for server in (*operators, *theirs)}
        own_tools = build_logical(tenant.value, name, seen, str(path), problems)
        _refuse_namesakes(own_tools, tools, tenant.value, problems)
        tools |= own_tools
        views |= _views(tenant.value, name, seen, tools, problems)
    known_roles = {*roles, *(role for tenant in tenants.values() for role in tenant.roles)}
    tls = build_tls(root, reader)
    auth = build_auth(root, tls, tenants, known_roles, problems)
    check_validate(root, problems)
    listen, admin = _listeners(root, auth, problems)
    check_users(root, tables, auth, listen, problems)
    if any(server.exchange is not None for server in servers.values()) and auth is not None:
        auth = replace(auth, keeps_tokens=True)
    admin_table: Table | None = root.get(keys.ADMIN)
    state_db = _state_db(root, path, env, reader)
    if auth is not None and auth.api_keys and state_db is None:
        problems.add(root.place_of(keys.STATE), "API keys are kept in the state store; give 'state' a file")
    owners = {DEFAULT_TENANT: aliases} | {name: _aliases(servers, name) for name in tenants}
    books = build_prices(root, aliases, owners, problems)
    return Config(
        path=path,
        listen=listen,
        admin=admin,
        state_db=state_db,
        hosts=root[keys.HOSTS],
        chars_max=names[keys.CHARS_MAX],
        start_wait_s=defaults[keys.START_WAIT_S],
        list_ttl_s=defaults[keys.LIST_TTL_S],
        page_items_max=defaults[keys.PAGE_ITEMS_MAX],
        as_task_after_s=defaults[keys.AS_TASK_AFTER_S],
        task_max_s=defaults[keys.TASK_MAX_S],
        task_ttl_s=defaults[keys.TASK_TTL_S],
        traces=build_traces(telemetry),
        baggage=telemetry[BAGGAGE],
        access_log=_access_log(telemetry, reader),
        servers=MappingProxyType(servers),
        views=MappingProxyType(views),
        tools=MappingProxyType(tools),
        expose=root[EXPOSE],
        search=build_search(root, reader),
        tls=tls,
        admin_tls=None if admin_table is None else build_tls(admin_table, reader),
        auth=auth,
        tenants=MappingProxyType(tenants),
        roles=MappingProxyType(roles),
        policies=build_policies(root, roles, str(path), problems, aliases),
        limits=build_limits(root, roles, str(path), problems, aliases),
        guards=build_guards(root, roles, str(path), reader, aliases),
        audit=build_audit(root, reader),
        alerts=build_alerts(root, reader, servers),
        usage=build_usage(root, reader),
        prices=books,
        budgets=build_budgets(root, books, owners, problems),
        validate=root.get(VALIDATE) or "off",
        outbound=context.outbound,
        vault_keys=build_vault(root, reader),
        admin_commands=() if admin_table is None else admin_table.get(keys.ADMIN_COMMANDS) or (),
        admin_references=() if admin_table is None else admin_table.get(keys.ADMIN_REFERENCES) or (),
        references=frozenset(reader.references.written),
        secrets=frozenset(reader.references.secrets),
    )


def _aliases(servers: Mapping[str, Server], tenant: str) -> set[str]:
    """The aliases of a tenant's own servers."""
    return {server.alias for server in servers.values() if server.tenant == tenant}


def _listeners(root: Table, auth: Auth | None, problems: Problems) -> tuple[Address, Address | None]:
    listen = root[keys.LISTEN]
    if auth is None:
        _refuse_exposed(listen, root, keys.LISTEN, "listen", problems)
    table = root.get(keys.ADMIN)
    if table is None and root.given(keys.ADMIN):
        return listen, None
    admin = (table or EMPTY)[keys.ADMIN_LISTEN]
    if table is not None and auth is None:
        _refuse_exposed(admin, table, keys.ADMIN_LISTEN, "admin.listen", problems)
    if admin == listen and admin.port:
        message = f"agents and the admin API can't share {admin}; give 'listen' and 'admin.listen' different ports"
        problems.add(root.place_of(keys.ADMIN if table is not None else keys.LISTEN), message)
    return listen, admin


def _refuse_exposed(address: Address, table: Table, key: Key[Address], name: str, problems: Problems) -> None:
    try:
        is_loopback = ip_address(address.host).is_loopback
    except ValueError:
        is_loopback = address.host == "localhost"
    if not is_loopback:
        told = f"without 'auth' the hub serves loopback only: set '{name}' to 127.0.0.1:{address.port}"
        message = f"{told}, or say in 'auth' who may call"
        problems.add(table.place_of(key), message)


def _state_db(root: Table, path: Path, env: Mapping[str, str], reader: Reader) -> Path | None:
    """The file of the state store: as configured, else in a folder of this configuration's own."""
    if root.given(keys.STATE):
        name = root.get(keys.STATE)
        return None if name is None else reader.references.path(name)
    own = sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
    base = env.get("XDG_STATE_HOME", "")
    if not base.startswith("/"):
        base = f"{env.get('HOME') or _home(root, reader.problems)}/.local/state"
    return Path(base, "concento", own, STATE_FILE)


def _home(root: Table, problems: Problems) -> Path:
    try:
        return Path.home()
    except RuntimeError:
        message = "neither XDG_STATE_HOME nor HOME says where state belongs; set 'state' to sqlite:///FILE or off"
        problems.add(root.place, message)
        return Path("/")


def _access_log(telemetry: Table, reader: Reader) -> str:
    where = telemetry[keys.ACCESS_LOG]
    if where is None:
        return "off"
    return where if where in ("auto", "stderr") else str(reader.references.path(where))


def _refuse_second_bare(servers: Mapping[str, Placed[Table]], problems: Problems) -> None:
    bare = [alias for alias, (table, _) in servers.items() if table[keys.PREFIX] == "never"]
    for alias in bare[1:]:
        message = f"'prefix: never' is for one server at most, and {bare[0]!r} has it already"
        problems.add(servers[alias].value.place_of(keys.PREFIX), message)


def _refuse_namesakes(
    own: Mapping[str, LogicalTool], known: Mapping[str, LogicalTool], table: Table, problems: Problems
) -> None:
    """A logical tool of a tenant's that is called like one of the operator's would stand in its place."""
    for tool in own.values():
        if tool.name in known:
            told = f"the operator has a logical tool {tool.name!r}; take another name"
            problems.add((table.get(TOOLS) or {})[tool.name].place, told)


def _views(
    root: Table, tenant: str, servers: Mapping[str, Server], tools: Mapping[str, LogicalTool], problems: Problems
) -> dict[str, View]:
    """The views of a tenant, over servers by their aliases."""
    names = [tool.name for tool in tools.values() if tool.tenant in (tenant, DEFAULT_TENANT)]
    views: dict[str, View] = {}
    for name, (table, _) in (root.get(keys.VIEWS) or {}).items():
        include, exclude = table.get(keys.INCLUDE), table.get(keys.EXCLUDE) or ()
        for pattern, place in (*(include or ()), *exclude):
            server, dot, _ = pattern.partition(".")
            if not dot and pattern != "*":
                if not any(_matches(pattern, name) for name in names):
                    whole = f"; for all of a server write '{pattern}.*'" if pattern in servers else ""
                    problems.add(place, unknown("logical tool", pattern, names) + whole)
            elif not any(_matches(server, alias) for alias in servers):
                problems.add(place, unknown("server", server, servers))
        views[owned(tenant, name)] = View(
            name,
            View("").include if include is None else tuple(pattern for pattern, _ in include),
            tuple(pattern for pattern, _ in exclude),
            table[EXPOSE],
        )
    return views


def _matches(glob: str, alias: str) -> bool:
    return re.fullmatch(re.escape(glob).replace(r"\*", ".*").replace(r"\?", "."), alias) is not None
