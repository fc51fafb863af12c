"""Usage and invoices for the operator, as plain values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ..observe.usage import Usage
from ..observe.usage.report import Unreadable, dimensions, month, month_invoices, report, this_month
from .courtesy import aside

BY_DEFAULT: Final = "tenant"
KNOWN: Final = ("month", "by", "tenant", "subject")


class Refused(Exception):
    """What was asked for can't be told; `status` is HTTP's."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


async def told(usage: Usage | None, asked: Mapping[str, str], wall_s: float) -> dict[str, Any]:
    """`{period, by, sums, total, lost}` of a month. Errors: Refused."""
    if strange := sorted(set(asked) - set(KNOWN)):
        raise Refused(f"unknown parameter {strange[0]!r}; known: {', '.join(KNOWN)}")
    try:
        days = month(asked.get("month", this_month(wall_s)))
        by = dimensions(asked.get("by", BY_DEFAULT))
    except ValueError as error:
        raise Refused(str(error)) from None
    path = await _path(usage)
    try:
        found = await aside(report, path, days, by, asked.get("tenant"), asked.get("subject"))
    except Unreadable as error:
        raise Refused(str(error), 503) from None
    return dict(msgspec.to_builtins(found))


async def invoiced(usage: Usage | None, tenant: str, which: str, wall_s: float) -> dict[str, Any]:
    """`{"invoices": [...]}` of a tenant's month, one for each currency. Errors: Refused."""
    try:
        days = month(which)
    except ValueError as error:
        raise Refused(str(error)) from None
    path = await _path(usage)
    try:
        found = await aside(month_invoices, path, tenant, days, wall_s)
    except Unreadable as error:
        raise Refused(str(error), 503) from None
    return {"invoices": msgspec.to_builtins(found)}


async def _path(usage: Usage | None) -> Path:
    if usage is None:
        raise Refused("nothing is metered: `usage` or `state` is off", 404)
    await usage.flush()
    return usage.path
