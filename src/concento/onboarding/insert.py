"""Add servers to the text of a configuration: what stands there stays, byte for byte, comments and order included.

Pure. It changes text and trusts nothing: whoever writes the result reads it first (see `save.py`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import yaml

from .written import comment, entry_lines, flow


class CantInsert(ValueError):
    """The text has no place for a server that can be found; the message says what to do."""


class NewServer(NamedTuple):
    """A server to be added, with what is said about it in comments."""

    alias: str
    keys: Mapping[str, Any]
    comments: tuple[str, ...] = ()


HEAD: Final = """\
# One MCP endpoint for all the servers below.
#   concento serve      run it          concento doctor     try every server and client
#   concento add NAME   add a server    concento import     bring in what MCP clients have
"""


def fresh(servers: Sequence[NewServer], head: str = HEAD, listen: str = "127.0.0.1:7400") -> str:
    """A whole configuration with these servers."""
    body = "\n\n".join("\n".join(_block(server, "  ")) for server in servers)
    return f"{head}\nlisten: {listen}\n\nservers:{' {}' if not servers else ''}\n{body}\n"


def commented(server: NewServer) -> str:
    """An entry that waits for a person: all of it is comment."""
    lines = entry_lines(server.alias, server.keys)
    return "\n".join([*(comment(line, "  ") for line in server.comments), *(f"  #{line[1:]}" for line in lines)])


def uncommented(text: str, alias: str) -> str:
    """The text without the entry of this alias that waited in it, as `commented` wrote it."""
    line, end = r"  # (?! )[^\n]*\n", r"(?:\n|\Z)"
    block = rf"(?m)(?:^\r?\n)?^  # from [^\n]*\n(?:{line})*?  # {re.escape(alias)}:\r?\n(?:  #   [^\n]*{end})+"
    return re.sub(block, "", text, count=1)


def inserted(text: str, servers: Sequence[NewServer]) -> str:
    """The text with these servers added after those it has. Errors: CantInsert."""
    if not servers:
        return text
    bom, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    newline = "\r\n" if "\r\n" in text else "\n"
    place = _find(text)
    if place.kind == "flow":
        members = ", ".join(f"{server.alias}: {flow(server.keys)}" for server in servers)
        rest = text[place.offset :]
        return bom + text[: place.offset] + members + ("" if rest.lstrip().startswith("}") else ", ") + rest.lstrip(" ")
    lines = [line for server in servers for line in ([""] if server.comments else []) + _block(server, place.indent)]
    if place.kind == "none":
        lines = ["servers:", *(lines[1:] if not lines[0] else lines)]
    start, end = place.cut
    before = text[:start].rstrip(" ") + text[end : place.offset] if start < end else text[: place.offset]
    if before and not before.endswith("\n"):
        before += newline
    return bom + before + "".join(line + newline for line in lines) + text[place.offset :]


def _block(server: NewServer, step: str) -> list[str]:
    return [*(comment(line, step) for line in server.comments), *entry_lines(server.alias, server.keys, step)]


class _Place(NamedTuple):
    kind: str
    """`block`: on lines of its own; `none`: those and the key `servers`; `flow`: right after a brace."""
    offset: int
    indent: str = "  "
    cut: tuple[int, int] = (0, 0)
    """The empty value that stood there before."""


def _find(text: str) -> _Place:
    """Where a new entry belongs."""
    try:
        events = list(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError:
        raise CantInsert("it is not YAML that can be read") from None
    root = next((n + 1 for n, event in enumerate(events) if isinstance(event, yaml.DocumentStartEvent)), None)
    if root is None:
        return _Place("none", len(text))
    if not isinstance(events[root], yaml.MappingStartEvent) or _is_flow(events[root]):
        raise CantInsert("it is written in braces, as JSON is")
    number = root + 1
    while not isinstance(key := events[number], yaml.MappingEndEvent):
        end = _after(events, number + 1)
        if isinstance(key, yaml.ScalarEvent) and key.value == "servers":
            return _in_servers(text, events[number + 1 : end])
        number = end
    return _Place("none", _content_end(text, events[root:number]))


def _in_servers(text: str, events: Sequence[yaml.Event]) -> _Place:
    first, last = events[0], events[-1]
    is_mapping = isinstance(first, yaml.MappingStartEvent)
    is_null = isinstance(first, yaml.ScalarEvent) and first.implicit[0] and first.value in ("", "~", "null")
    if is_null or (is_mapping and _is_flow(first) and len(events) == 2):
        rest = text[_end(last).index :].partition("\n")[0]
        if re.fullmatch(r"[ \t]*(#.*)?\r?", rest):
            cut = _start(first).index, _end(last).index
            return _Place("block", _line_end(text, _end(last).index), cut=cut)
    if not is_mapping:
        raise CantInsert("its `servers` is no mapping of its own")
    if _is_flow(first):
        return _Place("flow", _end(first).index)
    return _Place("block", _content_end(text, events), " " * _start(events[1]).column)


def _content_end(text: str, events: Sequence[yaml.Event]) -> int:
    """Where the line after the last value begins. The end of a block is told only by what follows it, so that is no
    value; comments below the last one stay below what is added."""
    last = next(
        event
        for event in reversed(events)
        if not isinstance(event, yaml.CollectionEndEvent) or _end(event).index > _start(event).index
    )
    end = _end(last)
    return end.index if end.column == 0 and end.index > _start(last).index else _line_end(text, end.index)


def _start(event: yaml.Event) -> Any:
    assert event.start_mark is not None
    return event.start_mark


def _end(event: yaml.Event) -> Any:
    assert event.end_mark is not None
    return event.end_mark


def _is_flow(event: yaml.Event) -> bool:
    return isinstance(event, yaml.MappingStartEvent) and bool(event.flow_style)


def _after(events: Sequence[yaml.Event], number: int) -> int:
    """The number of the event after the value that begins there."""
    depth = 0
    while True:
        event = events[number]
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        number += 1
        if depth == 0:
            return number


def _line_end(text: str, index: int) -> int:
    """Where the next line begins, or the text ends."""
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1
