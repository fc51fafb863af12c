"""Patterns over the names of people and agents: `*` and `?` as everywhere in a configuration."""

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache

from ..model.principal import Principal


def matches(globs: Iterable[str], text: str) -> bool:
    """Whether one of the patterns matches all of a text."""
    return any(compiled(glob).match(text) is not None for glob in globs)


def acts(globs: Iterable[str], principal: Principal) -> bool:
    """Whether one of the patterns matches the agent that acts for a principal, or one behind it."""
    acting = principal.chain if principal.agent is None else (principal.agent, *principal.chain)
    return any(matches(globs, agent) for agent in acting)


@lru_cache(maxsize=4096)
def compiled(glob: str) -> re.Pattern[str]:
    """A pattern as a regular expression."""
    return re.compile(translate(glob))
