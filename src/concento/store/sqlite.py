"""State in one SQLite file: write-ahead log, one thread, the folder readable by its owner only."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ..model.errors import StartError

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (space TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (space, key))
WITHOUT ROWID
"""


class SqliteStore:
    """A `Store` in a file. All work is done on one thread of its own."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._thread = thread

    @classmethod
    async def open(cls, path: Path) -> "SqliteStore":
        """Open or create the file. Errors: StartError, if the folder or file can't be used."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        try:
            return cls(await asyncio.get_running_loop().run_in_executor(thread, _open, path), thread)
        except (OSError, sqlite3.Error) as error:
            thread.shutdown(wait=False)
            raise StartError(f"The state file {path} can't be used ({error}); set `state:` to one that can") from error

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._connection)

    async def get(self, space: str, key: str) -> bytes | None:
        """The value, or None."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT value FROM kept WHERE space = ? AND key = ?", (space, key)).fetchone()
            return None if row is None else bytes(row[0])

        return await self._run(work)

    async def put(self, space: str, key: str, value: bytes) -> None:
        """Keep a value."""
        statement = "INSERT INTO kept VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
        await self._run(lambda connection: connection.execute(statement, (space, key, value)))

    async def delete(self, space: str, key: str) -> None:
        """Forget a value."""
        statement = "DELETE FROM kept WHERE space = ? AND key = ?"
        await self._run(lambda connection: connection.execute(statement, (space, key)))

    async def items(self, space: str) -> dict[str, bytes]:
        """All values of a space."""

        def work(connection: sqlite3.Connection) -> dict[str, bytes]:
            return {
                key: bytes(value)
                for key, value in connection.execute("SELECT key, value FROM kept WHERE space = ?", (space,))
            }

        return await self._run(work)

    async def close(self) -> None:
        """Close the file after what is pending."""
        await self._run(sqlite3.Connection.close)
        self._thread.shutdown(wait=False)


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    path.chmod(0o600)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(_SCHEMA)
    return connection
