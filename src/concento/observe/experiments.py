"""How the arms of an experiment do: what was counted of each, and what can be said of it in plain words.

An arm is one tool of a logical tool that is split. Counts go on over restarts. A difference is told only where its 95 %
interval leaves no doubt that there is one, and what is not told is no proof that there is none.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from ..store.contract import Store
from .record import Record

SPACE: Final = "experiments"
Z: Final = 1.96
"""Of the normal distribution, for intervals of 95 %."""
CALLS_LEAST: Final = 30
"""Fewer calls of an arm say nothing that is worth telling."""
ARMS_MAX: Final = 1000
_COUNTED: Final = frozenset({"ok", "tool_error", "error"})
"""How a call may end that says something of the server: a refusal does not, nor a caller that gave up."""


class Arm(Struct):
    """What was counted of one arm. `mean_ms` and `spread` are running sums after Welford."""

    calls: int = 0
    errors: int = 0
    size: int = 0
    mean_ms: float = 0.0
    spread: float = 0.0
    alike: int = 0
    """Of copies: how many answers were those of the first server."""
    different: int = 0
    useful: int = 0
    """How many results their callers called of use, of those that they judged."""
    useless: int = 0

    def note(self, failed: bool, ms: float, size: int) -> None:
        """A call ended."""
        self.calls += 1
        self.errors += failed
        self.size += size
        apart = ms - self.mean_ms
        self.mean_ms += apart / self.calls
        self.spread += apart * (ms - self.mean_ms)

    @property
    def variance(self) -> float:
        """Of the duration of one call, in ms²."""
        return self.spread / (self.calls - 1) if self.calls > 1 else 0.0


class Experiments:
    """The arms of all experiments, by logical tool and then by bound tool. It is a sink of closed records."""

    def __init__(self) -> None:
        self._arms: dict[tuple[str, str], Arm] = {}
        self._unwritten: dict[tuple[str, str], None] = {}
        """Arms that were counted since they were last written down."""

    async def load(self, store: Store) -> None:
        """Go on from what was counted before the last start."""
        for key, value in (await store.items(SPACE)).items():
            tool, bound = msgspec.json.decode(key, type=tuple[str, str])
            self._arms[tool, bound] = msgspec.json.decode(value, type=Arm)

    async def flush(self, store: Store) -> None:
        """Write down what was counted since the last time. A kill takes no more than what came after it."""
        unwritten, self._unwritten = self._unwritten, {}
        for name in unwritten:
            await store.put(SPACE, msgspec.json.encode(name).decode(), msgspec.json.encode(self._arms[name]))

    def __call__(self, record: Record) -> None:
        """Count a call of an arm."""
        if record.arm is None or record.end not in _COUNTED:
            return
        arm = self._of(record.arm)
        if arm is not None:
            took_s = record.started_s + record.duration_s - record.arm_s
            arm.note(record.end != "ok", max(0.0, took_s) * 1000, record.reply_bytes)

    def failed(self, name: tuple[str, str], took_s: float) -> None:
        """Count a call of an arm that another stood in for."""
        arm = self._of(name)
        if arm is not None:
            arm.note(True, took_s * 1000, 0)

    def compared(self, name: tuple[str, str], alike: bool) -> None:
        """Count whether a copy was answered alike."""
        arm = self._of(name)
        if arm is not None:
            arm.alike += alike
            arm.different += not alike

    def judged(self, name: tuple[str, str], useful: bool) -> None:
        """Count what a caller says of a result."""
        arm = self._of(name)
        if arm is not None:
            arm.useful += useful
            arm.useless += not useful

    def _of(self, name: tuple[str, str]) -> Arm | None:
        arm = self._arms.get(name)
        if arm is None and len(self._arms) < ARMS_MAX:
            arm = self._arms[name] = Arm()
        if arm is not None:
            self._unwritten[name] = None
        return arm

    def arm(self, tool: str, bound: str) -> Arm:
        """What was counted of an arm so far."""
        return self._arms.get((tool, bound), Arm())


def told(arms: Mapping[str, Arm]) -> list[dict[str, Any]]:
    """Each arm's figures with their intervals, for people and programs."""
    rows = []
    for name, arm in arms.items():
        low, high = wilson(arm.errors, arm.calls)
        half_ms = Z * math.sqrt(arm.variance / arm.calls) if arm.calls else 0.0
        rows.append(
            {
                "arm": name,
                "calls": arm.calls,
                "errors": arm.errors,
                "error_rate": round(arm.errors / arm.calls, 6) if arm.calls else None,
                "error_rate_low": round(low, 6),
                "error_rate_high": round(high, 6),
                "mean_ms": round(arm.mean_ms, 3) if arm.calls else None,
                "mean_ms_low": round(max(0.0, arm.mean_ms - half_ms), 3),
                "mean_ms_high": round(arm.mean_ms + half_ms, 3),
                "mean_bytes": round(arm.size / arm.calls) if arm.calls else None,
                "alike": arm.alike,
                "different": arm.different,
                "useful": arm.useful,
                "useless": arm.useless,
            }
        )
    return rows


