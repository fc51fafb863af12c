"""Whether two servers answered alike. Pure. What they say of themselves in `_meta` is not compared."""

from typing import Any

import msgspec

from ..model.call import Result

_decode = msgspec.json.Decoder(float_hook=float).decode
"""1 and 1.0 are alike, and so is all that is beyond a float."""


def is_alike(one: Result, other: Result) -> bool:
    """Whether two results say the same: their structured content, or where one has none, their content."""
    if one.failed != other.failed:
        return False
    if one.raw == other.raw:
        return True
    first, second = _read(one), _read(other)
    if first is None or second is None:
        return False
    if first.get("structuredContent") is not None and second.get("structuredContent") is not None:
        return bool(first["structuredContent"] == second["structuredContent"])
    return _said(first) == _said(second)


def _read(result: Result) -> dict[str, Any] | None:
    try:
        value = _decode(result.raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _said(result: dict[str, Any]) -> list[Any]:
    items = result.get("content")
    if not isinstance(items, list):
        return []
    return [
        {name: value for name, value in item.items() if name != "_meta"} if isinstance(item, dict) else item
        for item in items
    ]
