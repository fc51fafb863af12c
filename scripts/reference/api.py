"""api.md: every operation of the admin API, who may use it, what it takes and what it answers."""

from itertools import groupby
from typing import Any

import msgspec

from concento.admin.access import SCOPES, TENANT_ADMIN
from concento.admin.api import OPERATIONS
from concento.admin.openapi import plain_path, statuses
from concento.admin.operations import FIELDS, Operation
from concento.admin.problems import NAMES, TYPES, ErrorAt, ProblemShown

from .markdown import code, first_paragraph, paragraphs, plain, table


def page() -> str:
    """The page."""
    groups = groupby(sorted(OPERATIONS, key=_resource), key=_resource)
    return paragraphs(
        "# The admin API",
        "Every operation of the admin listener, by default at `http://127.0.0.1:7401`. `/openapi.json` there describes "
        "the same as OpenAPI 3.1, with the schema of each body and answer. How to use it: "
        "[the admin API by task](../admin-api.md).",
        "## Who may",
        table(("scope", "may"), [(f"`{scope}`", _ROLES[role]) for scope, role in SCOPES.items()]),
        f"With `{TENANT_ADMIN}` the operations marked *tenant*, each for one's own tenant only.",
        "## Header fields",
        table(("field", "meaning"), [(f"`{name}`", told) for name, (_, told) in FIELDS.items()]),
        *(part for resource, rows in groups for part in _section(resource, list(rows))),
        "## Problems",
        "Whatever is refused is told as problem details (RFC 9457), as `application/problem+json`. "
        f"{first_paragraph(ErrorAt)}",
        table(
            ("status", "type", "what to do"), [(str(s), f"`{TYPES}{name}`", told) for s, (name, told) in NAMES.items()]
        ),
        f"Its members: {code(ProblemShown.__struct_fields__)}.",
    )


_ROLES = {
    "viewer": "look at everything but keys, the audit record and the configuration as a whole",
    "operator": "also drain servers, approve tools, end experiments, disconnect accounts, read the audit record",
    "admin": "also change the configuration, and make keys",
}


def _resource(row: Operation) -> str:
    steps = [step for step in row.path.split("/") if step and not step.startswith("{")]
    if steps[:2] != ["api", "v1"]:
        return "the hub"
    return steps[3] if steps[2] == "tenants" and len(steps) > 3 else steps[2]


def _section(resource: str, rows: list[Operation]) -> list[str]:
    return [
        f"## {resource}",
        table(("operation", "for", "what", "takes", "answers", "refusals"), [_row(row) for row in rows]),
    ]


def _row(row: Operation) -> tuple[str, ...]:
    role = row.role or "anybody"
    takes = list(_parameters(row))
    if row.schema is not None:
        takes.append("an object, as in the file" if row.method == "PUT" else "objects by kind and name")
    elif row.body is not None:
        takes += [f"`{field}`" for field in row.body.__struct_fields__]
    answers = "/".join(str(status) for status in (row.status, *(row.also or {})))
    return (
        f"`{row.method} {plain_path(row)}`",
        f"{role}, tenant" if row.own else role,
        plain(row.summary),
        ", ".join(takes),
        answers,
        " ".join(str(status) for status in statuses(row)),
    )


def _parameters(row: Operation) -> list[str]:
    if row.query is None:
        return []
    fields: tuple[Any, ...] = msgspec.structs.fields(row.query)
    return [f"`?{field.encode_name}`" for field in fields]
