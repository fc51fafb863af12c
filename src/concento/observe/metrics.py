"""Prometheus metrics of calls and servers. Label values are bounded: beyond `LABELS_MAX` pairs, tools count as `other`.

A call adds to plain numbers; they become metric families when a scraper comes.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..model.extensions import SKILLS_METHODS
from ..model.limits import LABELS_MAX
from .record import Record

BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
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
    | SKILLS_METHODS
)

LABELS: Final[Mapping[str, str]] = {
    "method": "the MCP method, such as `tools/call`; `other` for one the hub does not know",
    "server": "a server's alias; empty where a call reached none",
    "tool": f"the server's own name of the tool; `other` beyond {LABELS_MAX} pairs of server and tool",
    "outcome": "`ok`; `tool_error`: the tool ran and said that it failed; `error`: no result came; `refused`: the "
    "request was at fault, or not allowed; `cancelled`: the agent gave up",
    "status": "the HTTP status that was answered",
    "limit": "a limit, by its name",
    "guard": "a guard, by its name",
    "did": "what it did: `redacted`, `noted`, `refused` (nothing was sent), `withheld` (the call ran), `replaced`, "
    "`asked` and `confirmed` of a user, `failed` (it could not be asked)",
    "severity": "how bad an alert is: `info`, `warning` or `critical`",
    "tenant": "whose limit it is, empty for the operator's; who spent something, empty for all together",
    "budget": "a budget, by its name",
    "currency": "what money is in",
}
"""What labels mean, for the reference."""

Reading = tuple[str, str, dict[str, str], float]
"""One gauge: name, help, labels, value."""

Labels = tuple[str, str | None, str | None]
"""Method, server, tool."""


class _Series:
    """The numbers of one method, server and tool."""

    __slots__ = ("buckets", "ends", "seconds")

    def __init__(self) -> None:
        self.ends: dict[str, int] = {}
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0


class Metrics(Collector):
    """A sink of closed records, and the text that a scraper reads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._series: dict[Labels, _Series] = {}
        self._acts: dict[tuple[str, str], int] = {}
        self._named: set[tuple[str | None, str | None]] = set()
        self._gauges: list[Callable[[], Iterable[Reading]]] = []
        self._registry.register(self)

    def __call__(self, record: Record) -> None:
        """Take a closed record."""
        labels = (record.call.method, record.server, record.tool)
        series = self._series.get(labels)
        if series is None:
            labels = self._bounded(*labels)
            series = self._series.setdefault(labels, _Series())
        series.ends[record.end] = series.ends.get(record.end, 0) + 1
        series.buckets[bisect_left(BUCKETS, record.duration_s)] += 1
        series.seconds += record.duration_s
        if record.guards is not None:
            for act in record.guards:
                self._acts[act.guard, act.did] = self._acts.get((act.guard, act.did), 0) + 1

    def _bounded(self, method: str, server: str | None, tool: str | None) -> Labels:
        method = method if method in _KNOWN_METHODS else "other"
        if tool is None or (server, tool) in self._named:
            return method, server, tool
        if len(self._named) >= LABELS_MAX:
            return method, server, "other"
        self._named.add((server, tool))
        return method, server, tool

    def read_gauges(self, read: Callable[[], Iterable[Reading]]) -> None:
        """Have gauges read whenever a scraper comes."""
        self._gauges.append(read)

    def readings(self) -> Iterator[Reading]:
        """All gauges, as they are now."""
        for read in self._gauges:
            yield from read()

    def text(self) -> bytes:
        """All metrics in Prometheus' text form."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The families of this moment."""
        names = ["method", "server", "tool"]
        calls = CounterMetricFamily("concento_calls", "Calls ended", labels=[*names, "outcome"])
        seconds = HistogramMetricFamily(
            "mcp_server_operation_duration_seconds", "Time from a parsed call to its reply", labels=names
        )
        for (method, server, tool), series in tuple(self._series.items()):
            values = [method, server or "", tool or ""]
            for end, count in tuple(series.ends.items()):
                calls.add_metric([*values, end], count)
            bounds = [*map(str, BUCKETS), "+Inf"]
            seconds.add_metric(values, list(zip(bounds, accumulate(series.buckets), strict=True)), series.seconds)
        yield calls
        yield seconds
        acts = CounterMetricFamily(
            "concento_guard_acts", "Calls to which a guard did something", labels=["guard", "did"]
        )
        for (guard, did), count in tuple(self._acts.items()):
            acts.add_metric([guard, did], count)
        yield acts
        yield from self._collect_gauges()

    def _collect_gauges(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for name, help, labels, value in self.readings():
            family = families.get(name)
            if family is None:
                family = families[name] = GaugeMetricFamily(name, help, labels=list(labels))
            family.add_metric(list(labels.values()), value)
        return families.values()
