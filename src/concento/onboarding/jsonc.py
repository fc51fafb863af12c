"""JSON as people keep it, comments and trailing commas included, with the span of every object in the text: so that
one object can be changed and all else stays as it was written, byte for byte.

It reads leniently and never repairs: what it does not understand is refused with line and column.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

TEXT_BYTES_MAX: Final = 32 * 1024 * 1024
"""Largest file of a client that is read: some keep their history beside their settings."""

DEPTH_MAX: Final = 200

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\ufeff]+) | (?P<comment>//[^\n]*|/\*.*?\*/) | (?P<text>"(?:[^"\\\n]|\\[^\n])*")
    | (?P<mark>[{}\[\]:,]) | (?P<word>[^\s{}\[\]:,"/]+)""",
    re.DOTALL | re.VERBOSE,
)


class NotJson(ValueError):
    """The text can't be read; the message has line and column, and no content."""


@dataclass(frozen=True, slots=True)
class Member:
    """One `"key": value`, from `start` to `end`; `comma` is where the comma after it ends, or None."""

    key: str
    start: int
    end: int
    comma: int | None
    value: "Value"


@dataclass(frozen=True, slots=True)
class Value:
    """Where a value stands; for an object its members, for any other value none."""

    start: int
    end: int
    members: tuple[Member, ...] | None = None

    def member(self, key: str) -> Member | None:
        """The member of that name: the last one, which is what JSON readers take."""
        return next((one for one in reversed(self.members or ()) if one.key == key), None)

    def at(self, path: tuple[str, ...]) -> "Value | None":
        """The value at a path of keys."""
        value: Value | None = self
        for key in path:
            member = value.member(key) if value is not None else None
            value = None if member is None else member.value
        return value


def scan(text: str) -> Value:
    """Where everything stands. Errors: NotJson."""
    if "\0" in text:
        raise NotJson("1:1: this is not JSON: it has a NUL character; is it UTF-16? Save it as UTF-8")
    reader = _Reader(text)
    root = reader.value(0)
    if reader.kind != "end":
        raise reader.refused("something stands after the end")
    return root


def plain(text: str) -> object:
    """The text as plain values. Errors: NotJson."""
    scan(text)
    tokens = [(match.lastgroup, match[0]) for match in _TOKEN.finditer(text)]
    kept = [token for kind, token in tokens if kind not in ("space", "comment")]
    strict = [
        token for token, after in zip(kept, [*kept[1:], ""], strict=True) if not (token == "," and after in ("}", "]"))
    ]
    try:
        return json.loads(" ".join(strict), strict=False)
    except (ValueError, RecursionError):
        raise NotJson("this is not JSON") from None


def replaced(text: str, section: Value, without: frozenset[str], add: Mapping[str, object]) -> str:
    """The text with members of one object taken out and others put at its head.

    Comments stay, those beside a member that goes too; indentation and line ends are those of the object.
    """
    assert section.members is not None
    style = _style(text, section)
    head = [_written(key, value, style) for key, value in add.items()]
    kept = [member for member in section.members if member.key not in without and member.key not in add]
    trailing = bool(section.members) and section.members[-1].comma is not None
    parts = ["{"]
    for number, new in enumerate(head):
        more = number + 1 < len(head) or bool(kept) or trailing
        parts.append(f"{style.before}{new}{',' if more else ''}")
    position = section.start + 1
    for member in section.members:
        lead = text[position : member.start]
        after = member.end if member.comma is None else member.comma
        position = after
        if member not in kept:
            parts.append(_comments(lead))
            parts.append(_comments(text[member.end : after]))
            continue
        parts.append(lead)
        is_last = member is kept[-1]
        if member.comma is None or (is_last and not trailing):
            parts.append(text[member.start : member.end])
            parts.append("" if is_last else ",")
            parts.append(_comments(text[member.end : after]))
        else:
            parts.append(text[member.start : after])
    tail = text[position : section.end - 1]
    closing = tail if "\n" in tail or not style.newline else f"{tail.rstrip(' ')}{style.newline}{style.outer}"
    parts.append(closing if head or kept or _comments(tail) else "")
    changed = re.sub(r"\0(\r?\n|$)?", lambda match: match[1] or "\n", "".join(parts) + "}")
    return text[: section.start] + changed + text[section.end :]


# -- reading


