"""Patterns over `server.name`, as views (and later policies) use them: `git.*`, `*.read_*`, `*`.

The server's own name is what follows the first dot; aliases have none. A pattern without a dot names a logical tool;
`*` alone is everything. Patterns with a literal alias are found by it, not scanned.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache


class _Index:
    """Some patterns, by alias."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._by_alias: dict[str, list[re.Pattern[str]]] = defaultdict(list)
        self._anywhere: list[tuple[re.Pattern[str], re.Pattern[str]]] = []
        self._bare: list[re.Pattern[str]] = []
        for pattern in patterns:
            if pattern == "*":
                self._anywhere.append((_compiled("*"), _compiled("*")))
                self._bare.append(_compiled("*"))
                continue
            alias, dot, name = pattern.partition(".")
            if not dot:
                self._bare.append(_compiled(pattern))
                continue
            if any(mark in alias for mark in "*?["):
                self._anywhere.append((_compiled(alias), _compiled(name)))
            else:
                self._by_alias[alias].append(_compiled(name))

    def matches(self, alias: str, name: str) -> bool:
        return any(pattern.match(name) for pattern in self._by_alias.get(alias, ())) or any(
            of_alias.match(alias) and of_name.match(name) for of_alias, of_name in self._anywhere
        )

    def names(self, logical: str) -> bool:
        return any(pattern.match(logical) for pattern in self._bare)

    def of(self, alias: str) -> list[re.Pattern[str]]:
        """The patterns for the names of one server."""
        return self._by_alias.get(alias, []) + [name for server, name in self._anywhere if server.match(alias)]


class Patterns:
    """What is included and not excluded."""

    def __init__(self, include: Iterable[str], exclude: Iterable[str] = ()) -> None:
        self._include = _Index(include)
        self._exclude = _Index(exclude)

    def matches(self, alias: str, own: str) -> bool:
        """Whether a server's tool, prompt or resource (by its own name or URI) is meant."""
        return self._include.matches(alias, own) and not self._exclude.matches(alias, own)

    def names(self, logical: str) -> bool:
        """Whether a logical tool is meant."""
        return self._include.names(logical) and not self._exclude.names(logical)

    def reaches(self, alias: str) -> bool:
        """Whether anything of a server can be meant, whatever it offers."""
        return bool(self._include.of(alias)) and _compiled("*") not in self._exclude.of(alias)


@lru_cache(maxsize=4096)
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))
