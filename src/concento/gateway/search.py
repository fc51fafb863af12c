"""Find the tools of a view by what an agent needs, off the event loop.

An index is made when a view is first searched, and kept while views like it are in use. What its caller can't see is
not in it: scores tell nothing of what is hidden.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from ..catalog.ranking import Ranking, fused
from ..catalog.search import Cover, Scored, ToolIndex, meanings_of
from ..catalog.slices import Entry
from ..catalog.view import TenantView
from ..embedding.contract import NotEmbedded
from ..embedding.opening import opened
from ..model.errors import Overloaded
from ..model.search import Embeddings, Search
from ..store.contract import Store
from ..upstream.tasks import Tasks

if TYPE_CHECKING:
    from ..embedding.contract import Vectors
    from ..embedding.vectors import CatalogVectors

T = TypeVar("T")
INDEXES_MAX: Final = 64
"""Views searched at a time: one for each endpoint and for each set of rights. Those with the same tools share an index;
the one unused for longest goes first."""
WAITING_MAX: Final = 256
"""Searches under way or waiting; more are refused."""
DEPTH: Final = 50
"""How far down each ranking counts."""
NEED_CHARS: Final = 1000
"""What of a request a model reads."""
COVERED: Final = 5
"""Of how many it is known how likely each is the right one, if those before it are not."""


class Finding(NamedTuple):
    """What fits a request: the tools of a view, and the places of those that were found among them."""

    entries: tuple[Entry, ...]
    ranking: Ranking


class Finder:
    """The searches of a hub."""

    def __init__(self, store: Store, now: Callable[[], float], on_problem: Callable[[str], None]) -> None:
        self._store = store
        self._now = now
        self._on_problem = on_problem
        self._indexes: dict[TenantView, _Index] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._vectors: CatalogVectors | None = None
        self._tasks = Tasks("the search")
        self.settings = Search()

    async def configure(self, settings: Search) -> None:
        """Take what the configuration says; a model is opened when something is first looked for."""
        if settings.embeddings != self.settings.embeddings:
            await self._let_go()
            self._vectors = None if settings.embeddings is None else self._opened(settings.embeddings)
        self.settings = settings

    async def find(self, view: TenantView, need: str) -> Finding:
        """The tools of a view that fit a need, at most `DEPTH`. Errors: Overloaded."""
        if self._waiting >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} searches are under way already; try again in a moment")
        self._waiting += 1
        try:
            index = self._index(view)
            words = await self._off_loop(index.ranked, need)
            meaning = await self._meaning(index, need)
            order = fused(words, meaning, DEPTH) if meaning else words
            covers = await self._off_loop(index.covers, need, [one.place for one in order[:COVERED]])
        finally:
            self._waiting -= 1
        return Finding(index.entries, Ranking(tuple(order), dict(words), dict(meaning), covers))

    async def settle(self) -> None:
        """Wait until what is being made for searches by meaning is there."""
        await self._tasks.finish()

    async def close(self) -> None:
        """End what runs."""
        await self._let_go()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    # -- by words

    def _index(self, view: TenantView) -> "_Index":
        index = self._indexes.pop(view, None)
        if index is None:
            entries = view.items("tools")
            # A list that was fetched anew is mostly the same as before, as those of two callers may be.
            same = (known for known in self._indexes.values() if known.entries == entries)
            index = next(same, None) or _Index(entries)
            while len(self._indexes) >= INDEXES_MAX:
                del self._indexes[next(iter(self._indexes))]
        self._indexes[view] = index
        return index

    async def _off_loop(self, work: Callable[..., T], *given: object) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "concento-search")
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *given))

    # -- by meaning

    async def _meaning(self, index: "_Index", need: str) -> list[Scored]:
        """The ranking by meaning; none as long as the catalog's vectors are being made."""
        vectors = self._vectors
        if vectors is None or not index.entries:
            return []
        if index.rows is None:
            if not index.is_made and vectors.may_ask():
                index.is_made = True
                self._tasks.start(self._make(vectors, index))
            return []
        asked = await vectors.query([need[:NEED_CHARS]])
        if asked is None or asked.shape[1] != index.rows.shape[1]:
            return []
        return await self._off_loop(index.alike, asked[0])

    async def _make(self, vectors: "CatalogVectors", index: "_Index") -> None:
        try:
            if not vectors.is_loaded:
                await vectors.load()
            texts = await self._off_loop(index.texts)
            if await vectors.make([text for _, *both in texts for text in both]):
                index.rows = await self._off_loop(vectors.rows, texts)
        except Exception as error:  # the last edge: words do without, and the next search tries again
            self._on_problem(f"tools are found by words alone: {error!r}")
        finally:
            index.is_made = index.rows is not None

    def _opened(self, embeddings: Embeddings) -> "CatalogVectors | None":
        try:
            return opened(embeddings, self._store, self._now, self._on_problem)
        except NotEmbedded as error:
            self._on_problem(f"tools are found by words alone: {error}")
            return None

    async def _let_go(self) -> None:
        vectors, self._vectors = self._vectors, None
        self._indexes.clear()
        await self._tasks.close()
        if vectors is not None:
            await vectors.close()


class _Index:
    """One view's tools: by words, made on the search's thread, and by meaning, once their vectors are there."""

    def __init__(self, entries: tuple[Entry, ...]) -> None:
        self.entries = entries
        self._words: ToolIndex | None = None
        self.rows: Vectors | None = None
        self.is_made = False
        """Whether somebody makes the rows."""

    def ranked(self, need: str) -> list[Scored]:
        """The ranking by words."""
        if self._words is None:
            self._words = ToolIndex(self.entries)
            self._words.learn()
        return self._words.ranked(need, DEPTH)

    def texts(self) -> list[tuple[str, str, str]]:
        """Of each tool its server's alias, and what a model reads of it."""
        return [(entry.alias, *meanings_of(entry)) for entry in self.entries]

    def alike(self, asked: "Vectors") -> list[Scored]:
        """The ranking by meaning."""
        assert self.rows is not None
        scores = self.rows @ asked
        best = (-scores).argsort()[:DEPTH].tolist()
        return [Scored(place, float(scores[place])) for place in best]

    def covers(self, need: str, places: list[int]) -> dict[int, Cover]:
        """How much of a need some of its tools speak of."""
        assert self._words is not None
        return {place: self._words.cover(need, place) for place in places}
