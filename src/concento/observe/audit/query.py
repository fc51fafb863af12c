"""Read what was recorded: entries by who, what and when, the newest first. The file is only read."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

COLUMNS: Final = ("subject", "agent", "tenant", "server", "tool", "method", "outcome", "decision", "trace", "kind")
"""Members of an entry that it can be asked for by."""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The database, for reading. Errors: sqlite3.Error."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)) as database:
        yield database


def entries(
    database: sqlite3.Connection,
    limit: int,
    wanted: Mapping[str, str | None],
    *,
    since_s: float | None = None,
    until_s: float | None = None,
    before_seq: int | None = None,
) -> list[dict[str, Any]]:
    """Entries, the newest first. `wanted`: values of `COLUMNS`; None: any."""
    where: list[str] = ["1 = 1"]
    values: list[Any] = []
    for condition, number in (("time >= ?", since_s), ("time < ?", until_s), ("seq < ?", before_seq)):
        if number is not None:
            where, values = [*where, condition], [*values, number]
    for column, text in wanted.items():
        if text is not None:
            assert column in COLUMNS
            where, values = [*where, f"json_extract(CAST(body AS TEXT), '$.{column}') = ?"], [*values, text]
    rows = database.execute(
        f"SELECT body FROM entries WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?", (*values, limit)
    )
    return [msgspec.json.decode(bytes(body)) for (body,) in rows]
