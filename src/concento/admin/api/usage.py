"""What was used, by whom, and what it costs."""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct, structs

from ...observe.usage.report import BY, Report
from ...policy.invoices import Invoice
from .. import usage
from ..access import tenant_of
from ..operations import Asked, Operation
from ..problems import Problem

_Word = Annotated[str, Meta(max_length=1024)]


class Used(Struct, frozen=True, forbid_unknown_fields=True):
    """Which sums."""

    month: Annotated[str, Meta(description="Such as 2026-11; by default this one.", max_length=16)] | None = None
    by: Annotated[str, Meta(description=f"Words with commas between: {', '.join(BY)}.", max_length=256)] | None = None
    tenant: _Word | None = None
    subject: _Word | None = None


class Invoices(Struct, frozen=True):
    """One for each currency."""

    invoices: list[Invoice]


async def sums(asked: Asked) -> dict[str, Any]:
    """What was used in a month."""
    query: Used = asked.query
    tenant = tenant_of(asked.caller)
    if tenant is not None and query.tenant not in (None, tenant):
        raise Problem(404, "there is no such thing")
    wanted = {**structs.asdict(query), "tenant": tenant or query.tenant}
    given = {name: value for name, value in wanted.items() if value is not None}
    return await _told(usage.told(asked.hub.usage, given, asked.hub.wall()))


async def invoices(asked: Asked) -> dict[str, Any]:
    """What a tenant owes for a month."""
    of = asked.path
    return await _told(usage.invoiced(asked.hub.usage, of["tenant"], of["month"], asked.hub.wall()))


async def _told(answer: Any) -> dict[str, Any]:
    try:
        return dict(await answer)
    except usage.Refused as error:
        raise Problem(error.status, str(error)) from None


OPERATIONS: Final = (
    Operation(
        *("GET", "/api/v1/usage", "What was used in a month, by what is asked for", "viewer", sums, Report, Used),
        own=True,
        statuses=(404, 503),
    ),
    Operation(
        *("GET", "/api/v1/invoices/{tenant}/{month}", "What a tenant owes for a month", "operator"),
        *(invoices, Invoices),
        own=True,
        statuses=(404, 422, 503),
    ),
)
