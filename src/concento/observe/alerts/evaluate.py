"""Whether a rule holds right now, of what, and why. Pure: samples and a time in, findings out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import assert_never

from ...model.alerting import (
    Absence,
    AlertRule,
    Burn,
    By,
    Happened,
    Increase,
    Labels,
    Ratio,
    Slow,
    Threshold,
)
from ...model.tenant import DEFAULT_TENANT
from .samples import RAN, Samples, Signal, all_of


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing of which a rule holds: the number, and a sentence that says why."""

    labels: Labels
    value: float
    reason: str
    """Names, numbers and states only."""


def evaluate(rule: AlertRule, samples: Samples, now_s: float) -> list[Finding]:
    """Everything of which the rule holds now."""
    found = [one for one in _findings(rule, samples, now_s) if fits(rule.match, one.labels)]
    return found if not rule.says else [replace(one, reason=rule.says.format(value=one.value)) for one in found]


def blind(rule: AlertRule, samples: Samples, now_s: float) -> bool:
    """Whether too little is known yet to say that it does not hold: what it counts over began before the hub did."""
    return now_s - samples.since_s < _reach_s(rule)


def fits(match: Mapping[str, str], labels: Labels, **more: str) -> bool:
    """Whether labels fit patterns: each that is named has to be there. `more`: labels besides."""
    known = {"tenant": tenant_of(labels), **dict(labels), **more}
    return all(fnmatchcase(known.get(name, ""), pattern) for name, pattern in match.items())


def tenant_of(labels: Labels) -> str:
    """Whose it is: as the labels say, or as the key of a tenant's server does."""
    known = dict(labels)
    tenant, slash, _ = known.get("server", "").partition("/")
    return known.get("tenant") or (tenant if slash else DEFAULT_TENANT)


def _findings(rule: AlertRule, samples: Samples, now_s: float) -> Iterable[Finding]:
    match rule.condition:
        case Threshold():
            return _crossed(rule.condition, samples)
        case Increase(metric, above, within_s):
            return (
                Finding(labels, grown, f"{metric} grew by {grown:g} within {span(within_s)}")
                for labels, grown in samples.grown(metric, now_s, within_s)
                if grown > above
            )
        case Ratio(above, within_s, of, by, calls_min):
            return _often(samples, now_s, by, of, all_of(of), within_s, above, calls_min)
        case Slow(over_s, share, within_s, by, calls_min):
            return _often(samples, now_s, by, over_s, RAN, within_s, share, calls_min)
        case Burn():
            return _burning(rule.condition, samples, now_s)
        case Absence():
            return _absent(rule.condition, samples, now_s)
        case Happened(what, within_s):
            return (
                Finding(event.labels, event.value, event.text or what.replace("_", " "))
                for event in samples.events(what, now_s, within_s)
            )
        case _:
            assert_never(rule.condition)


def _crossed(threshold: Threshold, samples: Samples) -> Iterator[Finding]:
    metric, above, below = threshold.metric, threshold.above, threshold.below
    for labels, value in samples.values.get(metric, {}).items():
        if above is not None and value > above:
            yield Finding(labels, value, f"{metric} is {value:g}, above {above:g}")
        elif below is not None and value < below:
            yield Finding(labels, value, f"{metric} is {value:g}, below {below:g}")


def _often(
    samples: Samples, now_s: float, by: By, bad: Signal, all: Signal, within_s: float, above: float, calls_min: int
) -> Iterator[Finding]:
    for labels, rings in samples.calls(by).items():
        found, calls = rings[bad].within(now_s, within_s), rings[all].within(now_s, within_s)
        if calls >= calls_min and found > above * calls:
            did = "failed" if isinstance(bad, tuple) else f"took over {bad:g} s"
            share = found / calls
            of = f"{found:.0f} of {calls:.0f} calls {did} within {span(within_s)}"
            told = f"{of}: {share:.1%}, more than {above:.1%}"
            yield Finding(labels, share, told)


def _burning(burn: Burn, samples: Samples, now_s: float) -> Iterator[Finding]:
    allowed = 1.0 - burn.objective
    bad, all = burn.of, all_of(burn.of)
    for labels, rings in samples.calls(burn.by).items():
        found, calls = rings[bad].within(now_s, burn.long_s), rings[all].within(now_s, burn.long_s)
        lately = rings[bad].within(now_s, burn.short_s) / max(1.0, rings[all].within(now_s, burn.short_s))
        rate = found / max(1.0, calls)
        if calls >= burn.calls_min and min(rate, lately) > burn.factor * allowed:
            of = f"{found:.0f} of {calls:.0f} calls failed within {span(burn.long_s)}, and {lately:.1%} within"
            times = f"{rate / allowed:.1f} times what an objective of {100 * burn.objective:g} % allows"
            told = f"{of} {span(burn.short_s)}: {times}"
            yield Finding(labels, rate / allowed, told)


def _absent(absence: Absence, samples: Samples, now_s: float) -> Iterator[Finding]:
    if absence.metric is not None:
        if not samples.values.get(absence.metric):
            yield Finding((), 0.0, f"there is no {absence.metric}")
        return
    if now_s - samples.since_s < absence.within_s:
        return
    calls = {
        dict(labels)["server"]: rings[RAN].within(now_s, absence.within_s)
        for labels, rings in samples.calls("server").items()
    }
    if absence.server is None:
        if not any(calls.values()):
            yield Finding((), 0.0, f"no call within {span(absence.within_s)}")
    elif not calls.get(absence.server):
        yield Finding((("server", absence.server),), 0.0, f"no call of it within {span(absence.within_s)}")


def _reach_s(rule: AlertRule) -> float:
    match rule.condition:
        case Increase(within_s=within_s) | Ratio(within_s=within_s) | Slow(within_s=within_s):
            return within_s
        case Absence(within_s=within_s) | Happened(within_s=within_s):
            return within_s
        case Burn(short_s=short_s):
            return short_s
        case Threshold():
            return 0.0
        case _:
            assert_never(rule.condition)


def span(seconds: float) -> str:
    """A time as a person says it: `90 s`, `5 min`, `1 h`, `1 h 30 min`."""
    if seconds < 120 and seconds % 60:
        return f"{seconds:g} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return " ".join(([f"{hours} h"] if hours else []) + ([f"{minutes} min"] if minutes or not hours else []))
