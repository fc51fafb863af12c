"""What one endpoint shows: names to bindings, lists in a fixed order, and what is missing or stale.

Servers come in the configuration's order, each one's items in its own. The first to claim a name keeps it.
"""

import difflib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Protocol

import msgspec

from ..model.call import Endpoint
from ..model.config import Server
from ..model.extensions import NOT_BRIDGED, SKILLS
from ..model.inventory import KINDS, WELL, Kind
from ..model.logical import LogicalTool
from ..model.search import FEEDBACK, FIND_TOOLS, USE_CAPABILITY, Expose
from ..model.task import TASKS_EXTENSION
from ..protocol.jsonrpc import read_object
from .logical import Choice, Logical, logical
from .meta_tools import DEFINITIONS, HOW_TO_FIND, account_tools, tokens
from .names import SEPARATOR, may_be_bare
from .slices import Entry, Slice
from .uris import resolve_uri

INSTRUCTIONS_CHARS_MAX: Final = 32_768
_NEAREST_MAX: Final = 3
_NEAREST_OF_MAX: Final = 5000
_NONE: Final = msgspec.Raw(b"{}")
_COMPARED_MAX: Final = 100
"""Names compared in full: those that share most pairs of letters with the one asked for."""


class Lens(Protocol):
    """What of the servers somebody sees."""

    def reaches(self, server: Server) -> bool:
        """Whether anything of a server can be seen, whatever it offers."""
        ...

    def shows(self, kind: Kind, server: Server, own: str, entry: Entry | None) -> bool:
        """Whether something of a server is seen, by its own name or URI; `entry` is None where nobody listed it."""
        ...

    def permits(self, kind: Kind, server: Server, own: str, entry: Entry | None) -> bool:
        """Whether it may be used, be it under another name: what a view leaves out a logical tool may still use."""
        ...

    def names(self, logical: str) -> bool:
        """Whether a logical tool is meant to be seen."""
        ...

    def shares(self, server: Server, own: str) -> bool:
        """Whether something of a server belongs to the tenant, or is shared with it."""
        ...


@dataclass(frozen=True, slots=True)
class Binding:
    """A public name resolved: whose it is, and its own name there. `entry` is None for an unlisted resource."""

    server: Server
    own: str
    entry: Entry | None = None
    logical: Logical | None = None
    """The logical tool that was asked for, of which this is the first choice."""

    @property
    def alias(self) -> str:
        """The server's alias."""
        return self.server.alias


