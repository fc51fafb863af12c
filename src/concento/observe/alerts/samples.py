"""What is known of the last hours: metrics and counts of calls, sampled every few seconds into rings of fixed size.

A ring keeps what a number that only grows was at each step, so that what was added within any time is one subtraction.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ...model.alerting import WITHIN_S_MAX, Absence, AlertRule, Bad, Burn, By, Happening, Increase, Labels, Ratio, Slow
from ...model.tenant import DEFAULT_TENANT
from ..metrics import Reading
from .counts import ENDS, Key

STEP_S: Final = 30.0
SERIES_MAX: Final = 500
"""Of one metric, or of calls by server, tool or tenant. Of calls, those with the most stay."""

Signal = tuple[str, ...] | float
"""Which calls: those that ended in one of these ways, or those slower than so many seconds."""
RAN: Final = ("ok", "tool_error", "error")


def all_of(of: tuple[Bad, ...]) -> Signal:
    """The calls of which those that ended so are a part: all that ran, and theirs."""
    return tuple(dict.fromkeys((*RAN, *of)))


class Ring:
    """A number that only grows, as it was at each step of a while. One that falls began anew, at 0."""

    __slots__ = ("_first", "_last", "_marks", "_read", "total")

    def __init__(self, now_s: float, within_s: float, start: float) -> None:
        self._marks = array("d", bytes(8 * (int(within_s // STEP_S) + 2)))
        self._first = self._last = int(now_s // STEP_S)
        self._read = start
        self.total = 0.0

    def add(self, now_s: float, value: float) -> None:
        """Take what the number is now."""
        step, size = int(now_s // STEP_S), len(self._marks)
        for passed in range(max(self._last + 1, step - size + 1), step + 1):
            self._marks[passed % size] = self.total
        self._last = max(self._last, step)
        self.total += value - self._read if value >= self._read else value
        self._read = value

    def within(self, now_s: float, within_s: float) -> float:
        """What was added within so many seconds, and up to a step more."""
        step = int((now_s - within_s) // STEP_S)
        if step <= self._first:
            return self.total
        return self.total - self._marks[min(step, self._last) % len(self._marks)]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    at_s: float
    labels: Labels
    value: float = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What rules count over, with the longest time of each."""

    grown: Mapping[str, float]
    calls: Mapping[By, Mapping[Signal, float]]


