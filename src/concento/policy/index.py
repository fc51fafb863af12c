"""Which rules have a pattern for a name of one server: found, not scanned.

A rule that is about all of a server is about each of its names; a pattern without wildcards is found by the name; the
others are regular expressions, asked one by one only where all of them together say that one matches.
"""

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Final

from .globs import compiled

_NOTHING: Final = re.compile(r"(?!)")
_FEW: Final = 2
"""So many expressions are asked one by one at once."""


class Index:
    """The patterns of numbered rules, as far as they are about one server."""

    __slots__ = ("_all", "_any", "_by_name", "_globs")

    def __init__(self, alias: str, rules: Iterable[tuple[int, tuple[str, ...]]]) -> None:
        every: list[int] = []
        self._by_name: dict[str, tuple[int, ...]] = {}
        self._globs: list[tuple[int, re.Pattern[str]]] = []
        for number, patterns in rules:
            names = list(_names(patterns, alias))
            if "*" in names:
                every.append(number)
                continue
            for name in names:
                if not _is_glob(name):
                    self._by_name[name] = (*self._by_name.get(name, ()), number)
            globs = [translate(name) for name in names if _is_glob(name)]
            if globs:
                self._globs.append((number, re.compile("|".join(globs))))
        self._all = tuple(every)
        many = len(self._globs) > _FEW
        self._any = re.compile("|".join(glob.pattern for _, glob in self._globs)) if many else _NOTHING

    def about(self, own: str) -> Iterable[int]:
        """The rules that are about a name, each once, in their order."""
        named = self._by_name.get(own)
        globs = self._globs
        if not globs or (len(globs) > _FEW and self._any.match(own) is None):
            matched = []
        else:
            matched = [number for number, glob in globs if glob.match(own) is not None]
        if named is None and not matched:
            return self._all
        return sorted({*self._all, *(named or ()), *matched})


def _names(patterns: tuple[str, ...], alias: str) -> Iterable[str]:
    for pattern in patterns:
        server, dot, name = pattern.partition(".")
        if pattern == "*":
            yield "*"
        elif dot and (server == alias or (_is_glob(server) and compiled(server).match(alias))):
            yield name


def _is_glob(text: str) -> bool:
    return "*" in text or "?" in text or "[" in text
