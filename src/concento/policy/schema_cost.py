"""How much work a tool's schema can make of the arguments it is held against, before it is.

Schemas come from servers. One of a few lines can apply 2^60 parts of itself to nested arguments, where parts refer to
one another, each more than once. So the parts that may apply to one value are counted for each depth, as an upper
bound: `allOf`, `anyOf`, references and so on add up, and of a member's own schemas the largest counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from ..model.limits import DEPTH_MAX

MANY: Final = 10**9
"""So many parts, or more: no difference is made between them."""
_STEPS_MAX: Final = 20_000

_IN_PLACE: Final = ("allOf", "anyOf", "oneOf")
_IN_PLACE_ONE: Final = ("not", "if", "then", "else", "$ref")
_IN_PLACE_NAMED: Final = ("dependentSchemas", "dependencies")
_INNER_ONE: Final = (
    *("additionalProperties", "unevaluatedProperties", "propertyNames", "items", "additionalItems", "contains"),
    "unevaluatedItems",
)
_AGAIN: Final = frozenset(("unevaluatedProperties", "unevaluatedItems"))
_CHOICES: Final = frozenset(("anyOf", "oneOf", "if", "contains"))
_PATTERNS: Final = frozenset(("pattern", "patternProperties"))
_REFUSED: Final = ("$dynamicRef", "$recursiveRef")


class TooIntricate(Exception):
    """A schema whose work can't be bounded; the message says why."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a value of the arguments may cost. `by_depth`: parts of the schema that may apply to one that is so deep.

    `has_choices`: finding out why something does not fit takes trying all branches. `has_patterns`: texts cost, too.
    """

    by_depth: tuple[int, ...]
    has_choices: bool
    has_patterns: bool

    def parts(self, depth: int) -> int:
        """The most parts that may apply to one value of arguments that are so deep."""
        return max(self.by_depth[: depth + 1])


def cost_of(schema: Mapping[str, Any]) -> Cost:
    """What a schema can cost. Errors: TooIntricate."""
    try:
        counter = _Counter(schema)
        return Cost(tuple(counter.by_depth()), counter.has_choices, counter.has_patterns)
    except RecursionError:
        raise TooIntricate("its references are nested too deep") from None


class _Counter:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._known: dict[tuple[int, int], int] = {}
        self._open: set[int] = set()
        """Schemas being counted for a value: one that refers to itself there would never end."""
        self._steps = 0
        self.has_choices = False
        self.has_patterns = False

    def by_depth(self) -> list[int]:
        counts = []
        for depth in range(DEPTH_MAX + 1):
            counts.append(self._count(self._root, depth))
            if counts[-1] == 0:
                break
        return counts

    def _count(self, schema: Any, depth: int) -> int:
        if not isinstance(schema, dict):
            return 0
        key = (id(schema), depth)
        known = self._known.get(key)
        if known is None:
            self._steps += 1
            if self._steps > _STEPS_MAX:
                raise TooIntricate("it has too many parts")
            if id(schema) in self._open:
                raise TooIntricate("it refers to itself for one and the same value")
            self._open.add(id(schema))
            total = sum(self._count(part, depth) for part in self._in_place(schema))
            self._open.discard(id(schema))
            if not _AGAIN.isdisjoint(schema):
                total *= 2  # what was looked at is gone through once more to find what was not
            self.has_choices = self.has_choices or not _CHOICES.isdisjoint(schema)
            self.has_patterns = self.has_patterns or not _PATTERNS.isdisjoint(schema)
            total += 1 if depth == 0 else self._inner(schema, depth - 1)
            known = self._known[key] = min(MANY, total)
        return known

    def _in_place(self, schema: Mapping[str, Any]) -> Iterable[Any]:
        if any(name in schema for name in _REFUSED):
            raise TooIntricate("it uses dynamic references")
        if "$id" in schema and schema is not self._root:
            raise TooIntricate("a part of it has an '$id' of its own")
        for name in _IN_PLACE:
            parts = schema.get(name)
            yield from parts if isinstance(parts, list) else ()
        for name in _IN_PLACE_NAMED:
            parts = schema.get(name)
            yield from parts.values() if isinstance(parts, dict) else ()
        for name in _IN_PLACE_ONE:
            if name in schema:
                yield self._target(schema[name]) if name == "$ref" else schema[name]

    def _inner(self, schema: Mapping[str, Any], depth: int) -> int:
        """The most parts that may apply to one member or item."""
        before, self._open = self._open, set()
        members = schema.get("properties")
        named = members.values() if isinstance(members, dict) else ()
        total = max((self._count(part, depth) for part in named), default=0)
        patterns = schema.get("patternProperties")
        total += sum(self._count(part, depth) for part in (patterns.values() if isinstance(patterns, dict) else ()))
        total += sum(self._count(schema[name], depth) for name in _INNER_ONE if name in schema)
        for name in ("prefixItems", "items"):
            places = schema.get(name)
            total += max((self._count(part, depth) for part in places), default=0) if isinstance(places, list) else 0
        self._open = before
        return total

    def _target(self, reference: Any) -> Any:
        """What a reference within the schema means; no other is followed."""
        if not isinstance(reference, str) or not reference.startswith("#") or reference[1:2] not in ("", "/"):
            raise TooIntricate("it refers to something that is not found by its place in it")
        found: Any = self._root
        for step in unquote(reference[2:]).split("/") if reference != "#" else ():
            step = step.replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(step)] if isinstance(found, list) else found[step]
            except (KeyError, IndexError, TypeError, ValueError):
                raise TooIntricate("it refers to something that is not in it") from None
        return found
