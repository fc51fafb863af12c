"""A server as a client wrote it → an entry of ours: our keys, our references, and what a person must still say.

Pure. The keys are translated by `control.config.clients`, which also reads such files as configurations; here is what
that can't do: input variables, what has a meaning only inside the client, and a client's own forms.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from ..control.config.clients import KNOWN, as_configuration
from ..control.config.document import START, MappingNode, Node, ScalarNode, SequenceNode
from ..control.config.document import Entry as NodeEntry
from ..control.config.problems import Problems, quoted
from .found import Found

MARK: Final = "\0"
"""Stands around the name of what a person has to say: no text of a client's file may have it."""

NeedKind = Literal["env", "input", "folder"]


@dataclass(frozen=True, slots=True)
class Need:
    """Something that only a person knows."""

    name: str
    kind: NeedKind
    description: str = ""
    is_secret: bool = True
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One server of ours. `keys` are what `servers:` takes, in its order; needs stand in them between marks."""

    keys: Mapping[str, Any] = field(repr=False)
    needs: tuple[Need, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unusable:
    """A server that can't be taken over, and why."""

    reason: str


def translate(found: Found, env: Mapping[str, str]) -> Entry | Unusable:
    """The server as an entry of ours. `env` says which variables there are; their values are not looked at."""
    raw, notes = _own_form(found.raw)
    if found.raw.get("source") == "extension" and "command" not in raw:
        return Unusable(f"it is an extension of {found.file.client.name} and stays there")
    if not isinstance(raw.get("command", ""), str | list):
        return Unusable("its 'command' is no text, so no program")
    reading = _References(found, env, frozenset(_names(raw.get("env"))))
    try:
        raw = {key: reading.walk(value, key) for key, value in raw.items()}
    except _OnlyInClient as error:
        return Unusable(str(error))
    problems = Problems()
    root = _node({"mcpServers": {"server": {**raw, "disabled": False, "enabled": True}}})
    made = as_configuration(root, found.folder or found.file.folder, problems)
    if problems:
        said = problems.error("").problems
        return Unusable("; ".join(line.partition(": ")[2] for line in said))
    servers = made.entries["servers"].node
    assert isinstance(servers, MappingNode)
    keys = _keys(_plain(servers.entries["server"].node))
    if found.folder is not None:
        keys = _in_folder(keys, found.folder)
    notes += [f"reads {name} of the environment that concento is started in" for name in reading.inherited]
    return Entry(MappingProxyType(keys), tuple(reading.needs.values()), tuple(notes))


# -- what only one client writes


