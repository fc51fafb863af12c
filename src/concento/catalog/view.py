"""What one endpoint shows: names to bindings, lists in a fixed order, and what is missing or stale.

Servers come in the configuration's order, each one's items in its own. The first to claim a name keeps it.
"""

import difflib
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ..model.call import Endpoint
from ..model.inventory import KINDS, Kind
from ..protocol.jsonrpc import read_object
from .names import SEPARATOR
from .patterns import Patterns
from .slices import Entry, Slice
from .uris import resolve_uri

INSTRUCTIONS_CHARS_MAX: Final = 32_768
_NEAREST_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Binding:
    """A public name resolved: whose it is, and its own name there. `entry` is None for an unlisted resource."""

    alias: str
    own: str
    entry: Entry | None = None


class TenantView:
    """The catalog as one endpoint shows it. Immutable; made from slices when first asked for."""

    def __init__(self, slices: tuple[Slice, ...], endpoint: Endpoint, patterns: Patterns | None = None) -> None:
        self.slices = slices
        self.endpoint = endpoint
        self._patterns = patterns
        self._own_names = endpoint.kind == "server"
        self._by_alias = {slice.server.alias: slice for slice in slices}
        self._items: dict[Kind, dict[str, Entry]] = {kind: self._collect(kind) for kind in KINDS}
        self.capabilities = self._merged_capabilities()
        self.instructions = self._merged_instructions()
        self.info = self._own_info()

    def _collect(self, kind: Kind) -> dict[str, Entry]:
        items: dict[str, Entry] = {}
        for slice in self.slices:
            for entry in slice.entries(kind):
                if self._patterns is None or self._patterns.matches(entry.alias, entry.own):
                    items.setdefault(self.name(entry), entry)
        return items

    def name(self, entry: Entry) -> str:
        """What an entry is called here."""
        return entry.own if self._own_names else entry.public

    def raw(self, entry: Entry) -> bytes:
        """An entry as it is listed here."""
        return entry.own_raw if self._own_names else entry.raw

    # -- names

    def tool(self, name: str) -> Binding | None:
        """The tool of that name."""
        return self._bound("tools", name)

    def prompt(self, name: str) -> Binding | None:
        """The prompt of that name."""
        return self._bound("prompts", name)

    def template(self, template: str) -> Binding | None:
        """The resource template."""
        return self._bound("templates", template)

    def _bound(self, kind: Kind, name: str) -> Binding | None:
        entry = self._items[kind].get(name)
        return None if entry is None else Binding(entry.alias, entry.own, entry)

    def resource(self, uri: str) -> Binding | None:
        """The resource at a URI, listed or not: the URI names its server."""
        if self._own_names:
            return Binding(self.slices[0].server.alias, uri, self._items["resources"].get(uri))
        resolved = resolve_uri(uri)
        if resolved is None or resolved[0] not in self._by_alias:
            return None
        if self._patterns is not None and not self._patterns.matches(*resolved):
            return None
        return Binding(*resolved, self._items["resources"].get(uri))

    def nearest(self, kind: Kind, name: str) -> list[str]:
        """Visible names that look like one that does not exist."""
        return difflib.get_close_matches(name[:256], tuple(self._items[kind])[:5000], _NEAREST_MAX, 0.6)

    def pending(self, name: str) -> str | None:
        """The server whose unknown inventory could hold this name; None if no such server is starting."""
        for slice in self.slices:
            if slice.inventory is None:
                alias = slice.server.alias
                bare = self._own_names or slice.server.prefix == "never"
                if bare or name.startswith(alias + SEPARATOR) or (resolve_uri(name) or ("",))[0] == alias:
                    return alias
        return None

    # -- lists

    def items(self, kind: Kind) -> tuple[Entry, ...]:
        """All entries of a kind, in order."""
        return tuple(self._items[kind].values())

    def names(self, kind: Kind) -> tuple[str, ...]:
        """All names of a kind, in order."""
        return tuple(self._items[kind])

    def troubles(self) -> dict[str, dict[str, str]]:
        """Per server that is missing or stale: its state, and what is wrong."""
        told: dict[str, dict[str, str]] = {}
        for slice in self.slices:
            health = slice.health
            if slice.inventory is None or health.stale or health.state != "ready":
                told[slice.server.alias] = {"state": "stale" if slice.inventory is not None else health.state}
                if health.error is not None:
                    told[slice.server.alias]["error"] = health.error
        return told

    def ttl_ms(self, kind: Kind, now: float) -> int:
        """How long a list may be kept: what is left of the shortest of its servers', 0 if anything is missing."""
        left_s = float("inf")
        for slice in self.slices:
            if slice.inventory is None or slice.health.stale or slice.health.state != "ready":
                return 0
            listing = slice.inventory.listing(kind)
            if listing.ttl_s is None:
                return 0
            left_s = min(left_s, listing.fetched_at + listing.ttl_s - now)
        return 0 if left_s == float("inf") else max(0, int(left_s * 1000))

    def public(self, kind: Kind) -> bool:
        """Whether a list may be shown to others than who asked: if every server allows it and nothing is hidden."""
        return (
            bool(self.slices)
            and self._patterns is None
            and all(slice.inventory is not None and slice.inventory.listing(kind).public for slice in self.slices)
        )

    # -- what the endpoint says of itself

    def _merged_capabilities(self) -> dict[str, Any]:
        """What the servers can do together. While a server is unknown, what it might offer is not denied."""
        declared = [
            read_object(slice.inventory.capabilities) or {} for slice in self.slices if slice.inventory is not None
        ]
        unknown = any(slice.inventory is None for slice in self.slices)
        merged: dict[str, Any] = {"tools": {"listChanged": True}}
        for name in ("prompts", "resources"):
            if unknown or any(name in capabilities for capabilities in declared):
                merged[name] = {"listChanged": True}
        if "resources" in merged and (unknown or any(_says(offer, "resources", "subscribe") for offer in declared)):
            merged["resources"]["subscribe"] = True
        for name in ("completions", "logging"):
            if any(name in capabilities for capabilities in declared):
                merged[name] = {}
        return merged

    def _merged_instructions(self) -> str | None:
        told = [
            (slice.server, slice.inventory.instructions)
            for slice in self.slices
            if slice.inventory is not None and slice.inventory.instructions
        ]
        if not told:
            return None
        if self._own_names:
            return told[0][1]
        share = INSTRUCTIONS_CHARS_MAX // len(told)
        return "\n\n".join(
            f"## {server.alias}\nIts tools are named {server.alias}{SEPARATOR}….\n\n{(text or '')[:share]}"
            if server.prefix == "alias"
            else f"## {server.alias}\n\n{(text or '')[:share]}"
            for server, text in told
        )

    def _own_info(self) -> Any:
        if not self._own_names or self.slices[0].inventory is None:
            return None
        return msgspec.json.decode(self.slices[0].inventory.info) or None


def _says(capabilities: dict[str, msgspec.Raw], name: str, part: str) -> bool:
    declared = read_object(capabilities[name]) if name in capabilities else None
    return declared is not None and declared.get(part) == msgspec.Raw(b"true")
