"""How entries hang together: each bears the digest of itself and all before it. What was altered, taken out, put
elsewhere or cut off shows when the chain is gone through.

Whoever can write the file can make a whole new chain, so that its head is noted elsewhere each minute: the anchor.
Source: hardening T31.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from .entry import Entry, decode

BEGINNING: Final = bytes(32)
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entries (
  seq INTEGER PRIMARY KEY, time REAL NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_time ON entries (time);
"""

Break = Literal["altered", "missing", "reordered", "truncated", "unreadable"]


def link(before: bytes, body: bytes) -> bytes:
    """The digest of an entry and all before it."""
    return hashlib.sha256(before + body).digest()


def as_bytes(value: bytes | str) -> bytes:
    """What a column holds: text, too, where somebody changed it by hand."""
    return value.encode(errors="surrogateescape") if isinstance(value, str) else bytes(value)


class Finding(Struct, frozen=True):
    """What going through a chain showed. `broken` is what is wrong first, at which place."""

    checked: int
    first: int
    last: int
    head: str
    gaps: int
    lost: int
    anchors: int
    broken: Break | None = None
    place: int = 0
    why: str = ""


def verify(connection: sqlite3.Connection, anchors: list[tuple[int, str]]) -> Finding:
    """Go through all entries. `anchors`: places and the digests that were noted for them elsewhere."""
    noted = dict(anchors)
    before, previous, first, checked, gaps, lost = BEGINNING, 0, 0, 0, 0, 0
    bases = dict(_bases(connection))
    agreed = 0

    def finding(broken: Break | None = None, place: int = 0, why: str = "") -> Finding:
        return Finding(checked, first, previous, before.hex(), gaps, lost, agreed, broken, place, why)

    try:
        for seq, time, text, hashed in connection.execute("SELECT seq, time, body, hash FROM entries ORDER BY seq"):
            body, digest = as_bytes(text), as_bytes(hashed)
            if not first:
                first = seq
                if seq > 1:
                    base = bases.get(seq - 1)
                    if base is None:
                        return finding(
                            "missing", seq, f"what came before {seq} is gone, and no entry says it was pruned"
                        )
                    before, previous = base, seq - 1
            if seq != previous + 1:
                return finding("missing", previous + 1, f"there is no entry {previous + 1}")
            try:
                entry = decode(body)
            except (msgspec.DecodeError, ValueError):
                return finding("altered", seq, "its text can't be read")
            if entry.seq != seq:
                return finding("reordered", seq, f"the entry there is the one of place {entry.seq}")
            if link(before, body) != digest:
                return finding("altered", seq, "its digest is another")
            if time != entry.time:
                return finding("altered", seq, "its column `time` says something else than its text")
            if seq in noted:
                if noted[seq] != digest.hex():
                    return finding("altered", seq, "the digest noted elsewhere is another: the chain was made anew")
                agreed += 1
            if entry.kind == "gap":
                gaps, lost = gaps + 1, lost + entry.count
            before, previous, checked = digest, seq, checked + 1
    except sqlite3.DatabaseError as error:
        return finding("unreadable", previous + 1, str(error))
    if beyond := [seq for seq in noted if seq > previous]:
        return finding(
            "truncated", previous + 1, f"entry {max(beyond)} was noted elsewhere, the last one is {previous}"
        )
    return finding()


def _bases(connection: sqlite3.Connection) -> Iterator[tuple[int, bytes]]:
    """Where entries were pruned, as the entries that stayed say."""
    try:
        for (body,) in connection.execute("SELECT body FROM entries WHERE instr(body, ?)", (b'"kind":"pruned"',)):
            entry = _read(as_bytes(body))
            if entry is not None and entry.kind == "pruned":
                yield entry.upto, bytes.fromhex(entry.hash)
    except (sqlite3.DatabaseError, ValueError):
        return


def _read(body: bytes) -> Entry | None:
    try:
        return decode(body)
    except (msgspec.DecodeError, ValueError):
        return None


def read_anchors(path: Path) -> list[tuple[int, str]]:
    """What an anchor file has: a line for each note. A last line that is not whole is passed over. Errors: OSError."""
    anchors = []
    for line in path.read_text().splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[0].isdigit() and len(parts[1]) == 64:
            anchors.append((int(parts[0]), parts[1]))
    return anchors
