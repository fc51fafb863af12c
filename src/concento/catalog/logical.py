"""A logical tool as somebody sees it: those of its bound tools that they may use, and one definition for all."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Raw

from ..model.config import Server
from ..model.logical import Adapter, Bound, LogicalTool
from ..protocol.jsonrpc import raw, read_object
from .slices import Entry, Slice, purpose_of

_encode = msgspec.json.Encoder().encode
_DROPPED: Final = ("_meta", "icons", "execution", "annotations", "outputSchema")
"""What holds for one server's tool, and not for another's that stands in for it."""
_NAMED_MAX: Final = 5
_NEAREST_OF_MAX: Final = 5000
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
    weights: tuple[int, ...]


Permits = Callable[[Server, Entry], bool]


def logical(
    tool: LogicalTool, slices: Mapping[str, Slice], permits: Permits, is_shared: Permits = lambda server, entry: True
) -> Logical | None:
    """A logical tool over slices by alias; None if nothing of it is there for whoever is asked about.

    `is_shared`: whether a tool is their tenant's, or shared with it: of others not even the definition is told.
    """
    known = [choice for choice in _known(tool, slices)[0] if is_shared(choice.server, choice.entry)]
    choices = tuple([choice for choice in known if permits(choice.server, choice.entry)])
    if not choices:
        return None
    # The definition is made of all that are there: it must not tell who may use which of them.
    listed = _definition(tool, known)
    weights = tuple([choice.bound.weight for choice in choices])
    entry = Entry("", tool.name, tool.name, listed, listed, purpose=purpose_of(tool.capability, tool.tags))
    return Logical(tool, choices, entry, _groups(choices), weights)


def misfits(tool: LogicalTool, slices: Mapping[str, Slice]) -> list[str]:
    """What does not go together, for the operator: what is bound and left out, arms that take other arguments than
    callers know, lists to merge that nobody returns."""
    fitting, notes = _known(tool, slices)
    return [*notes, *_discords(tool, fitting), *_fruitless(tool, fitting)]


def _discords(tool: LogicalTool, fitting: Sequence[Choice]) -> Iterator[str]:
    """Arms of an experiment whose arguments differ from those that are listed, without anything said of that."""
    plain = [choice for choice in fitting if choice.bound.adapter is None]
    if tool.strategy not in ("split", "shadow") or len(plain) < 2:
        return
    listed = set(_schema(plain[0].entry).properties)
    for choice in plain[1:]:
        own = set(_schema(choice.entry).properties)
        if own != listed:
            more = [f"lacks {name!r}" for name in sorted(listed - own)]
            more += [f"has {name!r}" for name in sorted(own - listed)]
            name = f"{choice.bound.alias}.{choice.bound.own}"
            told = ", ".join(more[:_NAMED_MAX])
            yield f"tries {name}, whose arguments differ: it {told}; say in its `arguments` what becomes of them"


def _fruitless(tool: LogicalTool, fitting: Sequence[Choice]) -> Iterator[str]:
    """Bound tools whose schema has no list where results are to be merged."""
    path = tool.fanout.merge.path
    if tool.strategy != "fanout" or not path:
        return
    for choice in fitting:
        name = f"{choice.bound.alias}.{choice.bound.own}"
        if choice.bound.result is None and (lack := _lacks_list(choice.entry, path)) is not None:
            yield f"merges nothing of {name}: its output schema has {lack}; map its `result`, or merge another `path`"


def _lacks_list(entry: Entry, path: Sequence[str]) -> str | None:
    """What an output schema has instead of a list at a path, if it says plainly; None if it has one or says nothing."""
    try:
        node = msgspec.json.decode(entry.own_raw, type=_Output).outputSchema
    except (msgspec.DecodeError, RecursionError):
        return None
    for depth, name in enumerate(path, start=1):
        properties = node.get("properties") if isinstance(node, dict) else None
        if not isinstance(properties, dict) or node.get("additionalProperties", False) or "$ref" in node:
            return None
        if name not in properties:
            return f"no {'.'.join(path[:depth])!r}"
        node = properties[name]
    kind = node.get("type") if isinstance(node, dict) else None
    return (
        f"no list at {'.'.join(path)!r}, but the type {kind!r}" if isinstance(kind, str) and kind != "array" else None
    )


def _known(tool: LogicalTool, slices: Mapping[str, Slice]) -> tuple[list[Choice], list[str]]:
    """The bound tools that are there and can be called with what callers say; and why the others can't."""
    there: list[Choice] = []
    notes: list[str] = []
    for bound in tool.bind:
        slice = slices.get(bound.alias)
        if slice is None or slice.inventory is None:
            continue
        entry = next((entry for entry in slice.tools if entry.own == bound.own), None)
        if entry is not None:
            there.append(Choice(bound, slice.server, entry))
            continue
        if any(held.entry.own == bound.own for held in slice.held):
            notes.append(f"leaves out {bound.alias}.{bound.own}, which is held back until it is approved")
            continue
        near = difflib.get_close_matches(bound.own, [entry.own for entry in slice.tools][:_NEAREST_OF_MAX], 1)
        hint = f"; did you mean {bound.alias}.{near[0]}?" if near else ""
        notes.append(f"leaves out {bound.alias}.{bound.own}, which the server does not offer{hint}")
    given = next((choice for choice in there if choice.bound.adapter is None), None)
    fitting = []
    for choice in there:
        lacks = [] if given is None or choice is given else _lacking(given.entry, choice)
        if lacks:
            told = ", ".join(map(repr, lacks[:_NAMED_MAX]))
            remedy = "rename one of its arguments, or give a `default` or `constant`, in `arguments`"
            notes.append(f"leaves out {choice.bound.alias}.{choice.bound.own}: nothing becomes its {told}; {remedy}")
        else:
            fitting.append(choice)
    return fitting, notes


def _lacking(given: Entry, choice: Choice) -> list[str]:
    """The arguments that a bound tool has to have, and that nothing a caller can say becomes."""
    adapter = choice.bound.adapter or Adapter()
    said = set(_schema(given).properties)
    made = {adapter.rename.get(name, name) for name in said - adapter.drop} | {*adapter.default, *adapter.constant}
    return [name for name in _schema(choice.entry).required if name not in made]


class _Schema(msgspec.Struct):
    properties: dict[str, Raw] = {}
    required: list[str] = []


class _Tool(msgspec.Struct):
    inputSchema: _Schema = msgspec.field(default_factory=_Schema)


class _Output(msgspec.Struct):
    outputSchema: Any = None


_decode = msgspec.json.Decoder(_Tool).decode


def _schema(entry: Entry) -> _Schema:
    """What a tool's schema says plainly of its arguments. One that can't be read says nothing."""
    try:
        return _decode(entry.own_raw).inputSchema
    except (msgspec.DecodeError, RecursionError):
        return _Schema()


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
    plainly = [read_object(choice.entry.own_raw) or {} for choice in known if choice.bound.result is None]
    outputs = {bytes(one.get("outputSchema", b"")) for one in plainly}
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
