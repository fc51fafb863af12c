"""In which order the servers of a logical tool are tried. Pure: readings in, order out."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import gcd
from typing import Final

from ..model.errors import CallError, Forbidden, NeedsScope, Overloaded, RateLimited
from ..model.logical import Strategy

TRIED_MAX: Final = 5
"""Servers tried for one call."""
_REFUSED: Final = (Forbidden, NeedsScope, RateLimited, Overloaded)
"""Refusals that are about one server: another one may be free, or open to the caller."""


def order(
    groups: Sequence[Sequence[int]],
    weights: Sequence[int],
    is_well: Callable[[int], bool],
    strategy: Strategy,
    turn: int,
    share: float = 0.0,
) -> Iterator[int]:
    """The places of the servers worth trying, best first. `groups` has all places, those of each priority together;
    `turn` counts the calls so far; `share`, from 0 to 1, is where a caller stands that keeps to one place (`split`).

    Those that are well come group by group, in the order of the strategy; then the others, so that nothing is given up
    on readings alone. Nothing is read before it is needed: of a hundred servers mostly one is.
    Shape: 1..TRIED_MAX places, none twice.
    """
    unwell: list[int] = []
    left = TRIED_MAX
    for group in groups:
        first = 0
        if strategy == "balance":
            first = whose_turn([weights[place] for place in group], turn)
        elif strategy == "split":
            first = whose_share([weights[place] for place in group], share)
        for offset in range(len(group)):
            place = group[(first + offset) % len(group)]
            if not is_well(place):
                unwell.append(place)
                continue
            yield place
            left -= 1
            if not left:
                return
    yield from unwell[:left]


def whose_turn(weights: Sequence[int], turn: int) -> int:
    """Whose turn it is where each has as many turns as it weighs, and they are spread: not one after the other."""
    total = sum(weights)
    at = turn * _stride(total) % total
    for place, weight in enumerate(weights):
        at -= weight
        if at < 0:
            return place
    raise AssertionError("a turn is below the sum of all weights")


def whose_share(weights: Sequence[int], share: float) -> int:
    """Whose part of the whole a share falls into. When weights change, only callers at the borders change."""
    at = share * sum(weights)
    for place, weight in enumerate(weights):
        at -= weight
        if at < 0:
            return place
    return len(weights) - 1


def only(place: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Weights by which one place has every turn."""
    return tuple([int(other == place) for other in range(len(weights))])


def share_of(experiment: str, whose: str) -> float:
    """Where somebody stands in an experiment: the same everywhere and after every restart, evenly spread, and another
    place in each experiment."""
    digest = hashlib.blake2b(f"{experiment}\0{whose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@lru_cache(maxsize=1024)
def _stride(total: int) -> int:
    """A step that visits all of so many turns before it visits one again, and never close to the last one."""
    stride = max(1, round(total * 0.618))
    while gcd(stride, total) != 1:
        stride += 1
    return stride


def may_follow(error: CallError, repeatable: bool) -> bool:
    """Whether another server may be asked after one failed so. Source: hardening R12.

    Yes if nothing was sent and it was not the call itself that was wrong, or if a call that may have run may run again.
    """
    if error.outcome == "unknown":
        return repeatable
    return error.outcome == "not_sent" and (error.fault == "upstream" or isinstance(error, _REFUSED))
