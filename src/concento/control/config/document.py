"""YAML text as nodes that know their place. JSON with comments and trailing commas is read the same way.

Built from PyYAML's events rather than its composer: that keeps every key (so that a duplicate is seen), reads words as
YAML 1.2 does (`no` is text), and bounds depth and size before they cost anything. An alias shares the node of its
anchor, and counts as often as it is used. Tags are refused; `<<` merges.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import yaml

from .problems import Place, Problems, Refused, quoted

DEPTH_MAX: Final = 32
"""Deepest nesting of a configuration."""

NODES_MAX: Final = 100_000
"""Most values in one configuration, those repeated by aliases included."""


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A single value: the `text` as written, and the `value` YAML sees in it."""

    place: Place
    text: str
    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A list."""

    place: Place
    items: "tuple[Node, ...]"


class Entry(NamedTuple):
    """A value of a mapping, and the place of its key."""

    place: Place
    node: "Node"


@dataclass(frozen=True, slots=True)
class MappingNode:
    """A mapping; keys are the text they are written as."""

    place: Place
    entries: dict[str, Entry]


Node = ScalarNode | SequenceNode | MappingNode

START: Final = Place(1, 1)


_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml if PyYAML was built with it: ten times as fast."""


def parse(text: str, problems: Problems, loader: type = _LOADER) -> Node | None:
    """The document's root; None if nothing can be made of the text. Problems are noted, the first of two keys kept."""
    if unprintable := _UNPRINTABLE.search(text):
        problems.add(_place_of(text, unprintable.start()), f"a character that YAML forbids, {unprintable[0]!a}")
        return None
    try:
        return _Composer(yaml.parse(text, Loader=loader), problems).document()
    except Refused as refused:
        problems.add(*refused.problem)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = START if mark is None else Place(mark.line + 1, mark.column + 1)
        problems.add(place, _syntax_message(error, text, place))
    except (yaml.YAMLError, ValueError, OverflowError):
        problems.add(START, "this is not YAML")  # the pure-Python scanner lets ValueErrors out of odd escapes
    return None


class _Composer:
    """Takes events, gives nodes."""

    def __init__(self, events: Iterator[yaml.Event], problems: Problems) -> None:
        self._events = events
        self._problems = problems
        self._anchors: dict[str, tuple[Node | None, int]] = {}
        """Node and size of each anchor; no node while it is still being read."""
        self._nodes = 0

    def document(self) -> Node | None:
        next(self._events)  # the stream starts
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        root = self._node(next(self._events), 0)
        next(self._events)  # the document ends
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise Refused(_place(after), "a second document starts here; a configuration is one document")
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        place = _place(event)
        if depth > DEPTH_MAX:
            raise Refused(place, f"nested deeper than {DEPTH_MAX} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), place)
        self._count(1, place)
        before, anchor = self._nodes, getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = (None, 0)
        node: Node
        if isinstance(event, yaml.MappingStartEvent):
            _refuse_tag(event.tag, "map", place)
            node = self._mapping(place, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            _refuse_tag(event.tag, "seq", place)
            items = []
            while not isinstance(following := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(following, depth + 1))
            node = SequenceNode(place, tuple(items))
        else:
            assert isinstance(event, yaml.ScalarEvent)
            _refuse_tag(event.tag, "str", place)
            node = ScalarNode(place, event.value, plain_value(event.value) if event.implicit[0] else event.value)
        if anchor is not None:
            self._anchors[anchor] = (node, self._nodes - before + 1)
        return node

    def _mapping(self, place: Place, depth: int) -> MappingNode:
        entries: dict[str, Entry] = {}
        merged: list[MappingNode] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            key_place = _place(event)
            if not isinstance(key, ScalarNode):
                raise Refused(key_place, "a key must be plain text; quote text that starts with { or [")
            if key.text == "<<":
                merged += _mergeable(value)
            elif key.text in entries:
                first = entries[key.text].place
                self._problems.add(key_place, f"duplicate key {quoted(key.text)}; it is on line {first.line} already")
            else:
                entries[key.text] = Entry(key_place, value)
        for mapping in merged:
            self._count(len(mapping.entries), place)
            entries = {**mapping.entries, **entries}
        return MappingNode(place, entries)

    def _alias(self, anchor: str, place: Place) -> Node:
        node, size = self._anchors.get(anchor, (None, -1))
        if node is None:
            reason = "is used inside itself" if size == 0 else "has no anchor before it; quote text that starts with *"
            raise Refused(place, f"the alias {quoted('*' + anchor)} {reason}")
        self._count(size, place)
        return node

    def _count(self, nodes: int, place: Place) -> None:
        self._nodes += nodes
        if self._nodes > NODES_MAX:
            raise Refused(place, f"more than {NODES_MAX} values, counting those that aliases repeat")


_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLS: Final = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")


def plain_value(text: str) -> str | int | float | bool | None:
    """What YAML 1.2 sees in unquoted text."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _mergeable(value: Node) -> list[MappingNode]:
    """The mappings that a `<<` names; where two have a key, the first has the say."""
    parts = list(value.items) if isinstance(value, SequenceNode) else [value]
    mappings = [part for part in parts if isinstance(part, MappingNode)]
    if len(mappings) < len(parts):
        raise Refused(value.place, "<< merges mappings only, such as: <<: *base")
    return mappings


def _refuse_tag(tag: str | None, own: str, place: Place) -> None:
    if tag not in (None, "!", f"tag:yaml.org,2002:{own}"):
        raise Refused(place, f"the tag {quoted(tag)} means nothing here; leave it out")


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    return START if mark is None else Place(mark.line + 1, mark.column + 1)


def _place_of(text: str, offset: int) -> Place:
    return Place(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def _syntax_message(error: yaml.MarkedYAMLError, text: str, place: Place) -> str:
    """PyYAML's complaint, which quotes a character of the file at most, and the usual reason for it."""
    said = error.problem or error.context or "it can't be read"
    lines = text.split("\n")
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    hint = ""
    if line[place.column - 1 : place.column] == "\t" or "\t" in line[: len(line) - len(line.lstrip())]:
        hint = "; indent with spaces, not tabs"
    elif "${" in line:
        hint = '; quote a reference: "${env:NAME}"'
    elif "alias" in f"{error.context}":
        hint = '; quote text that starts with *: "*"'
    elif "mapping values" in said:
        hint = "; indent the keys of one mapping alike, and quote text that has a colon and a space in it"
    return f"this is not YAML: {said}{hint}"


# -- JSON

_JSON_TOKEN = re.compile(
    r""""(?:[^"\\\n]|\\.)*" | '(?:[^'\n]|'')*' | (?<![^\s,\[\]{}"]) (?: //[^\n]* | /\*.*?\*/ )""",
    re.DOTALL | re.VERBOSE,
)
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def json_as_yaml(text: str) -> str:
    """The same text as YAML takes it, each token on its line: comments blanked, surrogate pairs made one character."""
    return _JSON_TOKEN.sub(_json_token, text)


def _json_token(match: re.Match[str]) -> str:
    token = match[0]
    if token.startswith("/"):
        return re.sub(r"[^\n]", " ", token)
    return _SURROGATES.sub(_joined, token) if token.startswith('"') else token


def _joined(match: re.Match[str]) -> str:
    code = 0x10000 + ((int(match[2], 16) - 0xD800) << 10) + (int(match[3], 16) - 0xDC00)
    return f"{match[1]}\\U{code:08x}"
