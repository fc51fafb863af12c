"""From two rankings to one, and from what speaks for a tool to how likely it is the right one. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .search import Cover, Scored

RANK_OFFSET: Final = 10.0
"""Of reciprocal rank fusion: how little the first places stand out. Its authors' 60 is for lists of a thousand."""
MEANING_WEIGHT: Final = 1.0
"""What a place by meaning counts, of one by words."""
AHEAD_LEAST: Final = 0.15
"""Of the first one's score, what it has to be ahead to be called without asking back."""
LIKENESS_AHEAD: Final = 0.05
"""Or, where a model was asked, of likeness."""
BY_WORDS: Final = (-3.14, 2.49, 3.33, 2.37)
"""What speaks for the first tool where words alone were asked: from the start, for the share of the request that is in
its name, for the share that it has anywhere, and for how far ahead its score is. `python -m benchmarks.search` fits
these on one half of its requests, and reports on the other."""
BY_MEANING: Final = (-3.44, 1.54, 2.62, 0.48, 4.35)
"""Where a model was asked, too: from the start, for its likeness, for how far ahead that is, and the two shares."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What was found, best first, with what each is worth by words and by meaning."""

    order: tuple[Scored, ...]
    words: Mapping[int, float]
    meaning: Mapping[int, float]
    covers: Mapping[int, Cover]
    """Of the first few."""

    def evidence(self, among: Sequence[int]) -> tuple[float, ...]:
        """What speaks for the first of some places, best first; it does not depend on how much else there is."""
        first, second = among[0], among[1] if len(among) > 1 else -1
        cover = self.covers.get(first, Cover())
        if self.meaning:
            likeness = self._likeness(first)
            return (1.0, likeness, likeness - self._likeness(second), *cover)
        score = self.words.get(first, 0.0)
        ahead = (score - self.words.get(second, 0.0)) / score if score > 0 else 0.0
        return (1.0, *cover, ahead)

    def is_ahead(self, among: Sequence[int]) -> bool:
        """Whether the first of some places, best first, is well ahead of the second: of two that are alike none is
        clearly the one that is meant."""
        if len(among) < 2:
            return bool(among)
        first, second = (self.words.get(place, 0.0) for place in among[:2])
        by_words = first > 0 and first - second >= AHEAD_LEAST * first
        if not self.meaning:
            return by_words
        return by_words or self.meaning.get(among[0], 0.0) - self._likeness(among[1]) >= LIKENESS_AHEAD

    def _likeness(self, place: int) -> float:
        """What a tool's likeness is; of one too far down to be known, the least that is known."""
        return self.meaning.get(place, min(self.meaning.values(), default=0.0))

    def likelihood(self, among: Sequence[int]) -> float:
        """How likely the first of some places, best first, is the right one."""
        if not among:
            return 0.0
        counted = BY_MEANING if self.meaning else BY_WORDS
        return logistic(sum(map(float.__mul__, counted, self.evidence(among))))


def fused(words: Sequence[Scored], meaning: Sequence[Scored], limit: int) -> list[Scored]:
    """One ranking of two, by the reciprocals of their places. Source: Cormack, Clarke, Büttcher 2009."""
    together: dict[int, float] = {}
    for weight, ranking in ((1.0, words), (MEANING_WEIGHT, meaning)):
        for rank, one in enumerate(ranking):
            together[one.place] = together.get(one.place, 0.0) + weight / (RANK_OFFSET + rank)
    best = sorted(together.items(), key=lambda one: (-one[1], one[0]))
    return [Scored(place, score) for place, score in best[:limit]]


def logistic(value: float) -> float:
    """A probability from a sum of evidence."""
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, value))))
