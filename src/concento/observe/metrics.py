"""Prometheus metrics of calls and servers: bounded in number, whatever tools and callers there are.

A call adds to plain numbers; they become metric families when a scraper comes. Names and labels of the two histograms
are those of the MCP semantic conventions of OpenTelemetry, as Prometheus writes them.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..model.attempt import Attempt
from ..model.extensions import SKILLS_METHODS
from ..model.limits import LABELS_MAX, LABELS_PER_SERVER_MAX
from .record import Record

BUCKETS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds, as the semantic conventions have them."""
OTHER: Final = "other"
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
_KNOWN_CODES = frozenset(map(str, (-32700, -32600, -32601, -32602, -32603, -32002, -32020, -32021, -32022, -32042)))
"""Codes that the protocol gives a meaning to."""

LABELS: Final[Mapping[str, str]] = {
    "method": "the MCP method, such as `tools/call`; `other` for one the hub does not know",
    "mcp_method_name": "the same",
    "gen_ai_tool_name": "as `tool`",
    "error_type": "empty where nothing went wrong; `tool_error`; the JSON-RPC code a server answered with, `other` for "
    "one of its own; or the kind of error that the hub answered with",
    "tenant": "whose call or limit it is: `default`, and for limits empty, is the operator; who spent something, empty "
    "for all together",
    "server": "a server's alias, `tenant/alias` for a tenant's; empty where a call reached none",
    "replica": "which of a server's replicas, counted from 0",
    "tool": "the server's own name of the tool; `other` where there are too many: a server has "
    f"{LABELS_PER_SERVER_MAX} of them named for each tenant, all together {LABELS_MAX}, first come first named",
    "outcome": "`ok`; `tool_error`: the tool ran and said that it failed; `error`: no result came; `refused`: the "
    "request was at fault, or not allowed; `cancelled`: the agent gave up",
    "status": "the HTTP status that was answered",
    "state": "a state that is on (1) or off (0)",
    "reason": "why a trace was kept: `error`, `slow`, or `sampled`, as its caller or the configuration wants",
    "cache": "which of the hub's caches",
    "process": "a child process: `N` for a replica's, counted from 0, `beside` for one beside a URL",
    "version": "the hub's version",
    "generation": "of Python's garbage collector",
    "limit": "a limit, by its name",
    "guard": "a guard, by its name",
    "did": "what it did: `redacted`, `noted`, `refused` (nothing was sent), `withheld` (the call ran), `replaced`, "
    "`asked` and `confirmed` of a user, `failed` (it could not be asked)",
    "severity": "how bad an alert is: `info`, `warning` or `critical`",
    "budget": "a budget, by its name",
    "currency": "what money is in",
}
"""What labels mean, for the reference."""

Reading = tuple[str, str, dict[str, str], float]
"""One gauge: name, help, labels, value. A name that ends in `_total` is a counter's."""
Readings = Callable[[], Iterable[Reading]]


