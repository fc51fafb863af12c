"""A tool's arguments against its own schema, before its server sees them: what is wrong, so that an agent can mend it.

Schemas come from servers, so all of it is bounded: their size and depth, the work they can make (`schema_cost.py`), and
their patterns, which run in an engine whose time is linear. Nothing they refer to is fetched. A schema that can't be
used, and arguments that would cost too much, are not checked: this is a help to agents, and no boundary. What has to
hold belongs in a rule.
An extra: `pip install "concento[schema]"`. Source: specification 2026-07-28, server/tools; hardening T19, T26.
"""

import difflib
import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from .conditions import Facts
from .schema_cost import Cost, TooIntricate, cost_of

MISSING: Final = 'checking arguments needs an extra: pip install "concento[schema]"'
SCHEMA_BYTES_MAX: Final = 256 * 1024
SCHEMA_DEPTH_MAX: Final = 64
ERRORS_MAX: Final = 3
TEXT_BYTES_MAX: Final = 1024
CHECK_PARTS_MAX: Final = 500_000
"""Parts of a schema that may be applied in one check: some ten milliseconds."""
ERROR_PARTS_MAX: Final = 5000
"""So many, where each may become an error, of which the library makes all there are."""
PATTERN_BYTES_MAX: Final = 262_144
"""Bytes that patterns may be run over: a hostile one takes a microsecond for each."""
_COMPILED_MAX: Final = 5000
_COMPILED_BYTES_MAX: Final = 64 * 1024 * 1024
_NAME_CHARS_MAX: Final = 64
_PATTERN_BYTES: Final = 65_536
_EMPTY: Final = Raw(b"{}")


class _Tool(msgspec.Struct):
    inputSchema: Raw = Raw(b"null")


_decode_tool = msgspec.json.Decoder(_Tool).decode
_encode = msgspec.json.Encoder().encode


def is_installed() -> bool:
    """Whether the extra is."""
    return importlib.util.find_spec("jsonschema_rs") is not None


class _Schema(NamedTuple):
    """A tool's schema, compiled."""

    validator: Any
    schema: Mapping[str, Any]
    cost: Cost


class Validators:
    """The compiled schemas of tools, by their definitions."""

    def __init__(self) -> None:
        self._by_tool: dict[bytes, _Schema | str] = {}
        self._bytes = 0

    def problem(self, tool: bytes, facts: Facts) -> str | None:
        """What is wrong with a call's arguments, for whoever made them: where, and what was expected; no values.

        None if they fit, or can't be checked. Errors: InvalidRequest, for a member that comes twice.
        """
        compiled = self._compiled(tool)
        if isinstance(compiled, str):
            return None
        raw = _EMPTY if facts.raw_arguments is None else facts.raw_arguments
        value = facts.arguments
        work = _work(raw, value, compiled.cost)
        if work is None or compiled.validator.is_valid(value):
            return None
        told = "The arguments do not fit this tool's input schema"
        lines = list(_errors(compiled, value, work))
        return _cut(f"{told}:\n" + "\n".join(lines) if lines else told)

    def note(self, tool: bytes) -> str | None:
        """Why calls of a tool are not checked; None if they are."""
        compiled = self._compiled(tool)
        return compiled if isinstance(compiled, str) else None

    def _compiled(self, tool: bytes) -> _Schema | str:
        compiled = self._by_tool.get(tool)
        if compiled is None:
            compiled = _compile(tool)
            self._bytes += len(tool)
            if len(self._by_tool) >= _COMPILED_MAX or self._bytes > _COMPILED_BYTES_MAX:
                self._by_tool.clear()
                self._bytes = len(tool)
            self._by_tool[tool] = compiled
        return compiled


# -- the schema


def _compile(tool: bytes) -> _Schema | str:
    """A tool's schema; or why it can't be used."""
    rs: Any = importlib.import_module("jsonschema_rs")
    try:
        raw = _decode_tool(tool).inputSchema
        if memoryview(raw).nbytes > SCHEMA_BYTES_MAX:
            return f"its schema has more than {SCHEMA_BYTES_MAX} bytes"
        schema = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return "its schema can't be read"
    if not isinstance(schema, dict):
        return "it has no schema"
    if _depth(schema, SCHEMA_DEPTH_MAX) > SCHEMA_DEPTH_MAX:
        return f"its schema is nested deeper than {SCHEMA_DEPTH_MAX}"
    try:
        cost = cost_of(schema)
        chosen = rs.validator_cls_for(schema) if "$schema" in schema else rs.Draft202012Validator
        options = rs.RegexOptions(size_limit=_PATTERN_BYTES, dfa_size_limit=_PATTERN_BYTES)
        return _Schema(chosen(schema, pattern_options=options, retriever=_fetch_nothing), schema, cost)
    except TooIntricate as error:
        return f"its schema can't be used: {error}"
    except Exception:  # whatever a server's schema does to the library, it must not refuse a call
        return "its schema is no valid JSON Schema, or has patterns that can't be run in bounded time"


def _fetch_nothing(uri: str) -> Any:
    raise ValueError("schemas that a schema refers to are not fetched")


# -- the arguments


