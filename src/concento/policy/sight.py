"""What somebody sees of the servers: everything that stands between them and the catalog, put together.

A view asks it while it is made; whether a call may be made is asked again when one comes.
"""

from collections.abc import Mapping
from typing import Final

from ..catalog.patterns import Patterns
from ..catalog.slices import Entry
from ..model.config import Server
from ..model.inventory import Kind
from ..model.policy import ItemKind
from ..model.tenant import DEFAULT_TENANT
from .decide import Item, Reach
from .hints import counted_annotations

EVERYTHING: Final = Patterns(("*",))
_KIND: Final[Mapping[Kind, ItemKind]] = {
    "tools": "tool",
    "prompts": "prompt",
    "resources": "resource",
    "templates": "resource",
}


class Sight:
    """What a tenant's own, the operator's word on sharing, a view's patterns and the policy let through together.

    It is the `Lens` of a `TenantView`.
    """

    def __init__(
        self,
        tenant: str = DEFAULT_TENANT,
        share: Patterns = EVERYTHING,
        patterns: Patterns | None = None,
        reach: Reach | None = None,
    ) -> None:
        self._tenant = tenant
        self._share = share
        self._patterns = patterns
        self._reach = reach

    def reaches(self, server: Server) -> bool:
        """Whether anything of a server can be seen, whatever it offers."""
        alias = server.alias
        return (
            (server.tenant == self._tenant or self._share.reaches(alias))
            and (self._patterns is None or self._patterns.reaches(alias))
            and (self._reach is None or self._reach.reaches(alias))
        )

    def shows(self, kind: Kind, server: Server, own: str, entry: Entry | None) -> bool:
        """Whether something of a server is seen."""
        if self._patterns is not None and not self._patterns.matches(server.alias, own):
            return False
        return self.permits(kind, server, own, entry)

    def names(self, logical: str) -> bool:
        """Whether a logical tool is meant to be seen."""
        return self._patterns is None or self._patterns.names(logical)

    def shares(self, server: Server, own: str) -> bool:
        """Whether something of a server belongs to the tenant, or is shared with it."""
        return server.tenant == self._tenant or self._share.matches(server.alias, own)

    def permits(self, kind: Kind, server: Server, own: str, entry: Entry | None) -> bool:
        """Whether something of a server may be used, whatever the view's patterns say."""
        if not self.shares(server, own):
            return False
        return self._reach is None or self._reach.decide(item_of(_KIND[kind], server, own, entry)).verdict != "hidden"


def item_of(kind: ItemKind, server: Server, own: str, entry: Entry | None) -> Item:
    """What the policy is asked about. What a tool says of itself counts where the operator trusts its server."""
    raw = entry.own_raw if entry is not None and kind == "tool" else b""
    return Item(kind, server.alias, own, counted_annotations(raw, server.trust_hints))
