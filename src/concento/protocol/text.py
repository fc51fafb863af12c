"""Is this text one that every JSON parser reads alike? Bounded work, before anything is parsed.

The ordinary request (ASCII, few brackets, no white space between tokens, no repeated key) passes on counts alone.
Anything else takes the thorough way. Source: hardening T11, T26.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from ..model.errors import InvalidRequest, ParseError
from ..model.limits import CONTAINERS_MAX, DEPTH_MAX, KEYS_MAX

_encode = msgspec.json.Encoder().encode
_PIECE_BYTES = 65536
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ROUND_TO_SQUARE = bytes.maketrans(b"{}", b"[]")


def check_text(text: bytes) -> None:
    """Refuse what can't be relayed safely: not UTF-8, nested too deep, too many keys."""
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise ParseError(f"The body is not UTF-8: byte {error.start}") from None
    if text.count(b"{") + text.count(b"[") > DEPTH_MAX or text.count(b":") > KEYS_MAX:
        _check_shape(_without_strings(text))


def _without_strings(text: bytes) -> bytes:
    """The text between its strings, cut piece by piece: a pattern, or all cuts at once, take far more memory."""
    bare = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    kept, within = [], 0
    for start in range(0, len(bare), _PIECE_BYTES):
        parts = bare[start : start + _PIECE_BYTES].split(b'"')
        kept.append(b"".join(parts[within::2]))
        within = (within + len(parts) - 1) % 2
    return b"".join(kept)


def _check_shape(bare: bytes) -> None:
    """Count keys and nesting of a text whose strings were cut out. Each round removes the innermost level."""
    if bare.count(b":") > KEYS_MAX:
        raise InvalidRequest(f"The body has more than {KEYS_MAX} object members")
    brackets = bare.translate(_ROUND_TO_SQUARE, _NOT_BRACKETS)
    if len(brackets) > 2 * CONTAINERS_MAX:
        raise InvalidRequest(f"The body has more than {CONTAINERS_MAX} arrays and objects")
    for _ in range(DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return
    if b"[]" in brackets:
        raise InvalidRequest(f"The body is nested deeper than {DEPTH_MAX}")


def is_plain(members: Mapping[str, Raw], size: int) -> bool:
    """Whether an object of `size` bytes holds exactly these members: no repeated key, no white space, no escapes."""
    return len(_encode(members)) == size


def check_repeats(text: bytes) -> None:
    """Refuse an object anywhere in the text that names a member twice. A number of 5,000 digits is no error here."""
    try:
        json.loads(text, object_pairs_hook=_refuse_repeats, parse_int=float)
    except ValueError as error:
        raise ParseError("The body is not JSON") from error


def _refuse_repeats(pairs: Sequence[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise InvalidRequest(f"The member {key[:64]!r} appears twice in one object")
        seen.add(key)
