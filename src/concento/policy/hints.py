"""What a tool says of itself, as far as it counts.

A server may lie about its tools, so that by default the worst is assumed, as the specification does where nothing is
said. Source: specification 2026-07-28, server/tools (annotations); hardening T18.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

WORST: Final[Mapping[str, bool]] = MappingProxyType(
    {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": True}
)


_NAMES: Final = tuple(WORST)
_SHARED: dict[int, Mapping[str, bool]] = {0: WORST}


def shared(hints: Mapping[str, bool]) -> tuple[Mapping[str, bool], int]:
    """The one mapping of all that say the same, and its number. What is not said is the worst."""
    number = sum(1 << bit for bit, name in enumerate(_NAMES) if hints.get(name, WORST[name]) is not WORST[name])
    known = _SHARED.get(number)
    if known is None:
        flipped = {name: not WORST[name] if number >> bit & 1 else WORST[name] for bit, name in enumerate(_NAMES)}
        known = _SHARED[number] = MappingProxyType(flipped)
    return known, number


def may_destroy(hints: Mapping[str, bool]) -> bool:
    """Whether a tool may change or delete something for good, by what counts of its hints."""
    return hints.get("readOnlyHint") is not True and hints.get("destructiveHint") is not False


class _Tool(Struct):
    annotations: dict[str, object] | None = None


_decode = msgspec.json.Decoder(_Tool).decode


def counted_annotations(tool: bytes, trusted: bool) -> Mapping[str, bool]:
    """The hints of a tool's definition: its own where its server is trusted, else the worst that could be true."""
    if not trusted or b'"annotations"' not in tool:
        return WORST
    try:
        declared = _decode(tool).annotations or {}
    except msgspec.DecodeError:
        return WORST
    told = {name: value for name, value in declared.items() if name in WORST and isinstance(value, bool)}
    return shared(told)[0]
