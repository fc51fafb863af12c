"""Prometheus metrics of calls and servers. Label values are bounded: beyond `LABELS_MAX` pairs, tools count as `other`.

The children of each metric are looked up once per (server, tool) and kept: finding one costs more than adding to it.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..model.limits import LABELS_MAX
from .record import Record

BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
_KNOWN_METHODS = frozenset(
    {
        "tools/call",
        "tools/list",
        "prompts/get",
        "prompts/list",
        "resources/read",
        "resources/list",
        "resources/templates/list",
        "completion/complete",
        "server/discover",
    }
)

Reading = tuple[str, str, dict[str, str], float]
"""One gauge: name, help, labels, value."""


class Metrics:
    """A sink of closed records, and the text that a scraper reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "concento_calls", "Calls ended", ["method", "server", "tool", "outcome"], registry=self.registry
        )
        self._seconds = Histogram(
            "mcp_server_operation_duration_seconds",
            "Time from a parsed call to its reply",
            ["method", "server", "tool"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._counters: dict[tuple[str, str | None, str | None, str], Counter] = {}
        self._histograms: dict[tuple[str, str | None, str | None], Histogram] = {}
        self._named: set[tuple[str | None, str | None]] = set()

    def __call__(self, record: Record) -> None:
        """Take a closed record."""
        method = record.call.method
        key = (method, record.server, record.tool)
        histogram = self._histograms.get(key)
        if histogram is None:
            key = self._bounded(method, record.server, record.tool)
            histogram = self._histograms.get(key)
            if histogram is None:
                histogram = self._histograms[key] = self._seconds.labels(key[0], key[1] or "", key[2] or "")
        histogram.observe(record.duration_s)
        outcome = (*key, record.end)
        counter = self._counters.get(outcome)
        if counter is None:
            counter = self._counters[outcome] = self._calls.labels(key[0], key[1] or "", key[2] or "", record.end)
        counter.inc()

    def _bounded(self, method: str, server: str | None, tool: str | None) -> tuple[str, str | None, str | None]:
        method = method if method in _KNOWN_METHODS else "other"
        if tool is None or (server, tool) in self._named:
            return method, server, tool
        if len(self._named) >= LABELS_MAX:
            return method, server, "other"
        self._named.add((server, tool))
        return method, server, tool

    def read_gauges(self, read: Callable[[], Iterable[Reading]]) -> None:
        """Have gauges read whenever a scraper comes."""
        self.registry.register(_Gauges(read))

    def text(self) -> bytes:
        """All metrics in Prometheus' text form."""
        return generate_latest(self.registry)


class _Gauges(Collector):
    def __init__(self, read: Callable[[], Iterable[Reading]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for name, help, labels, value in self._read():
            family = families.get(name)
            if family is None:
                family = families[name] = GaugeMetricFamily(name, help, labels=list(labels))
            family.add_metric(list(labels.values()), value)
        yield from families.values()
