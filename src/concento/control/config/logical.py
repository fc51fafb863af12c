"""Logical tools: what may stand in `tools:`, and what only shows when it is seen together."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, Literal

from ...model.config import Server, owned
from ...model.logical import Adapter, Bound, Fanout, LogicalTool, Merge, MergeBy, ResultMap, Sticky, Strategy
from .kinds import (
    EMPTY,
    Choice,
    Entries,
    Flag,
    Items,
    Key,
    Keys,
    Number,
    OrWord,
    Parsed,
    Placed,
    Table,
    Text,
    Whole,
    WithPlace,
)
from .policy import Values
from .problems import Problems, unknown
from .search import CAPABILITY, TAGS
from .texts import logical_name, tool_of_server

_NAME: Final = r"[^\x00-\x1f]{1,128}"
_ARGUMENT: Final = Text("the name of an argument", _NAME)


def _renamed(what: str) -> Entries[str]:
    return Entries(Text(f"the name of a {what}", _NAME), what, _NAME, "a name without control characters")


RENAME: Final = Key(
    "rename",
    _renamed("argument"),
    "What the tool calls an argument of the logical tool: `{query: q}`.",
    example="{query: q}",
)
DEFAULT: Final = Key(
    "default", Values(), "Arguments that the tool gets where the caller leaves them out.", example="{count: 10}"
)
CONSTANT: Final = Key("constant", Values(), "Arguments that the tool always gets so.", example="{safe: true}")
DROP: Final = Key(
    "drop",
    Items(_ARGUMENT, "such as [language]"),
    "Arguments of the logical tool that this one does not get.",
    example="[language]",
)
ARGUMENTS: Final = Key(
    "arguments",
    Keys("arguments", RENAME, DEFAULT, CONSTANT, DROP),
    "How the logical tool's arguments become this one's; without it they are passed on as they come.",
    example="{rename: {query: q}}",
)
_PATH: Final = Text("names of members with dots between, such as page.items", r"[^.\x00]+(\.[^.\x00]+)*")
RESULT_PATH: Final = Key("path", _PATH, "Where in its result the logical tool's is.", example="data")
RESULT_RENAME: Final = Key(
    "rename",
    _renamed("member"),
    "What the logical tool calls a member of its result: `{hits: results}`.",
    example="{hits: results}",
)
RESULT: Final = Key(
    "result",
    Keys("result", RESULT_PATH, RESULT_RENAME),
    "How its result becomes the logical tool's: structured content, or the JSON that it returns as text. Without it, "
    "it is passed on as it comes.",
    example="{path: data, rename: {hits: results}}",
)
WEIGHT: Final = Key(
    "weight",
    Whole(1, 1000),
    "Of all weights, how many turns it gets with `strategy: balance`, or callers with `split`.",
    1,
    example="3",
)
PRIORITY: Final = Key(
    "priority",
    Whole(1, 100),
    "With `strategy: balance`: those with the least number take turns, the others stand by until none is well.",
    1,
    example="2",
)
TOOL: Final = Key(
    "tool",
    WithPlace(Parsed(Text("a tool, such as brave.search"), tool_of_server)),
    "The server's alias and its own name of the tool, with a dot between.",
    required=True,
    example="tavily.search",
)


BIND: Final = Key(
    "bind",
    Items(
        OrWord(TOOL, Keys("a bound tool", TOOL, WEIGHT, PRIORITY, ARGUMENTS, RESULT)),
        "such as [brave.search, tavily.search]",
    ),
    "The tools of servers that stand behind it, the first one first.",
    required=True,
    example="[brave.search, tavily.search]",
)
STRATEGY: Final[Key[Strategy]] = Key(
    "strategy",
    Choice(("failover", "balance", "split", "shadow", "fanout")),
    "`failover`: the first that can answer does. `balance`: all take turns, and stand in for one another. `split`: "
    "each caller has one of them, by weight. `shadow`: the first answers, and the others get a copy whose result is "
    "compared and thrown away. `fanout`: all are asked at once.",
    "failover",
    example="balance",
)
ENOUGH: Final = Key(
    "enough",
    Whole(1, 100),
    "So many servers have to answer, then the others are cancelled: 1 is the first, more a quorum. Without it, all are "
    "waited for.",
    example="1",
)
FAIL: Final[Key[Literal["open", "closed"]]] = Key(
    "fail",
    Choice(("open", "closed")),
    "`open`: what fails is told in the result's `_meta`, beside what the others answered. `closed`: it fails the call.",
    "open",
    example="closed",
)
BRANCH_S: Final = Key(
    "branch_s",
    Number(0, 3600, above=True),
    "Seconds that each server has; without it, its own `timeout_s`.",
    example="2",
)
BY: Final[Key[MergeBy]] = Key(
    "by",
    Choice(("concat", "union", "rank", "least", "most")),
    "`concat`: one list after the other. `union`: each item once. `rank`: each item once, best first, by reciprocal "
    "rank fusion. `least` and `most`: the one item with the least or the most.",
    "concat",
    example="rank",
)
PATH: Final = Key(
    "path",
    _PATH,
    "Where in structured content (or the JSON that a tool returns as text) the list is. Without it, the content items "
    "are put one after the other.",
    example="results",
)
KEY: Final = Key(
    "key",
    _PATH,
    "What in an item makes it the same as another; for `least` and `most`, what is compared.",
    example="url",
)
MERGE: Final = Key(
    "merge",
    Keys("merge", BY, PATH, KEY),
    "How the results become one.",
    example="{by: rank, path: results, key: url}",
)
FANOUT: Final = Key(
    "fanout",
    Keys("fanout", ENOUGH, FAIL, BRANCH_S, MERGE),
    "With `strategy: fanout`: how many have to answer, how long each may take, and how results become one.",
    example="{enough: 2}",
)
STICKY: Final[Key[Sticky]] = Key(
    "sticky",
    Choice(("subject", "tenant", "session")),
    "With `strategy: split`: whose calls all go to the same tool.",
    "subject",
    example="tenant",
)
TITLE: Final = Key("title", Text("a title", r"[^\x00-\x1f]{1,256}"), "Its title.", example="Web search")
DESCRIPTION: Final = Key(
    "description",
    Text("a description"),
    "What agents are told it does; without it, the first bound tool's own.",
    example="Search the public web.",
)
REPEATABLE: Final = Key(
    "repeatable",
    Flag(),
    "Whether a call that may have run may be made again at another server: it changes nothing, or nothing more the "
    "second time.",
    False,
    example="true",
)
FEEDBACK: Final = Key(
    "feedback",
    Flag(),
    "With `strategy: split`: offer agents the tool `feedback`, by which they say whether a result was of use. What "
    "they say is counted for the tool that gave it.",
    False,
    example="true",
)
TOOLS: Final = Key(
    "tools",
    Entries(
        Keys(
            "a logical tool",
            *(BIND, STRATEGY, STICKY, FANOUT, TITLE, DESCRIPTION, REPEATABLE, CAPABILITY, TAGS, FEEDBACK),
        ),
        "logical tool",
        r"[A-Za-z][A-Za-z0-9_-]{0,63}",
        "a letter, then letters, digits, _ and -, at most 64 in all",
    ),
    "Logical tools: one public name each, bound to the same tool of several servers.",
    example="{web_search: {bind: [brave.search, tavily.search]}}",
)


def build_logical(
    table: Table, tenant: str, servers: Mapping[str, Server], file: str, problems: Problems
) -> dict[str, LogicalTool]:
    """A tenant's logical tools, over servers by alias, by their keys."""
    made: dict[str, LogicalTool] = {}
    for name, (tool, place) in (table.get(TOOLS) or {}).items():
        try:
            logical_name(name)
        except ValueError as error:
            problems.add(place, str(error))
        built = _tool(name, tool, tenant, servers, problems)
        made[owned(tenant, name)] = replace(built, place=place.in_file(file))
    return made