def _work(raw: Raw, value: Any, cost: Cost) -> int | None:
    """The most parts of the schema that may be applied to the arguments; None if that is too much."""
    text = bytes(raw)
    is_long = cost.has_patterns and len(text) * cost.parts(SCHEMA_DEPTH_MAX) > PATTERN_BYTES_MAX
    if is_long and len(text) * cost.parts(_depth(value, SCHEMA_DEPTH_MAX)) > PATTERN_BYTES_MAX:
        return None
    opened = text.count(b"{") + text.count(b"[")
    work = (1 + opened + text.count(b",")) * cost.parts(min(opened, SCHEMA_DEPTH_MAX))
    if work > ERROR_PARTS_MAX:  # texts with commas and brackets in them may be all there is to it
        work = _size(value) * cost.parts(_depth(value, SCHEMA_DEPTH_MAX))
    return work if work <= CHECK_PARTS_MAX else None


def _depth(value: Any, most: int) -> int:
    depth, level = 0, [value]
    while level and depth <= most:
        inner: list[Any] = []
        for one in level:
            inner += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        level = inner
        depth += bool(level)
    return depth


def _size(value: Any) -> int:
    size, level = 0, [value]
    while level:
        size += len(level)
        inner: list[Any] = []
        for one in level:
            inner += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        level = inner
    return size


# -- what is wrong


def _errors(compiled: _Schema, value: Any, work: int) -> Iterable[str]:
    if work > ERROR_PARTS_MAX:
        if compiled.cost.has_choices:
            return
        try:
            compiled.validator.validate(value)  # the first error only
        except ValueError as error:
            yield f"- {_told(error, compiled.schema)}"
        return
    errors = {_told(error, compiled.schema): None for error in compiled.validator.iter_errors(value)}
    for line in list(errors)[:ERRORS_MAX]:
        yield f"- {line}"
    if len(errors) > ERRORS_MAX:
        yield f"- and {len(errors) - ERRORS_MAX} more"


def _told(error: Any, schema: Mapping[str, Any]) -> str:
    """One error: its place, and what was expected. The library's own words may quote values, so they are not used."""
    path = list(error.schema_path)
    place = _place(error.instance_path)
    kind, wanted = str(error.kind.name), _at(schema, path)
    match kind:
        case "required":
            return f"{place}: {_name(error.kind.property)} is required"
        case "additionalProperties" | "unevaluatedProperties":
            known = _properties(_at(schema, path[:-1]))
            names = list(error.kind.unexpected)
            return f"{place}: {'; '.join(_unknown(str(name), known) for name in names[:ERRORS_MAX])}"
        case "type":
            return f"{place}: expected {_types(wanted)}"
        case "enum":
            return f"{place}: expected one of {_shown(wanted)}"
        case "const" | "constant":
            return f"{place}: expected {_shown(wanted)}"
        case "anyOf" | "oneOf" | "oneOfNotValid" | "oneOfMultipleValid":
            fits = "several" if "Multiple" in kind else "none"
            return f"{place}: fits {fits} of the alternatives {_alternatives(wanted)}"
        case "falseSchema":
            return f"{place}: must not be there"
    keyword = str(path[-1]) if path else kind
    return f"{place}: does not meet {keyword[:_NAME_CHARS_MAX]} {_shown(wanted)}"


def _place(path: Iterable[Any]) -> str:
    steps = [str(step)[:_NAME_CHARS_MAX] for step in path]
    if len(steps) > 8:
        steps[4:-4] = ["…"]
    return ".".join(steps) or "the arguments"


def _properties(schema: Any) -> list[str]:
    members = schema.get("properties") if isinstance(schema, dict) else None
    return list(members) if isinstance(members, dict) else []


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:_NAME_CHARS_MAX], known[:1000], 1)
    hint = f"did you mean {_name(near[0])}?" if near else f"known: {', '.join(map(_name, known[:20])) or 'none'}"
    return f"unknown {_name(name)}; {hint}"


def _alternatives(schemas: Any) -> str:
    """Alternatives by their types and members, as far as they have any."""
    told: list[str] = []
    for one in schemas if isinstance(schemas, list) else ():
        if not isinstance(one, dict):
            continue
        names = one.get("required") if isinstance(one.get("required"), list) else _properties(one)
        members = f" with {', '.join(str(name)[:_NAME_CHARS_MAX] for name in names[:5])}" if names else ""
        told.append(f"{_shown(one['const']) if 'const' in one else _types(one.get('type'))}{members}")
    return ", ".join(told[:8])[:200]


def _types(wanted: Any) -> str:
    types = (wanted,) if isinstance(wanted, str) else wanted if isinstance(wanted, list) else ("something else",)
    return " or ".join(map(str, types))


def _name(name: Any) -> str:
    return repr(str(name)[:_NAME_CHARS_MAX])


def _shown(wanted: Any) -> str:
    """A part of the schema, short."""
    text = "" if wanted is None else _encode(wanted).decode()
    return text if len(text) <= 200 else f"{text[:200]}…"


def _cut(text: str) -> str:
    encoded = text.encode(errors="replace")
    return text if len(encoded) <= TEXT_BYTES_MAX else encoded[: TEXT_BYTES_MAX - 3].decode(errors="ignore") + "…"


def _at(schema: Any, path: list[Any]) -> Any:
    """The part of a schema that a path leads to, through references."""
    for step in path:
        try:
            schema = schema[step]
        except (KeyError, IndexError, TypeError):
            return None
    return schema
