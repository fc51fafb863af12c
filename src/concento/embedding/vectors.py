"""The vectors of a catalog's texts, each made once and kept with the hub's state: thousands take a model minutes.

A kept vector is known by a digest of its text and of the model that made it.
"""

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from ..store.contract import Store
from .contract import Embedder, NotEmbedded, Refused

if TYPE_CHECKING:
    from .contract import Vectors

SPACE: Final = "vectors"
KEPT_MAX: Final = 20_000
"""Two for each tool. Beyond it, those that are not asked for are forgotten."""
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
            await self._forget(list(kept))
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

    def may_ask(self) -> bool:
        """Whether the model may be asked: not shortly after it could not be had."""
        return self._now() >= self._wait_until

    async def make(self, texts: Sequence[str]) -> bool:
        """Make the vectors of those texts that have none. Returns whether all are there now."""
        async with self._making:
            wanted = {self._key(text): text for text in texts}
            if len(wanted) > KEPT_MAX:
                self._tell(f"more than {KEPT_MAX // 2} tools are too many for the model")
                return False
            missing = {key: text for key, text in wanted.items() if key not in self._kept}
            if len(self._kept) + len(missing) > KEPT_MAX:
                await self._forget([key for key in self._kept if key not in wanted])
            keys = list(missing)
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                made = await self._made([missing[key] for key in part])
                if made is None:
                    return False
                for key, vector in zip(part, made, strict=True):
                    self._kept[key] = vector
                    with suppress(OSError, sqlite3.Error):  # kept for the next start only
                        await self._store.put(SPACE, key, vector.astype(np.float16).tobytes())
        return True

    def rows(self, tools: "Sequence[tuple[str, str, str]]") -> "Vectors | None":
        """One row for each tool, given as its server's alias and two texts of it; None if they are not all there.

        A tool's row has something of its server's others: who asks names the trade oftener than the tool.
        """
        made = self.of([text for _, *both in tools for text in both])
        if made is None:
            return None
        rows = _unit(made[0::2] + made[1::2])
        shared = np.zeros_like(rows)
        places: dict[str, list[int]] = {}
        for place, (alias, _, _) in enumerate(tools):
            places.setdefault(alias, []).append(place)
        for alias, own in places.items():
            if alias:
                shared[own] = _unit(rows[own].mean(axis=0))
        return np.asarray(rows + SERVER_SHARE * shared, dtype=np.float32)

    async def query(self, texts: Sequence[str]) -> "Vectors | None":
        """The vectors of texts that are not kept; None while the model can't be had, or refuses one of them."""
        if not self.may_ask():
            return None
        try:
            return await self._embedder.embed(texts)
        except Refused:
            return None
        except NotEmbedded as error:
            self._wait_until = self._now() + RETRY_S
            self._tell(str(error))
            return None

    async def _made(self, texts: Sequence[str]) -> "Vectors | None":
        """The vectors of some texts. Where the model refuses them, each is asked for alone; what it refuses then is
        like nothing. None while the model can't be had."""
        made = await self.query(texts)
        if made is not None or not self.may_ask():
            return made
        alone = []
        for text in texts:
            row = await self.query([text])
            if row is None and not self.may_ask():
                return None
            alone.append(None if row is None else row[0])
        if not any(row is not None for row in alone):
            self._wait_until = self._now() + RETRY_S
            self._tell("the model refuses all texts; is it named as its endpoint names it?")
            return None
        width = next((row.shape[0] for row in [*alone, *self._kept.values()] if row is not None), 1)
        return np.stack([np.zeros(width, dtype=np.float32) if row is None else row for row in alone])

    def _tell(self, problem: str) -> None:
        self._on_problem(f"tools are found by words alone: {problem}")

    async def close(self) -> None:
        """Let the model go."""
        await self._embedder.close()

    async def _forget(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self._store.delete(SPACE, key)
            self._kept.pop(key, None)

    def _key(self, text: str) -> str:
        return hashlib.sha256(f"{self._model}\0{text}".encode(errors="replace")).hexdigest()[:32]


def _unit(vectors: "Vectors") -> "Vectors":
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), dtype=np.float32)
