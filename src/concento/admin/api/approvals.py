"""Tools that wait for somebody to look at them, with what changed."""

from typing import Any, Final

from msgspec import Struct

from .. import approvals, describe
from ..courtesy import aside
from ..operations import Asked, Operation
from .paging import Paged, page


class HeldShown(Struct, frozen=True):
    """A tool that is held back. `diff`: lines with `-` for what was approved, `+` for what is said now."""

    server: str
    tool: str
    name: str
    why: str
    hash: str
    approved_by: str | None
    diff: list[str]
    suspicions: list[str]


class HeldTools(Struct, frozen=True):
    """All that wait."""

    pending: list[HeldShown]
    next: str | None


class Approval(Struct, frozen=True, forbid_unknown_fields=True):
    """Which definition of which tool was looked at."""

    server: str
    tool: str
    hash: str


async def pending(asked: Asked) -> dict[str, Any]:
    """What is held back."""
    await describe.refresh(asked.hub)
    rows = (await aside(approvals.pending, asked.hub))["pending"]
    shown, following = page(rows, lambda row: f"{row['server']}.{row['tool']}", asked.query.limit, asked.query.cursor)
    return {"pending": shown, "next": following}


async def approve(asked: Asked) -> dict[str, Any]:
    """Show a tool as it was looked at."""
    given: Approval = asked.body
    return await approvals.approve(asked.hub, given.server, given.tool, given.hash, asked.caller)


OPERATIONS: Final = (
    Operation(
        *("GET", "/api/v1/approvals", "Tools that wait for approval, with what changed", "viewer"),
        *(pending, HeldTools, Paged),
    ),
    Operation(
        *("POST", "/api/v1/approvals", "Show a tool as it was looked at", "operator", approve, HeldShown),
        body=Approval,
        statuses=(404,),
    ),
)
