"""What a search with an expression may cost at one place of a text, so that no text keeps it busy. Pure.

A search tries an expression at every place of a text. Where each repetition in it has a bound, a place costs at most a
constant, and a text as much as it is long. Repetitions after one another multiply where the first can end in several
ways; a possessive one, `{1,64}+`, ends in one way.
"""

import importlib
import re
from collections.abc import Iterable
from typing import Any, Final

EXPRESSION_CHARS_MAX: Final = 512
STEPS_MAX: Final = 2000
REPEATED_MAX: Final = 65_535

_parser: Any = importlib.import_module("re._parser")


def compile_searched(text: str) -> re.Pattern[str]:
    """An operator's expression, to be searched for in any text. Errors: ValueError, saying why not."""
    if len(text) > EXPRESSION_CHARS_MAX:
        raise ValueError(f"a regular expression may have {EXPRESSION_CHARS_MAX} characters")
    try:
        pattern = re.compile(text)
        least = _parser.parse(text, pattern.flags).getwidth()[0]
        steps = steps_at_a_place(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if least == 0:
        raise ValueError("the regular expression finds nothing everywhere: it must not match an empty text")
    if steps > STEPS_MAX:
        told = f"the regular expression may take {steps:,} steps at each place of a text, more than {STEPS_MAX:,}"
        raise ValueError(f"{told}; repeat less, or write {{1,64}}+ where a repetition need not give anything back")
    return pattern


def steps_at_a_place(pattern: re.Pattern[str]) -> int:
    """The steps that a match at one place may take. Errors: ValueError, if there is no bound."""
    return _sequence(_parser.parse(pattern.pattern, pattern.flags))[0]


def _sequence(items: Iterable[Any]) -> tuple[int, int]:
    """The steps that a match may take, and in how many ways it may end."""
    steps, ways = 0, 1
    for operation, about in items:
        inner = _item(str(operation), about)
        steps, ways = steps + ways * inner[0], ways * inner[1]
    return steps, ways


def _item(operation: str, about: Any) -> tuple[int, int]:
    match operation:
        case "LITERAL" | "NOT_LITERAL" | "IN" | "ANY" | "AT" | "GROUPREF":
            return 1, 1
        case "BRANCH":
            parts = [_sequence(part) for part in about[1]]
            return sum(steps for steps, _ in parts), sum(ways for _, ways in parts)
        case "SUBPATTERN":
            return _sequence(about[3])
        case "ATOMIC_GROUP":
            return _sequence(about)[0], 1
        case "ASSERT" | "ASSERT_NOT":
            return _sequence(about[1])[0], 1
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return _repeat(operation, *about)
        case _:
            raise ValueError("a regular expression here knows no conditions")


def _repeat(operation: str, least: int, most: int, body: Iterable[Any]) -> tuple[int, int]:
    if most > REPEATED_MAX:
        raise ValueError("a repetition has to have an end: write {0,64} in place of *, and {1,64} in place of +")
    steps, ways = _sequence(body)
    if operation == "POSSESSIVE_REPEAT":
        return most * steps, 1
    if ways == 1:
        return most * steps, most - least + 1
    bounded = min(most, 64)  # beyond, the number is too large to matter, and to be computed
    return sum(ways**count * steps for count in range(bounded)), sum(ways**count for count in range(least, bounded + 1))
