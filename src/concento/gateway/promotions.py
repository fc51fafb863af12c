"""Which tool of an experiment has won, or was turned back to: the operator's word at run time, kept over restarts.

The configuration stays as it is, and holds again once the word is taken back.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from ..catalog.logical import Logical
from ..store.contract import Store

SPACE: Final = "promotions"


class Promotion(Struct, frozen=True):
    """One tool instead of all: `tool` as `server.name`, who said so, and when (Unix seconds)."""

    tool: str
    by: str
    since_s: float


_decode = msgspec.json.Decoder(Promotion).decode


class Promotions:
    """The promotions of a hub, by the keys of logical tools."""

    def __init__(self, store: Store, wall: Callable[[], float]) -> None:
        self._store = store
        self._wall = wall
        self._known: dict[str, Promotion] = {}

    async def load(self) -> None:
        """Take what was said before the last start."""
        self._known = {key: _decode(value) for key, value in (await self._store.items(SPACE)).items()}

    def of(self, key: str) -> Promotion | None:
        """The promotion of a logical tool."""
        return self._known.get(key)

    async def promote(self, key: str, tool: str, by: str) -> None:
        """Send all calls of a logical tool to one of those that it is bound to, as long as that one can answer."""
        promotion = Promotion(tool, by, self._wall())
        await self._store.put(SPACE, key, msgspec.json.encode(promotion))
        self._known[key] = promotion

    async def resume(self, key: str) -> None:
        """Let the configuration decide again."""
        await self._store.delete(SPACE, key)
        self._known.pop(key, None)

    def place(self, key: str, logical: Logical) -> int | None:
        """The place of the promoted tool among those that a caller may use; None if none of them is."""
        promotion = self._known.get(key)
        if promotion is None:
            return None
        names = (f"{one.bound.alias}.{one.bound.own}" for one in logical.choices)
        return next((place for place, name in enumerate(names) if name == promotion.tool), None)
