"""The `mcpServers` JSON of desktop clients, and VS Code's `servers`, rewritten as a configuration of ours.

Nodes in, nodes out, places kept: everything after treats the result like any other configuration. What a client keeps
for itself is left out; what would change who may do what is refused, never ignored.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from . import keys, texts
from .document import Entry, MappingNode, Node, ScalarNode, SequenceNode
from .problems import Place, Problems, quoted, unknown
from .root import ROOT

_VS_CODE: Final = frozenset(("servers", "inputs", "$schema"))

_IGNORED: Final = (
    *("alwaysAllow", "alwaysLoad", "autoApprove", "comment", "description", "dev", "displayName"),
    *("gallery", "icon", "iconPath", "id", "initTimeout", "metadata", "name", "networkTimeout"),
    *("note", "timeout", "trust", "version", "watchPaths"),
)
"""What only concerns how a client shows a server or whether it asks its user; timeouts, because their units differ."""

_REFUSED: Final = {
    "auth": "signing in to servers is not available in this version yet",
    "authProviderType": "signing in to servers is not available in this version yet",
    "oauth": "signing in to servers is not available in this version yet",
    "envFile": 'write its variables in "env", or refer to single files with ${file:PATH}',
    "headersHelper": 'write the header fields in "headers", with ${env:NAME} for what is secret',
    "includeTools": "list what agents may see in a view",
    "sandbox": "sandboxes are not available in this version yet",
    "sandboxEnabled": "sandboxes are not available in this version yet",
}
"""What can't be carried over and must not be dropped silently, with what to do instead."""

_TRANSPORTS: Final = {
    "stdio": None,
    "local": None,
    "http": "http",
    "streamable-http": "http",
    "streamableHttp": "http",
    "streamable_http": "http",
    "sse": "sse",
}
KNOWN: Final = (
    *("command", "args", "env", "cwd", "url", "serverUrl", "httpUrl", "headers", "type", "transport"),
    *("disabled", "enabled", "tools", "disabledTools", "excludeTools", *_REFUSED, *_IGNORED),
)
"""What a server may have in a client's file."""


def is_client_file(root: Node) -> bool:
    """Whether JSON is a client's rather than a configuration of ours: VS Code's `servers` looks much like ours."""
    if not isinstance(root, MappingNode):
        return False
    if "mcpServers" in root.entries:
        return True
    servers = root.entries["servers"].node if "servers" in root.entries else None
    if not isinstance(servers, MappingNode) or not root.entries.keys() <= _VS_CODE:
        return False
    return all(isinstance(entry.node, MappingNode) and _fits_client(entry.node) for entry in servers.entries.values())


def _fits_client(server: MappingNode) -> bool:
    nodes = {key: entry.node for key, entry in server.entries.items()}
    if isinstance(nodes.get("command"), SequenceNode) or isinstance(nodes.get("tools"), MappingNode):
        return False
    return all(key in KNOWN or key not in keys.SERVER.keys for key in nodes)


def as_configuration(root: Node, folder: Path, problems: Problems) -> MappingNode:
    """The same servers as a configuration of ours. `folder` is where the client's file is."""
    assert isinstance(root, MappingNode)
    name = "mcpServers" if "mcpServers" in root.entries else "servers"
    for key, entry in root.entries.items():
        if key != name and key in _OWN_KEYS:
            message = f"the key {quoted(key)} does not go together with {name!r}; write a concento.yaml"
            problems.add(entry.place, message)
    place, servers = root.entries[name]
    if not isinstance(servers, MappingNode):
        return MappingNode(root.place, {"servers": Entry(place, servers)})
    client = _Client(folder, problems)
    active = {own: entry for own, entry in servers.entries.items() if not _is_disabled(entry.node)}
    aliases = slugs(active)
    translated = {aliases[own]: Entry(at, client.server(node)) for own, (at, node) in active.items()}
    return MappingNode(root.place, {"servers": Entry(place, MappingNode(servers.place, translated))})


_OWN_KEYS: Final = (ROOT.keys.keys() | set(ROOT.later)) - {"tools", "telemetry", "tls", "limits"}
"""Keys of ours that a client's file must not have beside its servers; keys that a client has itself are left out."""


def slugs(names: Iterable[str]) -> dict[str, str]:
    """An alias for each name: itself if valid, else made of its letters and digits, and numbered where one is taken.

    Depends on the names and their order only; a valid name never has to give way.
    """
    names = list(names)
    aliases = {name: name for name in names if re.fullmatch(texts.ALIAS, name)}
    taken = set(aliases)
    for name in names:
        if name not in aliases:
            aliases[name] = free_alias(name, taken)
            taken.add(aliases[name])
    return {name: aliases[name] for name in names}