class _Reader:
    """Takes tokens, gives values with their places."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._significant()
        self.kind, self.token, self.start, self.end = "end", "", 0, 0
        self._next()

    def _significant(self) -> Iterator[tuple[str, str, int, int]]:
        position = 0
        while match := _TOKEN.match(self._text, position):
            position = match.end()
            if match.lastgroup not in ("space", "comment"):
                yield str(match.lastgroup), match[0], match.start(), match.end()
        if position < len(self._text):
            yield "stray", "", position, position + 1

    def _next(self) -> None:
        end = len(self._text)
        self.kind, self.token, self.start, self.end = next(self._tokens, ("end", "", end, end))

    def refused(self, why: str) -> NotJson:
        """What is wrong, and where."""
        line = self._text.count("\n", 0, self.start) + 1
        column = self.start - self._text.rfind("\n", 0, self.start)
        return NotJson(f"{line}:{column}: this is not JSON: {why}")

    def value(self, depth: int) -> Value:
        """The value that begins here."""
        start, end = self.start, self.end
        if depth > DEPTH_MAX:
            raise self.refused(f"nested deeper than {DEPTH_MAX} levels")
        if self.kind in ("text", "word"):
            if self.kind == "word" and not _WORD.fullmatch(self.token):
                raise self.refused("text needs double quotes")
            self._next()
            return Value(start, end)
        if self.token == "{":
            return self._object(depth)
        if self.token != "[":
            raise self.refused("a value is missing" if self.kind in ("end", "mark") else "an unexpected character")
        self._next()
        while self.token != "]":
            self.value(depth + 1)
            if self.token == ",":
                self._next()
            elif self.token != "]":
                raise self.refused("a comma or ] is missing")
        end = self.end
        self._next()
        return Value(start, end)

    def _object(self, depth: int) -> Value:
        start, members = self.start, list[Member]()
        self._next()
        while self.token != "}":
            if self.kind != "text":
                raise self.refused("a key in double quotes or } is missing")
            key_start, key = self.start, self.token
            self._next()
            if self.token != ":":
                raise self.refused("a colon is missing after the key")
            self._next()
            value = self.value(depth + 1)
            comma = self.end if self.token == "," else None
            members.append(Member(self._decoded(key), key_start, value.end, comma, value))
            if comma is not None:
                self._next()
            elif self.token != "}":
                raise self.refused("a comma or } is missing")
        end = self.end
        self._next()
        return Value(start, end, tuple(members))

    def _decoded(self, token: str) -> str:
        try:
            return str(json.loads(token, strict=False))
        except ValueError:
            raise self.refused("a key has an unknown escape before here") from None


_WORD = re.compile(r"true|false|null|-?[0-9][0-9.eE+-]*")


# -- writing


@dataclass(frozen=True, slots=True)
class _Style:
    newline: str
    """Empty where the object stands on one line."""
    outer: str
    """What stands before the object's line, and therefore before its closing brace."""
    unit: str

    @property
    def before(self) -> str:
        """What stands before a member."""
        return f"{self.newline}{self.outer}{self.unit}" if self.newline else ""


def _style(text: str, section: Value) -> _Style:
    inside = text[section.start : section.end]
    whole = "\n" in text
    if "\n" not in inside and (section.members or not whole):
        return _Style("", "", "")
    line = text[text.rfind("\n", 0, section.start) + 1 : section.start]
    outer = line[: len(line) - len(line.lstrip(" \t"))]
    newline = "\r\n" if "\r\n" in text else "\n"
    for member in section.members or ():
        before = text[text.rfind("\n", 0, member.start) + 1 : member.start]
        if not before.strip(" \t") and before.startswith(outer) and before != outer:
            return _Style(newline, outer, before[len(outer) :])
    return _Style(newline, outer, "\t" if "\t" in outer else "  ")


def _written(key: str, value: object, style: _Style) -> str:
    name = json.dumps(key, ensure_ascii=False)
    if not style.newline:
        return f"{name}: {json.dumps(value, ensure_ascii=False)}"
    lines = json.dumps(value, indent=style.unit, ensure_ascii=False).split("\n")
    return f"{name}: " + f"{style.before}".join(lines)


def _comments(trivia: str) -> str:
    """Trivia that is worth keeping though its member goes: everything up to its last comment, or nothing.

    A NUL, which no text that was scanned has, stands where a line must end.
    """
    found = [match for match in _TOKEN.finditer(trivia) if match.lastgroup == "comment"]
    if not found:
        return ""
    last = found[-1]
    return trivia[: last.end()].rstrip("\r") + ("\0" if last[0].startswith("//") else "")
