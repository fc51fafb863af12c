"""The vectors of a catalog's texts, each made once and kept with the hub's state: thousands take a model minutes.

A kept vector is known by a digest of its text and of the model that made it.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ..store.contract import Store
from .contract import Embedder, NotEmbedded

if TYPE_CHECKING:
    from .contract import Vectors

SPACE: Final = "vectors"
KEPT_MAX: Final = 20_000
"""Beyond it, all are forgotten and made again as they are needed."""
RETRY_S: Final = 60.0
"""After a failure, how long nobody asks the model again."""
SERVER_SHARE: Final = 0.4
"""What likeness to a tool's server counts, of likeness to the tool."""
_AT_ONCE: Final = 16


class CatalogVectors:
    """A model, and what it has made so far. `on_problem` is told when it fails."""

    def __init__(
        self, embedder: Embedder, model: str, store: Store, now: Callable[[], float], on_problem: Callable[[str], None]
    ) -> None:
        self._embedder = embedder
        self._model = model
        self._store = store
        self._now = now
        self._on_problem = on_problem
        self._kept: dict[str, Vectors] = {}
        self._wait_until = float("-inf")
        self._making = asyncio.Lock()
        self.is_loaded = False

    async def load(self) -> None:
        """Take what is kept of earlier runs."""
        kept = await self._store.items(SPACE)
        if len(kept) > KEPT_MAX:
            await self._forget(kept)
            kept = {}
        self._kept |= {key: np.frombuffer(value, dtype=np.float16).astype(np.float32) for key, value in kept.items()}
        self.is_loaded = True

    def of(self, texts: Sequence[str]) -> "Vectors | None":
        """The vectors of some texts, if all are there and of one length."""
        rows = [self._kept.get(self._key(text)) for text in texts]
        found = [row for row in rows if row is not None]
        if len(found) != len(rows) or len({row.shape for row in found}) != 1:
            return None
        return np.stack(found)

    async def make(self, texts: Sequence[str]) -> bool:
        """Make the vectors of those texts that have none. Returns whether all are there now."""
        async with self._making:
            missing = [text for text in dict.fromkeys(texts) if self._key(text) not in self._kept]
            if len(self._kept) + len(missing) > KEPT_MAX:
                await self._forget(self._kept)
                missing = list(dict.fromkeys(texts))[:KEPT_MAX]
            for start in range(0, len(missing), _AT_ONCE):
                part = missing[start : start + _AT_ONCE]
                made = await self.query(part)
                if made is None:
                    return False
                for text, vector in zip(part, made, strict=True):
                    key = self._key(text)
                    self._kept[key] = vector
                    await self._store.put(SPACE, key, vector.astype(np.float16).tobytes())
        return True

    async def catalog(self, tools: "Sequence[tuple[str, str, str]]") -> "Vectors | None":
        """One row for each tool, given as its server's alias and two texts of it; None while they can't be had.

        A tool's row has something of its server's others: who asks names the trade oftener than the tool.
        """
        texts = [text for _, *both in tools for text in both]
        if not await self.make(texts) or (made := self.of(texts)) is None:
            return None
        rows = _unit(made[0::2] + made[1::2])
        shared = np.zeros_like(rows)
        for alias in {alias for alias, _, _ in tools if alias}:
            own = [place for place, (other, _, _) in enumerate(tools) if other == alias]
            shared[own] = _unit(rows[own].mean(axis=0))
        return np.asarray(rows + SERVER_SHARE * shared, dtype=np.float32)

    async def query(self, texts: Sequence[str]) -> "Vectors | None":
        """The vectors of texts that are not kept; None while the model can't be had."""
        if self._now() < self._wait_until:
            return None
        try:
            return await self._embedder.embed(texts)
        except NotEmbedded as error:
            self._wait_until = self._now() + RETRY_S
            self._on_problem(f"tools are found by words alone: {error}")
            return None

    async def close(self) -> None:
        """Let the model go."""
        await self._embedder.close()

    async def _forget(self, keys: "dict[str, bytes] | dict[str, Vectors]") -> None:
        for key in list(keys):
            await self._store.delete(SPACE, key)
        self._kept.clear()

    def _key(self, text: str) -> str:
        return hashlib.sha256(f"{self._model}\0{text}".encode(errors="replace")).hexdigest()[:32]


def _unit(vectors: "Vectors") -> "Vectors":
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), dtype=np.float32)
