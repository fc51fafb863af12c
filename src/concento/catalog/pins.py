"""Whether a tool is what somebody approved: its definition in one form, a digest of that, and what differs. Pure.

Pinned is what an agent acts on: name, title, description, both schemas, and annotations; wider annotations are a change
like any. Source: hardening T16.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from .slices import Entry

PINNED: Final = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")

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
    suspicions: tuple[str, ...] = ()

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
    pinned = {name: members[name] for name in PINNED if name in members}
    return msgspec.json.encode(pinned, order="deterministic")


def digest(definition: bytes) -> str:
    """The SHA-256 of a canonical definition."""
    return hashlib.sha256(definition).hexdigest()


def differences(before: bytes, after: bytes) -> list[str]:
    """What changed, as lines for a person: `- path: value` and `+ path: value`, values as JSON."""
    old, new = dict(_leaves(_read(before))), dict(_leaves(_read(after)))
    lines = []
    for path in dict.fromkeys([*old, *new]):
        was, now = old.get(path), new.get(path)
        if was != now:
            lines += [f"- {path}: {was}"] if was is not None else []
            lines += [f"+ {path}: {now}"] if now is not None else []
    return lines


def _read(definition: bytes) -> Any:
    try:
        return json.loads(definition)
    except (ValueError, RecursionError):
        return definition.decode(errors="replace")


def _leaves(value: Any, path: str = "", depth: int = 0) -> Any:
    if isinstance(value, Mapping) and value and depth < 32:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list) and value and depth < 32:
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{place}]", depth + 1)
    else:
        yield path, json.dumps(value, ensure_ascii=False)
