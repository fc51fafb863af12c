"""Order the replicas of one server for one call."""

import hashlib
import math
from collections.abc import Sequence
from typing import Final

from ..model.config import Balance
from ..model.inventory import Reading
from .order import whose_turn

ATTEMPTS_MAX: Final = 3
"""Replicas tried for one call, so that a call can't visit every instance of a large, broken server."""
_LATENCY_LEAST_S: Final = 0.001
"""Quicker than this is equally quick: what is left is the noise of the event loop."""


def plan(
    readings: Sequence[Reading],
    balance: Balance,
    turn: int,
    weights: Sequence[int] = (),
    draw: float = 0.0,
    key: bytes = b"",
) -> Sequence[int]:
    """The replicas worth trying, by index, best first.

    Usable ones come first, in the order that `balance` asks for; those that seem down follow, so that a server is never
    given up on readings alone. `turn` counts the calls so far, `weights` are the replicas' (`weighted` and `hash`),
    `draw` is a random number from 0 to 1 (for `least_busy`, and for those that start slowly), and `key` is what calls
    have in common that belong to one replica (`hash`).
    Shape: 1..ATTEMPTS_MAX indices, none twice.
    """
    count = len(readings)
    if count == 1:
        return (0,)
    match balance:
        case "hash":
            order = _by_hash(key, weights or [1] * count)
        case "least_busy":
            order = _by_load(readings, turn, draw)
        case "weighted":
            order = _from(whose_turn(weights or [1] * count, turn), count)
        case _:
            order = _from(turn % count, count)
    order.sort(key=lambda index: not readings[index].usable)
    if balance in ("round_robin", "weighted") and readings[order[0]].warmth < 1.0 and draw > readings[order[0]].warmth:
        order.insert(1, order.pop(0))  # it has just come back: not each of its turns is taken yet
    return order[:ATTEMPTS_MAX]


def _from(first: int, count: int) -> list[int]:
    return [(first + offset) % count for offset in range(count)]


def _by_load(readings: Sequence[Reading], turn: int, draw: float) -> list[int]:
    """The less loaded of two drawn ones, then the others by load. To take the least loaded of all would send every call
    of the moment to the same one. Source: Mitzenmacher 2001, the power of two choices."""
    order = _from(turn % len(readings), len(readings))
    order.sort(key=lambda index: _load(readings[index]))
    usable = [index for index in order if readings[index].usable]
    if len(usable) > 2:
        pairs = len(usable) * (len(usable) - 1)
        first, second = divmod(min(int(draw * pairs), pairs - 1), len(usable) - 1)
        best = usable[min(first, second + (second >= first))]
        order.remove(best)
        order.insert(0, best)
    return order


def _load(reading: Reading) -> float:
    return (reading.in_flight + 1) * max(reading.latency_s, _LATENCY_LEAST_S) / reading.warmth


def _by_hash(key: bytes, weights: Sequence[int]) -> list[int]:
    """The same order for the same key, everywhere and after every restart; when one replica goes, only what was its
    moves. Source: weighted rendezvous hashing (Schindelhauer and Schomaker 2005)."""

    def score(index: int) -> float:
        digest = hashlib.blake2b(b"%d:%b" % (index, key), digest_size=8).digest()
        return weights[index] / -math.log((int.from_bytes(digest, "big") + 1) / (2**64 + 2))

    return sorted(range(len(weights)), key=score, reverse=True)
