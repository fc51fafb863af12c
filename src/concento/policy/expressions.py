"""How long a text an operator's regular expression may be tried on, so that no caller can keep it busy.

Python's engine tries one choice after the other. A choice costs nothing where the next character makes it; where it
does not, the choices multiply. So they are counted, as an upper bound: a repetition whose end can't be told by the next
character counts as many as there are characters, and one within another repetition is refused, as is what can't be
counted (look-around, back references).

Promised: at most `STEPS_MAX` steps for any text of `chars_max(pattern)` characters; some milliseconds.
"""

import importlib
import re
from functools import lru_cache
from typing import Any, Final

MATCHED_CHARS_MAX: Final = 4096
"""Longest text that any pattern is tried on."""
EXPRESSION_CHARS_MAX: Final = 512
STEPS_MAX: Final = 2**21
_LENGTHS: Final = (MATCHED_CHARS_MAX, 1024, 256, 64)
_MANY: Final = 64
"""A repetition of up to so many counts with its own number."""

_parser: Any = importlib.import_module("re._parser")

_OTHER, _END = 128, 129
_FULL: Final = frozenset(range(129))
"""Characters, as far as they are told apart here: each of ASCII, and all others as one."""
_ONLY_END: Final = frozenset((_END,))
_FOLDED_TO_OTHERS: Final = frozenset("iksIKS")

_Set = frozenset[int]


def compile_bounded(text: str) -> re.Pattern[str]:
    """The expression, to be matched against all of a text; `.` is any character. Errors: ValueError, saying why not."""
    if len(text) > EXPRESSION_CHARS_MAX:
        raise ValueError(f"a regular expression may have {EXPRESSION_CHARS_MAX} characters")
    try:
        pattern = re.compile(text, re.DOTALL)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    chars_max(pattern)
    return pattern


@lru_cache(maxsize=1024)
def chars_max(pattern: re.Pattern[str]) -> int:
    """The longest text it may be tried on. Errors: ValueError, if there is none worth having."""
    count = _Count(bool(pattern.flags & re.DOTALL))
    try:
        count.sequence(_parser.parse(pattern.pattern, pattern.flags), _ONLY_END, False)
    except RecursionError:
        raise ValueError("the regular expression is nested too deep") from None
    for length in _LENGTHS:
        if count.factor * length ** max(1, count.exponent) <= STEPS_MAX:
            return length
    raise ValueError(
        "the regular expression leaves too many ways to match one text; write it with fewer repetitions that can end "
        "anywhere, such as [^/]* in place of .*"
    )


