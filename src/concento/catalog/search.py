"""Find tools by words: BM25 over names, titles and descriptions, in memory."""

import re
import sqlite3
from collections.abc import Iterable

import msgspec

from .slices import Entry

_WORD = re.compile(r"\w+")
_JOINT = re.compile(r"[_-]+|(?<=[a-z0-9])(?=[A-Z])")


class _Shown(msgspec.Struct):
    title: str | None = None
    description: str | None = None


class ToolIndex:
    """An index of some tools. Building it costs about 10 µs a tool."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = tuple(entries)
        self._db = sqlite3.connect(":memory:")
        self._db.execute(
            "CREATE VIRTUAL TABLE tools USING fts5(name, title, description, tokenize = 'porter unicode61')"
        )
        self._db.executemany("INSERT INTO tools VALUES (?, ?, ?)", map(_row, self._entries))

    def search(self, query: str, limit: int = 20) -> list[Entry]:
        """The tools that fit a query best, best first. Any text is a query: its words count, its signs do not."""
        words = _WORD.findall(query)[:32]
        if not words:
            return []
        match = " OR ".join(f'"{word}"*' for word in words)
        rows = self._db.execute(
            "SELECT rowid FROM tools WHERE tools MATCH ? ORDER BY bm25(tools, 4.0, 2.0, 1.0) LIMIT ?",
            (match, max(0, limit)),
        )
        return [self._entries[row - 1] for (row,) in rows]

    def close(self) -> None:
        """Let the memory go."""
        self._db.close()


def _row(entry: Entry) -> tuple[str, str, str]:
    try:
        shown = msgspec.json.decode(entry.raw, type=_Shown)
    except (msgspec.DecodeError, RecursionError):
        shown = _Shown()
    return f"{entry.public} {_JOINT.sub(' ', entry.public)}", shown.title or "", shown.description or ""