def free_alias(name: str, taken: Collection[str]) -> str:
    """An alias that is like this name and not taken."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = re.sub("[^a-z0-9]+", "-", ascii_name).strip("-") or "server"
    base = (base if base[0].isalpha() else f"s{base}")[:20].rstrip("-")
    alias, number = base, 1
    while alias in taken:
        number += 1
        alias = f"{base[: 19 - len(str(number))].rstrip('-')}-{number}"
    return alias


def _is_disabled(server: Node) -> bool:
    if not isinstance(server, MappingNode):
        return False
    said = {key: entry.node.value for key, entry in server.entries.items() if isinstance(entry.node, ScalarNode)}
    return said.get("disabled") is True or said.get("enabled") is False


class _Client:
    """Translates the servers of one file."""

    def __init__(self, folder: Path, problems: Problems) -> None:
        # An editor's folder of settings stands in the workspace it is about.
        self._workspace = folder.parent if folder.name in (".vscode", ".cursor") else folder
        self._problems = problems

    def server(self, node: Node) -> Node:
        """One server in our keys; what is no mapping is passed on, to be refused there."""
        if not isinstance(node, MappingNode):
            return node
        entries: dict[str, Entry] = {}
        hidden: dict[str, Entry] = {}
        for key, (place, child) in node.entries.items():
            match key:
                case "command":
                    is_text = isinstance(child, ScalarNode)
                    entries["command"] = Entry(place, SequenceNode(child.place, (child,)) if is_text else child)
                case "args" | "env" | "cwd" | "headers":
                    entries[key] = Entry(place, child)
                case "type" | "transport":
                    self._transport(place, child, entries)
                case "url" | "serverUrl" | "httpUrl":
                    entries["url"] = Entry(place, child)
                    if key == "httpUrl":
                        entries["transport"] = Entry(place, _text(place, "http"))
                case "disabledTools" | "excludeTools":
                    self._hide(place, child, hidden)
                case "tools":
                    self._all_tools(place, child)
                case "disabled" | "enabled":
                    pass
                case _:
                    self._left_out(key, place)
        if hidden:
            entries["tools"] = Entry(node.place, MappingNode(node.place, hidden))
        return self._with_references(MappingNode(node.place, entries))

    def _transport(self, place: Place, child: Node, entries: dict[str, Entry]) -> None:
        word = child.text if isinstance(child, ScalarNode) else ""
        if word not in _TRANSPORTS:
            self._problems.add(child.place, unknown("transport", word, _TRANSPORTS))
        elif transport := _TRANSPORTS[word]:
            entries["transport"] = Entry(place, _text(child.place, transport))

    def _hide(self, place: Place, child: Node, hidden: dict[str, Entry]) -> None:
        names = child.items if isinstance(child, SequenceNode) else (child,)
        for name in names:
            if not isinstance(name, ScalarNode):
                self._problems.add(name.place, "expected the names of tools")
                continue
            hide = MappingNode(place, {"hide": Entry(place, ScalarNode(place, "true", True))})
            hidden[name.text] = Entry(name.place, hide)

    def _all_tools(self, place: Place, child: Node) -> None:
        items = child.items if isinstance(child, SequenceNode) else ()
        if [item.text for item in items if isinstance(item, ScalarNode)] != ["*"]:
            self._problems.add(place, "the key 'tools' can't be carried over; list what agents may see in a view")

    def _left_out(self, key: str, place: Place) -> None:
        if key in _REFUSED:
            self._problems.add(place, f"the key {quoted(key)} can't be carried over; {_REFUSED[key]}")
        elif key not in _IGNORED and not key.startswith(("_", "//", "$")):
            self._problems.add(place, unknown("key", key, KNOWN))

    def _with_references(self, node: Node) -> Node:
        """The same with every reference written our way."""
        match node:
            case ScalarNode(place, text, str()):
                text = _REFERENCE.sub(lambda match: self._reference(match[0], match[1], place), text)
                return ScalarNode(place, text, text)
            case SequenceNode(place, items):
                return SequenceNode(place, tuple(map(self._with_references, items)))
            case MappingNode(place, entries):
                return MappingNode(
                    place, {key: Entry(at, self._with_references(child)) for key, (at, child) in entries.items()}
                )
        return node

    def _reference(self, whole: str, body: str, place: Place) -> str:
        if body.startswith("input:"):
            message = "${input:…} asks a person, and nobody is asked here; write ${env:NAME} and set that variable"
            self._problems.add(place, message)
            return ""
        if body in ("workspaceFolder", "workspaceRoot"):
            return str(self._workspace).replace("${", "$${")
        if body == "userHome":
            return "${env:HOME}"
        if body in ("pathSeparator", "/"):
            return "/"
        return f"${{env:{body}}}" if _PLAIN.fullmatch(body) else whole


_REFERENCE = re.compile(r"(?<!\$)\$\{([^{}]*)\}")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(:-[^{}]*)?")


def _text(place: Place, text: str) -> ScalarNode:
    return ScalarNode(place, text, text)
