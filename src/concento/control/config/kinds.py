"""The kinds of values a key can have. Each knows how to read a node, its JSON Schema, and how to say what it accepts.

Reading refuses a value with what was expected; containers note that, leave the value out and read on.
A message says what kind of thing was found, never the text itself: it may be a secret.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar, cast

from .document import START, Entry, MappingNode, Node, ScalarNode, SequenceNode
from .problems import Place, Problems, Refused, nearest, quoted, unknown
from .references import References, Unresolved

Schema = dict[str, Any]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Reader(NamedTuple):
    """What reading needs beside the node."""

    problems: Problems
    references: References


class Kind(Protocol[T_co]):
    """A kind of value."""

    def read(self, node: Node, reader: Reader) -> T_co:
        """The value. Errors: Refused, if the node holds no such value."""
        ...

    def schema(self) -> Schema:
        """What JSON Schema can say of it."""
        ...

    def accepts(self) -> str:
        """What it accepts, for a reader: a noun phrase in Markdown."""
        ...


class Placed(NamedTuple, Generic[T]):
    """A value that later checks may have to point at."""

    value: T
    place: Place


# -- single values


@dataclass(frozen=True, slots=True)
class Text:
    """Text. `pattern` must match all of it, references resolved.

    `as_written`: numbers and booleans count too, as the text they are written as (`--port: 8080`, `DEBUG: yes`).
    """

    expected: str = "text"
    pattern: str = r"[^\x00]*"
    as_written: bool = False
    references: bool = False

    def read(self, node: Node, reader: Reader) -> str:
        """The text."""
        if not isinstance(node, ScalarNode) or not (
            isinstance(node.value, str) or (self.as_written and node.value is not None)
        ):
            raise Refused(node.place, f"expected {self.expected}, found {found(node)}")
        text = node.text
        if self.references:
            try:
                text = reader.references.resolve(text)
            except Unresolved as error:
                raise Refused(node.place, str(error)) from None
        elif "${env:" in text or "${file:" in text:
            raise Refused(node.place, "references are replaced in what servers are started or reached with, not here")
        if not re.fullmatch(self.pattern, text, re.DOTALL):
            raise Refused(node.place, f"expected {self.expected}")
        return text

    def schema(self) -> Schema:
        """Text; a pattern only where no reference can stand in for it."""
        schema: Schema = {"type": ["string", "number", "boolean"] if self.as_written else "string"}
        if not self.references and not self.as_written:
            schema["pattern"] = f"^(?:{self.pattern})$"
        return schema

    def accepts(self) -> str:
        """What text; where it may be a reference."""
        return f"{self.expected}; references are replaced" if self.references else self.expected


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """Text that stands for something else. `parse` raises ValueError with what it expects, without the text."""

    text: Text
    parse: Callable[[str], T]

    def read(self, node: Node, reader: Reader) -> T:
        """What the text stands for."""
        text = self.text.read(node, reader)
        try:
            return self.parse(text)
        except ValueError as error:
            raise Refused(node.place, str(error)) from None

    def schema(self) -> Schema:
        """As the text."""
        return self.text.schema()

    def accepts(self) -> str:
        """As the text."""
        return self.text.accepts()


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """One of a few words; `later` lists those that a future version will take."""

    words: tuple[T, ...]
    later: tuple[str, ...] = ()

    def read(self, node: Node, reader: Reader) -> T:
        """The word."""
        words = [str(word) for word in self.words]
        expected = f"expected one of {', '.join(words)}"
        if not isinstance(node, ScalarNode) or node.value is None:
            raise Refused(node.place, f"{expected}, found {found(node)}")
        for word in self.words:
            if word == node.text:
                return word
        if node.text in self.later:
            raise Refused(node.place, f"{quoted(node.text)} is not available in this version yet; {expected}")
        near = nearest(node.text, words)
        raise Refused(node.place, f"{expected}; did you mean {near!r}?" if near else expected)

    def schema(self) -> Schema:
        """The words."""
        return {"enum": list(self.words)}

    def accepts(self) -> str:
        """The words."""
        words = [f"`{word}`" for word in self.words]
        return f"{', '.join(words[:-1])} or {words[-1]}"


@dataclass(frozen=True, slots=True)
class Number:
    """A number from `low` to `high`; `above` leaves `low` itself out."""

    low: float
    high: float
    above: bool = False

    def read(self, node: Node, reader: Reader) -> float:
        """The number."""
        number = _number(node, (int, float), self.accepts())
        if not (self.low <= number <= self.high) or (self.above and number == self.low):
            raise Refused(node.place, f"expected {self.accepts()}, found {number:g}")
        return float(number)

    def schema(self) -> Schema:
        """Its bounds."""
        return {"type": "number", "exclusiveMinimum" if self.above else "minimum": self.low, "maximum": self.high}

    def accepts(self) -> str:
        """Its bounds."""
        words = ("above", "and up to") if self.above else ("from", "to")
        return f"a number {words[0]} {self.low:g} {words[1]} {self.high:g}"


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def read(self, node: Node, reader: Reader) -> int:
        """The number."""
        number = _number(node, (int,), self.accepts())
        if not self.low <= number <= self.high:
            raise Refused(node.place, f"expected {self.accepts()}, found {number}")
        return int(number)

    def schema(self) -> Schema:
        """Its bounds."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}

    def accepts(self) -> str:
        """Its bounds."""
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def read(self, node: Node, reader: Reader) -> bool:
        """Which of them."""
        if isinstance(node, ScalarNode) and isinstance(node.value, bool):
            return node.value
        text = node.text.lower() if isinstance(node, ScalarNode) else ""
        meant = "; write true" if text in ("yes", "on") else "; write false" if text in ("no", "off") else ""
        raise Refused(node.place, f"expected true or false, found {found(node)}{meant}")

    def schema(self) -> Schema:
        """Which of them."""
        return {"type": "boolean"}

    def accepts(self) -> str:
        """Which of them."""
        return "`true` or `false`"


