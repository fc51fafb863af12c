"""What is wrong with a configuration: collected, not raised one by one, so that a single run shows everything."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final, NamedTuple

from ...model.errors import ConfigError

SHOWN_MAX: Final = 100
"""Problems listed of one file; the rest is only counted."""

BY_API: Final = "api:"
"""How places begin that are in no file, but came by the admin API."""

_NAME_CHARS_MAX: Final = 60


class Place(NamedTuple):
    """Line and column, both counted from 1; of what is in no file, the JSON pointer to it."""

    line: int
    column: int
    pointer: str = ""

    def in_file(self, file: str) -> str:
        """Where that is, for people: `file:line`, or `api:/servers/docs`."""
        return f"{BY_API}{self.pointer}" if self.pointer else f"{file}:{self.line}"


class Problem(NamedTuple):
    """One thing to correct. The message never repeats a value that may be secret."""

    place: Place
    message: str


class Refused(Exception):
    """One value can't be used; whoever reads its neighbours notes it and goes on."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(place, message)


class Problems:
    """All problems of one file."""

    def __init__(self) -> None:
        self._found: set[Problem] = set()

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, place: Place, message: str) -> None:
        """Note a problem; the same one, met again through a YAML alias, counts once."""
        self._found.add(Problem(place, message))

    def error(self, file: str) -> ConfigError:
        """All of them, in the file's order."""
        found = sorted(self._found)
        lines = [f"{place.in_file(file)}{_column(place)}: {message}" for place, message in found]
        if len(lines) > SHOWN_MAX:
            lines[SHOWN_MAX:] = [f"{file}: {len(lines) - SHOWN_MAX} more problems"]
        return ConfigError(lines, [_pointed(file, *one) for one in found[:SHOWN_MAX]])


def _pointed(file: str, place: Place, message: str) -> tuple[str, str]:
    return place.pointer, message if place.pointer else f"{place.in_file(file)}{_column(place)}: {message}"


def _column(place: Place) -> str:
    return "" if place.pointer else f":{place.column}"


def quoted(name: str) -> str:
    """A name from the file, printable and short."""
    return repr(name if len(name) <= _NAME_CHARS_MAX else name[:_NAME_CHARS_MAX] + "…")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that this one was probably meant to be."""
    return next(iter(get_close_matches(name[:_NAME_CHARS_MAX], list(known), n=1)), None)


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Say that a name is not known, with the nearest one that is, else with all of them."""
    names = list(known)
    near = nearest(name, names)
    hint = f"did you mean {quoted(near)}?" if near is not None else f"known here: {', '.join(names[:40]) or 'none'}"
    return f"unknown {what} {quoted(name)}; {hint}"