class TenantView:
    """The catalog as one endpoint shows it. Immutable; made from slices when first asked for.

    `slices` are all it was made from, `shown` those of servers that its lens can reach: nothing it says betrays the
    others.
    """

    def __init__(
        self,
        slices: tuple[Slice, ...],
        endpoint: Endpoint,
        lens: Lens | None = None,
        logical_tools: Iterable[LogicalTool] = (),
        expose: Expose = "all",
    ) -> None:
        self.slices = slices
        self.endpoint = endpoint
        self._lens = lens
        self._own_names = endpoint.kind == "server"
        self.shown = slices if lens is None else tuple([slice for slice in slices if lens.reaches(slice.server)])
        self._servers = {slice.server.alias: slice.server for slice in self.shown}
        wanted = [] if self._own_names else [one for one in logical_tools if lens is None or lens.names(one.name)]
        self._logical = self._collect_logical(wanted)
        self._wanted = {one.name: [bound.alias for bound in one.bind] for one in wanted}
        bound = {bound.alias for one in wanted for bound in one.bind}
        self.sources = tuple([one for one in slices if one.server.alias in bound or one.server.alias in self._servers])
        """What it shows comes from these: what logical tools are bound to is not shown for that."""
        self._held = self._collect_held()
        self._items: dict[Kind, dict[str, Entry]] = {kind: self._collect(kind) for kind in KINDS}
        self.expose = expose
        self.meta_tools = self._own_tools()
        """The hub's own tools, by name, as they are listed."""
        self._names = {kind: tuple(items) for kind, items in self._items.items()}
        self._listed = {kind: tuple([self.raw(entry) for entry in self.items(kind)]) for kind in KINDS}
        self.tokens_of_all = tokens(self._listed["tools"])
        """About what all its tools cost an agent that has to read them."""
        if self.meta_tools:
            shown = expose != "search"
            self._names["tools"] = (*self.meta_tools, *(self._names["tools"] if shown else ()))
            self._listed["tools"] = (*self.meta_tools.values(), *(self._listed["tools"] if shown else ()))
        self.extensions = self._declared_extensions()
        self.capabilities = self._merged_capabilities()
        self.instructions = self._merged_instructions()
        self.info = self._own_info()

    def _collect_logical(self, wanted: Iterable[LogicalTool]) -> dict[str, Logical]:
        by_alias = {slice.server.alias: slice for slice in self.slices}
        lens = self._lens

        def permits(server: Server, entry: Entry) -> bool:
            return lens is None or lens.permits("tools", server, entry.own, entry)

        def is_shared(server: Server, entry: Entry) -> bool:
            return lens is None or lens.shares(server, entry.own)

        made = [logical(one, by_alias, permits, is_shared) for one in wanted]
        return {one.tool.name: one for one in made if one is not None}

    def _collect_held(self) -> frozenset[str]:
        """The names of tools that wait for approval, of those that would be seen here."""
        return frozenset(
            self.name(one.entry)
            for slice in self.shown
            for one in slice.held
            if self._lens is None or self._lens.shows("tools", slice.server, one.entry.own, one.entry)
        )

    def is_held(self, name: str) -> bool:
        """Whether there is a tool of that name that waits for somebody to approve it."""
        return name in self._held

    def _own_tools(self) -> dict[str, bytes]:
        names = [FIND_TOOLS, USE_CAPABILITY] if self.expose != "all" else []
        if any(one.tool.feedback for one in self._logical.values()):
            names.append(FEEDBACK)
        aliases = () if self._own_names else tuple(server.alias for server in self.with_accounts)
        return {name: DEFINITIONS[name] for name in names} | (account_tools(aliases) if aliases else {})

    @property
    def with_accounts(self) -> tuple[Server, ...]:
        """The servers seen here at which users have accounts."""
        return tuple(slice.server for slice in self.shown if slice.server.users is not None)

    def _collect(self, kind: Kind) -> dict[str, Entry]:
        items: dict[str, Entry] = {}
        if kind == "tools":
            items = {name: one.entry for name, one in self._logical.items()}
        for slice in self.shown:
            for entry in slice.entries(kind):
                if self._lens is None or self._lens.shows(kind, slice.server, entry.own, entry):
                    items.setdefault(self.name(entry), entry)
        return items

    def name(self, entry: Entry) -> str:
        """What an entry is called here."""
        return entry.own if self._own_names else entry.public

    def raw(self, entry: Entry) -> bytes:
        """An entry as it is listed here."""
        return entry.own_raw if self._own_names else entry.raw

    # -- names

    def server(self, alias: str) -> Server | None:
        """The server of an alias, if it is seen here."""
        return self._servers.get(alias)

    def tool(self, name: str) -> Binding | None:
        """The tool of that name; of a logical tool, its first choice."""
        one = self._logical.get(name)
        return self._bound("tools", name) if one is None else chosen(one, one.choices[0])

    def prompt(self, name: str) -> Binding | None:
        """The prompt of that name."""
        return self._bound("prompts", name)

    def template(self, template: str) -> Binding | None:
        """The resource template."""
        return self._bound("templates", template)

    def _bound(self, kind: Kind, name: str) -> Binding | None:
        entry = self._items[kind].get(name)
        return None if entry is None else Binding(self._servers[entry.alias], entry.own, entry)

    def tool_of(self, alias: str, own: str) -> Binding | None:
        """The tool of a server's by its own name, if it is seen here."""
        entries = self._items["tools"].values()
        entry = next((entry for entry in entries if entry.own == own and entry.alias == alias), None)
        if entry is not None:
            return Binding(self._servers[alias], own, entry)
        choices = (choice for one in self._logical.values() for choice in one.choices)
        found = next((one for one in choices if one.bound.own == own and one.server.alias == alias), None)
        return None if found is None else Binding(found.server, own, found.entry)

    def resource(self, uri: str) -> Binding | None:
        """The resource at a URI, listed or not: the URI names its server."""
        resolved = (next(iter(self._servers), ""), uri) if self._own_names else resolve_uri(uri)
        server = None if resolved is None else self._servers.get(resolved[0])
        if resolved is None or server is None:
            return None
        entry = self._items["resources"].get(uri)
        if self._lens is not None and entry is None and not self._lens.shows("resources", server, resolved[1], None):
            return None
        return Binding(server, resolved[1], entry)

    def nearest(self, kind: Kind, name: str) -> list[str]:
        """Visible names that look like one that does not exist."""
        name = name[:256]
        wanted = _pairs(name)
        likely = heapq.nlargest(
            _COMPARED_MAX,
            tuple(self._items[kind])[:_NEAREST_OF_MAX],
            key=lambda known: len(wanted & _pairs(known[:256])) / (len(known) + len(name)),
        )
        return difflib.get_close_matches(name, likely, _NEAREST_MAX, 0.6)

    def shows_resource(self, alias: str, own: str) -> bool:
        """Whether a resource of a server is seen here, by its own URI."""
        server = self._servers.get(alias)
        return server is not None and (self._lens is None or self._lens.shows("resources", server, own, None))

    def pending(self, name: str) -> str | None:
        """The server whose unknown inventory could hold this name; None if no such server is starting.

        A public URI needs no inventory to be resolved, so none waits for one.
        """
        unknown = {slice.server.alias: slice.server for slice in self.sources if slice.inventory is None}
        if (bound := self._wanted.get(name)) is not None:
            return next((alias for alias in bound if alias in unknown), None)
        unknown = {alias: server for alias, server in unknown.items() if alias in self._servers}
        if self._own_names:
            return next(iter(unknown), None)
        head, separator, _ = name.partition(SEPARATOR)
        if separator and head in unknown:
            return head
        bare = next((alias for alias, server in unknown.items() if server.prefix == "never"), None)
        return bare if may_be_bare(name, frozenset(self._servers)) else None

    # -- lists

    def items(self, kind: Kind) -> tuple[Entry, ...]:
        """All entries of a kind, in order."""
        return tuple(self._items[kind].values())

    def names(self, kind: Kind) -> tuple[str, ...]:
        """The names of what is listed of a kind, in order."""
        return self._names[kind]

    def listed(self, kind: Kind) -> tuple[bytes, ...]:
        """What is listed of a kind, in order: all entries, unless agents have to find the tools."""
        return self._listed[kind]

    def troubles(self) -> dict[str, dict[str, str]]:
        """Per server that is missing or stale: its state, and what is wrong."""
        told: dict[str, dict[str, str]] = {}
        for slice in self.shown:
            health = slice.health
            if slice.inventory is None or health.stale or health.state not in WELL:
                told[slice.server.alias] = {"state": "stale" if slice.inventory is not None else health.state}
                if health.error is not None:
                    told[slice.server.alias]["error"] = health.error
        return told

    def ttl_ms(self, kind: Kind, now: float) -> int:
        """How long a list may be kept: what is left of the shortest of its servers', 0 if anything is missing."""
        left_s = float("inf")
        for slice in self.shown:
            if slice.inventory is None or slice.health.stale or slice.health.state not in WELL:
                return 0
            listing = slice.inventory.listing(kind)
            if listing.ttl_s is None:
                return 0
            since = now if slice.health.state == "asleep" else listing.fetched_at  # it says nothing else till it wakes
            left_s = min(left_s, since + listing.ttl_s - now)
        return 0 if left_s == float("inf") else max(0, int(left_s * 1000))

    def public(self, kind: Kind) -> bool:
        """Whether a list may be shown to others than who asked: if every server allows it and nothing is hidden."""
        return (
            bool(self.shown)
            and self.shows_all
            and all(slice.inventory is not None and slice.inventory.listing(kind).public for slice in self.shown)
        )

    @property
    def shows_all(self) -> bool:
        """Whether nothing of the servers is hidden here."""
        return self._lens is None

    # -- what the endpoint says of itself

    def _declared_extensions(self) -> dict[str, dict[str, msgspec.Raw]]:
        """Per extension that a server declares: the settings, by the server's alias."""
        declared: dict[str, dict[str, msgspec.Raw]] = {}
        for slice in self.shown:
            capabilities = (read_object(slice.inventory.capabilities) or {}) if slice.inventory is not None else {}
            for name, settings in (read_object(capabilities.get("extensions", _NONE)) or {}).items():
                declared.setdefault(name, {})[slice.server.alias] = settings
        return declared

    def reads_directories(self, alias: str) -> bool:
        """Whether a server lists the directories of its skills."""
        settings = read_object(self.extensions.get(SKILLS, {}).get(alias, _NONE)) or {}
        return settings.get("directoryRead") == msgspec.Raw(b"true")

    def _merged_capabilities(self) -> dict[str, Any]:
        """What the servers can do together. While a server is unknown, what it might offer is not denied."""
        declared = [
            read_object(slice.inventory.capabilities) or {} for slice in self.shown if slice.inventory is not None
        ]
        unknown = any(slice.inventory is None for slice in self.shown)
        merged: dict[str, Any] = {"tools": {"listChanged": True}}
        for name in ("prompts", "resources"):
            if unknown or any(name in capabilities for capabilities in declared):
                merged[name] = {"listChanged": True}
        if "resources" in merged and (unknown or any(_says(offer, "resources", "subscribe") for offer in declared)):
            merged["resources"]["subscribe"] = True
        for name in ("completions", "logging"):
            if any(name in capabilities for capabilities in declared):
                merged[name] = {}
        extensions: dict[str, Any] = {TASKS_EXTENSION: {}}
        for name, settings in self.extensions.items():
            if name not in NOT_BRIDGED.values():
                extensions.setdefault(name, next(iter(settings.values())))
        if len(skilled := self.extensions.get(SKILLS, {})) > 1:  # who says it has to be able to in every directory
            extensions[SKILLS] = {"directoryRead": True} if all(map(self.reads_directories, skilled)) else {}
        merged["extensions"] = extensions
        return merged

    def _merged_instructions(self) -> str | None:
        told = [
            (slice.server, slice.inventory.instructions)
            for slice in self.shown
            if slice.inventory is not None and slice.inventory.instructions
        ]
        how = HOW_TO_FIND if self.expose == "search" and not self._own_names else ""
        if not told:
            return how or None
        if self._own_names:
            return told[0][1]
        headings = [_heading(server) for server, _ in told]
        shares = _shares(
            [len(text or "") for _, text in told], INSTRUCTIONS_CHARS_MAX - sum(map(len, headings)) - len(how)
        )
        sections = [
            heading + _cut(text or "", share) for heading, (_, text), share in zip(headings, told, shares, strict=True)
        ]
        whole = "".join([how, *sections])
        return (whole if how else whole[2:])[:INSTRUCTIONS_CHARS_MAX]

    def _own_info(self) -> Any:
        """What the server says of itself, as it says it; None where the hub speaks for itself."""
        if not self._own_names or self.slices[0].inventory is None:
            return None
        info = self.slices[0].inventory.info
        return msgspec.Raw(info) if read_object(info) else None


def chosen(one: Logical, choice: Choice) -> Binding:
    """A choice of a logical tool as what a call is about."""
    return Binding(choice.server, choice.bound.own, choice.entry, one)


def _heading(server: Server) -> str:
    names = f"Its tools are named {server.alias}{SEPARATOR}….\n\n" if server.prefix == "alias" else "\n"
    return f"\n\n## {server.alias}\n{names}"


def _shares(lengths: list[int], total: int) -> list[int]:
    """How much of each text fits: short ones whole, long ones in equal parts of what is left."""
    shares, left = [0] * len(lengths), max(0, total)
    for rank, index in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        shares[index] = min(lengths[index], left // (len(lengths) - rank))
        left -= shares[index]
    return shares


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: max(0, chars - 1)] + "…"[:chars]


def _pairs(name: str) -> set[tuple[str, str]]:
    return set(pairwise(name))


def _says(capabilities: dict[str, msgspec.Raw], name: str, part: str) -> bool:
    declared = read_object(capabilities[name]) if name in capabilities else None
    return declared is not None and declared.get(part) == msgspec.Raw(b"true")
