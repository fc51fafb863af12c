"""A logical tool as somebody sees it: those of its bound tools that they may use, and one definition for all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Raw

from ..model.config import Server
from ..model.logical import Bound, LogicalTool
from ..protocol.jsonrpc import raw, read_object
from .slices import Entry, Slice

_encode = msgspec.json.Encoder().encode
_DROPPED: Final = ("_meta", "icons", "execution", "annotations", "outputSchema")
"""What holds for one server's tool, and not for another's that stands in for it."""
_ALL: Final = ("readOnlyHint", "idempotentHint")
_ANY: Final = ("destructiveHint", "openWorldHint")


@dataclass(frozen=True, slots=True)
class Choice:
    """One bound tool that can be called: whose it is, and its own entry."""

    bound: Bound
    server: Server
    entry: Entry


@dataclass(frozen=True, slots=True)
class Logical:
    """A logical tool with what its callers may use of it, at least one, in the configured order."""

    tool: LogicalTool
    choices: tuple[Choice, ...]
    entry: Entry
    """How it is listed. It is no server's, so its alias is empty."""
    groups: tuple[tuple[int, ...], ...]
    """The places of the choices by their priority, those that go first first."""


Permits = Callable[[Server, Entry], bool]


def logical(tool: LogicalTool, slices: Mapping[str, Slice], permits: Permits) -> Logical | None:
    """A logical tool over slices by alias; None if nothing of it is there for whoever is asked about."""
    known: list[Choice] = []
    for bound in tool.bind:
        slice = slices.get(bound.alias)
        if slice is None:
            continue
        entry = next((entry for entry in slice.tools if entry.own == bound.own), None)
        if entry is not None:
            known.append(Choice(bound, slice.server, entry))
    choices = tuple([choice for choice in known if permits(choice.server, choice.entry)])
    if not choices:
        return None
    # The definition is made of all that are there: it must not tell who may use which of them.
    listed = _definition(tool, known)
    return Logical(tool, choices, Entry("", tool.name, tool.name, listed, listed), _groups(choices))


def _groups(choices: Sequence[Choice]) -> tuple[tuple[int, ...], ...]:
    priorities = sorted({choice.bound.priority for choice in choices})
    return tuple(
        tuple(place for place, choice in enumerate(choices) if choice.bound.priority == priority)
        for priority in priorities
    )


def _definition(tool: LogicalTool, known: Sequence[Choice]) -> bytes:
    plain = next((choice for choice in known if choice.bound.adapter is None), known[0])
    members: dict[str, Any] = dict(read_object(plain.entry.own_raw) or {})
    for name in _DROPPED:
        members.pop(name, None)
    members["name"] = raw(tool.name)
    if tool.title is not None:
        members["title"] = raw(tool.title)
    if tool.description is not None:
        members["description"] = raw(tool.description)
    definitions = [read_object(choice.entry.own_raw) or {} for choice in known]
    outputs = {bytes(one.get("outputSchema", b"")) for one in definitions}
    keeps = tool.strategy != "fanout" or bool(tool.fanout.merge.path)
    if keeps and len(outputs) == 1 and (output := outputs.pop()):
        members["outputSchema"] = Raw(output)
    if (annotations := _annotations(definitions)) is not None:
        members["annotations"] = annotations
    return _encode(members)


def _annotations(definitions: Sequence[Mapping[str, Raw]]) -> Raw | None:
    """What holds of all of them together: safe only as far as each is, and dangerous as soon as one is."""
    said = [read_object(one.get("annotations", Raw(b"{}"))) or {} for one in definitions]
    if not any(said):
        return None
    together = {}
    for name in _ALL:
        together[name] = all(one.get(name) == Raw(b"true") for one in said)
    for name in _ANY:
        together[name] = any(one.get(name) != Raw(b"false") for one in said)
    return raw(together)
