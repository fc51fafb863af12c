"""Recent traces: which calls were slow or failed, and what each spent its time on."""

from itertools import islice
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from ..observe.traces import Trace
from ..observe.traces.span import Span
from .describe import Hub

LIMIT: Final = 50
LIMIT_MAX: Final = 500

_Word = Annotated[str, Meta(max_length=1024)]
_Least = Annotated[float, Meta(ge=0, lt=1e15)]


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Which traces: all that is said has to be so."""

    server: _Word | None = None
    tool: _Word | None = None
    tenant: _Word | None = None
    outcome: Literal["ok", "tool_error", "error", "refused", "cancelled"] | None = None
    reason: Literal["error", "slow", "sampled"] | None = None
    min_ms: _Least = 0.0
    since: Annotated[_Least, Meta(description="Unix seconds.")] = 0.0
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] = LIMIT


class TraceShown(Struct, frozen=True):
    """One call, in short; `reason` says why it was kept, `spans` how many it has."""

    trace: str
    started: float
    ms: float
    name: str
    outcome: str
    reason: str
    tenant: str
    server: str
    tool: str
    spans: int


class TracesShown(Struct, frozen=True):
    """The newest first."""

    traces: list[TraceShown]


class LinkShown(Struct, frozen=True):
    """A span elsewhere that has to do with this one."""

    trace: str
    span: str


class SpanShown(Struct, frozen=True):
    """What took its time: from when on, of the first call's beginning, and how long."""

    id: str
    parent: str | None
    name: str
    kind: str
    start_ms: float
    ms: float
    error: str | None
    links: list[LinkShown]
    attributes: dict[str, Any]


class CallShown(Struct, frozen=True):
    """One call of a trace, with its spans."""

    trace: str
    started: float
    ms: float
    name: str
    outcome: str
    reason: str
    tenant: str
    server: str
    tool: str
    spans: list[SpanShown]


class WholeTrace(Struct, frozen=True):
    """All calls of a trace, as they began."""

    trace: str
    calls: list[CallShown]


def recent(hub: Hub, wanted: Wanted) -> TracesShown:
    """Those that are wanted. It reads all that are kept: call it off the event loop."""
    fit = (found for found in hub.tracing.kept.newest() if _fits(found, wanted))
    return TracesShown([TraceShown(*_summary(found), len(found.spans)) for found in islice(fit, wanted.limit)])


def whole(hub: Hub, id: str) -> WholeTrace | None:
    """All of one trace; None if nothing of it is kept. Likewise."""
    found = sorted((one for one in hub.tracing.kept.newest() if one.trace == id), key=lambda one: one.started_s)
    if not found:
        return None
    zero_ns = found[0].spans[0].start_ns
    return WholeTrace(id, [CallShown(*_summary(one), [_span(span, zero_ns) for span in one.spans]) for one in found])


def _fits(found: Trace, wanted: Wanted) -> bool:
    texts = (
        (wanted.server, found.server),
        (wanted.tool, found.tool),
        (wanted.tenant, found.tenant),
        (wanted.outcome, found.outcome),
        (wanted.reason, found.reason),
    )
    return (
        found.ms >= wanted.min_ms
        and found.started_s >= wanted.since
        and all(text is None or text == is_ for text, is_ in texts)
    )


def _summary(one: Trace) -> tuple[str, float, float, str, str, str, str, str, str]:
    return one.trace, one.started_s, one.ms, one.name, one.outcome, one.reason, one.tenant, one.server, one.tool


def _span(span: Span, zero_ns: int) -> SpanShown:
    return SpanShown(
        span.id,
        span.parent or None,
        span.name,
        span.kind,
        round((span.start_ns - zero_ns) / 1e6, 3),
        round((span.end_ns - span.start_ns) / 1e6, 3),
        span.failed,
        [LinkShown(trace, id) for trace, id in span.links],
        span.attributes,
    )
