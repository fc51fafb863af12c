"""Keep the catalog true: fetch what servers offer, publish it, fetch again when it changes or grows old.

A list that many agents ask for at once is fetched once. A server that is slow or down delays nobody beyond
`start_wait_s`, and keeps showing what it offered before, marked stale.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import msgspec

from ..catalog.slices import Naming, Slice, build_slice
from ..catalog.view import TenantView
from ..model.clock import Clock, SystemClock
from ..model.config import Config, Server
from ..model.errors import CallError, NeedsAccount
from ..model.inventory import KINDS, WELL, Health, Inventory, Kind, ServerState
from ..model.principal import Principal
from ..snapshot import Current, Snapshot
from ..store.contract import Store
from ..upstream.connect import replica_key
from ..upstream.link import Welcome
from ..upstream.pool import Upstreams
from ..upstream.server import Upstream
from ..upstream.tasks import Tasks
from .fetch import fetch_inventory, fetch_listing
from .pinning import Pinning

SPACE: Final = "inventories"
DEBOUNCE_S: Final = 0.05
"""Changes of one list that come within this time are fetched together."""

FETCH_WAIT_S: Final = 60.0
RETRY_S: Final = 5.0

_AFFECTED: Final[dict[str, tuple[Kind, ...]]] = {
    "tools": ("tools",),
    "prompts": ("prompts",),
    "resources": ("resources", "templates"),
}


class Federation:
    """All servers' offers in one snapshot. Implements `snapshot.Freshness`."""

    def __init__(
        self,
        current: Current,
        upstreams: Upstreams,
        store: Store,
        *,
        clock: Clock | None = None,
        on_note: Callable[[str], None] = lambda note: None,
        on_change: Callable[[str, Sequence[str]], None] = lambda key, tools: None,
    ) -> None:
        self._current = current
        self._upstreams = upstreams
        self._store = store
        self._clock = clock or SystemClock()
        self._on_note = on_note
        self._pinning = Pinning(store, self._clock.wall, on_note, on_change)
        self._welcomes: dict[str, Welcome] = {}
        self._fetching: dict[tuple[str, Kind | None], asyncio.Task[None]] = {}
        self._known: dict[str, asyncio.Event] = {}
        self._tasks = Tasks("the federation")
        self._keeping = Tasks("the federation's memory")
        upstreams.on_ready(self._ready)
        upstreams.on_health(self._health)
        upstreams.on_changed(self._changed)

    async def configure(self, config: Config) -> None:
        """Make this the configuration: unchanged servers keep their connection and their slice."""
        if not self._current.snapshot.slices:
            await self._pinning.load()
        kept = await self._store.items(SPACE)
        old = self._current.snapshot  # only now: what was listed during the wait is not to be lost
        slices: dict[str, Slice] = {}
        for key, server in config.servers.items():
            before = old.slices.get(key)
            is_back = key in old.config.drained and key not in config.drained
            if before is not None and before.server == server and not is_back:
                inventory, health = before.inventory, before.health
            else:
                inventory = _restore(kept.get(_store_key(server)))
                health = Health("asleep" if server.is_lazy else "starting")
                self._known[key] = asyncio.Event()
                if key in config.drained:
                    health = Health("drained", "it is drained by whoever runs the hub")
            if health.state not in WELL:
                health = replace(health, stale=inventory is not None)
            slices[key] = self._build(config, server, inventory, health)
        for key in [key for key in self._known if key not in slices]:
            del self._known[key]
            self._welcomes.pop(key, None)
        self._current.publish(Snapshot(config, slices, old))
        self._upstreams.apply(config.servers, config.start_wait_s, drained=config.drained)
        for key, server in config.servers.items():
            if server.required and slices[key].inventory is None:
                self._upstreams.get(key).wake()  # that it can start has to be seen once

    # -- what servers report

    def _ready(self, key: str, welcome: Welcome) -> None:
        self._welcomes[key] = welcome
        self._start((key, None), self._fetch_all(key))

    def _health(self, key: str) -> None:
        slice = self._current.snapshot.slices.get(key)
        if slice is None:
            return
        health = self._upstreams.get(key).health()
        if health.state == "ready" and slice.health.state != "ready":
            return  # told once its lists are there
        self._put(replace(slice, health=replace(health, stale=slice.inventory is not None and health.stale)))

    def _changed(self, key: str, kind: str) -> None:
        for affected in _AFFECTED.get(kind, ()):
            self._start((key, affected), self._fetch_soon(key, affected), again=True)

    def _start(
        self, key: tuple[str, Kind | None], work: Coroutine[Any, Any, None], *, again: bool = False
    ) -> asyncio.Task[None]:
        """Run a fetch unless it runs already; with `again`, let one more follow what runs."""
        running = self._fetching.get(key)
        if running is not None and not again:
            work.close()
            return running
        task = self._tasks.start(work if running is None else _after(running, work))
        self._fetching[key] = task
        task.add_done_callback(lambda done: self._fetching.pop(key, None) if self._fetching.get(key) is done else None)
        return task

    # -- fetching

    async def _fetch_all(self, key: str) -> None:
        """Fetch every list of a server that has just become ready; try again while it stays connected."""
        while (welcome := self._welcomes.get(key)) is not None:
            try:
                upstream = self._upstreams.get(key)
                async with asyncio.timeout(FETCH_WAIT_S):
                    inventory = await fetch_inventory(upstream, _ready_replica(upstream), welcome, self._clock.wall())
            except (CallError, TimeoutError) as error:
                slice = self._current.snapshot.slices.get(key)
                if slice is None:
                    return
                told = str(error) or f"The server {key!r} did not list within {FETCH_WAIT_S:g} s"
                state: ServerState = "waiting" if isinstance(error, NeedsAccount) else "failing"
                self._put(replace(slice, health=Health(state, told, slice.inventory is not None)))
                if state == "waiting":
                    return  # it is asked anew once somebody has connected an account
                await asyncio.sleep(RETRY_S)
                with suppress(CallError):
                    if self._upstreams.get(key).health().state == "ready":
                        continue
                return
            await self._publish(key, inventory)
            return

    async def _fetch_soon(self, key: str, kind: Kind) -> None:
        await asyncio.sleep(DEBOUNCE_S)
        await self._fetch_one(key, kind)

    async def _fetch_one(self, key: str, kind: Kind) -> None:
        """Fetch one list again; on failure what was known stays, marked stale."""
        welcome = self._welcomes.get(key)
        slice = self._current.snapshot.slices.get(key)
        if welcome is None or slice is None or slice.inventory is None:
            return
        try:
            upstream = self._upstreams.get(key)
            if upstream.health().state == "asleep":
                return  # it is asked when it wakes
            async with asyncio.timeout(FETCH_WAIT_S):
                listing = await fetch_listing(upstream, _ready_replica(upstream), welcome, kind, self._clock.wall())
        except (CallError, TimeoutError):
            slice = self._current.snapshot.slices.get(key)
            if slice is not None:
                self._put(replace(slice, health=replace(slice.health, stale=True)))
            return
        slice = self._current.snapshot.slices.get(key)
        if slice is not None and slice.inventory is not None:
            await self._publish(key, slice.inventory.with_listing(kind, listing))

    async def _publish(self, key: str, inventory: Inventory) -> None:
        config = self._current.snapshot.config
        server = config.servers.get(key)
        if server is None:
            return
        inventory = _with_ttl(inventory, config.list_ttl_s)
        slices = self._current.snapshot.slices.items()
        others = ((other, entry.own) for other, slice in slices if other != key for entry in slice.tools)
        self._pinning.see(server, inventory, others)
        health = replace(self._upstreams.get(key).health(), stale=False)
        self._put(self._build(config, server, inventory, health))
        if (known := self._known.get(key)) is not None:
            known.set()
        await asyncio.shield(self._keeping.start(self._keep(server, inventory)))

    async def approve(self, key: str, own: str, digest: str, by: str) -> bool:
        """Show a tool that was held back, if it still is what somebody looked at. False: there is no such tool."""
        slice = self._current.snapshot.slices.get(key)
        held = () if slice is None else slice.held
        found = next((one for one in held if one.entry.own == own and one.digest == digest), None)
        if found is None:
            return False
        await self._pinning.approve(key, own, found.definition, by)
        slice = self._current.snapshot.slices.get(key)
        if slice is not None:
            self._put(self._build(self._current.snapshot.config, slice.server, slice.inventory, slice.health))
        return True

    async def _keep(self, server: Server, inventory: Inventory) -> None:
        await self._pinning.write(server.key)  # first: what is shown after a restart has to be what was pinned
        await self._store.put(SPACE, _store_key(server), msgspec.msgpack.encode(inventory))

    def _build(self, config: Config, server: Server, inventory: Inventory | None, health: Health) -> Slice:
        naming = Naming.of(config, server.tenant)
        slice = build_slice(server, inventory, health, naming=naming, pins=self._pinning.of(server))
        for note in slice.notes:
            self._on_note(f"{server.key}: {note}")
        return slice

    def _put(self, slice: Slice) -> None:
        old = self._current.snapshot
        if slice.server.key in old.slices and old.slices[slice.server.key] != slice:
            self._current.publish(Snapshot(old.config, {**old.slices, slice.server.key: slice}, old))

    # -- for whoever is about to read

    async def refresh(self, view: TenantView, kind: Kind, caller: Principal) -> None:
        """Wait, at most `start_wait_s`, for lists of the view that were never known or are past their lifetime.

        A server that sleeps is woken to be listed for the first time, and never again for that. One that takes only
        what callers' tokens are exchanged for is listed for the first of them.
        """
        now, wait_s = self._clock.wall(), self._current.snapshot.config.start_wait_s
        waits: list[asyncio.Task[None]] = []
        for slice in view.sources:
            key = slice.server.key
            if slice.inventory is None:
                known = self._known.get(key)
                if slice.health.state == "asleep":
                    with suppress(CallError):
                        self._upstreams.get(key).wake()
                may_list = slice.server.exchange is not None and self._upstreams.offer(key, caller)
                if known is not None and (may_list or slice.health.state in ("starting", "asleep")):
                    waits.append(self._tasks.start(_until(known, wait_s)))
            elif slice.health.state == "ready" and self._is_old(slice.inventory, kind, now):
                waits.append(self._start((key, kind), self._fetch_one(key, kind)))
        if waits:
            await asyncio.wait(waits, timeout=wait_s)

    def _is_old(self, inventory: Inventory, kind: Kind, now: float) -> bool:
        listing = inventory.listing(kind)
        return listing.ttl_s is not None and now >= listing.fetched_at + listing.ttl_s

    async def close(self) -> None:
        """Stop fetching; what was shown already is kept."""
        await self._tasks.close()
        await self._keeping.finish()


