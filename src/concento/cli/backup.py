"""`concento backup`: copy what a hub keeps into a folder, while it runs."""

import sqlite3
from contextlib import closing
from pathlib import Path

import click

from ..model.config import Config
from ..observe.audit.chain import Finding, verify
from ..store.copies import copy_out
from .common import config_option, fail, json_option, put_json, read_config, shortened, tell

MARK = "concento-backup"
"""A file by which a folder is known as a backup."""


def kept(config: Config) -> dict[str, Path]:
    """The files that a hub keeps, by their names in a backup.

    Usage is before the audit record: what was metered in between is counted from the record after a restore, once.
    """
    files = {"usage.db": config.usage_path, "audit.db": config.audit_path, "concento.db": config.state_db}
    return {name: path for name, path in files.items() if path is not None}


@click.command(name="backup")
@click.argument("folder", type=click.Path(path_type=Path), help="A new folder, or an empty one.")
@config_option
@json_option
def command(folder: Path, config: str | None, as_json: bool) -> None:
    """Copy what the hub keeps, while it runs: its state, the audit record, usage. `concento restore` puts it back.

    Keep the folder like a password: keys of the hub's own are in it, users' accounts (sealed) and who called what.

    \b
    Example:
      concento backup /mnt/backup/concento-2026-11-26
    """
    files = {name: path for name, path in kept(read_config(config)).items() if path.exists()}
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        fail(f"{shortened(folder)} is not empty; name a new folder")
    if not files:
        fail("nothing is kept yet: `state:` is off, or this configuration was never served")
    copied: dict[str, int] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, path in files.items():
            copied[name] = copy_out(path, folder / name)
            if not as_json:
                tell(f"{name:<12} {copied[name]:>12,} bytes")
        record = _verified(folder / "audit.db") if "audit.db" in copied else None
        (folder / MARK).write_text("1\n")
    except OSError as error:
        fail(f"{error.filename or folder} can't be written: {error.strerror}")
    except sqlite3.Error as error:
        fail(f"{list(files)[len(copied)]} can't be copied: {error}")
    if as_json:
        entries = None if record is None else {"checked": record.checked, "broken": record.broken}
        put_json({"folder": str(folder), "files": copied, "audit": entries})
        return
    if record is not None:
        tell(f"the audit record has {record.checked:,} entries" + (" and is whole" if record.broken is None else ""))
    if record is not None and record.broken is not None:
        tell(f"it is {record.broken} at {record.place}, as the original is: {record.why}")
    tell("not in it: the configuration, and the files and variables that it names")


def _verified(copy: Path) -> Finding:
    with closing(sqlite3.connect(copy)) as record:
        return verify(record, [])
