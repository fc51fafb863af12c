"""One server's share of the catalog: what it offers, under its public names, ready to be sent."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Raw

from ..model.config import Server
from ..model.errors import CallError
from ..model.inventory import Health, Inventory, Item, Kind
from ..protocol.headers import ParamHeader
from ..protocol.jsonrpc import raw, read_object, read_string
from ..protocol.text import check_repeats
from .annotations import KEY, InvalidAnnotation, param_headers
from .names import Naming, public_name
from .pins import Held, Pin, Why, canonical
from .uris import publish_template, publish_uri

__all__ = ["Entry", "Naming", "Slice", "build_slice"]

_encode = msgspec.json.Encoder().encode
_NEAREST_OF_MAX: Final = 5000
_MEMBER: dict[Kind, str] = {"tools": "name", "prompts": "name", "resources": "uri", "templates": "uriTemplate"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One tool, prompt, resource or template. `public` and `raw` are for endpoints of many servers, `own` and `own_raw`
    for the server's own. `params` are the parameters to mirror in header fields."""

    alias: str
    own: str
    public: str
    raw: bytes
    own_raw: bytes
    params: tuple[ParamHeader, ...] = ()
    task_only: bool = False
    """A tool of a legacy server that runs as a task only."""
    purpose: str = ""
    """What the operator says it is for: words that it is found by, beside its own."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What one server adds. `inventory` is None if it was never listed; `notes` say what was left out, and why."""

    server: Server
    inventory: Inventory | None
    health: Health
    tools: tuple[Entry, ...] = ()
    prompts: tuple[Entry, ...] = ()
    resources: tuple[Entry, ...] = ()
    templates: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    held: tuple["Held", ...] = ()
    """Tools that nobody sees until they are approved."""

    def entries(self, kind: Kind) -> tuple[Entry, ...]:
        """The entries of a kind, in the server's order."""
        return getattr(self, kind)  # type: ignore[no-any-return]


def build_slice(
    server: Server,
    inventory: Inventory | None,
    health: Health,
    *,
    naming: Naming,
    pins: Mapping[str, Pin] | None = None,
) -> Slice:
    """Name and prepare everything a server offers. Of two items with one name the first stays.

    `pins`: by the server's own names, the definitions that its tools have to have; None: any.
    """
    if inventory is None:
        return Slice(server, None, health)
    notes: list[str] = []
    alias, prefixed = server.alias, server.prefix == "alias"
    named = _entries("tools", inventory, notes, lambda item: _tool(server, item, naming, notes))
    tools, held = _sifted(named, pins, notes)
    return Slice(
        server,
        inventory,
        health,
        tools=tools,
        held=held,
        prompts=_entries(
            "prompts",
            inventory,
            notes,
            lambda item: _entry(alias, item, "name", public_name(alias, item.key, naming, prefixed=prefixed)),
        ),
        resources=_entries(
            "resources", inventory, notes, lambda item: _entry(alias, item, "uri", publish_uri(alias, item.key))
        ),
        templates=_entries(
            "templates",
            inventory,
            notes,
            lambda item: _entry(alias, item, "uriTemplate", publish_template(alias, item.key)),
        ),
        notes=tuple(notes + _stray_overrides(server, inventory)),
    )


def _entries(
    kind: Kind, inventory: Inventory, notes: list[str], make: Callable[[Item], Entry | None]
) -> tuple[Entry, ...]:
    made: dict[str, Entry] = {}
    for item in inventory.listing(kind).items:
        if not item.key:
            notes.append(f"left out one of its {kind}: it has no {_MEMBER[kind]}")
            continue
        if item.cleaned:
            notes.append(f"took hidden characters out of {item.key!r} of its {kind}")
        entry = make(item)
        if entry is not None and (first := made.setdefault(entry.public, entry)) is not entry:
            taken = "comes twice" if first.own == entry.own else f"{first.own!r} has the name {entry.public!r} already"
            notes.append(f"left out {item.key!r} of its {kind}: {taken}")
    return tuple(made.values())


def _sifted(
    tools: tuple[Entry, ...], pins: Mapping[str, Pin] | None, notes: list[str]
) -> tuple[tuple[Entry, ...], tuple[Held, ...]]:
    """Tools that may be seen, and those that wait for somebody to approve them."""
    if pins is None:
        return tools, ()
    shown: list[Entry] = []
    held: list[Held] = []
    for entry in tools:
        if _says_twice(entry.own_raw):
            notes.append(f"left out its tool {entry.own!r}: it says something twice, and nobody can tell which counts")
            continue
        pin, definition = pins.get(entry.own), canonical(entry.own_raw)
        if pin is not None and pin.definition == definition:
            shown.append(entry)
            continue
        why: Why = "new" if pin is None else "changed"
        held.append(Held(entry, why, definition, pin))
    if held:
        notes.append(f"holds back {len(held)} of its tools until they are approved; see `concento tools pending`")
    return tuple(shown), tuple(held)