class _Count:
    """Goes through an expression from its end to its beginning, and multiplies the choices."""

    def __init__(self, dot_is_all: bool) -> None:
        self.factor = 1
        self.exponent = 0
        self._dot_is_all = dot_is_all
        self._is_tail_counted = False
        self._has_tail = False
        """Whether a repetition that runs through the text comes after what was not gone through yet."""
        self._is_dry = False

    def sequence(self, items: Any, follow: _Set, in_loop: bool) -> _Set:
        """What it can begin with, where `follow` is what can come after it."""
        for op, about in reversed(list(items)):
            follow = self._item(str(op), about, follow, in_loop)
        return follow

    def _item(self, op: str, about: Any, follow: _Set, in_loop: bool) -> _Set:
        match op:
            case "LITERAL":
                return _folded(about)
            case "NOT_LITERAL" | "ANY" | "IN":
                return _FULL if op != "IN" else _of_class(about)
            case "AT":
                return follow
            case "SUBPATTERN":
                return self.sequence(about[3], follow, in_loop)
            case "ATOMIC_GROUP":
                return self.sequence(about, follow, in_loop)
            case "BRANCH":
                return self._branches(about[1], follow, in_loop)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, body = about
                return self._repeat(least, most, body, follow, in_loop)
            case _:
                raise ValueError("a regular expression here knows no look-around, back references and conditions")

    def _branches(self, branches: Any, follow: _Set, in_loop: bool) -> _Set:
        firsts = [self.sequence(branch, follow, in_loop) for branch in branches]
        union = frozenset().union(*firsts)
        if len(union) < sum(map(len, firsts)):
            self._choose(len(firsts), in_loop)
        return union

    def _repeat(self, least: int, most: int, body: Any, follow: _Set, in_loop: bool) -> _Set:
        if most == 0:
            return follow
        if most == 1:
            first = self.sequence(body, follow, in_loop)
            if least == 0 and first & follow:
                self._choose(2, in_loop)
            return first if least else first | follow
        if body.getwidth()[0] == 0:
            raise ValueError("what is repeated in a regular expression must not be able to match nothing")
        was_dry, self._is_dry = self._is_dry, True
        first = self.sequence(body, frozenset(), False)
        self._is_dry = was_dry
        self.sequence(body, first | follow, True)
        if least != most and first & follow:
            self._choose(most - least + 1 if most <= _MANY else None, in_loop)
        elif most > _MANY and not (self._dot_is_all and first == _FULL and follow == _ONLY_END):
            self._has_tail = True  # all that is left can't fail to match `.*`, everything else can
        return first if least else first | follow

    def _choose(self, ways: int | None, in_loop: bool) -> None:
        """Count a choice that the next character does not make; None: as many ways as there are characters."""
        if self._is_dry:
            return
        if in_loop:
            raise ValueError(
                "a regular expression must not repeat what itself can end or go on with the same character, such as "
                "(a+)+ or (a|ab)*; write it flat"
            )
        if self._has_tail and not self._is_tail_counted:
            self._is_tail_counted = True
            self.exponent += 1
        if ways is None:
            self.exponent += 1
        else:
            self.factor *= ways


def _folded(code: int) -> _Set:
    """A character in both cases, whether or not case counts: a superset will do."""
    if code > 127:
        return frozenset((_OTHER,))
    character = chr(code)
    found = {code, ord(character.swapcase())}
    return frozenset(found | {_OTHER} if character in _FOLDED_TO_OTHERS else found)


def _of_class(items: Any) -> _Set:
    found: set[int] = set()
    for op, about in items:
        match str(op):
            case "LITERAL":
                found |= _folded(about)
            case "RANGE":
                low, high = about
                found.update(*(_folded(code) for code in range(low, min(high, 128) + 1)))
                if high > 127:
                    found.add(_OTHER)
            case "CATEGORY":
                found |= _CATEGORIES.get(str(about), _FULL)
            case _:  # a negated class, and whatever else there may be
                return _negated(items)
    return frozenset(found)


def _negated(items: Any) -> _Set:
    """All that a negated class certainly keeps out left out; with categories in it, nothing is certain."""
    out: set[int] = set()
    for op, about in items:
        match str(op):
            case "LITERAL":
                out.add(about)
            case "RANGE":
                out.update(range(about[0], min(about[1], 127) + 1))
            case "CATEGORY" if (known := _CATEGORIES.get(str(about))) is not None:
                out |= known - {_OTHER}
    # A letter is out for certain only in both cases: where case does not count, the other case stands for it.
    return frozenset(code for code in _FULL if code == _OTHER or not {code, ord(chr(code).swapcase())} <= out)


def _ascii(pattern: str) -> _Set:
    return frozenset(code for code in range(128) if re.match(pattern, chr(code)))


_CATEGORIES: Final = {
    "CATEGORY_DIGIT": _ascii(r"\d") | {_OTHER},
    "CATEGORY_NOT_DIGIT": _ascii(r"\D") | {_OTHER},
    "CATEGORY_SPACE": _ascii(r"\s") | {_OTHER},
    "CATEGORY_NOT_SPACE": _ascii(r"\S") | {_OTHER},
    "CATEGORY_WORD": _ascii(r"\w") | {_OTHER},
    "CATEGORY_NOT_WORD": _ascii(r"\W") | {_OTHER},
}
