"""The file of what was used: sums by day and key, and the prices they were metered at. All of it blocks.

A batch goes in with the number of the last call that is in it, in one transaction: it is there whole or not at all, and
a second time changes nothing. Source: hardening R17, R18.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from ...model.prices import PARTS, Price, Used
from ...model.usage import Row, RowKey
from ...policy.limit_quotas import month_of
from .meter import TariffKey

VERSION: Final = 1
"""Of the schema. A newer file is not touched by an older program."""

_MILLIONTH: Final = PARTS // 1_000_000
"""Costs go in as millionths and what is beyond: a column holds no larger number than 2⁶³."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS used (
  day INTEGER NOT NULL, tenant TEXT NOT NULL, subject TEXT NOT NULL, server TEXT NOT NULL, tool TEXT NOT NULL,
  arm TEXT NOT NULL, method TEXT NOT NULL, outcome TEXT NOT NULL, part TEXT NOT NULL, price TEXT NOT NULL,
  calls INTEGER NOT NULL, attempts INTEGER NOT NULL, us INTEGER NOT NULL, bytes_in INTEGER NOT NULL,
  bytes_out INTEGER NOT NULL, tokens INTEGER NOT NULL, cost_millionths INTEGER NOT NULL, cost_rest INTEGER NOT NULL,
  PRIMARY KEY (day, tenant, subject, server, tool, arm, method, outcome, part, price)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS prices (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (upto INTEGER PRIMARY KEY, time REAL NOT NULL, calls INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS mark (
  one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, intents INTEGER NOT NULL, clean INTEGER NOT NULL);
INSERT OR IGNORE INTO mark VALUES (1, 0, 0, 1);
"""
_KEYS: Final = ", ".join(RowKey._fields)
_KEY_COLUMNS: Final = len(RowKey._fields)
_COLUMNS: Final = f"{_KEYS}, calls, attempts, us, bytes_in, bytes_out, tokens"
_SUMS: Final = ("calls", "attempts", "us", "bytes_in", "bytes_out", "tokens", "cost_millionths", "cost_rest")
_ADD: Final = (
    f"INSERT INTO used VALUES ({', '.join('?' * (len(RowKey._fields) + len(_SUMS)))}) ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
)

_COUNTED: Final = """sum(calls), sum(attempts), sum(iif(outcome IN ('ok', 'cancelled'), 0, calls)), sum(us),
    sum(bytes_in), sum(bytes_out), sum(tokens), sum(cost_millionths), sum(cost_rest)"""

Hook = Callable[[str], None]
"""Told how far the work is, by tests that end the process there."""


class Mark(Struct, frozen=True):
    """How far the file is. `number`: of the last call in it; `intents`: of the last intent that was looked at."""

    number: int
    intents: int
    clean: bool
    """Whether whoever wrote it last ended in order."""


class Counted(NamedTuple):
    """Sums of many rows. `errors`: calls that neither succeeded nor were given up by their agent."""

    calls: int = 0
    attempts: int = 0
    errors: int = 0
    us: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    tokens: int = 0
    cost: int = 0


class Gap(Struct, frozen=True):
    """Calls that a crash took, and that are in no record. `upto`: the number of the last of them."""

    upto: int
    time: float
    calls: int


class Newer(Exception):
    """The file was made by a newer version."""


class Ledger:
    """The file, open for writing by one thread at a time. Errors: sqlite3.Error, OSError; then nothing was written."""

    def __init__(self, path: Path, hook: Hook = lambda step: None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._hook = hook
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
        try:
            path.chmod(0o600)
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")
            (version,) = self.connection.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise Newer(f"it was made by a newer version (schema {version}, this one knows {VERSION})")
            self.connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        except BaseException:
            self.connection.close()
            raise

    def mark(self) -> Mark:
        """How far it is."""
        number, intents, clean = self.connection.execute("SELECT number, intents, clean FROM mark").fetchone()
        return Mark(number, intents, bool(clean))

    def begin(self, intents: int) -> None:
        """Say that somebody writes from now on."""
        self.connection.execute("UPDATE mark SET clean = 0, intents = ?", (intents,))

    def end(self) -> None:
        """Say that nobody does any more."""
        self.connection.execute("UPDATE mark SET clean = 1")

    def add(
        self, rows: Sequence[Row], number: int, *, intents: int | None = None, gap: Gap | None = None, keep: int = 0
    ) -> None:
        """Add what calls up to this number used, unless it is in already. `keep`: the first day that is kept."""
        connection = self.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._hook("begun")
            (there, seen) = connection.execute("SELECT number, intents FROM mark").fetchone()
            if there < number or intents is not None:
                connection.executemany(_ADD, [_flat(row) for row in rows])
                self._hook("added")
                values = (max(number, there), seen if intents is None else intents)
                connection.execute("UPDATE mark SET number = ?, intents = ?", values)
            if gap is not None:
                connection.execute("INSERT OR IGNORE INTO gaps VALUES (?, ?, ?)", (gap.upto, gap.time, gap.calls))
            if keep:
                connection.execute("DELETE FROM used WHERE day < ?", (keep,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._hook("committed")

    def keep_prices(self, prices: Iterable[Price]) -> None:
        """Keep prices for as long as the file is there: what was metered at one stays explained."""
        bodies = [(price.id, msgspec.json.encode(price)) for price in prices]
        self.connection.executemany("INSERT OR IGNORE INTO prices VALUES (?, ?)", bodies)

    def close(self) -> None:
        """Let go."""
        self.connection.close()


# -- reading, by whoever has a connection


def rows_of(connection: sqlite3.Connection, first: int, last: int, tenant: str | None = None) -> list[Row]:
    """The rows of some days, the last one included, in an order that never changes."""
    where, values = ("", ()) if tenant is None else ("AND tenant = ?", (tenant,))
    query = (
        f"SELECT {_COLUMNS}, cost_millionths, cost_rest FROM used WHERE day BETWEEN ? AND ? {where} ORDER BY {_KEYS}"
    )
    return [_row(found) for found in connection.execute(query, (first, last, *values))]


def _row(found: tuple[Any, ...]) -> Row:
    *counts, millionths, rest = found[_KEY_COLUMNS:]
    return Row(RowKey(*found[:_KEY_COLUMNS]), *(*counts, millionths * _MILLIONTH + rest))


def prices_of(connection: sqlite3.Connection) -> dict[str, Price]:
    """All prices that something was ever metered at, by id."""
    rows = connection.execute("SELECT id, body FROM prices")
    return {id: msgspec.json.decode(bytes(body), type=Price) for id, body in rows}


def gaps_of(connection: sqlite3.Connection) -> list[Gap]:
    """What crashes took for good."""
    return [Gap(*row) for row in connection.execute("SELECT upto, time, calls FROM gaps ORDER BY upto")]


def keys_of(connection: sqlite3.Connection, first: int) -> list[RowKey]:
    """The keys of a day and those after it."""
    return [RowKey(*found) for found in connection.execute(f"SELECT {_KEYS} FROM used WHERE day >= ?", (first,))]


def used_of(connection: sqlite3.Connection, first: int) -> Mapping[TariffKey, Used]:
    """What tenants used of each price in each month, from a day on."""
    query = """SELECT tenant, day, price, sum(calls), sum(us), sum(bytes_in + bytes_out), sum(tokens) FROM used
        WHERE day >= ? AND price != '' GROUP BY tenant, day, price"""
    used: dict[TariffKey, Used] = {}
    for tenant, day, price, *counts in connection.execute(query, (first,)):
        name = (tenant, month_of(day), price)
        used[name] = used.get(name, Used()) + Used(*counts)
    return used


def spent_of(connection: sqlite3.Connection, first: int) -> list[tuple[str, str, int, str, int]]:
    """Tenant, subject, day, price and cost of what cost something, from a day on."""
    query = """SELECT tenant, subject, day, price, sum(cost_millionths), sum(cost_rest) FROM used
        WHERE day >= ? AND price != '' GROUP BY tenant, subject, day, price"""
    return [
        (tenant, subject, day, price, millionths * _MILLIONTH + rest)
        for tenant, subject, day, price, millionths, rest in connection.execute(query, (first,))
    ]


def sums_of(
    connection: sqlite3.Connection, first: int, last: int, by: Sequence[str], of: Mapping[str, str]
) -> Iterator[tuple[tuple[str | int, ...], str, Counted]]:
    """Sums by some columns, and by price within. `of`: columns and the value that they have to have.

    SQLite adds them up: while it does, calls go on.
    """
    assert {*by, *of} <= {*RowKey._fields}
    columns = ", ".join([*by, "price"])
    where = " AND ".join(["day BETWEEN ? AND ?", *(f"{name} = ?" for name in of)])
    query = f"SELECT {columns}, {_COUNTED} FROM used WHERE {where} GROUP BY {columns} ORDER BY {columns}"
    for found in connection.execute(query, (first, last, *of.values())):
        *counts, millionths, rest = found[len(by) + 1 :]
        yield found[: len(by)], found[len(by)], Counted(*(*counts, millionths * _MILLIONTH + rest))


def _flat(row: Row) -> tuple[int | str, ...]:
    return (*row.key, *row[1:-1], *divmod(row.cost, _MILLIONTH))