def _says_twice(raw: bytes) -> bool:
    """Whether a definition names a member twice, so that another reader may read another one."""
    try:
        check_repeats(raw)
    except (CallError, RecursionError):
        return True
    return False


def _tool(server: Server, item: Item, naming: Naming, notes: list[str]) -> Entry | None:
    override = server.tools.get(item.key)
    if override is not None and override.hide:
        return None
    try:
        params = _params(item.raw)
    except InvalidAnnotation as error:
        notes.append(f"left out its tool {item.key!r}: {error}")
        return None
    name = public_name(
        server.alias,
        item.key,
        naming,
        prefixed=server.prefix == "alias",
        wanted=None if override is None else override.rename,
    )
    if override is None:
        return _entry(server.alias, item, "name", name, params)
    purpose = purpose_of(override.capability, override.tags)
    return _entry(server.alias, item, "name", name, params, override.description, purpose)


def purpose_of(capability: str | None, tags: Sequence[str]) -> str:
    """What the operator says a tool is for, as one text."""
    return " ".join([*([] if capability is None else [capability]), *tags])


class _Tool(msgspec.Struct):
    inputSchema: Any = None


# No number of a schema matters here, and one beyond a float's range must not keep it from being read.
_decode_tool = msgspec.json.Decoder(_Tool, float_hook=str).decode
_ANNOTATED, _ESCAPE = KEY.encode(), b"\\u00"


def _params(tool: bytes) -> tuple[ParamHeader, ...]:
    """The parameters a tool wants mirrored. Most tools want none, and are not decoded to find out."""
    if _ANNOTATED not in tool and _ESCAPE not in tool:
        return ()
    try:
        return param_headers(_decode_tool(tool).inputSchema)
    except (msgspec.DecodeError, RecursionError):
        if _ANNOTATED not in tool:
            return ()
        raise InvalidAnnotation(f"its schema can't be searched for {KEY}") from None


def _entry(
    alias: str,
    item: Item,
    member: str,
    public: str,
    params: tuple[ParamHeader, ...] = (),
    description: str | None = None,
    purpose: str = "",
) -> Entry:
    members = read_object(item.raw) or {}
    members[member] = raw(public)
    if description is not None:
        members["description"] = raw(description)
    if (ui := _public_ui(alias, members.get("_meta"))) is not None:
        members["_meta"] = ui
    return Entry(alias, item.key, public, _encode(members), item.raw, params, _is_task_only(item.raw), purpose)


class _Execution(msgspec.Struct, frozen=True):
    taskSupport: str = "forbidden"


class _Executed(msgspec.Struct):
    execution: _Execution = _Execution()


def _is_task_only(tool: bytes) -> bool:
    """Whether a tool's definition says that it runs as a task only."""
    if b'"taskSupport"' not in tool:
        return False
    try:
        return msgspec.json.decode(tool, type=_Executed).execution.taskSupport == "required"
    except msgspec.DecodeError:
        return False


_OLD_UI = "ui/resourceUri"
"""How `ui.resourceUri` was spelled before; servers send both, hosts read either."""


def _public_ui(alias: str, meta: Raw | None) -> Raw | None:
    """A tool's `_meta` with the URI of its user interface made public; None if it names none."""
    members = (read_object(meta) if meta is not None else None) or {}
    ui = (read_object(members["ui"]) if "ui" in members else None) or {}
    uri, old = read_string(ui.get("resourceUri")), read_string(members.get(_OLD_UI))
    if uri is None and old is None:
        return None
    if uri is not None:
        members["ui"] = Raw(_encode({**ui, "resourceUri": publish_uri(alias, uri)}))
    if old is not None:
        members[_OLD_UI] = raw(publish_uri(alias, old))
    return Raw(_encode(members))


def _stray_overrides(server: Server, inventory: Inventory) -> list[str]:
    known = {item.key: None for item in inventory.tools.items}
    notes = []
    for name in server.tools:
        if name not in known:
            near = difflib.get_close_matches(name, tuple(known)[:_NEAREST_OF_MAX], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            notes.append(f"`tools:` names {name!r}, which the server does not offer{hint}")
    return notes
