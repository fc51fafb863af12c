"""From two rankings to one, and from scores to how likely the first is the right one. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .search import Scored

RANK_OFFSET: Final = 10.0
"""Of reciprocal rank fusion: how little the first places stand out. Its authors' 60 is for lists of a thousand."""
MEANING_WEIGHT: Final = 2.0
"""What a place by meaning counts, of one by words."""


def fused(words: Sequence[Scored], meaning: Sequence[Scored], limit: int) -> list[Scored]:
    """One ranking of two, by the reciprocals of their places. Source: Cormack, Clarke, Büttcher 2009."""
    together: dict[int, float] = {}
    for weight, ranking in ((1.0, words), (MEANING_WEIGHT, meaning)):
        for rank, one in enumerate(ranking):
            together[one.place] = together.get(one.place, 0.0) + weight / (RANK_OFFSET + rank)
    best = sorted(together.items(), key=lambda one: (-one[1], one[0]))
    return [Scored(place, score) for place, score in best[:limit]]


@dataclass(frozen=True, slots=True)
class Ranking:
    """What was found, best first, with what each is worth by words and by meaning."""

    order: tuple[Scored, ...]
    words: Mapping[int, float]
    meaning: Mapping[int, float]
    said: int
    """How many words of the request told something."""

    @classmethod
    def of(cls, words: Sequence[Scored], meaning: Sequence[Scored], said: int) -> "Ranking":
        """One ranking of both, or of words alone where nothing is known of meaning."""
        order = fused(words, meaning, max(len(words), len(meaning))) if meaning else list(words)
        return cls(tuple(order), dict(words), dict(meaning), said)

    def likelihood(self, among: Sequence[int]) -> float:
        """How likely the first of some places, best first, is the right one: from how well it fits, and how far it is
        ahead of the second. Calibrated in `benchmarks/search.py`."""
        return 0.0  # TODO


def logistic(value: float) -> float:
    """A probability from a sum of evidence."""
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, value))))
