"""Patterns of prices: which of two is more specific, whether neither is, and whether tiers rise. Pure."""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise


def specificity(pattern: str) -> tuple[bool, bool, int]:
    """How closely a pattern says what it is about: one server, one tool, how many letters are fixed."""
    server, tool = halves(pattern)
    fixed = sum(letter not in "*?" for letter in server + tool)
    return not set(server) & set("*?"), not set(tool) & set("*?"), fixed


def ties(patterns: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Two patterns of which neither is more specific, though one tool may match both."""
    for one, other in combinations(sorted(patterns), 2):
        pairs = zip(halves(one), halves(other), strict=True)
        if specificity(one) == specificity(other) and all(meet(first, second) for first, second in pairs):
            yield one, other


def meet(one: str, other: str) -> bool:
    """Whether some text matches both globs."""
    reached = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        left, right = waiting.pop()
        if left == len(one) and right == len(other):
            return True
        first, second = one[left : left + 1], other[right : right + 1]
        steps = []
        if first == "*":
            steps += [(left + 1, right), *([(left, right + 1)] if second else [])]
        if second == "*":
            steps += [(left, right + 1), *([(left + 1, right)] if first else [])]
        if first and second and "*" not in (first, second) and (first == second or "?" in (first, second)):
            steps.append((left + 1, right + 1))
        fresh = [step for step in steps if step not in reached]
        reached.update(fresh)
        waiting += fresh
    return False


def are_ascending(tiers: Sequence[int | None]) -> bool:
    """Whether tiers' bounds rise, and only the last one is open."""
    bounded = [bound for bound in tiers[:-1] if bound is not None]
    return len(bounded) == len(tiers) - 1 and all(low < high for low, high in pairwise(bounded)) and tiers[-1] is None


def halves(pattern: str) -> tuple[str, str]:
    """What of a pattern is about the server, and what about its tool."""
    server, _, tool = pattern.partition(".")
    return server, tool or "*"
