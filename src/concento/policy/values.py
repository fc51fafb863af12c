"""What holds of one value that a call brought: True, False, or None where that can't be judged.

|                         | eq, in | ne, not_in | lt, le, gt, ge | matches | exists: true | exists: false |
|-------------------------|--------|------------|----------------|---------|--------------|---------------|
| missing                 | False  | None       | False          | False   | False        | True          |
| null                    | False¹ | None¹      | False          | False   | None         | None          |
| of another type         | None   | None       | None           | None²   | True         | False         |
| can't be found for sure | None   | None       | None           | None    | None         | None          |

A grant needs True, a refusal anything but False: what is missing never satisfies a grant unless `exists: false` says
so, and escapes a refusal unless that says what else there must be. ¹ Unless null is what is asked for. ² A text that is
longer than the pattern may be tried on, too.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..model.policy import Test
from .expressions import chars_max

MISSING: Final = object()
"""Stands for a value that is not there."""
UNSURE: Final = object()
"""Stands for one that others might find where it was looked for: in a list, or under the name in other letters."""

Judge = Callable[[Any], bool | None]

_TYPES: Final[Mapping[type, str]] = {
    str: "text",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "list",
    tuple: "list",
    dict: "object",
    type(None): "null",
}


def compile_test(test: Test) -> Judge:
    """How a test judges a value. Errors: ValueError, for a pattern whose time has no bound."""
    op, wanted = test.op, test.value
    match op:
        case "exists":
            return _exists(wanted)
        case "eq":
            return _among((wanted,))
        case "ne":
            return _not(_among((wanted,)))
        case "in":
            return _among(tuple(wanted))
        case "not_in":
            return _not(_among(tuple(wanted)))
        case "matches":
            return _matches(wanted)
        case "lt" | "le" | "gt" | "ge":
            return _compared(_COMPARE[op], wanted)


def _exists(wanted: bool) -> Judge:
    def judge(value: Any) -> bool | None:
        if value is UNSURE or value is None:
            return None
        return (value is not MISSING) is wanted

    return judge


def _among(wanted: tuple[Any, ...]) -> Judge:
    types = {_TYPES.get(type(one)) for one in wanted}
    texts = frozenset(one for one in wanted if isinstance(one, str))
    others = tuple(one for one in wanted if not isinstance(one, str))

    def judge(value: Any) -> bool | None:
        kind = _TYPES.get(type(value))
        if kind == "text":
            if value in texts:
                return True
        elif value is MISSING:
            return False
        else:
            for one in others:
                if is_same(value, one):
                    return True
            if value is None:
                return False
        return False if kind in types else None

    return judge


def _not(judge: Judge) -> Judge:
    def judged(value: Any) -> bool | None:
        held = judge(value)
        if held is False and (value is MISSING or value is None):
            return None
        return None if held is None else not held

    return judged


def _matches(pattern: Any) -> Judge:
    match, most = pattern.fullmatch, chars_max(pattern)

    def judge(value: Any) -> bool | None:
        if isinstance(value, str):
            return match(value) is not None if len(value) <= most else None
        return False if value is MISSING or value is None else None

    return judge


def _compared(compare: Callable[[Any, Any], bool], wanted: float) -> Judge:
    def judge(value: Any) -> bool | None:
        kind = type(value)
        if kind is int:
            return compare(value, wanted)
        if kind is float:
            return compare(value, wanted) if math.isfinite(value) else None
        return False if value is MISSING or value is None else None

    return judge


_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "lt": lambda value, wanted: value < wanted,
    "le": lambda value, wanted: value <= wanted,
    "gt": lambda value, wanted: value > wanted,
    "ge": lambda value, wanted: value >= wanted,
}


def is_same(value: Any, wanted: Any) -> bool:
    """Equal as JSON: true is not 1, 1 is 1.0, and a list is one whether it can be changed or not."""
    kind = _TYPES.get(type(value))
    if kind is None or kind != _TYPES.get(type(wanted)):
        return False
    if kind == "list":
        return len(value) == len(wanted) and all(map(is_same, value, wanted))
    if kind == "object":
        return value.keys() == wanted.keys() and all(is_same(value[name], one) for name, one in wanted.items())
    return bool(value == wanted)
