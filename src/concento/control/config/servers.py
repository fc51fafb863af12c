"""One server: from its checked keys to `model.config.Server`, and what only shows when they are seen together."""

import shlex
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from ...model.config import ChildReplica, Isolation, Replica, Server, ToolOverride, UrlReplica
from ...model.outbound import PUBLIC, Reach
from ...model.tenant import DEFAULT_TENANT
from . import keys
from .kinds import EMPTY, Key, Placed, Reader, Table
from .policy import VALIDATE
from .sandbox import build_sandbox
from .search import CAPABILITY, TAGS
from .showing import authorization, build_exchange, build_oauth, build_server_tls, build_users

T = TypeVar("T")

_HUB_FIELDS: Final = frozenset(
    ("accept", "connection", "content-length", "content-type", "host", "te", "transfer-encoding", "upgrade")
)
"""Header fields that the hub itself writes, as it does all that begin with `mcp-`."""


class Context(NamedTuple):
    """What building a server needs beside its keys."""

    reader: Reader
    file: str
    defaults: Table
    withheld: frozenset[str]
    """Variables that no child inherits."""
    tenant: str = DEFAULT_TENANT
    """Whose the server is."""
    outbound: Reach = PUBLIC
    """Where URLs may lead that came by the admin API."""

    def problem(self, table: Table, key: Key[T], message: str) -> None:
        """Note a problem at a key."""
        self.reader.problems.add(table.place_of(key), message)


def build_server(alias: str, placed: Placed[Table], context: Context) -> Server:
    """The server. Once a problem is noted, the value is good for finding more of them, and for nothing else."""
    table, place = placed
    if table.given(keys.REPLICAS):
        replicas, beside = _replicas(table, context), None
    elif table.given(keys.COMMAND, keys.URL):
        replicas, beside = _single(table, context)
    else:
        replicas, beside = (), None
        if not table.is_misspelt:
            context.reader.problems.add(place, f"the server {alias!r} needs 'command', 'url' or 'replicas'")
    sleeps = beside is None and any(isinstance(replica, ChildReplica) for replica in replicas)
    if beside is not None:
        for key in table.given(*keys.ONLY_ON_STDIO):
            message = f"'{key.name}' is for servers spoken to over stdio; a program that serves 'url' runs with the hub"
            context.problem(table, key, message)
    parts = table.get(keys.REPLICAS)
    users = build_users(table, parts or (), context.reader)
    exchange = build_exchange(table, parts or (), context.reader)
    return Server(
        alias,
        replicas,
        balance=table[keys.BALANCE],
        hash_by=_hash_by(table, context),
        tools=_tools(table, context),
        prefix=table[keys.PREFIX],
        isolation=_isolation(table, context, knows_callers=users is not None or exchange is not None),
        timeout_s=_own_or(table, context.defaults, keys.TIMEOUT_S),
        health_check_s=None if _is_off(table, keys.HEALTH_CHECK_S) else table[keys.HEALTH_CHECK_S],
        required=table[keys.REQUIRED],
        concurrency_max=table[keys.CONCURRENCY_MAX],
        beside=beside,
        start=_own_or(table, context.defaults, keys.START) if sleeps else "eager",
        idle_stop_s=_given(keys.IDLE_STOP_S, table, context.defaults) if sleeps else None,
        trust_hints=table[keys.TRUST_HINTS],
        trust=_own_or(table, context.defaults, keys.TRUST),
        validate=table.get(VALIDATE),
        users=users,
        exchange=exchange,
        tenant=context.tenant,
        place=place.in_file(context.file),
    )


def _single(server: Table, context: Context) -> tuple[tuple[Replica, ...], ChildReplica | None]:
    """The one replica of a server, and the process started beside it if it has both a URL and a command."""
    _refuse_idle(server, [server], context)
    beside = bool(server.given(keys.URL))
    child = _child(server, EMPTY, context, beside=beside) if server.given(keys.COMMAND) else None
    if beside:
        return (_at_url(server, EMPTY, context),), child
    return (() if child is None else (child,)), None


def _replicas(server: Table, context: Context) -> tuple[Replica, ...]:
    for key in server.given(keys.COMMAND, keys.ARGS, keys.URL):
        context.problem(server, key, f"'{key.name}' does not go together with 'replicas'; move it into a replica")
    parts = server.get(keys.REPLICAS) or ()
    _refuse_idle(server, parts, context)
    return tuple(replica for part in parts if (replica := _replica(part, server, context)) is not None)


def _replica(part: Table, server: Table, context: Context) -> Replica | None:
    given = part.given(keys.COMMAND, keys.URL)
    if len(given) != 1:
        if not part.is_misspelt:
            context.reader.problems.add(part.place, "a replica needs either 'command' or 'url'")
        return None
    _refuse_idle(part, [part], context)
    return _at_url(part, server, context) if given == [keys.URL] else _child(part, server, context)