class Samples:
    """What rules are evaluated over. Times are the alerts' own: seconds that never jump."""

    def __init__(self, now_s: float) -> None:
        self.since_s = now_s
        """From when on anything is counted."""
        self.values: dict[str, dict[Labels, float]] = {}
        """Metrics as they are now."""
        self._wanted = _Wanted({}, {})
        self._is_new = True
        self._grown: dict[str, dict[Labels, Ring]] = {}
        self._calls: dict[By, dict[Labels, dict[Signal, Ring]]] = {}
        self._events: dict[Happening, dict[Labels, Event]] = {}

    def configure(self, rules: Iterable[AlertRule], now_s: float) -> None:
        """Count what these rules need and nothing else; where that is another than before, from now on."""
        wanted = _wanted(rules)
        if wanted != self._wanted:
            self._wanted, self.since_s, self._is_new = wanted, now_s, True
            self._grown = {metric: {} for metric in wanted.grown}
            self._calls = {by: {} for by in wanted.calls}

    # -- taking

    def take(
        self,
        now_s: float,
        readings: Iterable[Reading],
        cells: Mapping[Key, Sequence[int]],
        bounds: Sequence[float] = (),
    ) -> None:
        """Take what everything is now: metrics, and calls as `Counts` has them."""
        self.values = {}
        for name, _, labels, value in readings:
            known = self.values.setdefault(name, {})
            if len(known) < SERIES_MAX:
                known[tuple(sorted(labels.items()))] = value
        for metric, within_s in self._wanted.grown.items():
            self._grow(now_s, metric, within_s)
        for by, signals in self._wanted.calls.items():
            self._count(now_s, by, signals, cells, bounds)
        self._is_new = False

    def _grow(self, now_s: float, metric: str, within_s: float) -> None:
        values, rings = self.values.get(metric, {}), self._grown[metric]
        for labels in [labels for labels in rings if labels not in values]:
            del rings[labels]
        for labels, value in values.items():
            ring = rings.get(labels)
            if ring is None:
                # What it was before anybody looked is no increase; one that came later began at 0.
                ring = rings[labels] = Ring(now_s, within_s, value if self._is_new else 0.0)
            ring.add(now_s, value)

    def _count(
        self,
        now_s: float,
        by: By,
        signals: Mapping[Signal, float],
        cells: Mapping[Key, Sequence[int]],
        bounds: Sequence[float],
    ) -> None:
        columns = [(signal, _columns(signal, bounds)) for signal in signals]
        sums: dict[Labels, dict[Signal, int]] = {}
        for key, row in cells.items():
            known = sums.setdefault(labels_of(by, key), dict.fromkeys(signals, 0))
            for signal, places in columns:
                known[signal] += sum(row[place] for place in places)
        series = self._calls[by]
        for labels, totals in sums.items():
            rings = series.get(labels)
            if rings is None:
                starts = self._is_new
                if len(series) >= SERIES_MAX:
                    if not _make_room(series, labels, sums):
                        continue
                    starts = True  # it may have been here before
                rings = series[labels] = {
                    signal: Ring(now_s, within_s, totals[signal] if starts else 0)
                    for signal, within_s in signals.items()
                }
            for signal, ring in rings.items():
                ring.add(now_s, totals[signal])

    def happened(self, what: Happening, event: Event) -> None:
        """Take note of something; the same again counts from now."""
        known = self._events.setdefault(what, {})
        known.pop(event.labels, None)
        if len(known) >= SERIES_MAX:
            del known[next(iter(known))]
        known[event.labels] = event

    # -- being asked

    def grown(self, metric: str, now_s: float, within_s: float) -> Iterator[tuple[Labels, float]]:
        """What a metric has grown by, for each of its labels."""
        for labels, ring in self._grown.get(metric, {}).items():
            yield labels, ring.within(now_s, within_s)

    def calls(self, by: By) -> Mapping[Labels, Mapping[Signal, Ring]]:
        """How often what was called, and ended how."""
        return self._calls.get(by, {})

    def events(self, what: Happening, now_s: float, within_s: float) -> list[Event]:
        """What happened lately."""
        return [event for event in self._events.get(what, {}).values() if now_s - event.at_s <= within_s]


def labels_of(by: By, key: Key) -> Labels:
    """What calls of a tenant, server and tool count under."""
    tenant, server, tool = key
    match by:
        case "server":
            return (("server", server),)
        case "tool":
            return (("server", server), ("tool", tool or ""))
        case "tenant":
            return (("tenant", tenant or DEFAULT_TENANT),)


def _wanted(rules: Iterable[AlertRule]) -> _Wanted:
    grown: dict[str, float] = {}
    calls: dict[By, dict[Signal, float]] = {}

    def want(by: By, within_s: float, *signals: Signal) -> None:
        known = calls.setdefault(by, {})
        for signal in (*signals, RAN):
            known[signal] = max(known.get(signal, 0.0), min(within_s, WITHIN_S_MAX))

    for rule in rules:
        match rule.condition:
            case Increase(metric, _, within_s):
                grown[metric] = max(grown.get(metric, 0.0), min(within_s, WITHIN_S_MAX))
            case Ratio(by=by, of=of, within_s=within_s):
                want(by, within_s, of, all_of(of))
            case Burn(by=by, of=of, long_s=long_s):
                want(by, long_s, of, all_of(of))
            case Slow(by=by, over_s=over_s, within_s=within_s):
                want(by, within_s, over_s)
            case Absence(metric=None, within_s=within_s):
                want("server", within_s)
            case _:
                pass
    return _Wanted(grown, calls)


def _columns(signal: Signal, bounds: Sequence[float]) -> tuple[int, ...]:
    if isinstance(signal, tuple):
        return tuple(ENDS[end] for end in signal)
    return (len(ENDS) + list(bounds).index(signal),)


def _make_room(
    series: dict[Labels, dict[Signal, Ring]], labels: Labels, sums: Mapping[Labels, Mapping[Signal, int]]
) -> bool:
    """Let go of what has the fewest calls, if that is fewer than these have."""
    least = min(series, key=lambda one: sums[one][RAN] if one in sums else -1)
    if least in sums and sums[least][RAN] >= sums[labels][RAN]:
        return False
    del series[least]
    return True
