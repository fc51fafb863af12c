"""Logical tools, as configured: one public tool, and the tools of several servers that it is bound to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from .tenant import DEFAULT_TENANT

Strategy = Literal["failover", "balance", "split", "shadow", "fanout"]
"""`failover`: the first that can answer. `balance`: all take turns, and stand in for one another. `split`: each caller
has one of them, by weight. `shadow`: the first answers, and the others get a copy. `fanout`: all are asked at once."""

Sticky = Literal["subject", "tenant", "session"]
"""Whose calls all go to the same arm."""

MergeBy = Literal["concat", "union", "rank", "least", "most"]
"""What becomes of several lists: one after the other; each item once; each item once, by reciprocal rank fusion; the
item with the least or the most in a field."""


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
class ResultMap:
    """How a bound tool's result becomes the logical tool's: what is at `path`, with members renamed."""

    path: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The bound tool's name of a member, and the logical tool's."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A tool of a server's, by the server's alias and its own name there. `adapter`: None passes arguments on as they
    come."""

    alias: str
    own: str
    weight: int = 1
    priority: int = 1
    """Those with the least take turns; the others stand by."""
    adapter: Adapter | None = None
    result: ResultMap | None = None
    """None passes results on as they come."""


@dataclass(frozen=True, slots=True)
class Merge:
    """How the results of a fan-out become one. Paths are the names of members, from the outermost."""

    by: MergeBy = "concat"
    path: tuple[str, ...] = ()
    """Where in structured content the list is; () merges the content items instead."""
    key: tuple[str, ...] = ()
    """Where in an item is what makes it the same as another; for `least` and `most`, what is compared."""


@dataclass(frozen=True, slots=True)
class Fanout:
    """How a call of several servers at once is answered.

    `enough`: how many branches have to succeed before the others are cancelled; None waits for all. `fail`: whether a
    branch that fails, beyond those that are not needed, fails the whole (`closed`) or is told beside the rest (`open`).
    """

    enough: int | None = None
    fail: Literal["open", "closed"] = "open"
    branch_s: float | None = None
    """How long each may take; None: as long as its server's `timeout_s`."""
    merge: Merge = Merge()


@dataclass(frozen=True, slots=True)
class LogicalTool:
    """One public tool. Its schema is the first bound tool's, unless that has an adapter."""

    name: str
    bind: tuple[Bound, ...]
    strategy: Strategy = "failover"
    title: str | None = None
    description: str | None = None
    sticky: Sticky = "subject"
    """With `strategy: split`."""
    fanout: Fanout = Fanout()
    """With `strategy: fanout`."""
    repeatable: bool = False
    """Whether a call that may have run may be made again elsewhere."""
    capability: str | None = None
    """What it is for, in the words of those who need it."""
    tags: tuple[str, ...] = ()
    feedback: bool = False
    """Whether agents are offered to say if its results were of use."""
    tenant: str = DEFAULT_TENANT
    """Whose it is."""
    place: str = field(default="", compare=False)
    """Where it is configured, as file:line."""