OFF: Final = frozenset(("off", "Off", "OFF", "false", "False", "FALSE"))


@dataclass(frozen=True, slots=True)
class OrOff(Generic[T]):
    """Another kind, or `off` (None when read)."""

    kind: Kind[T]

    def read(self, node: Node, reader: Reader) -> T | None:
        """The value, or None for off."""
        if isinstance(node, ScalarNode) and node.text in OFF:
            return None
        return self.kind.read(node, reader)

    def schema(self) -> Schema:
        """Either."""
        return {"anyOf": [{"enum": ["off", False]}, self.kind.schema()]}

    def accepts(self) -> str:
        """Either."""
        other = self.kind.accepts()
        return other if re.search(r"\boff\b", other) else f"`off`, or {other}"


@dataclass(frozen=True, slots=True)
class OrWord:
    """A mapping with fixed keys, or the value of one of them alone: `sandbox: bubblewrap`."""

    key: "Key[Any]"
    keys: "Keys"

    def read(self, node: Node, reader: Reader) -> "Table":
        """The mapping, or one with this key alone."""
        if isinstance(node, ScalarNode) and node.value is not None:
            self.key.kind.read(node, reader)  # here, so that a wrong word is not read as a mapping that lacks it
            node = MappingNode(node.place, {self.key.name: Entry(node.place, node)})
        return self.keys.read(node, reader)

    def schema(self) -> Schema:
        """Either."""
        return {"anyOf": [self.key.kind.schema(), self.keys.schema()]}

    def accepts(self) -> str:
        """Either."""
        return f"{self.key.kind.accepts()} alone, or {self.keys.accepts()}"


@dataclass(frozen=True, slots=True)
class WithPlace(Generic[T]):
    """Another kind, its place kept."""

    kind: Kind[T]

    def read(self, node: Node, reader: Reader) -> Placed[T]:
        """The value and where it stands."""
        return Placed(self.kind.read(node, reader), node.place)

    def schema(self) -> Schema:
        """As the other kind."""
        return self.kind.schema()

    def accepts(self) -> str:
        """As the other kind."""
        return self.kind.accepts()


# -- containers


@dataclass(frozen=True, slots=True)
class Items(Generic[T]):
    """A list of at least `least` values of one kind."""

    kind: Kind[T]
    expected: str
    least: int = 1

    def read(self, node: Node, reader: Reader) -> tuple[T, ...]:
        """Those values that can be used."""
        if not isinstance(node, SequenceNode):
            raise Refused(node.place, f"expected a list, {self.expected}; found {found(node)}")
        if len(node.items) < self.least:
            raise Refused(node.place, f"expected a list, {self.expected}, with at least {self.least} in it")
        values = []
        for item in node.items:
            try:
                values.append(self.kind.read(item, reader))
            except Refused as refused:
                reader.problems.add(*refused.problem)
        return tuple(values)

    def schema(self) -> Schema:
        """Its items."""
        return {"type": "array", "items": self.kind.schema(), "minItems": self.least}

    def accepts(self) -> str:
        """What its items are."""
        return f"a list; each item {self.kind.accepts()}"


@dataclass(frozen=True, slots=True)
class Entries(Generic[T]):
    """A mapping from names the user chooses to values of one kind, each placed at its name."""

    kind: Kind[T]
    what: str
    pattern: str
    expected: str

    def read(self, node: Node, reader: Reader) -> dict[str, Placed[T]]:
        """Those entries that can be used."""
        entries: dict[str, Placed[T]] = {}
        for name, (place, child) in _mapping(node, f", each key a {self.what}").entries.items():
            if not re.fullmatch(self.pattern, name):
                reader.problems.add(place, f"{quoted(name)} can't be a {self.what}; expected {self.expected}")
            try:
                entries[name] = Placed(self.kind.read(child, reader), place)
            except Refused as refused:
                reader.problems.add(*refused.problem)
        return entries

    def schema(self) -> Schema:
        """Its names and values."""
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{self.pattern})$"},
            "additionalProperties": self.kind.schema(),
        }

    def accepts(self) -> str:
        """Its names and values."""
        return f"a mapping; each key a {self.what} ({self.expected}), each value {self.kind.accepts()}"


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """One key of the configuration: everything there is to say about it, to the checker and in the docs.

    `example`: the value in YAML, without the key.
    """

    name: str
    kind: Kind[T]
    doc: str
    default: T | None = None
    required: bool = False
    example: str = ""


