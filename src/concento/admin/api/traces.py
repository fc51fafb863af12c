"""Recent traces: which calls were slow or failed, and what each spent its time on."""

from typing import Final

from .. import traces
from ..courtesy import aside
from ..operations import Asked, Operation
from ..problems import Problem
from ..traces import TracesShown, Wanted, WholeTrace


async def recent(asked: Asked) -> TracesShown:
    """Those that are asked for."""
    return await aside(traces.recent, asked.hub, asked.query)


async def one(asked: Asked) -> WholeTrace:
    """All of one trace."""
    found = await aside(traces.whole, asked.hub, asked.path["id"].lower())
    if found is None:
        raise Problem(404, "no such trace is kept; `telemetry.traces` says which are")
    return found


_PATH: Final = "/api/v1/traces"
OPERATIONS: Final = (
    Operation(
        *("GET", _PATH, "Recent calls that failed, were slow or were sampled, the newest first", "viewer"),
        *(recent, TracesShown, Wanted),
    ),
    Operation(
        *("GET", f"{_PATH}/{{id}}", "The calls of one trace, with their spans", "viewer", one, WholeTrace),
        statuses=(404,),
    ),
)
