"""The API described: OpenAPI 3.1, from the table that also routes and checks."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from .. import __version__
from .access import TENANT_ADMIN
from .operations import FIELDS, JSON, Operation
from .problems import MEDIA, NAMES, ProblemShown

TEMPLATE: Final = "#/components/schemas/{name}"
_TEXT: Final = {"type": "string"}


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The description of these operations."""
    types = [*dict.fromkeys(one for row in operations for one in _types(row)), ProblemShown]
    schemas, components = msgspec.json.schema_components(types, ref_template=TEMPLATE)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, Any] = {}
    for row in operations:
        paths.setdefault(plain_path(row), {})[row.method.lower()] = _operation(row, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Concento admin API",
            "version": __version__,
            "description": "What runs, and how it is changed. Errors are problem details (RFC 9457).",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}, {}],
    }


def plain_path(row: Operation) -> str:
    """A path as OpenAPI writes it."""
    return row.path.replace(":path}", "}")


def _types(row: Operation) -> Iterable[Any]:
    return [one for one in (row.answer, row.body) if one is not None and not isinstance(one, dict)]


def _operation(row: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": row.name,
        "summary": row.summary,
        "description": whom(row),
        "parameters": [*_path(row), *_query(row), *_headers(row)],
        "responses": {str(status): one for status, one in _responses(row, schemas)},
    }
    if row.body is not None:
        schema = row.body if isinstance(row.body, dict) else schemas[row.body]
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return made


def whom(row: Operation) -> str:
    """Who may use it, in words."""
    if row.role is None:
        return "For anybody."
    own = f", and with {TENANT_ADMIN} for one's own tenant" if row.own else ""
    return f"Needs the scope concento:{row.role}{own}."


def _path(row: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in row.parameters
    ]


def _query(row: Operation) -> list[dict[str, Any]]:
    if row.query is None:
        return []
    schema = msgspec.json.schema_components([row.query], ref_template=TEMPLATE)[1][row.query.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _alone(one)}
        for name, one in schema["properties"].items()
    ]


def _alone(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is there or not, and never null."""
    alternatives = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(alternatives) == 1:
        return dict(alternatives[0])
    if None in schema.get("enum", ()):
        schema = {**schema, "enum": [one for one in schema["enum"] if one is not None]}
    return {key: value for key, value in schema.items() if key != "default" or value is not None}


def _headers(row: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "description": told, "schema": {"type": "string", "pattern": f"^(?:{pattern})$"}}
        for name, (pattern, told) in FIELDS.items()
        if name in row.fields
    ]


def _responses(row: Operation, schemas: dict[Any, Any]) -> Iterable[tuple[int, dict[str, Any]]]:
    schema = row.answer if isinstance(row.answer, dict) else schemas[row.answer]
    content = {row.media.partition(";")[0]: {"schema": schema}}
    for status, told in {row.status: "OK", **(row.also or {})}.items():
        yield status, {"description": told, "content": content, **_tag(row)}
    if row.tagged:
        yield 304, {"description": "It is as it was"}
    for status in statuses(row):
        yield status, {"description": NAMES[status][1], "content": {MEDIA: {"schema": schemas[ProblemShown]}}}


def _tag(row: Operation) -> dict[str, Any]:
    return {"headers": {"ETag": {"schema": _TEXT}}} if row.tagged else {}


def statuses(row: Operation) -> list[int]:
    """How it may be refused."""
    found = set(row.statuses)
    if row.role is not None:
        found |= {401, 403}
    found |= {422} if row.query is not None or row.fields else set()
    found |= {400, 413, 415, 422} if row.body is not None else set()
    found |= {404} if row.own and "tenant" in row.parameters else set()
    return sorted(found - set(row.also or {}))
