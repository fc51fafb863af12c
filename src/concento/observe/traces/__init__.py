"""Traces of calls: kept here to be looked at, and exported where a collector is named.

Read next: `span.py`, what a trace is; `sampling.py`, which calls become one; `kept.py`; `export.py`.
"""

import os
from collections.abc import Callable, Iterator, Mapping

from ...model.tracing import Traces
from ..record import Record
from . import export
from .kept import KeptTraces
from .sampling import Sampling
from .span import Reason, Trace, trace_of

__all__ = ["KeptTraces", "Trace", "Tracing"]

Reading = tuple[str, str, dict[str, str], float]


class Tracing:
    """A sink of closed records that makes traces of some, and the head that decides which in any case."""

    def __init__(
        self, now: Callable[[], float], on_problem: Callable[[str], None], environment: Mapping[str, str] = os.environ
    ) -> None:
        self.kept = KeptTraces()
        self._now = now
        self._environment = environment
        self._on_problem = on_problem
        self._sampling = Sampling(None, environment, now)
        self._counts: dict[Reason, int] = {"error": 0, "slow": 0, "sampled": 0}
        self._exporter: export.Exporter | None = None

    def configure(self, traces: Traces | None) -> None:
        """Take a configuration. Errors: StartError, for variables that make no sense."""
        self._sampling = Sampling(traces, self._environment, self._now)
        self.kept.configure(0 if traces is None else traces.keep)

    def begin_export(self) -> None:
        """Export from now on, if the environment names a collector. Errors: StartError."""
        asked_by = export.wanted(self._environment)
        if asked_by is not None:
            self._exporter = export.Exporter(asked_by, self._environment, self._on_problem)

    def open(self, record: Record) -> None:
        """Decide at the beginning of a call (`observe.record.Head`)."""
        self._sampling.open(record)

    def __call__(self, record: Record) -> None:
        """Take a closed record."""
        reason = self._sampling.reason(record)
        if reason is None:
            return
        self._counts[reason] += 1
        trace = trace_of(record, reason)
        self.kept.add(trace)
        if self._exporter is not None and self._sampling.may_leave(record):
            self._exporter.export(trace)

    def readings(self) -> Iterator[Reading]:
        """For metrics."""
        for reason, count in self._counts.items():
            yield "concento_traces_kept_total", "Calls of which a trace was kept", {"reason": reason}, count
        yield (
            *("concento_traces_skipped_total", "Errors and slow calls not kept, of too many in a second", {}),
            self._sampling.floods,
        )
        yield "concento_traces_stored", "Traces that can be looked at", {}, len(self.kept)
        sent = self._exporter
        taken, refused, dropped = (0, 0, 0) if sent is None else (sent.exported, sent.failed, sent.dropped)
        yield "concento_spans_exported_total", "Spans that the collector took", {}, taken
        yield "concento_spans_failed_total", "Spans that the collector did not take", {}, refused
        yield "concento_spans_dropped_total", "Spans that had no room to wait in", {}, dropped

    def close(self) -> None:
        """Send what waits. It blocks for seconds at most."""
        if self._exporter is not None:
            self._exporter.close()
            self._exporter = None