class Table:
    """The checked values of a mapping with fixed keys. A value that was refused reads as absent, but counts as given.

    `is_misspelt`: a key was unknown, so that another may only seem to be missing.
    """

    def __init__(self, node: MappingNode, values: Mapping[str, object], *, is_misspelt: bool = False) -> None:
        self.place = node.place
        self.is_misspelt = is_misspelt
        self._entries = node.entries
        self._values = values

    def __getitem__(self, key: Key[T]) -> T:
        """The value of a key that has a default, or the default."""
        return cast(T, self._values.get(key.name, key.default))

    def get(self, key: Key[T]) -> T | None:
        """The value of a key, if there is one."""
        return cast(T | None, self._values.get(key.name))

    def given(self, *keys: Key[Any]) -> list[Key[Any]]:
        """Those of the keys that the file has, even with a value that was refused."""
        return [key for key in keys if key.name in self._entries]

    def place_of(self, key: Key[Any]) -> Place:
        """Where the key stands; the mapping's own place if it doesn't."""
        entry = self._entries.get(key.name)
        return self.place if entry is None else entry.place

    def written(self, key: Key[Any]) -> list[str]:
        """A key's texts as the file has them; safe to show where resolved text is not."""
        entry = self._entries.get(key.name)
        if entry is None:
            return []
        items = entry.node.items if isinstance(entry.node, SequenceNode) else (entry.node,)
        return [item.text for item in items if isinstance(item, ScalarNode)]


EMPTY: Final = Table(MappingNode(START, {}), {})
"""What a mapping that the file leaves out reads as: defaults only."""


class Keys:
    """A mapping with fixed keys. `later` are those that a future version will take: ignoring them could be unsafe."""

    def __init__(self, what: str, *keys: Key[Any], later: tuple[str, ...] = ()) -> None:
        self.what = what
        self.keys = {key.name: key for key in keys}
        self.later = later

    def read(self, node: Node, reader: Reader) -> Table:
        """The values of those keys that have one."""
        values: dict[str, object] = {}
        mapping = _mapping(node, f" with the keys of {self.what}")
        is_misspelt = False
        for name, (place, child) in mapping.entries.items():
            key = self.keys.get(name)
            if key is None:
                is_misspelt = True
                reader.problems.add(place, self._objection(name))
                continue
            try:
                values[name] = key.kind.read(child, reader)
            except Refused as refused:
                reader.problems.add(*refused.problem)
        for key in self.keys.values():
            if key.required and key.name not in mapping.entries and not is_misspelt:
                reader.problems.add(node.place, f"{self.what} needs the key '{key.name}'")
        return Table(mapping, values, is_misspelt=is_misspelt)

    def _objection(self, name: str) -> str:
        if name in self.later:
            return f"the key {quoted(name)} is not available in this version yet; remove it"
        return unknown("key", name, self.keys)

    def schema(self) -> Schema:
        """Its keys, with their defaults and what they are for."""
        schema: Schema = {"type": "object", "additionalProperties": False, "properties": {}}
        for key in self.keys.values():
            described = {**key.kind.schema(), "description": key.doc}
            if key.default is not None:
                described["default"] = _as_json(key.default)
            schema["properties"][key.name] = described
        if required := [key.name for key in self.keys.values() if key.required]:
            schema["required"] = required
        return schema

    def accepts(self) -> str:
        """That it is a mapping; its keys are told one by one."""
        return "a mapping"


# -- shared by the kinds


def found(node: Node) -> str:
    """What kind of thing stands there."""
    match node:
        case SequenceNode():
            return "a list"
        case MappingNode():
            return "a mapping"
        case ScalarNode(value=None):
            return "nothing"
        case ScalarNode(value=bool()):
            return node.text
        case ScalarNode(value=int() | float()):
            return "a number"
        case _:
            return "text"


def _mapping(node: Node, purpose: str) -> MappingNode:
    if isinstance(node, MappingNode):
        return node
    hint = "; write {} for an empty one" if isinstance(node, ScalarNode) and node.value is None else ""
    raise Refused(node.place, f"expected a mapping{purpose}, found {found(node)}{hint}")


def _number(node: Node, types: tuple[type[int] | type[float], ...], expected: str) -> int | float:
    if isinstance(node, ScalarNode):
        value = node.value
        if isinstance(value, types) and not isinstance(value, bool) and math.isfinite(value):
            return value
    raise Refused(node.place, f"expected {expected}, found {found(node)}")


def _as_json(value: object) -> object:
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    return value if isinstance(value, str | int | float) else str(value)
