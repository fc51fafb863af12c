"""Where in a call's arguments a condition looks: `filter.owner`, `ids[0]`, `files[*].path`.

Servers read more leniently than JSON is written: some take `Branch` for `branch`, some a single value for a list of
one. What a path might mean to such a server is not missing, but unsure.
"""

import re
from typing import Any, Final

from .values import MISSING, UNSURE

Path = tuple[str | int | None, ...]
"""The steps: a member's name, a place in a list, or None for each item of a list."""

PATH_CHARS_MAX: Final = 256
FOUND_MAX: Final = 10_000
"""Values that a path may find; more can't be judged."""

_NAME, _PLACE = r"[^.\[\]]+", r"\[(?:\*|\d{1,6})\]"
_PATH = re.compile(rf"(?:{_NAME}|{_PLACE})(?:\.{_NAME}|{_PLACE})*")
_STEP = re.compile(rf"{_NAME}|{_PLACE}")


def parse_path(path: str) -> Path:
    """The steps of a path. Errors: ValueError."""
    if len(path) > PATH_CHARS_MAX or _PATH.fullmatch(path) is None:
        raise ValueError("expected a path such as filter.owner, items[*].path or ids[0]")
    return tuple(_step(text) for text in _STEP.findall(path))


def _step(text: str) -> str | int | None:
    if not text.startswith("["):
        return text
    return None if text == "[*]" else int(text[1:-1])


def find(value: Any, path: Path) -> list[Any] | None:
    """All that a path leads to, at least one: what is missing is found as such. None if that is too much."""
    found: list[Any] = []
    if not _gather(value, path, 0, found):
        return None
    return found or [MISSING]


def _gather(value: Any, path: Path, place: int, found: list[Any]) -> bool:
    for at in range(place, len(path)):
        step = path[at]
        if value is MISSING or value is None or value is UNSURE:
            value = UNSURE if value is UNSURE else MISSING
            break
        if step is None:
            if not isinstance(value, list):
                value = UNSURE
                break
            return all(len(found) < FOUND_MAX and _gather(one, path, at + 1, found) for one in value)
        if isinstance(step, str):
            value = _member(value, step) if isinstance(value, dict) else UNSURE
        elif isinstance(value, list):
            value = value[step] if step < len(value) else MISSING
        else:
            value = UNSURE
    found.append(value)
    return True


def _member(value: dict[str, Any], name: str) -> Any:
    """A member; unsure if there is one that a parser which ignores case takes for it."""
    got = value.get(name, MISSING)
    if got is not MISSING and len(value) == 1:
        return got
    folded = name.casefold()
    for key in value:
        if key != name and key.casefold() == folded:
            return UNSURE
    return got
