"""`tools:` of a configuration: what it is read as, and what is refused, at its place and with words that help."""

from pathlib import Path

import pytest

from concento.control.config.load import read
from concento.model.config import Config
from concento.model.errors import ConfigError
from concento.model.logical import Adapter, Bound, Fanout, LogicalTool, Merge, ResultMap

SERVERS = "servers: {brave: {command: [x]}, tavily: {command: [x]}}\n"


def built(text: str, servers: str = SERVERS) -> Config:
    return read((servers + text).encode(), Path("/etc/hub.yaml"), {"HOME": "/home/me"})


def told(text: str, servers: str = SERVERS) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        built(text, servers)
    return [problem.removeprefix("/etc/hub.yaml:") for problem in caught.value.problems]


def test_names_alone_are_enough() -> None:
    tools = built("tools: {web_search: {bind: [brave.search, tavily.find]}}").tools
    assert tools == {"web_search": LogicalTool("web_search", (Bound("brave", "search"), Bound("tavily", "find")))}


def test_a_logical_tool_with_everything() -> None:
    (tool,) = built(
        """
tools:
  web_search:
    title: Web search
    description: Search the public web
    repeatable: true
    strategy: fanout
    fanout: {enough: 2, fail: closed, branch_s: 1.5, merge: {by: rank, path: page.items, key: url}}
    bind:
      - brave.search
      - tool: tavily.find.it
        result: {path: data.page, rename: {hits: results}}
        arguments: {rename: {query: q}, default: {count: 10}, constant: {safe: [true, null]}, drop: [language]}
"""
    ).tools.values()
    assert tool == LogicalTool(
        "web_search",
        (
            Bound("brave", "search"),
            Bound(
                "tavily",
                "find.it",
                adapter=Adapter({"query": "q"}, {"count": b"10"}, {"safe": b"[true,null]"}, frozenset({"language"})),
                result=ResultMap(("data", "page"), {"hits": "results"}),
            ),
        ),
        "fanout",
        "Web search",
        "Search the public web",
        fanout=Fanout(2, "closed", 1.5, Merge("rank", ("page", "items"), ("url",))),
        repeatable=True,
    )


def test_a_view_may_name_it() -> None:
    text = "tools: {web_search: {bind: [brave.search]}}\nviews: {web: {include: [web_search]}}"
    assert built(text).views["web"].include == ("web_search",)


def test_a_tenant_has_its_own_over_what_it_sees() -> None:
    text = """
tenants:
  acme:
    share: [brave.*]
    servers: {own: {command: [x]}}
    tools: {search: {bind: [own.search, brave.search]}}
"""
    (tool,) = built(text).tools.values()
    assert (tool.name, tool.tenant) == ("search", "acme")


REFUSED = [
    ("{s: {bind: [brafe.search]}}", "2:20: unknown server 'brafe'; did you mean 'brave'?"),
    ("{s: {bind: [search]}}", "2:20: expected a server's alias and its own name of a tool with a dot between"),
    ("{s: {bind: []}}", "2:19: expected a list, such as [brave.search, tavily.search], with at least 1 in it"),
    ("{s: {strategy: failover}}", "2:12: a logical tool needs the key 'bind'"),
    ("{s: {bind: [brave.a], strategy: balance}}", "'strategy: balance' needs two bound tools at least"),
    ("{s: {bind: [brave.a], strategy: fanout}}", "'strategy: fanout' needs two bound tools at least"),
    ("{s: {bind: [brave.a, brave.a]}}", "'brave.a' is bound 2 times"),
    ("{s: {bind: [{tool: brave.a, weight: 2}]}}", "'weight' has no effect without 'strategy: balance or split'"),
    ("{s: {bind: [{tool: brave.a, weight: 0}], strategy: balance}}", "a whole number from 1 to 1000"),
    ("{s: {bind: [{tool: brave.a, arguments: {}}]}}", "one of the bound tools has to go without 'arguments'"),
    ("{s: {bind: [brave.a, tavily.a], fanout: {}}}", "'fanout' has no effect without 'strategy: fanout'"),
    ("{s: {bind: [brave.a, tavily.a], strategy: fanout, fanout: {enough: 3}}}", "3 can't answer where 2 are bound"),
    ("{s: {bind: [brave.a, tavily.a], strategy: fanout, fanout: {merge: {by: rank}}}}", "'by: rank' needs 'path'"),
    (
        "{s: {bind: [brave.a, tavily.a], strategy: fanout, fanout: {merge: {path: a, key: b}}}}",
        "'key' has no effect with 'by: concat'",
    ),
    ("{s: {bind: [brave.a, tavily.a], strategy: shadow}}", "say 'repeatable: true', if that does no harm"),
    ("{s: {bind: [brave.a], repeatable: true, strategy: shadow}}", "needs two bound tools at least"),
    ("{s: {bind: [brave.a], strategy: split}}", "'strategy: split' needs two bound tools at least"),
    ("{s: {bind: [brave.a, tavily.a], sticky: tenant}}", "'sticky' has no effect without 'strategy: split'"),
    ("{s: {bind: [brave.a, {tool: tavily.a, priority: 2}], strategy: split}}", "'priority' has no effect without"),
    ("{a__b: {bind: [brave.a]}}", "can't have __ in it"),
    ("{find_0123abcd: {bind: [brave.a]}}", "can't end in _ and eight hex digits"),
    ("{2x: {bind: [brave.a]}}", "'2x' can't be a logical tool"),
    (
        "{s: {bind: [brave.a, {tool: tavily.a, arguments: {rename: {a: c, b: c}}}]}}",
        "two arguments become 'c'; only one can",
    ),
    (
        "{s: {bind: [brave.a, {tool: tavily.a, arguments: {rename: {a: c}, constant: {c: 1}}}]}}",
        "'c' is a constant already",
    ),
    (
        "{s: {bind: [brave.a, {tool: tavily.a, arguments: {rename: {a: c}, drop: [a]}}]}}",
        "'a' is dropped and renamed",
    ),
    (
        "{s: {bind: [brave.a, {tool: tavily.a, result: {rename: {a: c, b: c}}}]}}",
        "two members become 'c'; only one can",
    ),
    ("{s: {bind: [brave.a]}}\nviews: {v: {include: [web]}}", "unknown logical tool 'web'; known here: s"),
    ("{s: {bind: [brave.a]}}\ntenants: {t: {share: ['*'], tools: {s: {bind: [brave.a]}}}}", "take another name"),
    ("{s: {bind: [brave.a]}}\ntenants: {t: {tools: {z: {bind: [nobody.a]}}}}", "unknown server 'nobody'"),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=[expected for _, expected in REFUSED])
def test_what_can_not_work_is_refused(text: str, expected: str) -> None:
    problems = told(f"tools: {text}")
    assert any(expected in problem for problem in problems), problems
