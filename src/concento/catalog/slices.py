"""One server's share of the catalog: what it offers, under its public names, ready to be sent."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from msgspec import Raw

from ..model.config import Server
from ..model.inventory import Health, Inventory, Item, Kind
from ..protocol.headers import ParamHeader
from ..protocol.jsonrpc import raw, read_object, read_string
from .annotations import KEY, InvalidAnnotation, param_headers
from .names import Naming, public_name
from .uris import publish_template, publish_uri

__all__ = ["Entry", "Naming", "Slice", "build_slice"]

_encode = msgspec.json.Encoder().encode
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

    def entries(self, kind: Kind) -> tuple[Entry, ...]:
        """The entries of a kind, in the server's order."""
        return getattr(self, kind)  # type: ignore[no-any-return]


def build_slice(server: Server, inventory: Inventory | None, health: Health, *, naming: Naming) -> Slice:
    """Name and prepare everything a server offers. Of two items with one name the first stays."""
    if inventory is None:
        return Slice(server, None, health)
    notes: list[str] = []
    alias, prefixed = server.alias, server.prefix == "alias"
    return Slice(
        server,
        inventory,
        health,
        tools=_entries("tools", inventory, notes, lambda item: _tool(server, item, naming, notes)),
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
        entry = make(item)
        if entry is not None and made.setdefault(entry.public, entry) is not entry:
            notes.append(f"left out a second of its {kind} named {item.key!r}")
    return tuple(made.values())


def _tool(server: Server, item: Item, naming: Naming, notes: list[str]) -> Entry | None:
    override = server.tools.get(item.key)
    if override is not None and override.hide:
        return None
    params: tuple[ParamHeader, ...] = ()
    if KEY.encode() in item.raw:
        try:
            params = param_headers(msgspec.json.decode(item.raw).get("inputSchema"))
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
    description = None if override is None else override.description
    return _entry(server.alias, item, "name", name, params, description)


def _entry(
    alias: str,
    item: Item,
    member: str,
    public: str,
    params: tuple[ParamHeader, ...] = (),
    description: str | None = None,
) -> Entry:
    members = read_object(item.raw) or {}
    members[member] = raw(public)
    if description is not None:
        members["description"] = raw(description)
    if (ui := _public_ui(alias, members.get("_meta"))) is not None:
        members["_meta"] = ui
    return Entry(alias, item.key, public, _encode(members), item.raw, params)


def _public_ui(alias: str, meta: Raw | None) -> Raw | None:
    """A tool's `_meta` with the URI of its user interface made public; None if it names none."""
    members = read_object(meta) if meta is not None else None
    ui = read_object(members["ui"]) if members is not None and "ui" in members else None
    uri = read_string(ui.get("resourceUri")) if ui is not None else None
    if members is None or ui is None or uri is None:
        return None
    ui["resourceUri"] = raw(publish_uri(alias, uri))
    members["ui"] = Raw(_encode(ui))
    return Raw(_encode(members))


def _stray_overrides(server: Server, inventory: Inventory) -> list[str]:
    known = [item.key for item in inventory.tools.items]
    notes = []
    for name in server.tools:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            notes.append(f"`tools:` names {name!r}, which the server does not offer{hint}")
    return notes