async def _after(running: "asyncio.Task[None]", work: Coroutine[Any, Any, None]) -> None:
    await asyncio.wait([running])
    await work


async def _until(known: asyncio.Event, wait_s: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(known.wait(), wait_s)


def _ready_replica(upstream: Upstream) -> int:
    return next((index for index, replica in enumerate(upstream.replicas) if replica.state == "ready"), 0)


def _with_ttl(inventory: Inventory, ttl_s: float) -> Inventory:
    """The lists with a lifetime: a server that names none gets ours."""
    for kind in KINDS:
        listing = inventory.listing(kind)
        if listing.ttl_s is None:
            inventory = inventory.with_listing(kind, replace(listing, ttl_s=ttl_s))
    return inventory


def _store_key(server: Server) -> str:
    names = "\0".join(["2", server.key, *(replica_key(spec) for spec in server.replicas)])
    return hashlib.sha256(names.encode()).hexdigest()[:32]


async def last_known(config: Config, store: Store) -> Snapshot:
    """What servers offered when they were last listed, as far as that is kept; nothing is started or asked."""
    kept = await store.items(SPACE)
    slices = {}
    for key, server in config.servers.items():
        inventory = _restore(kept.get(_store_key(server)))
        naming = Naming.of(config, server.tenant)
        slices[key] = build_slice(server, inventory, Health("starting", None, inventory is not None), naming=naming)
    return Snapshot(config, slices)


def _restore(kept: bytes | None) -> Inventory | None:
    if kept is None:
        return None
    try:
        return msgspec.msgpack.decode(kept, type=Inventory)
    except (msgspec.DecodeError, ValueError):
        return None
