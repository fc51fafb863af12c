"""Usage in a test: calls that only happened on paper, prices, and reading what was counted."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from concento.model.clock import Clock, SystemClock
from concento.model.prices import Book, Budget, Charge, Price, Tier
from concento.model.usage import Metering, Row
from concento.observe.usage import Usage
from concento.observe.usage.ledger import gaps_of, rows_of

FLAT = Price("b@1970-01-01 s.* #1", "s.*", "EUR", (Charge("call", (Tier(2_000_000),)), Charge("mb", (Tier(10**7),))))
TIERED = Price(
    "b@1970-01-01 s.t1 #2", "s.t1", "EUR", (Charge("call", (Tier(30_000_001, 3), Tier(10_000_001)), free=2),)
)
BOOK = Book("b", 0, "EUR", (FLAT, TIERED))


async def opened(
    path: Path,
    *,
    audit: Path | None = None,
    intents: int = 0,
    horizon_s: float = 0.0,
    audited: Callable[[], Awaitable[None]] | None = None,
    hook: Callable[[str], None] = lambda step: None,
    clock: Clock | None = None,
    books: tuple[Book, ...] = (BOOK,),
    budgets: tuple[Budget, ...] = (),
    **settings: Any,
) -> Usage:
    metering = Metering(**settings)
    options: dict[str, Any] = {"audit": audit, "intents": intents, "horizon_s": horizon_s, "hook": hook}
    options |= {"books": books, "audited": audited}
    usage = await Usage.open(path, metering, clock or SystemClock(), **options)
    await usage.configure(metering, books, budgets)
    return usage


def rows(path: Path) -> list[Row]:
    with closing(sqlite3.connect(path)) as database:
        return rows_of(database, 0, 10**6)


def lost(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return sum(gap.calls for gap in gaps_of(database))


def calls(path: Path) -> int:
    return sum(row.calls for row in rows(path))
