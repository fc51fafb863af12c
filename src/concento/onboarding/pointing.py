"""Point clients at the hub: in their files, its entry takes the place of the servers that it runs now; and back again.

What a file was is kept first, in the user's state folder with mode 0600, together with what it became. So an undo gives
back the same bytes, and knows when somebody else has written in between.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from ..model.errors import ConcentoError
from .clients import HUB_ENTRY, ClientFile
from .found import Found, Reading
from .jsonc import NotJson, plain, replaced, scan
from .save import CantWrite, private_folder, replace_file

_RECORD: Final = "record.json"
Section = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One client's file, before and after. `gone` are the servers that are no longer in it."""

    file: ClientFile
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)
    gone: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Undone:
    """One file of an undo. `problem` says why it was left as it is."""

    path: Path
    client: str
    problem: str | None = None


def change(reading: Reading, gone: Sequence[Found], entry: Mapping[str, object], hub_url: str) -> Change | None:
    """The file with the hub in the place of these servers; None if that changes nothing. Errors: CantWrite."""
    sections: dict[Section, set[str]] = {}
    for found in gone:
        sections.setdefault(found.section, set()).add(found.name)
    stranger = next((one for one in reading.servers if one.name == HUB_ENTRY and not one.leads_to(hub_url)), None)
    if stranger is not None and stranger.name not in sections.get(stranger.section, ()):
        raise CantWrite(f"{reading.file.path} has a server of its own called {HUB_ENTRY!r}; rename it first")
    everywhere = next((section for section in sections if section[0] != "projects"), None)
    text = reading.content.decode()
    for section, names in sections.items():
        value = scan(text).at(section)
        assert value is not None
        hub = {HUB_ENTRY: dict(entry)} if everywhere is None or section[0] != "projects" else {}
        text = replaced(text, value, frozenset(names), hub)
    after = text.encode()
    return None if after == reading.content else Change(reading.file, reading.content, after, tuple(gone))


def apply(changes: Sequence[Change], folder: Path) -> Iterator[Change]:
    """Keep what the files are below `folder`, then change one after the other; yields each that is done.

    Errors: CantWrite; what was done until then can be undone.
    """
    private_folder(folder)
    number = max((int(one.name) for one in folder.iterdir() if one.name.isdecimal()), default=0) + 1
    home = folder / f"{number:04}"
    private_folder(home)
    files = []
    for index, one in enumerate(changes):
        replace_file(home / f"{index}.before", one.before, expected=None, mode=0o600)
        files.append(
            {
                "path": str(one.file.path.absolute()),
                "client": one.file.client.name,
                "before": f"{index}.before",
                "after": _digest(one.after),
                "gone": [[list(found.section), found.name] for found in one.gone],
            }
        )
    _keep(home, files, None)
    for one in changes:
        replace_file(one.file.path, one.after, expected=one.before)
        yield one


def undo(folder: Path, only: Collection[Path] = (), *, force: bool = False) -> list[Undone]:
    """Give back what the last `apply` has changed: the same bytes. With `only`, just these files.

    A file that was written in between is left as it is; with `force` the servers that were taken from it are put back,
    and the rest stays as it is now. Errors: CantWrite if there is nothing to undo or the record is damaged.
    """
    homes = sorted(one for one in folder.iterdir() if (one / _RECORD).is_file()) if folder.is_dir() else []
    if not homes:
        raise CantWrite("there is nothing to undo: no client was pointed at the hub from here")
    home = homes[-1]
    record = (home / _RECORD).read_bytes()
    try:
        files = json.loads(record)["files"]
        chosen = [one for one in files if not only or Path(one["path"]) in only]
        done = [_undone(home, one, force) for one in chosen]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CantWrite(f"the record in {home} can't be used: {type(error).__name__}") from None
    left = [one for one in files if one not in chosen or done[chosen.index(one)].problem]
    if left:
        _keep(home, left, record)
    else:
        for kept in home.iterdir():
            kept.unlink()
        home.rmdir()
    return done


def _undone(home: Path, one: Mapping[str, Any], force: bool) -> Undone:
    path, client, kept = Path(one["path"]), str(one["client"]), home / str(one["before"])
    before = kept.read_bytes()
    try:
        now = path.read_bytes() if path.exists() else None
        if now == before:
            return Undone(path, client)
        if now is not None and _digest(now) == one["after"]:
            replace_file(path, before, expected=now)
        elif now is None and force:
            replace_file(path, before, expected=None, mode=0o600)
        elif now is None or not force:
            what = "was removed" if now is None else "was changed"
            return Undone(
                path,
                client,
                f"it {what} since; --force puts back the servers taken from it and leaves the rest as it is now; "
                f"as it was before it is kept in {kept}",
            )
        else:
            replace_file(path, _put_back(now, before, one["gone"]), expected=now)
    except NotJson as error:
        return Undone(path, client, f"{error}; as it was before it is kept in {kept}")
    except ConcentoError as error:
        return Undone(path, client, str(error))
    return Undone(path, client)


def _put_back(now: bytes, before: bytes, gone: Sequence[Sequence[Any]]) -> bytes:
    """The present text, with the servers that were taken from it in the place of the hub."""
    text, was = now.decode("utf-8", "surrogateescape"), plain(before.decode())
    sections: dict[Section, dict[str, object]] = {}
    for keys, name in gone:
        members: Any = was
        for key in keys:
            members = members[key]
        sections.setdefault(tuple(keys), {})[name] = members[name]
    for section, members in sections.items():
        value = scan(text).at(section)
        if value is None or value.members is None:
            raise NotJson(f"it has no {'.'.join(section)!r} any more to put servers back into")
        text = replaced(text, value, frozenset([HUB_ENTRY]), members)
    return text.encode("utf-8", "surrogateescape")


def _keep(home: Path, files: Sequence[Mapping[str, Any]], before: bytes | None) -> None:
    content = json.dumps({"version": 1, "files": files}, indent=2).encode()
    replace_file(home / _RECORD, content, expected=before, mode=0o600)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()