def _tool(name: str, table: Table, tenant: str, servers: Mapping[str, Server], problems: Problems) -> LogicalTool:
    parts = table.get(BIND) or ()
    bind = tuple(bound for part in parts if (bound := _bound(part, servers, problems)) is not None)
    for text, count in Counter(f"{one.alias}.{one.own}" for one in bind).items():
        if count > 1:
            problems.add(table.place_of(BIND), f"{text!r} is bound {count} times; bind each tool once")
    strategy = table[STRATEGY]
    if len(parts) == 1 and strategy != "failover":
        told = f"'strategy: {strategy}' needs two bound tools at least; bind another, or leave 'strategy' out"
        problems.add(table.place_of(STRATEGY), told)
    for part in parts:
        for key, known in ((WEIGHT, ("balance", "split")), (PRIORITY, ("balance",))):
            if strategy not in known and part.given(key):
                told = f"{key.name!r} has no effect without 'strategy: {' or '.join(known)}'"
                problems.add(part.place_of(key), told)
    if strategy == "shadow" and not table[REPEATABLE]:
        told = "'strategy: shadow' runs each call several times: say 'repeatable: true', if that does no harm"
        problems.add(table.place_of(STRATEGY), told)
    if table.given(STICKY) and strategy != "split":
        problems.add(table.place_of(STICKY), "'sticky' has no effect without 'strategy: split'")
    if table.given(FEEDBACK) and strategy != "split":
        problems.add(table.place_of(FEEDBACK), "'feedback' has no effect without 'strategy: split'")
    if table.given(FANOUT) and strategy != "fanout":
        problems.add(table.place_of(FANOUT), "'fanout' has no effect without 'strategy: fanout'")
    if bind and all(one.adapter is not None for one in bind):
        told = "one of the bound tools has to go without 'arguments': its schema is the logical tool's"
        problems.add(table.place_of(BIND), told)
    return LogicalTool(
        name,
        bind,
        strategy,
        sticky=table[STICKY],
        fanout=_fanout(table.get(FANOUT) or EMPTY, len(parts), problems),
        title=table.get(TITLE),
        description=table.get(DESCRIPTION),
        repeatable=table[REPEATABLE],
        capability=table.get(CAPABILITY),
        tags=table.get(TAGS) or (),
        feedback=table[FEEDBACK],
        tenant=tenant,
    )


