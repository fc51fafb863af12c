"""What a result is made of, and whether that is more than it may be. Pure."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw

from ..model.guards import ResultLimits

_UNKNOWN: Final = "unknown"
_decode = msgspec.json.Decoder(float_hook=str).decode


def objection(limits: ResultLimits, method: str | None, raw: Raw) -> str | None:
    """Why a result may not pass, in words that go after "it"; None if it may. `method`: None for what has no types."""
    size = memoryview(raw).nbytes
    if limits.bytes_max is not None and size > limits.bytes_max:
        return f"has {size:,} bytes, more than the {limits.bytes_max:,} that may pass; ask for less at a time"
    if limits.types is not None and method is not None:
        for type in types_in(method, raw):
            if type not in limits.types:
                return f"has content of the type {type[:64]!r}, and only {', '.join(limits.types)} may pass"
    return None


def types_in(method: str, raw: Raw) -> Iterator[str]:
    """The types of content in a result; `unknown` for what has none."""
    try:
        result = _decode(raw)
    except (ValueError, RecursionError):
        result = None
    if not isinstance(result, dict):
        yield _UNKNOWN
        return
    if result.get("structuredContent") is not None:
        yield "structured"
    if method == "resources/read":
        yield from map(_type_of_file, _listed(result.get("contents", [])))
        return
    parts = result.get("messages", []) if method == "prompts/get" else result.get("content", [])
    for part in _listed(parts):
        content = part.get("content") if method == "prompts/get" and isinstance(part, dict) else part
        for one in content if isinstance(content, list) else [content]:
            type = one.get("type") if isinstance(one, dict) else None
            yield type if isinstance(type, str) else _UNKNOWN


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [None]


def _type_of_file(content: Any) -> str:
    if not isinstance(content, dict):
        return _UNKNOWN
    if "blob" not in content:
        return "text" if "text" in content else _UNKNOWN
    kind = str(content.get("mimeType", "")).partition("/")[0].lower()
    return kind if kind in ("image", "audio") else "blob"