def _own_form(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Keys that are known; notes on those that are not."""
    flat = dict(raw)
    if isinstance(inner := flat.get("command"), dict):  # as Zed wrote it at first
        flat |= {"command": inner.get("path"), "args": inner.get("args") or [], "env": inner.get("env") or {}}
    match flat:
        # What Windows needs before a script, and no other system has.
        case {"command": "cmd" | "cmd.exe", "args": ["/c" | "/C", program, *rest]}:
            flat |= {"command": program, "args": rest}
    for key in ("env", "headers", "args", "cwd"):
        if flat.get(key, 0) is None or flat.get(key) == {} or flat.get(key) == []:
            del flat[key]
    unknown = [key for key in flat if key not in KNOWN and not key.startswith(("_", "//", "$"))]
    quiet = {"source", "settings", ""}
    notes = [f"{quoted(key)} was left out: the hub has no such key" for key in unknown if key not in quiet]
    return {key: value for key, value in flat.items() if key not in unknown}, notes


def _names(value: Any) -> list[str]:
    """The variables of `env` that don't only hand on one of the same name."""
    if not isinstance(value, dict):
        return []
    return [name for name, text in value.items() if not (isinstance(text, str) and name in text and "${" in text)]


# -- references


class _OnlyInClient(Exception):
    """A variable that means something inside the client and nowhere else."""


_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_ENV = re.compile(r"(env:)?([A-Za-z_][A-Za-z0-9_]*)(:-[^{}]*)?")
_EDITORS: Final = ("config:", "command:", "extension", "file", "relativeFile", "line", "selected", "default", "cwd")
_UNTOUCHED: Final = ("userHome", "pathSeparator", "/")


class _References:
    """Rewrites references so that `as_configuration` and our loader take each as it was meant."""

    def __init__(self, found: Found, env: Mapping[str, str], own_names: frozenset[str]) -> None:
        self._found = found
        self._env = env
        self._own_names = own_names
        self.needs: dict[str, Need] = {}
        self.inherited: dict[str, None] = {}
        """Variables that are set here, and have to be wherever the hub is started."""

    def walk(self, value: Any, key: str) -> Any:
        match value:
            case str():
                if MARK in value:
                    raise _OnlyInClient(f"{quoted(key)} has a NUL character in it")
                return _REFERENCE.sub(self._rewritten, value)
            case list():
                return [self.walk(one, key) for one in value]
            case dict():
                return {name: self.walk(one, key) for name, one in value.items()}
        return value

    def _rewritten(self, match: re.Match[str]) -> str:
        whole, body = match[0], match[1]
        if body is None:
            return "$${"
        if body.startswith("input:"):
            return self._input(body.removeprefix("input:"))
        if body in ("workspaceFolder", "workspaceRoot"):
            if self._found.folder is not None:
                return whole
            return self._need(Need("workspaceFolder", "folder", "the folder you work in", is_secret=False))
        if body in _UNTOUCHED:
            return whole
        is_editor = self._found.file.client.key == "servers"
        variable = _ENV.fullmatch(body)
        if variable is None or (is_editor and not variable[1]):
            if is_editor and body.startswith(_EDITORS):
                raise _OnlyInClient(f"${{{body}}} means something only inside {self._found.file.client.name}")
            return "$$" + whole[1:]  # text that some shell is to read
        name, default = variable[2], variable[3]
        if not variable[1] and name in self._own_names:
            return "$$" + whole[1:]  # the program itself puts in what `env` gives it
        if default is not None or name in self._env:
            if default is None and name != "HOME":
                self.inherited[name] = None
            return f"${{{name}{default or ''}}}"
        return self._need(Need(name, "env", "an environment variable that is not set here"))

    def _input(self, id: str) -> str:
        asked = self._found.inputs.get(id)
        if asked is None:
            return self._need(Need(id, "input"))
        return self._need(Need(id, "input", asked.description, asked.is_secret, asked.default))

    def _need(self, need: Need) -> str:
        self.needs[need.name] = need
        return f"{MARK}{need.name}{MARK}"


# -- nodes and values


def _node(value: Any) -> MappingNode:
    node = _node_of(value)
    assert isinstance(node, MappingNode)
    return node


def _node_of(value: Any) -> Node:
    match value:
        case dict():
            return MappingNode(START, {str(key): NodeEntry(START, _node_of(one)) for key, one in value.items()})
        case list():
            return SequenceNode(START, tuple(map(_node_of, value)))
        case bool():
            return ScalarNode(START, "true" if value else "false", value)
        case None:
            return ScalarNode(START, "null", None)
        case _:
            return ScalarNode(START, str(value), value)


def _plain(node: Node) -> Any:
    match node:
        case MappingNode(_, entries):
            return {key: _plain(entry.node) for key, entry in entries.items()}
        case SequenceNode(_, items):
            return [_plain(item) for item in items]
        case ScalarNode(_, _, None) | ScalarNode(_, _, bool()):
            return node.value
    return node.text


_ORDER: Final = ("command", "cwd", "url", "transport", "env", "headers", "credentials", "tools")


def _keys(server: Any) -> dict[str, Any]:
    """Our keys in their order, program and arguments in one list, texts where the loader wants texts."""
    if not isinstance(server, dict):
        return {}
    keys = dict(server)
    if isinstance(command := keys.get("command"), list) and isinstance(args := keys.pop("args", []), list):
        keys["command"] = [*map(_text, command), *map(_text, args)]
    if isinstance(env := keys.get("env"), dict):
        keys["env"] = {name: _text(value) for name, value in env.items()}
    if keys.get("transport") == "http":  # found out all the same, and one client says it, another does not
        del keys["transport"]
    _bearer(keys)
    return {key: keys[key] for key in (*_ORDER, *sorted(keys.keys() - set(_ORDER))) if key in keys}


def _text(value: Any) -> Any:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def _bearer(keys: dict[str, Any]) -> None:
    """A bearer among the headers becomes the credential that it is."""
    headers = keys.get("headers")
    if not isinstance(headers, dict):
        return
    for name, value in headers.items():
        if name.lower() == "authorization" and isinstance(value, str):
            scheme, _, token = value.strip().partition(" ")
            if scheme.lower() == "bearer" and token.strip() and " " not in token.strip():
                keys["credentials"] = {"bearer": token.strip()}
                rest = {other: text for other, text in headers.items() if other != name}
                keys["headers"] = rest
                if not rest:
                    del keys["headers"]
                return


# -- folders

_SCRIPT = re.compile(
    r"(?i)[\w.-][\w./-]*\.(py|js|mjs|cjs|ts|mts|sh|rb|jar|json|toml|ya?ml)|\.{1,2}(/.*)?|[\w.-]+=\.{1,2}(/.*)?"
)


def _in_folder(keys: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same server started where its project is, if that can matter to it."""
    command, cwd = keys.get("command"), keys.get("cwd")
    escaped: Callable[[Path], str] = lambda path: str(path).replace("${", "$${")  # noqa: E731
    if isinstance(cwd, str) and not cwd.startswith(("/", "~", "$", MARK)):
        return keys | {"cwd": escaped(folder / cwd)}
    if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
        return keys
    first, *args = command
    if "/" in first and not first.startswith(("/", "~", "$", MARK)):
        first = escaped(folder / first)
    elif not any(_SCRIPT.fullmatch(arg) for arg in args) or cwd is not None:
        return keys
    made = {"command": [first, *args], "cwd": escaped(folder)} | {k: v for k, v in keys.items() if k != "command"}
    return made
