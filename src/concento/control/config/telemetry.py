"""Traces: what may stand about them in `telemetry:`, and the values it is read as."""

from typing import Final

from ...model.tracing import Traces
from .kinds import Items, Key, Keys, Number, OrOff, Table, Text, Whole

_TRACES = Traces()

KEEP: Final = Key(
    "keep",
    Whole(0, 100_000),
    "How many traces are kept to be looked at, beside half as many of errors and slow calls; 16 MiB in all.",
    _TRACES.keep,
    example="5000",
)
SLOW_MS: Final = Key(
    "slow_ms",
    Number(0, 300_000),
    "Milliseconds after which a call is slow: its trace is kept in any case, as that of an error.",
    _TRACES.slow_ms,
    example="250",
)
SAMPLE: Final = Key(
    "sample",
    Number(0, 1),
    "Which part of the other calls is kept. Where a caller brings a trace context, its own `sampled` flag decides. "
    "`OTEL_TRACES_SAMPLER` in the environment stands above this and `few_a_second`.",
    _TRACES.sample,
    example="0.2",
)
FEW_A_SECOND: Final = Key(
    "few_a_second",
    Whole(0, 1000),
    "Calls kept in a second whatever `sample` says, so that a quiet hub keeps all.",
    _TRACES.few_a_second,
    example="1",
)
TRACES: Final[Key[Table | None]] = Key(
    "traces",
    OrOff(Keys("traces", KEEP, SLOW_MS, SAMPLE, FEW_A_SECOND)),
    "Spans of calls, kept here and sent to a collector if the environment names one; `off`: none are made, and what "
    "callers say of their traces is relayed as it is.",
    example="{slow_ms: 250, sample: 0.2}",
)
BAGGAGE: Final = Key(
    "baggage",
    Items(Text("the name of a member", r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}"), "such as [tenant]", 0),
    "Members of callers' W3C baggage that servers are shown. The rest ends at the hub: it may say who users are.",
    (),
    example="[experiment]",
)


def build_traces(telemetry: Table) -> Traces | None:
    """Traces as configured; None where they are off."""
    table = telemetry.get(TRACES)
    if table is None:
        return None if telemetry.given(TRACES) else _TRACES
    return Traces(table[KEEP], table[SLOW_MS], table[SAMPLE], table[FEW_A_SECOND])