def _child(part: Table, server: Table, context: Context, *, beside: bool = False) -> ChildReplica:
    """A child process; what the replica itself does not say, the server says for all of them."""
    references = context.reader.references
    command = (*(part.get(keys.COMMAND) or ("?",)), *(part.get(keys.ARGS) or ()))
    sandbox = build_sandbox(part, server, context.defaults, reader=context.reader, beside=beside)
    if not command[0]:
        context.problem(part, keys.COMMAND, "the program to start is empty")
    elif "/" in command[0] and (sandbox is None or sandbox.kind != "container"):
        command = (str(references.path(command[0])), *command[1:])
    env = {**_values(server.get(keys.ENV)), **_values(part.get(keys.ENV))}
    cwd = part.get(keys.CWD) or server.get(keys.CWD)
    return ChildReplica(
        command,
        env=MappingProxyType(env),
        env_inherit=_own_or(part, server, keys.ENV_INHERIT),
        env_withheld=context.withheld,
        cwd=None if cwd is None else references.path(cwd),
        sandbox=sandbox,
        weight=part[keys.WEIGHT],
        as_written=shlex.join([*part.written(keys.COMMAND), *part.written(keys.ARGS)]),
    )


def _at_url(part: Table, server: Table, context: Context) -> UrlReplica:
    """A URL; what the replica itself does not say, the server says for all of them."""
    url = part.get(keys.URL) or ""
    credentials = part.get(keys.CREDENTIALS) or server.get(keys.CREDENTIALS) or EMPTY
    return UrlReplica(
        url,
        headers=MappingProxyType(_headers(server, context) | _headers(part, context)),
        transport=_own_or(part, server, keys.TRANSPORT),
        weight=part[keys.WEIGHT],
        oauth=build_oauth(credentials, url, context.reader),
        tls=build_server_tls(part.get(keys.SERVER_TLS) or server.get(keys.SERVER_TLS), url, context.reader),
        as_written="".join(part.written(keys.URL)),
        reach=context.outbound if part.place.pointer else None,
    )


def _headers(table: Table, context: Context) -> dict[str, str]:
    """The header fields of a server or replica, credentials included, by lower-case name."""
    fields: dict[str, str] = {}
    for name, (value, place) in (table.get(keys.HEADERS) or {}).items():
        field = name.lower()
        if field in _HUB_FIELDS or field.startswith("mcp-"):
            context.reader.problems.add(place, f"the hub itself writes the header field {name!r}; remove it")
        if field in fields:
            context.reader.problems.add(place, f"the header field {name!r} is given twice")
        fields[field] = value
    credentials = table.get(keys.CREDENTIALS)
    if credentials is not None:
        if "authorization" in fields:
            context.problem(table, keys.CREDENTIALS, "'credentials' and an Authorization header exclude each other")
        if (shown := authorization(credentials, context.reader)) is not None:
            fields["authorization"] = shown
    if "authorization" in fields:
        context.reader.references.keep_secret(fields["authorization"].rpartition(" ")[2])
    return fields


def _refuse_idle(table: Table, parts: Iterable[Table], context: Context) -> None:
    """Refuse keys that would do nothing: those for child processes without one, those for URLs without one."""
    parts = list(parts)
    if parts and not any(part.given(keys.COMMAND) for part in parts):
        for key in table.given(*keys.ONLY_WITH_COMMAND):
            context.problem(table, key, f"'{key.name}' has no effect without 'command'")
    if parts and not any(part.given(keys.URL) for part in parts):
        for key in table.given(*keys.ONLY_WITH_URL):
            context.problem(table, key, f"'{key.name}' has no effect without 'url'")


def _isolation(table: Table, context: Context, *, knows_callers: bool) -> Isolation:
    if table[keys.STATEFUL]:
        if table.get(keys.ISOLATION) not in (None, "session"):
            context.problem(table, keys.STATEFUL, "'stateful: true' implies 'isolation: session'; remove one of them")
        return "session"
    isolation = _own_or(table, context.defaults, keys.ISOLATION)
    return "principal" if knows_callers and isolation == "shared" else isolation


def _hash_by(table: Table, context: Context) -> str:
    if table.given(keys.HASH_BY) and table[keys.BALANCE] != "hash":
        context.problem(table, keys.HASH_BY, "'hash_by' has no effect without 'balance: hash'")
    return table[keys.HASH_BY]


def _tools(table: Table, context: Context) -> Mapping[str, ToolOverride]:
    tools: dict[str, ToolOverride] = {}
    renamed: dict[str, str] = {}
    for own_name, (override, _) in (table.get(keys.TOOLS) or {}).items():
        rename = override.get(keys.RENAME)
        if rename is not None and (other := renamed.setdefault(rename, own_name)) != own_name:
            context.problem(override, keys.RENAME, f"{rename!r} is the new name of the tool {other!r} already")
        tools[own_name] = ToolOverride(
            *(rename, override.get(keys.DESCRIPTION), override[keys.HIDE], override.get(keys.REPEATABLE)),
            *(override.get(CAPABILITY), override.get(TAGS) or ()),
        )
    return MappingProxyType(tools)


def _own_or(own: Table, other: Table, key: Key[T]) -> T:
    value = own.get(key)
    return other[key] if value is None else value


def _is_off(table: Table, key: Key[T]) -> bool:
    return bool(table.given(key)) and table.get(key) is None


def _given(key: Key[T], *tables: Table) -> T | None:
    """The value in the first table that has the key, where `off` is a value, too."""
    return next((table.get(key) for table in tables if table.given(key)), None)


def _values(entries: Mapping[str, Placed[T]] | None) -> dict[str, T]:
    return {name: value for name, (value, _) in (entries or {}).items()}
