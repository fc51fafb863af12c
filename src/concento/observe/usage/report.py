"""Reading what was used: sums by whatever is asked for, and invoices. It opens the file to read, whoever writes it."""

import re
import sqlite3
import time
from calendar import timegm
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from ...model.prices import Price, text_of
from ...policy.invoices import Invoice, decimal, invoices
from .ledger import VERSION, Counted, Gap, gaps_of, prices_of, rows_of, sums_of

By = Literal["day", "tenant", "subject", "server", "tool", "arm", "method", "outcome", "part", "price"]
BY: Final[tuple[By, ...]] = (
    *("day", "tenant", "subject", "server", "tool", "arm", "method", "outcome", "part", "price"),
)
_DAY_S: Final = 86_400


class Unreadable(Exception):
    """The file is not there, or can't be read; the message says what to do."""


class Days(Struct, frozen=True):
    """Some UTC days, the last one included, counted since 1970."""

    first: int
    last: int
    name: str


class Sum(Struct, frozen=True):
    """What was used under the same words. Whole numbers as they were counted; `cost` by currency, exact, as text."""

    by: dict[str, str]
    calls: int
    attempts: int
    errors: int
    seconds: str
    bytes_in: int
    bytes_out: int
    tokens: int
    cost: dict[str, str]


class Report(Struct, frozen=True):
    """Sums and the sum of all. `lost`: calls of that time that a crash took, and nobody counted."""

    period: str
    by: tuple[By, ...]
    sums: tuple[Sum, ...]
    total: Sum
    lost: int


def month(text: str) -> Days:
    """A month such as `2026-11`. Errors: ValueError, saying what is expected."""
    match = re.fullmatch(r"([0-9]{4})-(0[1-9]|1[0-2])", text)
    if match is None or not int(match[1]) >= 1970:
        raise ValueError("expected a month such as 2026-11")
    year, number = int(match[1]), int(match[2])
    first, after = (timegm((year + more // 13, (more - 1) % 12 + 1, 1, 0, 0, 0)) for more in (number, number + 1))
    return Days(first // _DAY_S, after // _DAY_S - 1, text)


def this_month(wall_s: float) -> str:
    """The month that it is, in UTC."""
    return time.strftime("%Y-%m", time.gmtime(wall_s))


def dimensions(text: str) -> tuple[By, ...]:
    """Words such as `tenant,tool`. Errors: ValueError, naming those there are."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    known = {str(word): word for word in BY}
    if strange := [word for word in words if word not in known]:
        raise ValueError(f"{strange[0]!r} is nothing to sum by; known: {', '.join(BY)}")
    return tuple(known[word] for word in dict.fromkeys(words))


def report(path: Path, days: Days, by: Sequence[By], tenant: str | None = None, subject: str | None = None) -> Report:
    """What was used in some days. Errors: Unreadable."""
    of = {name: value for name, value in (("tenant", tenant), ("subject", subject)) if value is not None}
    with _opened(path) as connection:
        prices, gaps = prices_of(connection), gaps_of(connection)
        found = [*sums_of(connection, days.first, days.last, by, of)]
    groups: dict[tuple[str | int, ...], list[tuple[str, Counted]]] = {}
    for words, price, counted in found:
        groups.setdefault(words, []).append((price, counted))
    sums = tuple(_sum(_said(by, words), parts, prices) for words, parts in groups.items())
    total = _sum({}, [(price, counted) for _, price, counted in found], prices)
    return Report(days.name, tuple(by), sums, total, _lost(gaps, days))


def month_invoices(path: Path, tenant: str, days: Days, wall_s: float) -> tuple[Invoice, ...]:
    """The invoices of a tenant's month. Errors: Unreadable."""
    with _opened(path) as connection:
        rows, prices = rows_of(connection, days.first, days.last, tenant), prices_of(connection)
    return invoices(tenant, days.name, rows, prices, final=wall_s >= (days.last + 1) * _DAY_S)


def all_rows(path: Path, days: Days, tenant: str | None = None) -> Iterator[dict[str, int | str]]:
    """Every row of some days, with its currency. Errors: Unreadable."""
    with _opened(path) as connection:
        rows, prices = rows_of(connection, days.first, days.last, tenant), prices_of(connection)
    for row in rows:
        price = prices.get(row.key.price)
        counted = {name: getattr(row, name) for name in row._fields[1:-1]}
        cost = {"cost": text_of(row.cost), "currency": "" if price is None else price.currency}
        yield {**row.key._asdict(), "day": day_text(row.key.day), **counted, **cost}


def day_text(day: int) -> str:
    """A day such as `2026-11-26`."""
    return time.strftime("%Y-%m-%d", time.gmtime(day * _DAY_S))


def _said(by: Sequence[By], words: Sequence[str | int]) -> dict[str, str]:
    return {name: day_text(word) if isinstance(word, int) else word for name, word in zip(by, words, strict=True)}


def _sum(words: dict[str, str], parts: Sequence[tuple[str, Counted]], prices: Mapping[str, Price]) -> Sum:
    """The sum of parts, each at one price."""
    cost: dict[str, int] = {}
    for price, counted in parts:
        if price:
            currency = prices[price].currency
            cost[currency] = cost.get(currency, 0) + counted.cost
    whole = Counted(*(sum(column) for column in zip(*(counted for _, counted in parts), strict=True)))
    return Sum(
        words,
        whole.calls,
        whole.attempts,
        whole.errors,
        decimal(whole.us, 1_000_000),
        whole.bytes_in,
        whole.bytes_out,
        whole.tokens,
        {currency: text_of(cost[currency]) for currency in sorted(cost)},
    )


def _lost(gaps: Sequence[Gap], days: Days) -> int:
    return sum(gap.calls for gap in gaps if days.first <= gap.time // _DAY_S <= days.last)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        raise Unreadable(f"there is no usage file {path} yet: `concento serve` makes it")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise Unreadable(f"{path} was made by a newer version of Concento; read it with that one")
            yield connection
    except sqlite3.Error as error:
        raise Unreadable(f"{path} can't be read: {error}") from error