def reading(arms: Mapping[str, Arm]) -> str:
    """What the figures say, in a sentence or two."""
    few = [name for name, arm in arms.items() if arm.calls < CALLS_LEAST]
    if few:
        return f"Too early to tell: {_list(few)} had fewer than {CALLS_LEAST} calls."
    names = sorted(arms, key=lambda name: (arms[name].errors / arms[name].calls, arms[name].mean_ms))
    best, others = names[0], names[1:]
    sentences = [text for other in others for text in _compared(best, arms[best], other, arms[other], len(others))]
    sentences += _judgements(arms)
    if not sentences:
        return f"No difference between {_list(names)} can be told yet."
    return " ".join(sentences)


def likeness(arms: Mapping[str, Arm]) -> str:
    """How often copies were answered as by the first server, in a sentence for each."""
    sentences = []
    for name, arm in arms.items():
        if compared := arm.alike + arm.different:
            low, high = wilson(arm.alike, compared)
            span = f"{_percent(low)} to {_percent(high)}"
            sentences.append(f"{name} answered {arm.alike} of {compared} calls as the first did ({span}).")
    return " ".join(sentences) or "No copy was answered yet."


def _compared(name: str, one: Arm, other_name: str, other: Arm, comparisons: int) -> list[str]:
    z = _z_of(comparisons)
    sentences = []
    low, high = newcombe(other, one, z)
    if low > 0:
        rates = f"{_percent(one.errors / one.calls)} against {_percent(other.errors / other.calls)}"
        sentences.append(
            f"{name} fails less often than {other_name}: {rates}, a difference of {_percent(low)} to {_percent(high)}."
        )
    difference = other.mean_ms - one.mean_ms
    half = z * math.sqrt(one.variance / one.calls + other.variance / other.calls)
    if abs(difference) > half:
        quick, slow = (name, other_name) if difference > 0 else (other_name, name)
        span = f"{abs(difference) - half:.3g} to {abs(difference) + half:.3g} ms"
        sentences.append(f"{quick} is quicker than {slow}, on average by {span}.")
    return sentences


def _judgements(arms: Mapping[str, Arm]) -> list[str]:
    """Whose results callers call of use more often, where that leaves no doubt."""
    judged = {name: arm for name, arm in arms.items() if arm.useful + arm.useless >= CALLS_LEAST}
    if len(judged) < 2:
        return []
    names = sorted(judged, key=lambda name: judged[name].useless / (judged[name].useful + judged[name].useless))
    best, sentences, z = names[0], [], _z_of(len(names) - 1)
    for other in names[1:]:
        one, two = _verdicts(judged[best]), _verdicts(judged[other])
        if (low := newcombe(two, one, z)[0]) > 0:
            rates = f"{_percent(1 - one.errors / one.calls)} against {_percent(1 - two.errors / two.calls)}"
            sentences.append(
                f"Callers find {best} of use more often than {other}: {rates}, by {_percent(low)} or more."
            )
    return sentences


def _verdicts(arm: Arm) -> Arm:
    return Arm(calls=arm.useful + arm.useless, errors=arm.useless)


def wilson(errors: int, calls: int, z: float = Z) -> tuple[float, float]:
    """The interval of a share. Source: Wilson 1927."""
    if not calls:
        return 0.0, 1.0
    share, square = errors / calls, z * z / calls
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / calls + square / (4 * calls)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(one: Arm, other: Arm, z: float = Z) -> tuple[float, float]:
    """The interval of the difference of two error rates. Source: Newcombe 1998, the hybrid score method."""
    first, second = one.errors / one.calls, other.errors / other.calls
    (low_1, high_1), (low_2, high_2) = wilson(one.errors, one.calls, z), wilson(other.errors, other.calls, z)
    below = math.sqrt((first - low_1) ** 2 + (high_2 - second) ** 2)
    above = math.sqrt((high_1 - first) ** 2 + (second - low_2) ** 2)
    return first - second - below, first - second + above


def _z_of(comparisons: int) -> float:
    """The bound for so many comparisons at once, so that all of them together err one time in twenty (Bonferroni)."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(1 - 0.025 / max(1, comparisons))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
