"""What servers' tools were when they were approved, or first seen: kept with the state, so that a restart forgets
nothing. Source: hardening T16."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from ..catalog.lookalike import alike, skeleton
from ..catalog.pins import Pin, canonical, digest
from ..model.config import Server
from ..model.inventory import Inventory
from ..store.contract import Store

PINS: Final = "pins"
DIGESTS: Final = "digests"
TOOLS_MAX: Final = 20_000
"""Of one server, those that are gone included. Beyond it, new ones are held back, or go untold."""
_TOLD_MAX: Final = 5

_pins = msgspec.msgpack.Decoder(dict[str, Pin])
_digests = msgspec.msgpack.Decoder(dict[str, str])


class Pinning:
    """The pins of a hub, by the keys of servers and their own names of tools."""

    def __init__(
        self,
        store: Store,
        wall: Callable[[], float],
        on_note: Callable[[str], None],
        on_change: Callable[[str, Sequence[str]], None] = lambda key, tools: None,
    ) -> None:
        self._store = store
        self._on_change = on_change
        self._wall = wall
        self._on_note = on_note
        self._pins: dict[str, dict[str, Pin]] = {}
        self._digests: dict[str, dict[str, str]] = {}
        self._unwritten: set[str] = set()
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Take what is kept."""
        self._pins = {key: _pins.decode(value) for key, value in (await self._store.items(PINS)).items()}
        self._digests = {key: _digests.decode(value) for key, value in (await self._store.items(DIGESTS)).items()}

    def of(self, server: Server) -> Mapping[str, Pin] | None:
        """What a server's tools have to be; None: whatever they are."""
        return None if server.trust == "open" else MappingProxyType(self._pins.get(server.key, {}))

    def see(self, server: Server, inventory: Inventory, others: Iterable[tuple[str, str]]) -> None:
        """Take note of what a server lists: with `pin` the first definition counts, with `open` changes are told.

        It counts at once; `write` has it over a restart. A tool whose name looks like one of the `others` (server and
        tool) is not pinned: it may want to be taken for that, so somebody has to approve it.
        """
        if server.trust == "pin":
            self._pin_new(server.key, inventory, list(others))
        elif server.trust == "open":
            self._tell_changes(server.key, inventory)

    async def write(self, key: str) -> None:
        """Keep what was seen of a server since it was last written. What can't be written is tried again next time."""
        async with self._writing:
            if key not in self._unwritten:
                return
            self._unwritten.discard(key)
            try:
                for space, known in ((PINS, self._pins.get(key)), (DIGESTS, self._digests.get(key))):
                    if known is not None:
                        await self._store.put(space, key, msgspec.msgpack.encode(known))
            except Exception as error:  # whatever a store fails with: it has to be told, and tried again
                self._unwritten.add(key)
                self._on_note(f"{key}: what its tools were could not be kept ({error}); after a restart they are new")

    async def approve(self, key: str, own: str, definition: bytes, by: str) -> None:
        """Let a tool be this from now on."""
        async with self._writing:
            before = self._pins.get(key, {}).get(own)
            self._pins[key] = {**self._pins.get(key, {}), own: Pin(definition, by, self._wall())}
            try:
                await self._store.put(PINS, key, msgspec.msgpack.encode(self._pins[key]))
            except BaseException:
                kept = {name: pin for name, pin in self._pins[key].items() if name != own}
                self._pins[key] = kept if before is None else {**kept, own: before}
                raise

    def _pin_new(self, key: str, inventory: Inventory, others: Sequence[tuple[str, str]]) -> None:
        known = self._pins.get(key, {})
        unknown = [item for item in inventory.tools.items if item.key not in known]
        shapes = {skeleton(own) for _, own in others} if unknown else set()
        new = [one for one in unknown if skeleton(one.key) not in shapes or alike(one.key, others) is None]
        new = new[: max(0, TOOLS_MAX - len(known))]
        if new:
            since_s = self._wall()
            self._pins[key] = {**known, **{item.key: Pin(canonical(item.raw), "", since_s) for item in new}}
            self._unwritten.add(key)

    def _tell_changes(self, key: str, inventory: Inventory) -> None:
        known = self._digests.get(key, {})
        seen = {item.key: digest(canonical(item.raw)) for item in inventory.tools.items[:TOOLS_MAX]}
        changed = [own for own, one in seen.items() if known.get(own, one) != one]
        if changed:
            told = ", ".join(map(repr, changed[:_TOLD_MAX])) + (", …" if len(changed) > _TOLD_MAX else "")
            self._on_note(f"{key}: changed what it says of its tools {told}; `trust: pin` would hold them back")
            self._on_change(key, changed)
        together = {**known, **seen}
        if together != known and len(together) <= TOOLS_MAX:
            self._digests[key] = together
            self._unwritten.add(key)
