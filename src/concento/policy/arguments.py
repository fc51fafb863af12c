"""A tool's arguments against its own schema, before its server sees them: what is wrong, so that an agent can mend it.

Schemas are compiled once for each tool. They come from servers, so they are bounded: nothing they refer to is
fetched, patterns run in an engine whose time is linear, and a schema that is too large, or none at all, checks nothing.
An extra: `pip install "concento[schema]"`. Source: specification 2026-07-28, server/tools; hardening T19, T26.
"""

import difflib
import importlib
import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from .conditions import read_strictly

SCHEMA_BYTES_MAX: Final = 256 * 1024
SCHEMA_DEPTH_MAX: Final = 64
ERRORS_MAX: Final = 3
TEXT_CHARS_MAX: Final = 1024
_COMPILED_MAX: Final = 5000
_EMPTY: Final = Raw(b"{}")


class _Tool(msgspec.Struct):
    inputSchema: Raw = Raw(b"null")


_decode_tool = msgspec.json.Decoder(_Tool).decode


class Validators:
    """The compiled schemas of tools, by their definitions."""

    def __init__(self) -> None:
        self._by_tool: dict[bytes, tuple[Any, Mapping[str, Any]] | None] = {}

    def problem(self, tool: bytes, arguments: Raw | None) -> str | None:
        """What is wrong with a call's arguments, for whoever made them: where, and what was expected; no values.

        None if they fit, or if the tool's schema can't be used. Errors: InvalidRequest, for a member that comes twice.
        """
        compiled = self._compiled(tool)
        if compiled is None:
            return None
        validator, schema = compiled
        value = read_strictly(_EMPTY if arguments is None else arguments)
        if validator.is_valid(value):
            return None
        lines: list[str] = []
        for error in validator.iter_errors(value):
            if len(lines) == ERRORS_MAX:
                lines.append("- and more")
                break
            lines.append(f"- {_told(error, schema)}")
        return ("The arguments do not fit this tool's input schema:\n" + "\n".join(lines))[:TEXT_CHARS_MAX]

    def _compiled(self, tool: bytes) -> tuple[Any, Mapping[str, Any]] | None:
        if tool not in self._by_tool:
            if len(self._by_tool) >= _COMPILED_MAX:
                self._by_tool.clear()
            self._by_tool[tool] = _compile(tool)
        return self._by_tool[tool]


def _compile(tool: bytes) -> tuple[Any, Mapping[str, Any]] | None:
    """The validator of a tool's schema, and the schema."""
    rs: Any = importlib.import_module("jsonschema_rs")
    try:
        raw = _decode_tool(tool).inputSchema
        if memoryview(raw).nbytes > SCHEMA_BYTES_MAX:
            return None
        schema = json.loads(bytes(raw))
        if not isinstance(schema, dict) or _depth(schema) > SCHEMA_DEPTH_MAX:
            return None
        chosen = rs.validator_cls_for(schema) if "$schema" in schema else rs.Draft202012Validator
        return chosen(schema, pattern_options=rs.RegexOptions(), retriever=_fetch_nothing), schema
    except Exception:  # whatever a server's schema does to the library, it must not refuse a call
        return None


def _fetch_nothing(uri: str) -> Any:
    raise ValueError("schemas that a schema refers to are not fetched")


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= SCHEMA_DEPTH_MAX:
        depth += 1
        inner: list[Any] = []
        for one in level:
            inner += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        level = [one for one in inner if isinstance(one, dict | list)]
    return depth


def _told(error: Any, schema: Mapping[str, Any]) -> str:
    """One error: its place, and what was expected. The library's own words may quote values, so they are not used."""
    place = ".".join(str(step) for step in error.instance_path) or "the arguments"
    kind = str(error.kind.name).replace("_", "").lower()
    wanted = _at(schema, list(error.schema_path))
    if kind == "required":
        return f"{place}: {error.kind.property!r} is required"
    if kind == "additionalproperties":
        known = list((_at(schema, list(error.schema_path)[:-1]) or {}).get("properties", {}))
        return f"{place}: {'; '.join(_unknown(str(name), known) for name in list(error.kind.unexpected)[:ERRORS_MAX])}"
    if kind == "type":
        return f"{place}: expected {wanted if isinstance(wanted, str) else ' or '.join(map(str, wanted or ()))}"
    if kind in ("enum", "const", "constant"):
        return f"{place}: expected one of {json.dumps(wanted)[:200]}"
    keyword = str(list(error.schema_path)[-1]) if list(error.schema_path) else kind
    return f"{place}: does not meet {keyword} {json.dumps(wanted)[:200]}"


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:64], known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known[:20]) or 'none'}"
    return f"unknown {name[:64]!r}; {hint}"


def _at(schema: Any, path: list[Any]) -> Any:
    for step in path:
        try:
            schema = schema[step]
        except (KeyError, IndexError, TypeError):
            return None
    return schema
