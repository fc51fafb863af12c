"""What may come by the admin API, beyond that it loads: no program, no secret of the hub's, nothing of the file's for a
tenant, but for what the file allows. Pure. Source: hardening T19, T22, T32.
"""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from posixpath import normpath
from typing import Any, Final

from ..control.config import keys
from ..control.config.guards import WEBHOOK
from ..control.config.parts import Where, pointer_of
from ..control.config.references import references_in
from ..control.layers import Object
from ..model.config import Config
from .masking import masks, texts
from .problems import Problem

_STARTS: Final = (keys.COMMAND, keys.ARGS, keys.ENV, keys.ENV_INHERIT, keys.CWD, keys.SANDBOX)
"""What a child process is made of."""
_LOADING: Final = re.compile(
    r"(LD|DYLD|PYTHON|NODE|NPM|UV|PIP|RUBY|PERL|GIT|BASH|JAVA|JDK|_JAVA|DOTNET|GCONV|MALLOC)_?.*"
    r"|PATH|IFS|ENV|HOME|SHELL|SHELLOPTS|PS4|PROMPT_COMMAND|EDITOR|PAGER|TMPDIR|BROWSER|.*_PRELOAD|.*_OPTIONS",
    re.IGNORECASE,
)
"""Variables that say what else a program runs or loads."""
_NOT_TENANTS: Final = (keys.SERVER_TLS, keys.CWD, keys.OAUTH, keys.EXCHANGE, WEBHOOK)
"""What names files of the hub's machine, or sends the hub itself somewhere later."""


def check(where: Where, value: Any, before: Object | None, config: Config, tenant: str | None) -> None:
    """Whether an object may be put there. `tenant`: whose admin wants it; None: the hub's.

    Errors: Problem.
    """
    old = None if before is None else before.value
    for at, server, was in _servers(where, value, old):
        _check_programs(at, server, was, config, tenant)
    if tenant is not None:
        _check_tenant(value, before, tenant)
    else:
        _check_references(value, old, config)


def check_owner(before: Object | None, tenant: str | None) -> None:
    """Whether somebody may replace or take away an object: a tenant's admin only what such a one made."""
    if tenant is None or before is None:
        return
    if before.in_file or before.part is None or before.part.tenant != tenant:
        raise Problem(403, "whoever runs the hub has set this: only they change it")


def _check_programs(at: str, server: Mapping[str, Any], was: Any, config: Config, tenant: str | None) -> None:
    if _children(server) == _children(was):
        return
    before = dict(_parts(was))
    for pointer, part in _parts(server):
        for name in (name for name in (keys.COMMAND.name, keys.SANDBOX.name) if name in part):
            _check_program(f"{at}{pointer}/{name}", part[name], config, tenant)
        env, had = (one.get(keys.ENV.name) for one in (part, before.get(pointer, {})))
        for name, value in env.items() if isinstance(env, dict) else ():
            is_new = not isinstance(had, dict) or had.get(name) != value
            if is_new and _LOADING.fullmatch(name):
                told = f"the variable {name[:60]!r} says what else a program loads; set it in the file"
                raise Problem(403, told, [(f"{at}{pointer}/{keys.ENV.name}{pointer_of(name)}", told)])


def _check_program(pointer: str, value: Any, config: Config, tenant: str | None) -> None:
    if isinstance(value, dict):  # a sandbox
        value = value.get(keys.SANDBOX_COMMAND.name, [])
    if not isinstance(value, list) or not value:
        return
    program = value[0]
    if tenant is not None or program not in config.admin_commands:
        allowed = ", ".join(config.admin_commands) or "none"
        told = f"programs are started for what the file allows only (`admin: {{commands: [/usr/bin/uvx]}}`): {allowed}"
        if tenant is not None:
            told = "a tenant's admin starts no programs"
        raise Problem(403, told, [(pointer, told)])


def _servers(where: Where, value: Any, old: Any) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """The servers in an object, with their pointers and what each was before."""
    if where.kind == keys.SERVERS.name and isinstance(value, dict):
        yield "", value, old
    elif where.kind == "tenants" and isinstance(value, dict):
        inner, were = value.get(keys.SERVERS.name), (old or {}).get(keys.SERVERS.name) or {}
        for alias, server in inner.items() if isinstance(inner, dict) else ():
            if isinstance(server, dict):
                yield pointer_of(keys.SERVERS.name, alias), server, were.get(alias)


def _parts(server: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A server and its replicas, as far as they are mappings."""
    if not isinstance(server, Mapping):
        return
    yield "", server
    replicas = server.get(keys.REPLICAS.name)
    for number, replica in enumerate(replicas if isinstance(replicas, list) else ()):
        if isinstance(replica, Mapping):
            yield pointer_of(keys.REPLICAS.name, number), replica


def _children(server: Any) -> list[tuple[str, Any]]:
    """All that programs are started with."""
    return [(f"{at}/{key.name}", part[key.name]) for at, part in _parts(server) for key in _STARTS if key.name in part]


def _check_references(value: Any, old: Any, config: Config) -> None:
    allowed = config.admin_references
    had = {_plainly(name) for _, text in texts(old) for name in references_in(text)}
    wrong = []
    for pointer, text in texts(value):
        for name in map(_plainly, references_in(text)):
            known = name in config.references or name in had
            if not known and not any(fnmatchcase(name, pattern) for pattern in allowed):
                told = f"${{{name[:60]}}} is none that the file has or allows: `admin: {{references: [{name[:60]}]}}`"
                wrong.append((pointer, told))
    if wrong:
        raise Problem(422, wrong[0][1], wrong)


def _plainly(reference: str) -> str:
    """A reference whose path, if it has one, leads where it says."""
    kind, colon, path = reference.partition(":")
    return f"file:{normpath(path)}" if kind == "file" and colon else reference


def _check_tenant(value: Any, before: Object | None, tenant: str) -> None:
    wrong = [
        (pointer, "a tenant's admin gives no references: write what it stands for")
        for pointer, text in texts(value)
        if references_in(text)
    ]
    wrong += [(pointer, "a tenant's admin writes secrets anew each time") for pointer in masks(value)]
    for pointer, part in _parts(value):
        for at, inner in ((pointer, part), (f"{pointer}/{keys.CREDENTIALS.name}", part.get(keys.CREDENTIALS.name))):
            for key in _NOT_TENANTS:
                if isinstance(inner, Mapping) and key.name in inner:
                    wrong.append((f"{at}/{key.name}", f"only whoever runs the hub sets {key.name!r}"))
    if wrong:
        raise Problem(422, wrong[0][1], wrong)
    check_owner(before, tenant)
