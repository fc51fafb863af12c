"""Finished spans to a collector over OTLP/HTTP, by the OpenTelemetry SDK: its batches, its exporter, its variables.

`OTEL_EXPORTER_OTLP_*`, `OTEL_BSP_*`, `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are read by the SDK itself. A
call only appends to the SDK's bounded queue; what a slow collector can't take is dropped and counted, never awaited.
It needs the extra `otel`, and imports it only where a collector is named.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from ... import __version__
from ...model.errors import StartError
from .span import Span, Trace

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
EXPORTER: Final = "OTEL_TRACES_EXPORTER"
DISABLED: Final = "OTEL_SDK_DISABLED"
_HTTP: Final = "http/protobuf"
QUEUE_SIZE: Final = "OTEL_BSP_MAX_QUEUE_SIZE"
QUEUE_MAX: Final = 2048
"""Spans that wait, where that variable says nothing: the SDK's own default."""
CLOSE_S: Final = 3.0
SCOPE: Final = "concento"


def wanted(environment: Mapping[str, str]) -> str | None:
    """The variable that asks for traces to be exported; None if none does.

    Errors: StartError, for an exporter or a protocol that there is none for.
    """
    if environment.get(DISABLED, "").strip().lower() == "true":
        return None
    exporter = environment.get(EXPORTER, "").strip().lower()
    if exporter == "none":
        return None
    if exporter not in ("", "otlp"):
        raise StartError(f"{EXPORTER} is {exporter[:40]!r}; it can be otlp or none")
    named = [name for name in ENDPOINTS if environment.get(name, "").strip()]
    if not named and not exporter:
        return None
    for name in PROTOCOLS:
        protocol = environment.get(name, "").strip().lower() or _HTTP
        if protocol != _HTTP:
            told = f"{name} is {protocol[:40]!r}, and traces go out as {_HTTP} only"
            raise StartError(f"{told}; unset it, and name the collector's port for OTLP over HTTP, often 4318")
    return named[0] if named else EXPORTER


class Exporter:
    """Hands finished spans to a collector.

    Errors: StartError, if the extra is missing, or its variables make no sense.
    """

    def __init__(self, asked_by: str, environment: Mapping[str, str], on_problem: Callable[[str], None]) -> None:
        self.exported = 0
        self.failed = 0
        """Spans that the collector did not take."""
        self.dropped = 0
        """Spans that had no room to wait in."""
        self._offered = 0
        self._on_problem = on_problem
        size = environment.get(QUEUE_SIZE, "").strip()
        self._queue_max = int(size) if size.isdigit() else QUEUE_MAX
        self._processor = self._made(asked_by)

    def _made(self, asked_by: str) -> "BatchSpanProcessor":
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, Resource
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise StartError(
                f"{asked_by} asks for traces to be exported, which needs the extra `otel`: "
                f"pip install 'concento[otel]', or set {DISABLED}=true"
            ) from None
        for name in ("opentelemetry.sdk", "opentelemetry.exporter"):
            logger = logging.getLogger(name)
            logger.propagate = False
            logger.handlers = [_Tells(self._on_problem)]
        resource = Resource.create({"service.version": __version__})
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: SCOPE}))
        try:
            return BatchSpanProcessor(cast("SpanExporter", _Making(OTLPSpanExporter(), resource, self)))
        except ValueError as error:
            raise StartError(f"traces can't be exported as the OTEL_* variables say: {error}") from None

    def export(self, trace: Trace) -> None:
        """Have the spans of a trace sent with the next batch."""
        count = len(trace.spans)
        if self._offered - self.exported - self.failed + count > self._queue_max:
            self.dropped += count  # the SDK's own queue would lose others instead, and not say so
            return
        self._offered += count
        for span in trace.spans:
            self._processor.on_end(cast("ReadableSpan", _Pending(trace, span)))

    def close(self) -> None:
        """Send what waits, within `CLOSE_S`. It blocks."""
        ending = threading.Thread(target=self._processor.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(CLOSE_S)


class _Sampled:
    """What the SDK's queue looks at before it takes a span."""

    class trace_flags:
        sampled = True


class _Pending:
    """A span on its way: only the SDK's own thread makes one of the SDK's of it."""

    __slots__ = ("span", "trace")
    context = _Sampled

    def __init__(self, trace: Trace, span: Span) -> None:
        self.trace = trace
        self.span = span


class _Making:
    """An exporter for the SDK's queue that makes the SDK's spans of ours, and counts them."""

    def __init__(self, exporter: "SpanExporter", resource: "Resource", counts: Exporter) -> None:
        self._exporter = exporter
        self._resource = resource
        self._counts = counts

    def export(self, pending: Sequence[_Pending]) -> Any:
        from opentelemetry.sdk.trace.export import SpanExportResult

        took = self._send(pending)
        if took:
            self._counts.exported += len(pending)
        else:
            self._counts.failed += len(pending)
        return SpanExportResult.SUCCESS if took else SpanExportResult.FAILURE

    def _send(self, pending: Sequence[_Pending]) -> bool:
        """Whether the collector took them. What the exporter would encode for 60 µs a span is handed to its client
        encoded; one that has no such client encodes by itself."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        from .otlp import request_of

        client = getattr(self._exporter, "_client", None)
        if client is None:
            spans = [readable(one.trace, one.span, self._resource) for one in pending]
            return self._exporter.export(spans) is SpanExportResult.SUCCESS
        envelope = readable(pending[0].trace, pending[0].span, self._resource)
        data = request_of([(one.trace, one.span) for one in pending], envelope)
        return bool(client.export(data).success)

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def readable(trace: Trace, span: Span, resource: "Resource") -> "ReadableSpan":
    """A span as the SDK knows it."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

    sampled = TraceFlags(TraceFlags.SAMPLED)
    state = TraceState.from_header([trace.state]) if trace.state else None
    number = int(trace.trace, 16)
    is_root = span.kind == "server"
    parent = SpanContext(number, int(span.parent, 16), is_root, sampled, state) if span.parent else None
    return ReadableSpan(
        span.name,
        context=SpanContext(number, int(span.id, 16), False, sampled, state),
        parent=parent,
        resource=resource,
        attributes=span.attributes,
        links=[Link(SpanContext(int(one, 16), int(other, 16), True)) for one, other in span.links],
        kind=SpanKind[span.kind.upper()],
        status=Status(StatusCode.UNSET if span.failed is None else StatusCode.ERROR),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=InstrumentationScope(SCOPE, __version__),
    )


class _Tells(logging.Handler):
    """Has the operator told what the SDK would log."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(f"traces: {record.getMessage()[:300]}")
