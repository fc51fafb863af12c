"""The audit record, read: who called what, who changed what, and how it ended."""

import sqlite3
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, structs

from ...observe.audit.query import COLUMNS, entries, opened
from ..courtesy import aside
from ..operations import Asked, Operation
from ..problems import Problem

_Word = Annotated[str, Meta(max_length=256)]
_Seconds = Annotated[float, Meta(ge=0, le=1e11, description="Unix seconds.")]


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Which entries; the newest first."""

    since: _Seconds | None = None
    until: _Seconds | None = None
    subject: _Word | None = None
    agent: _Word | None = None
    tenant: _Word | None = None
    server: _Word | None = None
    tool: _Word | None = None
    method: _Word | None = None
    outcome: _Word | None = None
    decision: _Word | None = None
    trace: _Word | None = None
    kind: Literal["call", "intent", "refused", "changed", "opened", "closed", "gap", "pruned"] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Annotated[int, Meta(ge=0, le=2**53, description="`next` of the page before.")] | None = None


class EntriesShown(Struct, frozen=True):
    """A page of entries, whose members the page on the audit record has. `next` is the cursor of the one after it."""

    entries: list[dict[str, Any]]
    next: int | None


async def query(asked: Asked) -> EntriesShown:
    """Entries that fit."""
    wanted: Wanted = asked.query
    path = asked.hub.current.snapshot.config.audit_path
    if asked.hub.audit is None or path is None:
        raise Problem(409, "nothing is recorded: `audit` or `state` is off in the file")
    if "tenant" in asked.path:
        wanted = structs.replace(wanted, tenant=asked.path["tenant"])
    found = await aside(_read, path, wanted)
    following = found[-1]["seq"] if len(found) == wanted.limit else None
    return EntriesShown(found, following)


def _read(path: Path, wanted: Wanted) -> list[dict[str, Any]]:
    try:
        with opened(path) as database:
            return entries(
                database,
                wanted.limit,
                {column: getattr(wanted, column) for column in COLUMNS},
                since_s=wanted.since,
                until_s=wanted.until,
                before_seq=wanted.cursor,
            )
    except sqlite3.Error as error:
        raise Problem(503, f"the audit record can't be read: {error}") from None


_READS: Final = (409, 503)
OPERATIONS: Final = (
    Operation(
        *("GET", "/api/v1/audit", "Entries of the audit record, the newest first", "operator"),
        *(query, EntriesShown, Wanted),
        statuses=_READS,
    ),
    Operation(
        *("GET", "/api/v1/tenants/{tenant}/audit", "Entries of the audit record about a tenant", "operator"),
        *(query, EntriesShown, Wanted),
        own=True,
        statuses=_READS,
    ),
)
