"""Recent traces, for the operator: which calls were slow or failed, and what each spent its time on."""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from ..observe.traces import Trace
from ..observe.traces.span import Span
from .describe import Hub

LIMIT: Final = 50
LIMIT_MAX: Final = 500
OUTCOMES: Final = ("ok", "tool_error", "error", "refused", "cancelled")

Filter = Callable[[Trace], bool]


class Unreadable(Exception):
    """A parameter that means nothing here; the message says what would."""


_TEXTS: Final[Mapping[str, Callable[[Trace], str]]] = {
    "server": lambda one: one.server,
    "tool": lambda one: one.tool,
    "tenant": lambda one: one.tenant,
    "outcome": lambda one: one.outcome,
    "reason": lambda one: one.reason,
}
PARAMETERS: Final = (*_TEXTS, "min_ms", "since", "limit")


def traces(hub: Hub, asked: Mapping[str, str]) -> dict[str, Any]:
    """`{"traces": [{trace, started, ms, name, outcome, reason, tenant, server, tool, spans}, ...]}`, newest first.

    `asked`: `server`, `tool`, `tenant`, `outcome` and `reason` have to be these; `min_ms` and `since` (Unix seconds)
    at least; `limit` is how many. It reads all that are kept: call it off the event loop. Errors: Unreadable.
    """
    if strange := sorted(set(asked) - set(PARAMETERS)):
        raise Unreadable(f"unknown parameter {strange[0]!r}; known: {', '.join(PARAMETERS)}")
    filters = [_is(read, asked[name]) for name, read in _TEXTS.items() if name in asked]
    least_ms, since_s = _number(asked, "min_ms"), _number(asked, "since")
    limit = int(_number(asked, "limit", LIMIT))
    if not 0 < limit <= LIMIT_MAX:
        raise Unreadable(f"limit must be 1 to {LIMIT_MAX}")
    if asked.get("outcome", "ok") not in OUTCOMES:
        raise Unreadable(f"outcome must be one of {', '.join(OUTCOMES)}")
    fit = (
        one
        for one in hub.tracing.kept.newest()
        if one.ms >= least_ms and one.started_s >= since_s and all(fits(one) for fits in filters)
    )
    return {"traces": [_summary(one) for one in islice(fit, limit)]}


def trace(hub: Hub, id: str) -> dict[str, Any] | None:
    """`{"trace", "calls": [{..., "spans": [...]}, ...]}`: all calls of a trace, as they began; None if none is kept.

    A span has its id and its parent's, its start in ms from the first call's, its length in ms, its kind, its
    attributes, and `error` if it failed. Call it off the event loop.
    """
    found = sorted((one for one in hub.tracing.kept.newest() if one.trace == id), key=lambda one: one.started_s)
    if not found:
        return None
    zero_ns = found[0].spans[0].start_ns
    calls = [{**_summary(one), "spans": [_span(span, zero_ns) for span in one.spans]} for one in found]
    return {"trace": id, "calls": calls}


def _is(read: Callable[[Trace], str], wanted: str) -> Filter:
    return lambda one: read(one) == wanted


def _number(asked: Mapping[str, str], name: str, default: float = 0.0) -> float:
    text = asked.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e15:
        raise Unreadable(f"{name} must be a number from 0")
    return number


def _summary(one: Trace) -> dict[str, Any]:
    return {
        "trace": one.trace,
        "started": one.started_s,
        "ms": one.ms,
        "name": one.name,
        "outcome": one.outcome,
        "reason": one.reason,
        "tenant": one.tenant,
        "server": one.server,
        "tool": one.tool,
        "spans": len(one.spans),
    }


def _span(span: Span, zero_ns: int) -> dict[str, Any]:
    return {
        "id": span.id,
        "parent": span.parent or None,
        "name": span.name,
        "kind": span.kind,
        "start_ms": round((span.start_ns - zero_ns) / 1e6, 3),
        "ms": round((span.end_ns - span.start_ns) / 1e6, 3),
        "error": span.failed,
        "links": [{"trace": trace, "span": id} for trace, id in span.links],
        "attributes": span.attributes,
    }
