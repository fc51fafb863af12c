"""Experiments: how the arms do, and the word that ends one."""

from typing import Any, Final

from msgspec import Struct

from .. import trials
from ..operations import Asked, Operation
from ..problems import Problem
from .paging import Paged, page


class Promoted(Struct, frozen=True):
    """Which arm has all calls, since somebody said so."""

    arm: str
    by: str
    since: float
    there: bool


class ExperimentShown(Struct, frozen=True):
    """A tool that is split or shadowed, its arms, and what can be said of them."""

    tool: str
    strategy: str
    sticky: str
    arms: list[dict[str, Any]]
    reading: str
    promoted: Promoted | None


class ExperimentsShown(Struct, frozen=True):
    """All of them."""

    experiments: list[ExperimentShown]
    next: str | None


class Arm(Struct, frozen=True, forbid_unknown_fields=True):
    """Which of the bound tools."""

    arm: str


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object."""


async def all_of_them(asked: Asked) -> dict[str, Any]:
    """How the arms of each do so far."""
    rows = trials.experiments(asked.hub)["experiments"]
    shown, following = page(rows, lambda row: str(row["tool"]), asked.query.limit, asked.query.cursor)
    return {"experiments": shown, "next": following}


async def one(asked: Asked) -> dict[str, Any]:
    """How the arms of one do so far."""
    for row in trials.experiments(asked.hub)["experiments"]:
        if row["tool"] == asked.path["tool"]:
            return dict(row)
    raise Problem(404, f"there is no experiment with {asked.path['tool'][:128]!r}")


async def promote(asked: Asked) -> dict[str, Any]:
    """Give an arm all calls."""
    return await trials.promote(asked.hub, asked.path["tool"], asked.body.arm, asked.caller)


async def rollback(asked: Asked) -> dict[str, Any]:
    """Give all calls to the first arm."""
    return await trials.rollback(asked.hub, asked.path["tool"], asked.caller)


async def resume(asked: Asked) -> dict[str, Any]:
    """Let the weights decide."""
    return await trials.resume(asked.hub, asked.path["tool"], asked.caller)


_ONE: Final = "/api/v1/experiments/{tool:path}"
OPERATIONS: Final = (
    Operation(
        *("GET", "/api/v1/experiments", "How the arms of split and shadowed tools do", "viewer"),
        *(all_of_them, ExperimentsShown, Paged),
    ),
    Operation("GET", _ONE, "How the arms of one tool do", "viewer", one, ExperimentShown, statuses=(404,)),
    Operation(
        *("POST", f"{_ONE}/promote", "Give one arm all calls", "operator", promote, ExperimentShown),
        body=Arm,
        statuses=(404,),
    ),
    Operation(
        *("POST", f"{_ONE}/rollback", "Give all calls to the first arm", "operator", rollback, ExperimentShown),
        body=Nothing,
        statuses=(404,),
    ),
    Operation(
        *("POST", f"{_ONE}/resume", "Let the configured weights decide again", "operator", resume, ExperimentShown),
        body=Nothing,
        statuses=(404,),
    ),
)
