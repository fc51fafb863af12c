"""Which calls become traces: decided at their beginning for what servers are told, and again at their end.

Who calls and says whether its own trace is kept decides for ours, too. Of others a part is kept, by the trace's id so
that hubs in a row decide alike, and a few a second. Errors and slow calls are kept whatever was decided.
Source: OpenTelemetry, sampling; `OTEL_TRACES_SAMPLER`.
"""

from collections.abc import Callable, Mapping
from typing import Final

from ...model.errors import StartError
from ...model.tracing import Traces
from ..record import Record
from .span import Reason

ALWAYS_A_SECOND_MAX: Final = 1000
"""Errors and slow calls that are kept in one second: a flood of errors must not cost more than the calls do."""
_ENDLESS: Final = frozenset({"subscriptions/listen", "tasks/result"})
"""Methods whose length says nothing."""
_LOW: Final = 1 << 64


class Sampling:
    """The decision. It is asked twice for each call and has to be cheap."""

    def __init__(self, traces: Traces | None, environment: Mapping[str, str], now: Callable[[], float]) -> None:
        self._now = now
        self._ratio, self._asks_parent, self._few = _sampler(environment, traces)
        self._is_on = traces is not None
        self._is_off = self._ratio == 0 and bool(environment.get(SAMPLER, "").strip())
        self._slow_s = 0.0 if traces is None else traces.slow_ms / 1000
        self._below = f"{min(int(self._ratio * _LOW), _LOW - 1):016x}"
        """What the second half of a trace's id is less than, as text, if it is of the part that is kept."""
        self._second = 0
        self._left = 0
        self._left_always = 0
        self.floods = 0
        """Errors and slow calls that were not kept, since there were too many."""

    def open(self, record: Record) -> None:
        """Decide at the beginning (`observe.record.Head`)."""
        if not self._is_on:
            return
        record.traced = True
        if record.parent is not None and self._asks_parent:
            record.sampled = record.parent.sampled
        elif self._ratio == 1 or record.trace_id[16:] < self._below:
            record.sampled = True
        elif self._few:
            record.sampled = self._is_one_of_few(record.started_s)

    def reason(self, record: Record) -> Reason | None:
        """Decide at the end: why it is kept, or None."""
        if record.end == "ok" and record.duration_s <= self._slow_s:
            return "sampled" if record.sampled else None
        if not record.traced:
            return None
        reason = self._always(record)
        if reason is None:
            return "sampled" if record.sampled else None
        if not record.sampled and not self._has_room(record.started_s + record.duration_s):
            self.floods += 1
            return None
        return reason

    def may_leave(self, record: Record) -> bool:
        """Whether a kept trace is exported: not where its caller keeps none of its own, or a sampler says never."""
        if record.sampled:
            return True
        return not (self._is_off or (record.parent is not None and self._asks_parent))

    def _always(self, record: Record) -> Reason | None:
        if record.end not in ("ok", "cancelled"):
            return "error"
        if record.duration_s > self._slow_s and record.call.method not in _ENDLESS:
            return "slow"
        return None

    def _is_one_of_few(self, now_s: float) -> bool:
        self._turn(now_s)
        self._left -= 1
        return self._left >= 0

    def _has_room(self, now_s: float) -> bool:
        self._turn(now_s)
        self._left_always -= 1
        return self._left_always >= 0

    def _turn(self, now_s: float) -> None:
        second = int(now_s)
        if second != self._second:
            self._second, self._left, self._left_always = second, self._few, ALWAYS_A_SECOND_MAX


SAMPLER: Final = "OTEL_TRACES_SAMPLER"
SAMPLER_ARG: Final = "OTEL_TRACES_SAMPLER_ARG"
_SAMPLERS: Final = ("always_on", "always_off", "traceidratio")
_PARENT_BASED: Final = "parentbased_"


def _sampler(environment: Mapping[str, str], traces: Traces | None) -> tuple[float, bool, int]:
    """Which part is kept, whether callers decide for their own, and how many a second at least.

    The environment, where it says so, stands above the configuration. Errors: StartError.
    """
    name = environment.get(SAMPLER, "").strip().lower()
    if not name:
        return (0.0, True, 0) if traces is None else (traces.sample, True, traces.few_a_second)
    own = name.removeprefix(_PARENT_BASED)
    if own not in _SAMPLERS:
        known = ", ".join([*_SAMPLERS, *(_PARENT_BASED + one for one in _SAMPLERS)])
        raise StartError(f"{SAMPLER} is {name[:40]!r}; it can be one of {known}")
    ratio = {"always_on": 1.0, "always_off": 0.0}.get(own)
    if ratio is None:
        text = environment.get(SAMPLER_ARG, "").strip() or "1"
        try:
            ratio = float(text)
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio <= 1:
            raise StartError(f"{SAMPLER_ARG} is {text[:40]!r}; it has to be a number from 0 to 1")
    return ratio, name.startswith(_PARENT_BASED), 0
