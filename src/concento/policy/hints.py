"""What a tool says of itself, as far as it counts.

A server may lie about its tools, so that by default the worst is assumed, as the specification does where nothing is
said. Source: specification 2026-07-28, server/tools (annotations); hardening T18.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from msgspec import Struct

from ..model.policy import WORST


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
    return MappingProxyType({**WORST, **told}) if told else WORST
