"""Write files so that a person never finds half of one: whole or not at all, through symlinks, with the right mode."""

import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..control.config import read
from ..model.config import Config
from ..model.errors import ConcentoError, ConfigError
from .disguise import SECRETS_FOLDER

_IGNORE: Final = "# Secrets: nothing here belongs under version control.\n*\n"


class CantWrite(ConcentoError):
    """A file can't be written; the message names it and what to do."""


def replace_file(path: Path, content: bytes, *, expected: bytes | None, mode: int = 0o644) -> None:
    """Put content in a file's place at once. A symlink stays one: what it leads to is replaced.

    `expected`: what has to be there now, None for nothing; `mode` is for a new file, one that is there keeps its own.
    Errors: CantWrite.
    """
    target = Path(os.path.realpath(path))
    try:
        now = target.stat() if target.exists() else None
        if now is not None and not stat.S_ISREG(now.st_mode):
            raise CantWrite(f"{path} is no ordinary file")
        if (target.read_bytes() if now is not None else None) != expected:
            raise CantWrite(f"{path} was changed by somebody else just now; run this again")
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with open(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if now is not None and now.st_uid != os.geteuid():
                with suppress(OSError):
                    os.chown(name, now.st_uid, now.st_gid)
            os.chmod(name, stat.S_IMODE(now.st_mode) if now is not None else mode)
            os.replace(name, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise CantWrite(f"{path} can't be written: {error.strerror}") from None


def private_folder(path: Path) -> None:
    """Make a folder that nobody else may look into. Errors: CantWrite."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.chmod(0o700)
    except OSError as error:
        raise CantWrite(f"the folder {path} can't be made: {error.strerror}") from None


def save_configuration(
    path: Path, content: bytes, secrets: Mapping[str, str], env: Mapping[str, str], *, expected: bytes | None
) -> Config:
    """Write secrets and configuration, the configuration only if it is right with them; returns it as it is read.

    Errors: CantWrite; ConfigError, and then nothing was written.
    """
    folder = path.parent / SECRETS_FOLDER
    written: dict[Path, bytes | None] = {}
    try:
        if secrets:
            private_folder(folder)
            if not (folder / ".gitignore").exists():
                replace_file(folder / ".gitignore", _IGNORE.encode(), expected=None)
        for name, value in secrets.items():
            file = folder / name
            before = file.read_bytes() if file.is_file() else None
            if before != value.encode():
                written[file] = before
                replace_file(file, value.encode(), expected=before, mode=0o600)
                file.chmod(0o600)
        config = read(content, path, env)
        replace_file(path, content, expected=expected)
    except (ConfigError, CantWrite):
        for file, before in written.items():
            with suppress(OSError):
                file.unlink() if before is None else file.write_bytes(before)
        raise
    return config
