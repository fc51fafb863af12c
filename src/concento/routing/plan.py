"""Order the replicas of one server for one call."""

from collections.abc import Sequence

from msgspec import Struct

from ..model.config import Balance

ATTEMPTS_MAX = 3
"""Replicas tried for one call, so that a call can't visit every instance of a large, broken server."""


class Reading(Struct, frozen=True):
    """What is known of one replica at the moment of planning."""

    usable: bool = True
    in_flight: int = 0


def plan(readings: Sequence[Reading], balance: Balance, turn: int) -> Sequence[int]:
    """The replicas worth trying, by index, best first.

    Usable ones come first, in the order that `balance` asks for (`turn` counts the calls so far); those that seem down
    follow, so that a server is never given up on readings alone.
    Shape: 1..ATTEMPTS_MAX indices, none twice.
    """
    count = len(readings)
    if count == 1:
        return (0,)
    rotated = [(turn + offset) % count for offset in range(count)]
    if balance == "least_busy":
        rotated.sort(key=lambda index: readings[index].in_flight)
    rotated.sort(key=lambda index: not readings[index].usable)
    return rotated[:ATTEMPTS_MAX]