class _Durations:
    """One histogram's numbers."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


class _Call(_Durations):
    """The numbers of one method, tenant, server, tool and way to end."""

    __slots__ = ("count", "labels")

    def __init__(self, labels: "Labels") -> None:
        super().__init__()
        self.labels = labels
        self.count = 0


Labels = tuple[str, str, str, str, str, str]
"""Method, tenant, server, tool, outcome, error type."""
_Seen = tuple[str, str, str | None, str | None, str, str | None]
"""The same as records have them."""
_Tried = tuple[str, str, str, int, str | None]
"""Of an attempt: method, tenant, server, replica, error type."""


class Metrics(Collector):
    """A sink of closed records, and the text that a scraper reads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls: dict[_Seen, _Call] = {}
        self._by_labels: dict[Labels, _Call] = {}
        self._attempts: dict[_Tried, _Durations] = {}
        self._acts: dict[tuple[str, str], int] = {}
        self._named: dict[tuple[str, str], set[str]] = {}
        self._count = 0
        self._gauges: list[Readings] = []
        self._slow_gauges: list[Readings] = []
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def __call__(self, record: Record) -> None:
        """Take a closed record."""
        call = record.call
        tenant = call.principal.tenant
        seen = (call.method, tenant, record.server, record.tool, record.end, record.failed_as)
        series = self._calls.get(seen) or self._found(seen)
        series.count += 1
        series.note(record.duration_s)
        for act in record.guards or ():
            self._acts[act.guard, act.did] = self._acts.get((act.guard, act.did), 0) + 1
        for attempt in record.tries:
            self._tried(call.method, tenant, attempt)
        for branch in record.within or ():
            for attempt in branch.tries:
                self._tried(call.method, tenant, attempt)

    def _tried(self, method: str, tenant: str, attempt: Attempt) -> None:
        """Take an attempt; one that nobody waited for to the end has no duration to speak of."""
        if attempt.ended_s is None:
            return
        key = (method, tenant, attempt.server.key, attempt.replica, attempt.failed)
        durations = self._attempts.get(key)
        if durations is None:
            key = (_method(method), tenant, attempt.server.key, attempt.replica, _kind(attempt.failed))
            if key not in self._attempts and len(self._attempts) >= LABELS_MAX:
                key = (OTHER, OTHER, OTHER, 0, key[4])
            durations = self._attempts.setdefault(key, _Durations())
        durations.note(attempt.ended_s - attempt.started_s)

    def _found(self, seen: _Seen) -> _Call:
        """The numbers of what was not seen in this way before. Only what is named is remembered by what was seen."""
        method, tenant, server, tool, end, failed = seen
        named = self._named_tool(tenant, server or "", tool or "")
        labels = (_method(method), tenant, server or "", named, end, _kind(failed) or "")
        series = self._by_labels.get(labels)
        if series is None:
            if len(self._by_labels) >= LABELS_MAX:
                labels = (labels[0], OTHER, OTHER, OTHER, end, labels[5])
            series = self._by_labels.setdefault(labels, _Call(labels))
        if labels == (method, tenant, server or "", tool or "", end, failed or ""):
            self._calls[seen] = series
        return series

    def _named_tool(self, tenant: str, server: str, tool: str) -> str:
        named = self._named.setdefault((tenant, server), set()) if len(self._named) < LABELS_MAX else set()
        if not tool or tool in named:
            return tool
        if len(named) >= LABELS_PER_SERVER_MAX or self._count >= LABELS_MAX:
            return OTHER
        named.add(tool)
        self._count += 1
        return tool

    # -- for scrapers

    def read_gauges(self, read: Readings) -> None:
        """Have gauges read whenever a scraper comes."""
        self._gauges.append(read)

    def readings(self) -> Iterator[Reading]:
        """All gauges, as they are now."""
        yield from _read(self._gauges)

    def read_slow_gauges(self, read: Readings) -> None:
        """Likewise, but off the event loop: for what takes system calls. `read` must cope with what changes."""
        self._slow_gauges.append(read)

    def text(self) -> bytes:
        """All metrics in Prometheus' text form."""
        return self.written(list(self.readings()))

    def written(self, gauges: list[Reading]) -> bytes:
        """The same, with gauges that were read on the event loop: the rest may be done elsewhere."""
        rest = CollectorRegistry()
        rest.register(_Read([*gauges, *_read(self._slow_gauges)]))
        return generate_latest(self._registry) + generate_latest(rest)

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The families of calls and attempts at this moment."""
        calls = CounterMetricFamily(
            "concento_calls", "Calls ended", labels=["method", "tenant", "server", "tool", "outcome"]
        )
        served = HistogramMetricFamily(
            "mcp_server_operation_duration_seconds",
            "Time from a parsed call to its reply",
            labels=["mcp_method_name", "tenant", "server", "gen_ai_tool_name", "error_type"],
        )
        counts: dict[tuple[str, ...], int] = {}
        for (method, tenant, server, tool, end, failed), series in tuple(self._by_labels.items()):
            counted = (method, tenant, server, tool, end)
            counts[counted] = counts.get(counted, 0) + series.count
            _add(served, [method, tenant, server, tool, failed], series)
        for names, count in counts.items():
            calls.add_metric(names, count)
        yield calls
        yield served
        asked = HistogramMetricFamily(
            "mcp_client_operation_duration_seconds",
            "Time from one attempt at a replica to its reply",
            labels=["mcp_method_name", "tenant", "server", "replica", "error_type"],
        )
        for (method, tenant, server, replica, kind), durations in tuple(self._attempts.items()):
            _add(asked, [method, tenant, server, str(replica), kind or ""], durations)
        yield asked
        acts = CounterMetricFamily(
            "concento_guard_acts", "Calls to which a guard did something", labels=["guard", "did"]
        )
        for (guard, did), count in tuple(self._acts.items()):
            acts.add_metric([guard, did], count)
        yield acts


class _Read(Collector):
    """Gauges and counters that were read."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Metric]:
        """Their families."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, help, labels, value in self._readings:
            family = families.get(name)
            if family is None:
                kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                family = families[name] = kind(name, help, labels=list(labels))
            family.add_metric(list(labels.values()), value)
        return families.values()


def _read(gauges: list[Readings]) -> Iterator[Reading]:
    for read in tuple(gauges):
        yield from read()


def _add(family: HistogramMetricFamily, labels: list[str], durations: _Durations) -> None:
    bounds = [*map(str, BUCKETS), "+Inf"]
    family.add_metric(labels, list(zip(bounds, accumulate(tuple(durations.buckets)), strict=True)), durations.seconds)


def _method(method: str) -> str:
    return method if method in _KNOWN_METHODS else OTHER


def _kind(failed: str | None) -> str | None:
    """An error's kind as a label: codes that servers made up are one."""
    if failed is None or failed in _KNOWN_CODES or failed.replace("_", "").isalpha():
        return failed
    return OTHER
