"""W3C trace context and baggage: what callers bring of it, and what of it a server is shown.

It rides in `_meta` under unprefixed keys, over HTTP in header fields, too. Where both came, `_meta` is the parent.
Source: W3C Trace Context, W3C Baggage; specification 2026-07-28, basic (SEP-414).
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

from msgspec import Raw, Struct, structs

from ..model import meta
from .jsonrpc import Message, raw, read_string

_PARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[\x20-\x7e]*)?"
)
_SAFE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_STATE_CHARS_MAX: Final = 512
_BAGGAGE_CHARS_MAX: Final = 8192


class TraceContext(Struct, frozen=True):
    """Somebody's span that ours is a child of. `state` is their `tracestate`, relayed unread."""

    trace: str
    span: str
    sampled: bool
    state: str = ""


def read_parent(text: str | None) -> TraceContext | None:
    """What a `traceparent` says; None for what is none. One of a later version may say more, which is not read."""
    found = None if text is None else _PARENT.fullmatch(text)
    if found is None or (found[1] == "00" and found[5] is not None):
        return None
    return TraceContext(found[2], found[3], bool(int(found[4], 16) & 1))


def read_context(about: Mapping[str, Raw]) -> TraceContext | None:
    """The trace context in a `_meta`; None if there is none that can be used."""
    parent = read_parent(read_string(about.get(meta.TRACEPARENT)))
    if parent is None or meta.TRACESTATE not in about:
        return parent
    return structs.replace(parent, state=_state(read_string(about[meta.TRACESTATE])))


def write_parent(trace: str, span: int, *, sampled: bool) -> str:
    """The `traceparent` that makes a span of ours the parent."""
    return f"00-{trace}-{span:016x}-{'01' if sampled else '00'}"


def _state(text: str | None) -> str:
    return text if text is not None and len(text) <= _STATE_CHARS_MAX and _SAFE.fullmatch(text) else ""


def with_fields(message: Message, fields: Mapping[str, str], repeated: Collection[str]) -> Message:
    """A message with the trace context of its HTTP head: as if it stood in `_meta`, or beside what stands there."""
    text = fields.get(meta.TRACEPARENT)
    headed = None if meta.TRACEPARENT in repeated else read_parent(text)
    if headed is None or message.kind != "request":
        return message
    given = message.meta or {}
    named = read_context(given)
    if named is not None:
        return message if named.span == headed.span else structs.replace(message, link=text)
    brought = {name: raw(fields[name]) for name in _KEYS if name in fields and name not in repeated}
    return structs.replace(message, meta={**given, **brought})


_KEYS: Final = (meta.TRACEPARENT, meta.TRACESTATE, meta.BAGGAGE)


def shown(about: Mapping[str, Raw], parent: TraceContext | None, baggage: Collection[str]) -> Mapping[str, Raw]:
    """A caller's `_meta` as servers get it: without a `tracestate` that belongs to no trace, and of its baggage only
    members of these names."""
    if meta.TRACESTATE not in about and meta.BAGGAGE not in about:
        return about
    kept = {key: value for key, value in about.items() if key not in (meta.TRACESTATE, meta.BAGGAGE)}
    if parent is not None and parent.state:
        kept[meta.TRACESTATE] = raw(parent.state)
    if members := _members(read_string(about.get(meta.BAGGAGE)), baggage):
        kept[meta.BAGGAGE] = raw(members)
    return kept


def _members(text: str | None, names: Collection[str]) -> str:
    if text is None or not names or len(text) > _BAGGAGE_CHARS_MAX or not _SAFE.fullmatch(text):
        return ""
    members = (member.strip() for member in text.split(","))
    return ",".join(member for member in members if member.partition("=")[0].strip() in names)
