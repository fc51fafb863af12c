"""Entries onto the disk: one thread, one file, many entries a transaction.

What can't be written waits, within bounds, and is tried again each second; what does not fit is counted, and the chain
says how much is missing as soon as it can. Nobody has to restart anything. Source: hardening R17, R18.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from ...model.auditing import Audit
from .chain import BEGINNING, SCHEMA, as_bytes, link
from .entry import Draft, Entry, Kind, Secrets, decode, draft, placed

_CHECKED_AT_START: Final = 1000
"""Entries at the end of a chain that are gone through when it is opened."""
_PRUNE_MOST: Final = 2000
_PRUNE_EVERY_S: Final = 60.0
ANCHOR_EVERY_S: Final = 60.0

Hook = Callable[[str], None]
"""Told how far the work is, by tests that end the process there."""

_PAGE_BYTES: Final = 16_384
_WAL_BYTES_MAX: Final = 4 * 1024 * 1024
_ROWS_MAX: Final = 512
"""Rows of one statement. After each statement the thread has to wait for its turn to run Python, which costs more than
the statement while the event loop is busy. So a batch is cut into powers of two: few statements, of few lengths."""


@cache
def _insert(rows: int) -> str:
    return f"INSERT INTO entries VALUES {', '.join(['(?,?,?,?)'] * rows)}"


def _no_hook(step: str) -> None:
    return None


class Damaged(Exception):
    """The file's last entries don't hang together, or it is no database."""


class Writer:
    """The chain of one file. Every method may block; all are called from one thread."""

    def __init__(
        self,
        path: Path,
        settings: Audit,
        secrets: Callable[[], frozenset[str]],
        wall: Callable[[], float],
        hook: Hook = _no_hook,
    ) -> None:
        self.path = path
        self.settings = settings
        self.head = BEGINNING
        self.seq = 0
        self.number = 0
        """The last call's number that is written."""
        self.last_write_s = 0.0
        self.anchor_failures = 0
        self._secrets = secrets
        self._known = Secrets(frozenset())
        self._wall = wall
        self._hook = hook
        self._connection: sqlite3.Connection | None = None
        self._pruned_s = 0.0
        self._anchored = (0, 0.0)

    # -- opening and closing

    def open(self, counted: int) -> None:
        """Open the file, or begin one, and say in the chain how the last run ended. `counted`: the last number that any
        run gave out. Errors: OSError, sqlite3.Error, if it can't be used at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = ""
        try:
            last = self._connect()
        except (Damaged, sqlite3.DatabaseError) as error:
            if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
                raise
            aside = self._move_aside()
            last = self._connect()
        self._hook("connected")
        entries: list[Draft] = []
        clean = last is None or last.kind == "closed"
        if last is not None and not clean:
            lost = max(0, counted - self.number)
            if lost:
                reason = "the process ended before they were written"
                entries.append(self._own("gap", count=lost, upto=counted, reason=reason))
        reason = "a damaged file was moved aside: " + aside if aside else "" if clean else "after an unclean end"
        entries.append(self._own("opened", reason=reason))
        self.number = max(self.number, counted)
        self.write(entries)
        self._hook("opened")

    def _connect(self) -> Entry | None:
        """Open the file and find its end. Returns the last entry."""
        self.close()
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=5.0, check_same_thread=False)
        self._connection = connection
        self.path.chmod(0o600)
        # Entries only ever come behind one another: large pages take a quarter less work than small ones.
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_BYTES_MAX // _PAGE_BYTES}")
        connection.execute(f"PRAGMA synchronous = {'FULL' if self.settings.mode == 'strict' else 'NORMAL'}")
        connection.executescript(SCHEMA)
        self.head, self.seq, self.number = BEGINNING, 0, 0
        rows = connection.execute(
            "SELECT seq, body, hash FROM entries ORDER BY seq DESC LIMIT ?", (_CHECKED_AT_START,)
        ).fetchall()
        last: Entry | None = None
        before: bytes | None = None
        for seq, body, digest in reversed(rows):
            entry = _decoded(as_bytes(body))
            if entry.seq != seq or (before is not None and link(before, as_bytes(body)) != as_bytes(digest)):
                raise Damaged(f"entry {seq} is not what was written")
            before, last = as_bytes(digest), entry
            self.number = max(self.number, entry.number, entry.upto if entry.kind == "gap" else 0)
            self.head, self.seq = as_bytes(digest), seq
        return last

    def _move_aside(self) -> str:
        """Keep what can't be gone on with, for whoever looks into it."""
        self.close()
        name = f"{self.path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(self._wall()))}"
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.replace(self.path.with_name(name + suffix))
        return name

    def finish(self) -> None:
        """Say that the record ends here, and close."""
        self.write([self._own("closed")])
        self.anchor(now=True)
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- writing

    def write(self, drafts: Sequence[Draft]) -> list[bytes]:
        """Put entries at the end of the chain, all of them or none. Returns their texts.

        Errors: OSError, sqlite3.Error; then nothing of them is there.
        """
        if self._connection is None:
            self._connect()
        connection = self._connection
        assert connection is not None
        bodies = [placed(one, seq, self.settings.redact) for seq, one in enumerate(drafts, self.seq + 1)]
        bodies = self._without_secrets(bodies)
        head, seq = self.head, self.seq
        values: list[int | float | bytes] = []
        for one, body in zip(drafts, bodies, strict=True):
            seq += 1
            head = link(head, body)
            values += (seq, one.time, body, head)
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._hook("begun")
            done = 0
            while left := len(drafts) - done:
                rows = min(_ROWS_MAX, 1 << left.bit_length() - 1)
                connection.execute(_insert(rows), values[4 * done : 4 * (done + rows)])
                done += rows
            self._hook("inserted")
            connection.execute("COMMIT")
        except BaseException:
            self.close()  # what a failed disk leaves of a connection is not gone on with
            raise
        self.number = max([self.number, *(one.upto for one in drafts)])
        self.head, self.seq = head, seq
        self._hook("committed")
        self.last_write_s = self._wall()
        return bodies

    def _without_secrets(self, bodies: list[bytes]) -> list[bytes]:
        if (values := self._secrets()) != self._known.values:
            self._known = Secrets(values)
        return [self._known.taken_out(body) for body in bodies] if self._known.among(bodies) else bodies

    def _own(self, kind: Kind, **facts: object) -> Draft:
        return draft(Entry(round(self._wall(), 3), kind, **facts))  # type: ignore[arg-type]

    def gap(self, count: int, upto: int) -> Draft:
        """The entry that says how many could not be written."""
        return self._own("gap", count=count, upto=upto, reason="the disk took no more")

    # -- upkeep

    def keep_up(self, now_s: float) -> None:
        """Prune what is too old or too much, and note the head elsewhere, when it is time. Errors: as `write`."""
        if now_s - self._pruned_s >= _PRUNE_EVERY_S:
            self._pruned_s = now_s
            self._prune()
        self.anchor()

    def _prune(self) -> None:
        connection = self._connection
        if connection is None:
            return
        upto = 0
        if self.settings.keep_days is not None:
            before_s = self._wall() - self.settings.keep_days * 86_400
            found = connection.execute("SELECT max(seq) FROM entries WHERE time < ?", (before_s,)).fetchone()
            upto = found[0] or 0
        if self.settings.size_max_mb is not None and self._size_bytes() > self.settings.size_max_mb * 1024 * 1024:
            count, first = connection.execute("SELECT count(*), min(seq) FROM entries").fetchone()
            upto = max(upto, first + count // 10)
        first = connection.execute("SELECT min(seq) FROM entries").fetchone()[0] or 0
        upto = min(upto, first + _PRUNE_MOST, self.seq - 1)
        if upto < first or not first:
            return
        row = connection.execute("SELECT hash FROM entries WHERE seq = ?", (upto,)).fetchone()
        if row is None:
            return
        self._hook("pruning")
        # First the entry that says so: a crash in between leaves more than it says, never less.
        self.write([self._own("pruned", count=upto - first + 1, upto=upto, hash=bytes(row[0]).hex())])
        self._hook("pruned said")
        connection.execute("DELETE FROM entries WHERE seq <= ?", (upto,))
        self._hook("pruned")
        self._pruned_s = 0.0 if upto == first + _PRUNE_MOST else self._pruned_s

    def _size_bytes(self) -> int:
        assert self._connection is not None
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def anchor(self, *, now: bool = False) -> None:
        """Note the head of the chain in the anchor file: each minute, or now."""
        path, (seq, then_s) = self.settings.anchor, self._anchored
        wall_s = self._wall()
        if path is None or self.seq == seq or (not now and wall_s - then_s < ANCHOR_EVERY_S):
            return
        self._anchored = (self.seq, wall_s)
        try:
            with path.open("a") as file:
                self._hook("anchoring")
                file.write(f"{self.seq} {self.head.hex()} {wall_s:.3f}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self.anchor_failures += 1


def _decoded(body: bytes) -> Entry:
    try:
        return decode(body)
    except ValueError:
        raise Damaged("an entry can't be read") from None


def _is_damage(error: sqlite3.Error) -> bool:
    return any(word in str(error) for word in ("malformed", "not a database", "corrupt"))
