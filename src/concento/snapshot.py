"""Where the two planes meet: the frozen state that calls read, published by replacing one reference.

A call takes the snapshot once and gets only the view of its endpoint, its tenant, and what the policy lets its
principal see. Views are built when first used and carried over to the next snapshot as long as nothing they show has
changed.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final, Protocol

from .catalog.logical import misfits
from .catalog.lookalike import lookalikes
from .catalog.patterns import Patterns
from .catalog.slices import Slice
from .catalog.view import Binding, TenantView
from .model.call import ALL, Call, Endpoint
from .model.config import Config, owned
from .model.errors import CallError, InvalidParams
from .model.inventory import Kind
from .model.logical import LogicalTool
from .model.policy import ItemKind
from .model.principal import Principal
from .model.tenant import DEFAULT_TENANT
from .policy.decide import Facts, Item, Policy, Reach, policy_of
from .policy.guards import Guards
from .policy.sight import EVERYTHING, Sight, item_of

_VIEWS_MAX: Final = 512
"""Views kept at a time: one for each endpoint, tenant and reach that is in use. The oldest go first."""
_LOOKALIKES_MAX: Final = 20
_ITEMS_MAX: Final = 50_000
_KEPT_CHARS_MAX: Final = 1024
"""Longer names (URIs that callers choose) are not kept."""
_Key = tuple[Endpoint, str, Reach | None]


class Snapshot:
    """One frozen state of the hub: the configuration and a slice per server, in the configuration's order."""

    __slots__ = ("_items", "_of_tenant", "_policies", "_views", "config", "guards", "slices")

    def __init__(self, config: Config, slices: Mapping[str, Slice], before: "Snapshot | None" = None) -> None:
        self.config = config
        self.slices = slices
        self._of_tenant: dict[str, tuple[Slice, ...]] = {}
        self._views: dict[_Key, TenantView] = {}
        self._items: dict[tuple[ItemKind, str, str], Item] = {}
        if before is not None and before.config is config:
            self._policies: dict[str, Policy] = before._policies
            self.guards: Mapping[str, Guards] = before.guards
            """Of each tenant that has any."""
            for key, view in before._views.items():
                if view.slices == self._slices(key[0], key[1]):
                    self._views[key] = view
        else:
            self._policies = {tenant: policy_of(config, tenant) for tenant in (DEFAULT_TENANT, *config.tenants)}
            self.guards = _guards(config, self._policies)

    # -- who sees what

    def view(self, endpoint: Endpoint, principal: Principal) -> TenantView | None:
        """What this caller may see at an endpoint; None if there is no such endpoint for them."""
        policy = self._policies.get(principal.tenant)
        if policy is None:
            return None  # a tenant that is no more
        return self._view(endpoint, principal.tenant, policy.reach(principal))

    def cached(self) -> dict[str, int]:
        """How much is kept so that it need not be worked out again."""
        return {"views": len(self._views), "items": len(self._items)}

    def exists(self, endpoint: Endpoint, principal: Principal) -> bool:
        """Whether there is anything for a caller at an endpoint."""
        return self.view(endpoint, principal) is not None

    def knows(self, tenant: str) -> bool:
        """Whether there is such a tenant."""
        return tenant in self._policies

    def reach(self, principal: Principal) -> Reach:
        """What the policy says of a caller. Errors: InvalidParams, if their tenant is gone."""
        policy = self._policies.get(principal.tenant)
        if policy is None:
            raise InvalidParams("There is no such endpoint")
        return policy.reach(principal)

    def roles_of(self, principal: Principal) -> frozenset[str]:
        """The roles that a caller is in: those its credential names, and those that name it."""
        policy = self._policies.get(principal.tenant)
        return principal.roles if policy is None else policy.roles_of(principal)

    def item(self, kind: ItemKind, binding: Binding) -> Item:
        """What the policy is asked about."""
        server = binding.server
        key = (kind, server.key, binding.own)
        item = self._items.get(key)
        if item is None:
            if len(binding.own) > _KEPT_CHARS_MAX:
                return item_of(kind, server, binding.own, binding.entry)
            if len(self._items) >= _ITEMS_MAX:
                self._items.clear()
            item = self._items[key] = item_of(kind, server, binding.own, binding.entry)
        return item

    def may_use(self, kind: ItemKind, binding: Binding, principal: Principal, now_s: float, address: str = "") -> bool:
        """Whether a caller may use something that no call is made about, such as listen to a resource."""
        try:
            reach = self.reach(principal)
            if not reach.open:
                reach.admit(self.item(kind, binding), Facts(None, now_s, address or None, {}, principal))
        except CallError:
            return False
        return True

    def whole(self, endpoint: Endpoint, tenant: str) -> TenantView:
        """All that a tenant's principals could be granted there."""
        view = self._view(endpoint, tenant, None)
        return TenantView((), endpoint) if view is None else view

    def hidden(self, call: Call) -> str | None:
        """The rule that hides what a call names and its caller can't see; None if it is not there for anybody."""
        find = {"tools/call": TenantView.tool, "prompts/get": TenantView.prompt}.get(call.method)
        whole = self.whole(call.endpoint, call.principal.tenant)
        binding = None if find is None else find(whole, call.name or "")
        if binding is None:
            return None
        kind: ItemKind = "tool" if call.method == "tools/call" else "prompt"
        return self.reach(call.principal).decide(self.item(kind, binding)).rule

    def logical_notes(self) -> Iterator[str]:
        """What logical tools leave out of what they are bound to, and why: for the operator."""
        for key, tool in self.config.tools.items():
            slices = {slice.server.alias: slice for slice in self._slices(ALL, tool.tenant)}
            for note in misfits(tool, slices):
                at = f" ({tool.place})" if tool.place else ""
                yield f"the logical tool {key!r}{at} {note}"

    def lookalike_notes(self) -> Iterator[str]:
        """Tools of different servers that a reader may take for one another: for the operator."""
        names = ((key, entry.own) for key, slice in self.slices.items() for entry in slice.tools)
        for (key, own), (other_key, other) in islice(lookalikes(names), _LOOKALIKES_MAX):
            yield f"{other_key}: its tool {other!r} looks like {own!r} of {key}; hide or rename one, if that is meant"

    # -- views

    def _view(self, endpoint: Endpoint, tenant: str, reach: Reach | None) -> TenantView | None:
        if reach is not None and reach.open:
            reach = None
        key = (endpoint, tenant, reach)
        view = self._views.get(key)
        if view is None and (view := self._made(endpoint, tenant, reach)) is not None:
            if len(self._views) >= _VIEWS_MAX:
                del self._views[next(iter(self._views))]
            self._views[key] = view
        return view

    def _made(self, endpoint: Endpoint, tenant: str, reach: Reach | None) -> TenantView | None:
        patterns, expose = None, self.config.expose
        if endpoint.kind == "view":
            view = self.config.views.get(owned(tenant, endpoint.name))
            if view is None:
                return None
            patterns, expose = Patterns(view.include, view.exclude), view.expose
        lens = None
        if patterns is not None or reach is not None or tenant != DEFAULT_TENANT:
            lens = Sight(tenant, self._share(tenant), patterns, reach)
        slices = self._slices(endpoint, tenant)
        if endpoint.kind == "server" and not any(lens is None or lens.reaches(slice.server) for slice in slices):
            return None
        if endpoint.kind == "server":
            expose = "all"
        return TenantView(slices, endpoint, lens, self._logical(tenant), expose)

    def _logical(self, tenant: str) -> list[LogicalTool]:
        """The logical tools of a tenant's, and the operator's: whether one is there depends on what is shared."""
        return [one for one in self.config.tools.values() if one.tenant in (tenant, DEFAULT_TENANT)]

    def _slices(self, endpoint: Endpoint, tenant: str) -> tuple[Slice, ...]:
        """The slices that a tenant's view of an endpoint is made of: its own, and those with something shared."""
        slices = self._of_tenant.get(tenant)
        if slices is None:
            share = self._share(tenant)
            slices = self._of_tenant[tenant] = tuple(
                slice
                for slice in self.slices.values()
                if slice.server.tenant == tenant
                or (slice.server.tenant == DEFAULT_TENANT and share.reaches(slice.server.alias))
            )
        if endpoint.kind == "server":
            return tuple(slice for slice in slices if slice.server.alias == endpoint.name)
        return slices

    def _share(self, tenant: str) -> Patterns:
        if tenant == DEFAULT_TENANT:
            return EVERYTHING
        configured = self.config.tenants.get(tenant)
        return Patterns(() if configured is None else configured.share)


def _guards(config: Config, policies: Mapping[str, Policy]) -> dict[str, Guards]:
    """The guards of each tenant: the operator's and its own. Those that have none are not in it."""
    found: dict[str, Guards] = {}
    for tenant, policy in policies.items():
        own = config.tenants.get(tenant) if tenant != DEFAULT_TENANT else None
        guards = config.guards if own is None else (*config.guards, *own.guards)
        if guards:
            found[tenant] = Guards(guards, policy.roles_of)
    return found


class Freshness(Protocol):
    """Brings lists up to date for whoever is about to read them; the control plane implements it."""

    async def refresh(self, view: TenantView, kind: Kind, caller: Principal) -> None:
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
