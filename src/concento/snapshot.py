"""Where the two planes meet: the frozen state that calls read, published by replacing one reference.

A call takes the snapshot once and gets only the view of its endpoint and tenant. Views are built when first used and
carried over to the next snapshot as long as nothing they show has changed.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from .catalog.patterns import Patterns
from .catalog.slices import Slice
from .catalog.view import TenantView
from .model.call import Endpoint
from .model.config import Config
from .model.inventory import Kind
from .model.principal import Principal


class Snapshot:
    """One frozen state of the hub: the configuration and a slice per server, in the configuration's order."""

    __slots__ = ("_views", "config", "slices")

    def __init__(self, config: Config, slices: Mapping[str, Slice], before: "Snapshot | None" = None) -> None:
        self.config = config
        self.slices = slices
        self._views: dict[Endpoint, TenantView] = {}
        if before is not None and before.config is config:
            self._views = {
                endpoint: view for endpoint, view in before._views.items() if view.slices == self._shown(endpoint)
            }

    def view(self, endpoint: Endpoint, principal: Principal) -> TenantView | None:
        """What this caller may see at an endpoint; None if there is no such endpoint."""
        view = self._views.get(endpoint)
        if view is None and self.exists(endpoint):
            view = self._views[endpoint] = TenantView(self._shown(endpoint), endpoint, self._patterns(endpoint))
        return view

    def exists(self, endpoint: Endpoint) -> bool:
        """Whether anything is configured at an endpoint."""
        if endpoint.kind == "server":
            return endpoint.name in self.slices
        return endpoint.kind == "all" or endpoint.name in self.config.views

    def _shown(self, endpoint: Endpoint) -> tuple[Slice, ...]:
        if endpoint.kind == "server":
            return (self.slices[endpoint.name],) if endpoint.name in self.slices else ()
        return tuple(self.slices.values())

    def _patterns(self, endpoint: Endpoint) -> Patterns | None:
        if endpoint.kind != "view":
            return None
        view = self.config.views[endpoint.name]
        return Patterns(view.include, view.exclude)


class Freshness(Protocol):
    """Brings lists up to date for whoever is about to read them; the control plane implements it."""

    async def refresh(self, view: TenantView, kind: Kind) -> None:
        """Wait, briefly, for lists of the view that are unknown or past their lifetime. Never raises."""
        ...


Published = Callable[[Snapshot, Snapshot], None]


class Current:
    """Holds the snapshot that calls read; `publish` replaces it and tells who watches."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._watchers: list[Published] = []

    def watch(self, watcher: Published) -> None:
        """Call `watcher(old, new)` after every publication."""
        self._watchers.append(watcher)

    def publish(self, snapshot: Snapshot) -> None:
        """Make this the state that calls read from now on."""
        old, self.snapshot = self.snapshot, snapshot
        for watcher in self._watchers:
            watcher(old, snapshot)
