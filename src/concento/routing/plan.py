"""Order the replicas of one server for one call."""

from collections.abc import Sequence

from ..model.config import Balance
from ..model.inventory import Reading

ATTEMPTS_MAX = 3
"""Replicas tried for one call, so that a call can't visit every instance of a large, broken server."""


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
