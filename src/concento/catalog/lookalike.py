"""Names that a reader takes for one another: of two tools that look alike, one may want to be taken for the other.

Public names have ASCII letters only, so that no letter of another alphabet stands in for one. Source: hardening T17.
"""

from collections.abc import Iterable, Iterator
from typing import Final

_LIKE: Final = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l", "5": "s", "-": "", "_": ""})
_LEAST: Final = 4
"""Shorter names are alike by chance."""


def skeleton(name: str) -> str:
    """What is left of a name for a hurried eye."""
    return name.lower().translate(_LIKE).replace("rn", "m").replace("vv", "w")


def alike(name: str, others: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """The first of some (server, tool) whose name a reader takes for this one, without being called the same."""
    shape = skeleton(name)
    if len(shape) < _LEAST:
        return None
    plain = _plain(name)
    return next((one for one in others if _plain(one[1]) != plain and skeleton(one[1]) == shape), None)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def lookalikes(names: Iterable[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Pairs of (server, tool) that are of different servers and look alike without being called alike."""
    first: dict[str, tuple[str, str]] = {}
    for one in names:
        shape = skeleton(one[1])
        if len(shape) < _LEAST:
            continue
        other = first.setdefault(shape, one)
        if other[0] != one[0] and _plain(other[1]) != _plain(one[1]):
            yield other, one