_NEEDED: Final = {"path": "where the list is", "key": "what in an item is compared"}


def _fanout(table: Table, count: int, problems: Problems) -> Fanout:
    enough = table.get(ENOUGH)
    if enough is not None and enough > count:
        problems.add(table.place_of(ENOUGH), f"{enough} can't answer where {count} are bound")
    merge = table.get(MERGE) or EMPTY
    by, path, key = merge[BY], _steps(merge.get(PATH)), _steps(merge.get(KEY))
    if by != "concat":
        for known, steps in ((PATH, path), (KEY, key)):
            if not steps:
                problems.add(merge.place_of(BY), f"'by: {by}' needs {known.name!r}: {_NEEDED[known.name]}")
    elif key:
        problems.add(merge.place_of(KEY), "'key' has no effect with 'by: concat'")
    return Fanout(enough, table[FAIL], table.get(BRANCH_S), Merge(by, path, key))


def _steps(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(text.split("."))


def _bound(part: Table, servers: Mapping[str, Server], problems: Problems) -> Bound | None:
    placed: Placed[tuple[str, str]] | None = part.get(TOOL)
    if placed is None:
        return None
    (alias, own), place = placed
    if alias not in servers:
        problems.add(place, unknown("server", alias, servers))
        return None
    arguments = part.get(ARGUMENTS)
    adapter = None if arguments is None else _adapter(arguments, problems)
    return Bound(alias, own, part[WEIGHT], part[PRIORITY], adapter, _result(part.get(RESULT), problems))


def _result(table: Table | None, problems: Problems) -> ResultMap | None:
    if table is None:
        return None
    return ResultMap(_steps(table.get(RESULT_PATH)), _names(table, RESULT_RENAME, "members", problems))


def _names(table: Table, key: Key[dict[str, Placed[str]]], what: str, problems: Problems) -> Mapping[str, str]:
    """A renaming. Two that become one are a problem."""
    placed = table.get(key) or {}
    names = {name: value for name, (value, _) in placed.items()}
    for value, place in placed.values():
        if list(names.values()).count(value) > 1:
            problems.add(place, f"two {what} become {value!r}; only one can")
    return MappingProxyType(names)


def _adapter(table: Table, problems: Problems) -> Adapter:
    rename = _names(table, RENAME, "arguments", problems)
    for name, (value, place) in (table.get(RENAME) or {}).items():
        if value in (table.get(CONSTANT) or {}):
            problems.add(place, f"{value!r} is a constant already; what {name!r} says would be lost")
    dropped: tuple[str, ...] = table.get(DROP) or ()
    for name in dropped:
        if name in rename:
            problems.add(table.place_of(DROP), f"{name!r} is dropped and renamed; do one of them")
    return Adapter(rename, _json(table.get(DEFAULT) or {}), _json(table.get(CONSTANT) or {}), frozenset(dropped))


def _json(values: Mapping[str, Any]) -> Mapping[str, bytes]:
    return MappingProxyType({name: json.dumps(value, separators=(",", ":")).encode() for name, value in values.items()})
