"""`concento restore`: put a backup in the place of what a hub keeps."""

import sqlite3
import time
from pathlib import Path

import click

from ..store.copies import InUse, check, copy_in, free
from .backup import MARK, kept
from .common import config_option, fail, read_config, shortened, tell


@click.command(name="restore")
@click.argument("folder", type=click.Path(path_type=Path), help="What `concento backup` made.")
@config_option
def command(folder: Path, config: str | None) -> None:
    """Put a backup back, while the hub stands still. What was there is kept beside it, as NAME.before-DATE.

    \b
    Example:
      systemctl stop concento
      concento restore /mnt/backup/concento-2026-11-26
    """
    if not (folder / MARK).exists():
        fail(f"{shortened(folder)} is no whole backup: `concento backup` writes {MARK} into it last")
    places = kept(read_config(config))
    copies = {name: folder / name for name in ("usage.db", "audit.db", "concento.db") if (folder / name).exists()}
    nowhere = [name for name in copies if name not in places]
    if nowhere:
        fail(f"the configuration keeps no {nowhere[0]}; see `state`, `audit` and `usage` in it")
    for copy in copies.values():
        try:
            check(copy)
        except sqlite3.Error as error:
            fail(f"{shortened(copy)} can't be read: {error}; this backup is spoilt")
    for path in (places[name] for name in copies):
        try:
            free(path)
        except InUse:
            fail(f"a hub has {shortened(path)} open; stop it first")
        except sqlite3.Error as error:
            fail(f"{shortened(path)} can't be read: {error}; move it away, and repeat this")
    at = time.strftime("%Y%m%d-%H%M%S")
    try:
        for name, copy in copies.items():
            path = places[name]
            aside = path.with_name(f"{path.name}.before-{at}")
            copy_in(copy, path, aside)
            tell(f"{name:<12} is in place" + (f"; what was there is {aside.name}" if aside.exists() else ""))
    except OSError as error:
        fail(f"{error.filename} can't be written: {error.strerror}")
