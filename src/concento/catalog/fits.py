"""Whether arguments could be meant for a tool: told by its schema at a glance, without a validator.

It chooses between tools; what is called is checked by its server, and by `validate` where that is on.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


class _Tool(msgspec.Struct):
    inputSchema: dict[str, Any] = msgspec.field(default_factory=dict)


_decode = msgspec.json.Decoder(_Tool, float_hook=float).decode


def misfit(tool: bytes, arguments: Mapping[str, Any]) -> str | None:
    """Why a tool, by its definition, can't be meant with these arguments; None if it can."""
    try:
        schema = _decode(tool).inputSchema
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    required, properties = schema.get("required"), schema.get("properties")
    for name in required if isinstance(required, list) else ():
        if isinstance(name, str) and name not in arguments:
            return f"it needs {name[:64]!r}"
    if not isinstance(properties, dict):
        return None
    is_open = bool(schema.get("additionalProperties", False)) or "patternProperties" in schema
    for name, value in arguments.items():
        known = properties.get(name)
        if known is None and not is_open and not _is_composed(schema):
            return f"it knows no {name[:64]!r}"
        if isinstance(known, dict) and (told := _wrong(known, value)) is not None:
            return f"{name[:64]!r} {told}"
    return None


def _is_composed(schema: Mapping[str, Any]) -> bool:
    """Whether more properties may be named elsewhere in a schema."""
    return not schema.keys().isdisjoint(("allOf", "anyOf", "oneOf", "$ref"))


def _wrong(schema: Mapping[str, Any], value: Any) -> str | None:
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    if names and not any(isinstance(name, str) and _is(name, value) for name in names):
        return f"must be of the type {' or '.join(map(str, names))[:64]}"
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        return "is none of those that it takes"
    return None


def _is(name: str, value: Any) -> bool:
    types = _TYPES.get(name)
    if types is None:
        return True
    if isinstance(value, bool):
        return bool in types
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, types)
