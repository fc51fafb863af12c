"""Copies of SQLite files that are in use, and such a copy put back in the place of the file."""

import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

BESIDE = ("-wal", "-shm", "-count")
"""Files beside one that belong to what it holds now: of no use to a copy, and wrong beside another."""


class InUse(Exception):
    """A process has the file open."""


def copy_out(path: Path, copy: Path) -> int:
    """Copy a file as it is at one moment, whoever writes it meanwhile; returns the copy's bytes.

    The copy is whole, or there is none. Errors: OSError, sqlite3.Error.
    """
    copy.touch(mode=0o600, exist_ok=False)
    try:
        with closing(sqlite3.connect(path, timeout=30.0)) as source:
            source.execute("VACUUM INTO ?", (str(copy),))
        check(copy)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    return copy.stat().st_size


def check(copy: Path) -> None:
    """See that a copy can be read, all of it. Errors: sqlite3.Error."""
    with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True)) as made:
        (said,) = made.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise sqlite3.DatabaseError(said)


def free(path: Path) -> None:
    """See that no process has a file open; what waits beside it is written into it. Errors: InUse, sqlite3.Error."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path, timeout=0.0)) as source:
        try:
            (mode,) = source.execute("PRAGMA journal_mode = DELETE").fetchone()
        except sqlite3.OperationalError as error:
            raise InUse(str(error)) from None
        if mode != "delete":
            raise InUse(mode)


def copy_in(copy: Path, path: Path, aside: Path) -> None:
    """Put a copy in the place of a file that is `free`; what was there goes aside. Errors: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f"{path.name}.new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    fresh.touch(mode=0o600)
    shutil.copyfile(copy, fresh)
    if path.exists():
        path.replace(aside)
    for end in BESIDE:
        path.with_name(path.name + end).unlink(missing_ok=True)
    fresh.replace(path)
