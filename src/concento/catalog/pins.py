"""Whether a tool is what somebody approved: its definition in one form, a digest of that, and what differs. Pure.

Pinned is all that a definition says but icons and `_meta`: another member, or another spelling of one, is a change like
any. Source: hardening T16.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from .slices import Entry

NOT_PINNED: Final = frozenset({"icons", "_meta"})

_WORD: Final = re.compile(r"[A-Za-z0-9_$-]+")

Why = Literal["new", "changed"]
"""Why a tool waits: nobody approved it yet, or it is no more what was approved."""


class Pin(Struct, frozen=True):
    """A definition that counts as approved: in canonical form, by whom (empty: the first that was seen), and when."""

    definition: bytes
    by: str = ""
    since_s: float = 0.0

    @property
    def digest(self) -> str:
        """What the definition is known by."""
        return digest(self.definition)


@dataclass(frozen=True, slots=True)
class Held:
    """A tool that nobody sees until it is approved. `pin` is what was approved of it before."""

    entry: "Entry"
    why: Why
    definition: bytes
    pin: Pin | None = None

    @property
    def digest(self) -> str:
        """What is approved, if this is."""
        return digest(self.definition)


def canonical(raw: bytes) -> bytes:
    """A definition in the one form that is pinned. Order and spelling of JSON do not count."""
    try:
        members = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return raw
    if not isinstance(members, dict):
        return raw
    pinned = {name: value for name, value in members.items() if name not in NOT_PINNED}
    return msgspec.json.encode(pinned, order="deterministic")


def digest(definition: bytes) -> str:
    """The SHA-256 of a canonical definition."""
    return hashlib.sha256(definition).hexdigest()


def differences(before: bytes, after: bytes) -> list[str]:
    """What changed, as lines for a person: `- path: value` and `+ path: value`, values as JSON.

    Names that are no plain words are quoted, so that none can pass for a path, nor write a line of its own.
    """
    old, new = dict(_leaves(_read(before))), dict(_leaves(_read(after)))
    lines = []
    for path in dict.fromkeys([*old, *new]):
        was, now = old.get(path), new.get(path)
        if was != now:
            lines += [f"- {_told(path)}: {was}"] if was is not None else []
            lines += [f"+ {_told(path)}: {now}"] if now is not None else []
    if not lines and before != after:
        lines = [f"- {_shown(_read(before))}", f"+ {_shown(_read(after))}"]
    return lines


_Path = tuple[str | int, ...]


def _read(definition: bytes) -> Any:
    try:
        return json.loads(definition)
    except (ValueError, RecursionError):
        return definition.decode(errors="replace")


def _leaves(value: Any) -> Iterator[tuple[_Path, str]]:
    """Every value that has nothing in it, with its path; without recursion, since a server chose the depth."""
    left: list[tuple[_Path, Any]] = [((), value)]
    while left:
        path, one = left.pop()
        if isinstance(one, dict) and one:
            left += [((*path, name), inner) for name, inner in reversed(one.items())]
        elif isinstance(one, list) and one:
            left += [((*path, place), inner) for place, inner in reversed([*enumerate(one)])]
        elif path or one != {}:
            yield path, _shown(one)


def _told(path: _Path) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if _WORD.fullmatch(step) else json.dumps(step)
            text += f".{name}" if text else name
    return text or "(all)"


def _shown(value: Any) -> str:
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in json.dumps(value, ensure_ascii=False))
