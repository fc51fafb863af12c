"""Logical tools, as configured: one public tool, and the tools of several servers that it is bound to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from .tenant import DEFAULT_TENANT

Strategy = Literal["failover", "balance"]
"""`failover`: the first that can answer. `balance`: all take turns, and stand in for one another."""


def _nothing() -> MappingProxyType[str, bytes]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Adapter:
    """How a caller's arguments become those of a bound tool. Values are JSON."""

    rename: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The caller's name of an argument, and the tool's."""
    default: Mapping[str, bytes] = field(default_factory=_nothing)
    """Arguments of the tool that the caller may leave out."""
    constant: Mapping[str, bytes] = field(default_factory=_nothing)
    """Arguments of the tool that are always these."""
    drop: frozenset[str] = frozenset()
    """The caller's arguments that the tool does not get."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A tool of a server's, by the server's alias and its own name there. `adapter`: None passes arguments on as they
    come."""

    alias: str
    own: str
    weight: int = 1
    adapter: Adapter | None = None


@dataclass(frozen=True, slots=True)
class LogicalTool:
    """One public tool. Its schema is the first bound tool's, unless that has an adapter."""

    name: str
    bind: tuple[Bound, ...]
    strategy: Strategy = "failover"
    title: str | None = None
    description: str | None = None
    repeatable: bool = False
    """Whether a call that may have run may be made again elsewhere."""
    tenant: str = DEFAULT_TENANT
    """Whose it is."""
