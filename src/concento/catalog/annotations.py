"""Parameters that a tool wants mirrored in header fields (`x-mcp-header`), and tools that declare it wrongly.

Source: specification 2026-07-28, custom headers from tool parameters.
"""

import re
from typing import Any

from ..protocol.headers import ParamHeader

KEY = "x-mcp-header"
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TYPES = frozenset({"string", "integer", "boolean"})
_DEPTH_MAX = 32


class InvalidAnnotation(ValueError):
    """Why a tool's annotations can't be used; the tool must not be offered over HTTP."""


def param_headers(schema: Any) -> tuple[ParamHeader, ...]:
    """The mirrored parameters that an input schema declares. Errors: InvalidAnnotation.

    All places that hold a schema are walked, however deep: the depth is bounded by whoever decoded it.
    """
    found: dict[str, ParamHeader] = {}
    stack: list[tuple[Any, tuple[str, ...] | None, int]] = [(schema, (), 0)]
    while stack:
        node, path, depth = stack.pop()
        if isinstance(node, list):
            stack.extend((part, None, depth + 1) for part in node)
        if not isinstance(node, dict):
            continue
        if KEY in node:
            if depth > _DEPTH_MAX:
                raise InvalidAnnotation(f"{KEY} is nested deeper than {_DEPTH_MAX}")
            header = _declared(node, path)
            if header.header.lower() in found:
                raise InvalidAnnotation(f"two parameters ask for the header {header.header!r}")
            found[header.header.lower()] = header
        for keyword, value in node.items():
            if keyword == "properties" and isinstance(value, dict):
                stack.extend((part, None if path is None else (*path, name), depth + 1) for name, part in value.items())
            elif keyword in ("patternProperties", "$defs", "definitions", "dependentSchemas") and isinstance(
                value, dict
            ):
                stack.extend((part, None, depth + 1) for part in value.values())
            elif keyword not in ("default", "examples", "const", "enum", KEY):
                stack.append((value, None, depth + 1))
    return tuple(found.values())


def _declared(node: dict[str, Any], path: tuple[str, ...] | None) -> ParamHeader:
    header, type = node[KEY], node.get("type")
    if not path:
        raise InvalidAnnotation(f"{KEY} stands where no argument can be addressed")
    if not isinstance(header, str) or _TOKEN.fullmatch(header) is None:
        raise InvalidAnnotation(f"{KEY} of {'.'.join(path)!r} is no header name")
    if not isinstance(type, str) or type not in _TYPES:
        raise InvalidAnnotation(f"{KEY} of {'.'.join(path)!r} needs the type string, integer or boolean")
    return ParamHeader(path, header, type)
