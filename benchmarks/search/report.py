"""The figures as tables."""

from collections.abc import Callable, Sequence

from concento.model.search import Search

from .labelled import Half
from .measure import Found, Speed

RANKINGS = ("plain BM25 over descriptions", "words (default)", "words and meaning")
LEVELS = (0.5, 0.7, 0.8, 0.9)


def report(half: Half, plain: Sequence[Found], words: Sequence[Found], meaning: Sequence[Found], speed: Speed) -> str:
    """The whole page, of one half of the requests: nothing was tuned on the one that is held out."""
    rankings = dict(zip(RANKINGS, (plain, words, meaning), strict=True))
    return f"""# How well tools are found

Made by `python -m benchmarks.search`, of the {half} half of the requests. How they were made: [README.md](README.md).

## The right tool among the first

| ranking | {_heads(plain)} |
|---|{"---|" * 6}
{_rows(rankings)}

The first figure of a pair is how often the first tool is right, the second how often one of the first five is.

| ranking | against plain BM25, among the first five |
|---|---|
{_gains(rankings)}

## Where nothing fits

{_nothing(rankings)}

`fits` is {Search().fits:g}, as it is by default. What is called unfit comes with the nearest tools all the same.

## When `use_capability` may call at once

{_sure(rankings)}

`sure` is {Search().sure:g} by default, and a tool is called so only if it is known to change nothing.

## Time

A search of 5,028 tools by words takes {speed.p50_ms:.1f} ms (median) and {speed.p99_ms:.1f} ms (99th percentile), on
a thread of its own; what else runs on the event loop waits {speed.lag_p99_ms:.1f} ms at most in 99 of 100 cases.
"""


def _fits(found: Sequence[Found], keep: Callable[[Found], bool] = lambda one: True) -> list[Found]:
    return [one for one in found if one.request.kind == "fits" and keep(one)]


_KINDS: dict[str, Callable[[Found], bool]] = {
    "all": lambda one: True,
    "many words shared": lambda one: not one.is_few,
    "few words shared": lambda one: one.is_few,
}


def _heads(found: Sequence[Found]) -> str:
    return " | ".join(f"{name} ({len(_fits(found, keep))}), 1 | 5" for name, keep in _KINDS.items())


def top(found: Sequence[Found], places: int) -> float:
    """How often, in percent, a right tool is among the first."""
    return 100 * sum(one.place < places for one in found) / max(1, len(found))


def _rows(rankings: dict[str, Sequence[Found]]) -> str:
    lines = []
    for name, found in rankings.items():
        cells = [f"{top(_fits(found, keep), places):.0f} %" for keep in _KINDS.values() for places in (1, 5)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def gain(found: Sequence[Found], plain: Sequence[Found]) -> float:
    """By how many points a right tool is more often among the first five."""
    return top(_fits(found), 5) - top(_fits(plain), 5)


def _gains(rankings: dict[str, Sequence[Found]]) -> str:
    plain, *others = rankings
    return "\n".join(f"| {name} | {gain(rankings[name], rankings[plain]):+.0f} points |" for name in others)


def _nothing(rankings: dict[str, Sequence[Found]]) -> str:
    fits = Search().fits
    lines = [
        "| ranking | nothing like it is there: called fit | the service is there, the tool is not: called fit | "
        "a tool is right: called unfit |",
        "|---|---|---|---|",
    ]
    for name in RANKINGS[1:]:
        found = rankings[name]
        cells = []
        for kind in ("nothing", "near"):
            of = [one for one in found if one.request.kind == kind]
            cells.append(f"{100 * sum(one.likely >= fits for one in of) / len(of):.0f} % of {len(of)}")
        right = _fits(found)
        cells.append(f"{100 * sum(one.likely < fits for one in right) / len(right):.0f} % of {len(right)}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _sure(rankings: dict[str, Sequence[Found]]) -> str:
    heads = " | ".join(f"{level:g} or more" for level in LEVELS)
    lines = [f"| likelihood of the first tool | {heads} |", f"|---|{'---|' * len(LEVELS)}"]
    for name in RANKINGS[1:]:
        cells = []
        for level in LEVELS:
            sure = [one for one in rankings[name] if one.likely >= level]
            right = sum(one.place == 0 for one in sure)
            cells.append(f"{right} of {len(sure)} right" if sure else "none")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
