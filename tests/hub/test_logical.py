"""One tool, many servers: failover, turns, adapters, and what is seen of it. Through a whole hub."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from tests.hub.conftest import Running, Start, at, config

from concento.admin.describe import experiments
from concento.admin.describe import servers as servers_told
from concento.admin.explain import Question, answer
from concento.gateway import shadow
from concento.model.config import Config, View
from concento.model.limiting import LimitRule
from concento.model.logical import Adapter, Bound, Fanout, LogicalTool, Merge, ResultMap
from concento.model.policy import Role, Rule
from concento.testing.faults import Executions, fails, lossy, lost_reply
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, asks, garbage, hang, legacy_mcp, modern_mcp, reset
from concento.testing.raw_agent import RawAgent, RawReply, legacy_request
from concento.testing.waiting import until

READS = {"readOnlyHint": True}


def tool(name: str = "search", *arguments: str, **more: Any) -> dict[str, Any]:
    properties = {argument: {"type": "string"} for argument in arguments or ("query",)}
    return {
        "name": name,
        "description": f"{name} it",
        "inputSchema": {"type": "object", "properties": properties},
        **more,
    }


def serving(
    kind: Any = modern_mcp, definition: dict[str, Any] | None = None, on_call: Any = None
) -> ScriptedHttpServer:
    return ScriptedHttpServer(kind(tools=[definition or tool()], on_call=on_call))


def plain(name: str) -> Bound:
    alias, _, own = name.partition(".")
    return Bound(alias, own)


def logical(*bind: str | Bound, name: str = "web_search", **options: Any) -> LogicalTool:
    bound = (plain(one) if isinstance(one, str) else one for one in bind)
    return LogicalTool(name, tuple(bound), **options)


def with_tools(configuration: Config, *tools: LogicalTool, **more: Any) -> Config:
    return replace(configuration, tools=MappingProxyType({one.name: one for one in tools}), **more)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


class House:
    """A hub with a few scripted servers, `a`, `b`, `c`."""

    def __init__(self, hub: Running, servers: list[ScriptedHttpServer], agent: RawAgent) -> None:
        self.hub = hub
        self.servers = servers
        self.agent = agent

    async def call(self, arguments: dict[str, Any] | None = None, name: str = "web_search") -> RawReply:
        return await self.agent.modern("tools/call", {"name": name, "arguments": arguments or {"query": "x"}})

    def executed(self) -> list[int]:
        return [len(server.hits("tools/call")) for server in self.servers]


async def house(
    start: Start, stack: AsyncExitStack, servers: list[ScriptedHttpServer], one: LogicalTool, **more: Any
) -> House:
    opened = [await stack.enter_async_context(server) for server in servers]
    options = more.pop("server", {})
    known = [at(alias, server.url, **options) for alias, server in zip("abcdefghij", opened, strict=False)]
    hub = await start(with_tools(config(*known, views=more.pop("views", ())), one, **more))
    await hub.ready(*(server.alias for server in known))
    return House(hub, opened, await stack.enter_async_context(RawAgent(hub.mcp)))


def text(reply: RawReply) -> Any:
    return reply.result["structuredContent"]


async def test_the_first_that_is_there_answers(start: Start, stack: AsyncExitStack) -> None:
    at_home = await house(start, stack, [serving(), serving()], logical("a.search", "b.search"))
    for _ in range(3):
        assert (await at_home.call()).status == 200
    assert at_home.executed() == [3, 0]


async def test_when_one_is_gone_the_next_answers(start: Start, stack: AsyncExitStack) -> None:
    """R8."""
    at_home = await house(start, stack, [serving(), serving(legacy_mcp)], logical("a.search", "b.search"))
    await at_home.servers[0].stop()
    for _ in range(5):
        reply = await at_home.call()
        assert "error" not in json.loads(reply.body)
    assert at_home.executed()[1] == 5


@pytest.mark.parametrize("fault", [reset, garbage])
async def test_a_call_that_may_have_run_is_not_made_again(start: Start, stack: AsyncExitStack, fault: Any) -> None:
    """R12."""
    at_home = await house(start, stack, [serving(on_call=fault), serving()], logical("a.search", "b.search"))
    reply = await at_home.call()
    assert reply.error["data"]["outcome"] == "unknown"
    assert at_home.executed() == [1, 0]


@pytest.mark.parametrize("fault", [reset, garbage, hang])
async def test_one_that_may_run_twice_is(start: Start, stack: AsyncExitStack, fault: Any) -> None:
    servers = [serving(on_call=fault), serving()]
    at_home = await house(
        start, stack, servers, logical("a.search", "b.search", repeatable=True), server={"timeout_s": 0.5}
    )
    assert (await at_home.call()).result["content"]
    assert at_home.executed() == [1, 1]


@pytest.mark.parametrize("trusted", [True, False])
async def test_hints_count_only_where_the_server_is_trusted(start: Start, stack: AsyncExitStack, trusted: bool) -> None:
    definition = tool(annotations=READS)
    servers = [serving(definition=definition, on_call=reset), serving(definition=definition)]
    at_home = await house(start, stack, servers, logical("a.search", "b.search"), server={"trust_hints": trusted})
    reply = await at_home.call()
    assert at_home.executed() == ([1, 1] if trusted else [1, 0])
    assert ("error" in json.loads(reply.body)) is not trusted


async def test_repetitions_never_become_the_load(start: Start, stack: AsyncExitStack) -> None:
    """R12: at most a fifth more, or three at a time."""
    servers = [serving(on_call=reset), serving(on_call=reset)]
    at_home = await house(start, stack, servers, logical("a.search", "b.search", repeatable=True))
    budget, records, shares = at_home.hub.hub.gateway.budget, at_home.hub.hub.records, list[tuple[int, int]]()
    take = budget.take

    async def watched() -> bool:
        room = await take()
        shares.append((budget.taken, records.in_flight))
        return room

    budget.take = watched  # type: ignore[method-assign]
    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(at_home.call())
    assert len(shares) > 3, "some were made again"
    assert all(taken <= max(3, in_flight // 5) for taken, in_flight in shares)
    assert budget.taken == 0
    assert sum(at_home.executed()) <= 100 + len(shares)


LOSSY = [pytest.param(500, id="500 calls"), pytest.param(10_000, id="10,000 calls", marks=pytest.mark.long)]


@pytest.mark.parametrize("calls", LOSSY)
async def test_over_a_lossy_server_no_call_runs_twice(start: Start, stack: AsyncExitStack, calls: int) -> None:
    """R12: executions at most calls, and load at most 1.2 times that."""
    lost = Executions(lossy(0.1, seed=1, then=lost_reply(), fault=reset))
    well = Executions(lossy(0.2, seed=2, fault=lost_reply()))
    servers = [serving(on_call=lost), serving(legacy_mcp, on_call=well)]
    at_home = await house(start, stack, servers, logical("a.search", "b.search", strategy="balance"))

    async def load(first: int) -> None:
        async with RawAgent(at_home.hub.mcp) as agent:
            for number in range(first, calls, 8):
                await agent.modern("tools/call", {"name": "web_search", "arguments": {"query": f"call {number}"}})

    async with asyncio.TaskGroup() as group:
        for first in range(8):
            group.create_task(load(first))
    both = lost.counts + well.counts
    assert max(both.values()) == 1
    assert 0.8 * calls < both.total() <= calls
    assert sum(at_home.executed()) <= 1.2 * calls


async def test_all_down_is_told_at_once(start: Start, stack: AsyncExitStack) -> None:
    """R9."""
    at_home = await house(start, stack, [serving(), serving()], logical("a.search", "b.search"))
    for server in at_home.servers:
        await server.stop()
    reply = await at_home.call()
    assert reply.error["code"] == -31001
    assert reply.error["data"]["outcome"] == "not_sent"


async def test_who_wants_to_know_is_told_who_was_asked(start: Start, stack: AsyncExitStack) -> None:
    servers = [serving(on_call=reset), serving()]
    at_home = await house(start, stack, servers, logical("a.search", "b.search", repeatable=True))
    params = {"name": "web_search", "arguments": {"query": "x"}}
    plain = (await at_home.agent.modern("tools/call", params)).result
    assert "dev.concento/route" not in plain.get("_meta", {})
    asked = (await at_home.agent.modern("tools/call", {**params, "_meta": {"dev.concento/route": True}})).result
    route = asked["_meta"]["dev.concento/route"]
    assert route["strategy"] == "failover"
    assert [(one["tool"], one["outcome"]) for one in route["asked"]] == [
        ("a.search", "unknown"),
        ("b.search", "answered"),
    ]
    assert {**asked, "_meta": None} == {**plain, "_meta": None}


async def test_turns_go_by_weight(start: Start, stack: AsyncExitStack) -> None:
    bind = (Bound("a", "search", weight=3), Bound("b", "search"))
    at_home = await house(start, stack, [serving(), serving()], logical(*bind, strategy="balance"))
    for _ in range(8):
        await at_home.call()
    assert at_home.executed() == [6, 2]


async def test_each_caller_keeps_to_one_arm_and_the_arms_are_counted(start: Start, stack: AsyncExitStack) -> None:
    bind = (Bound("a", "search"), Bound("b", "search"))
    servers = [serving(on_call=fails), serving()]
    at_home = await house(start, stack, servers, logical(*bind, strategy="split", sticky="session"))
    async with RawAgent(at_home.hub.mcp) as agent:
        for number in range(8):
            session = await agent.begin()
            before = at_home.executed()
            for id in range(3):
                params = {"name": "web_search", "arguments": {"query": "x"}}
                headers, body = legacy_request("tools/call", params, session=session, id=id)
                await agent.post(None, body, headers)
            grown = [after - then for after, then in zip(at_home.executed(), before, strict=True)]
            assert sorted(grown) == [0, 3], number
    (told,) = experiments(at_home.hub.hub)["experiments"]
    counts = {arm["arm"]: (arm["calls"], arm["errors"]) for arm in told["arms"]}
    a, b = at_home.executed()
    assert counts == {"a.search": (a, a), "b.search": (b, 0)}
    assert a
    assert b
    assert "Too early to tell" in told["reading"]


async def test_a_copy_is_compared_and_thrown_away(start: Start, stack: AsyncExitStack) -> None:
    gate = asyncio.Event()

    async def slow(exchange: Exchange) -> Any:
        await gate.wait()
        text = "x" if exchange.arguments["query"] == "alike" else "y"
        return {"content": [], "structuredContent": {"results": [{"url": text}]}}

    servers = [serving(on_call=results("x")), serving(on_call=slow), serving(on_call=reset)]
    one = logical("a.search", "b.search", "c.search", strategy="shadow", repeatable=True)
    at_home = await house(start, stack, servers, one)
    for query in ("alike", "alike", "other"):
        told = (await at_home.call({"query": query})).result  # before any copy is answered
        assert told["structuredContent"]["results"] == [{"url": "x"}]
    gate.set()
    gateway = at_home.hub.hub.gateway
    await until(lambda: not gateway.shadows.tasks, "all copies are answered")
    assert at_home.executed() == [3, 3, 3]
    (found,) = experiments(at_home.hub.hub)["experiments"]
    likeness = {arm["arm"]: (arm["calls"], arm["errors"], arm["alike"], arm["different"]) for arm in found["arms"]}
    assert likeness == {"a.search": (3, 0, 0, 0), "b.search": (3, 0, 2, 1), "c.search": (3, 3, 0, 3)}
    assert "b.search answered 2 of 3 calls as the first did" in found["reading"]


async def test_copies_never_become_the_load(
    start: Start, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "COPIES_MAX", 2)
    servers = [serving(), serving(on_call=hang)]
    one = logical("a.search", "b.search", strategy="shadow", repeatable=True)
    at_home = await house(start, stack, servers, one)
    for _ in range(5):
        assert (await at_home.call()).result
    await servers[1].arrived("tools/call", count=2)
    assert at_home.hub.hub.gateway.shadows.skipped == 3
    assert at_home.executed() == [5, 2]


async def test_one_that_stands_by_is_asked_when_the_others_are_gone(start: Start, stack: AsyncExitStack) -> None:
    bind = (Bound("a", "search"), Bound("b", "search"), Bound("c", "search", priority=2))
    servers = [serving(), serving(), serving()]
    at_home = await house(start, stack, servers, logical(*bind, strategy="balance"))
    for _ in range(6):
        await at_home.call()
    assert at_home.executed() == [3, 3, 0]
    for server in servers[:2]:
        await server.stop()
    assert (await at_home.call()).result
    assert at_home.executed()[2] == 1


async def test_arguments_are_adapted_to_whoever_answers(start: Start, stack: AsyncExitStack) -> None:
    other = Bound("b", "find", adapter=Adapter(rename={"query": "q"}, constant={"safe": b'"yes"'}))
    servers = [serving(), serving(definition=tool("find", "q", "safe"))]
    at_home = await house(start, stack, servers, logical("a.search", other))
    await at_home.servers[0].stop()
    assert (await at_home.call({"query": "cats"})).status == 200
    (hit,) = at_home.servers[1].hits("tools/call")
    assert hit.message["params"]["name"] == "find"
    assert hit.message["params"]["arguments"] == {"q": "cats", "safe": "yes"}


FORM = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {"x": {"type": "string"}}}}


async def test_an_answer_goes_to_the_server_that_asked(start: Start, stack: AsyncExitStack) -> None:
    asker = ScriptedHttpServer(legacy_mcp(tools=[tool()], on_call=asks("elicitation/create", FORM), streamed=True))
    one = logical("a.search", "b.search", strategy="balance")
    at_home = await house(start, stack, [serving(), asker], one)
    params = {"name": "web_search", "arguments": {"query": "x"}}
    caps: dict[str, Any] = {"elicitation": {}}
    asked: dict[str, Any] = {}
    while "requestState" not in asked:  # until it is the turn of the one that asks
        asked = dict((await at_home.agent.modern("tools/call", params, caps=caps)).result)
    before = at_home.executed()
    answers = {key: {"action": "accept", "content": {"x": "y"}} for key in asked["inputRequests"]}
    answered = {**params, "inputResponses": answers, "requestState": asked["requestState"]}
    told = (await at_home.agent.modern("tools/call", answered, caps=caps)).result
    assert told["resultType"] == "complete"
    assert '"y"' in told["content"][0]["text"]
    assert at_home.executed() == before
    forged = {**answered, "requestState": "AAAA" * 20}
    assert (await at_home.agent.modern("tools/call", forged, caps=caps)).error["code"] == -32602


def needing(*arguments: str, name: str = "search") -> dict[str, Any]:
    definition = tool(name, *arguments)
    definition["inputSchema"]["required"] = list(arguments)
    return definition


async def test_a_tool_that_lacks_an_argument_is_left_out_and_the_operator_told(
    start: Start, stack: AsyncExitStack
) -> None:
    filled = Bound("c", "search", adapter=Adapter(rename={"query": "q"}, constant={"region": b'"it"'}))
    servers = [serving(definition=needing("query")), *(serving(definition=needing("q", "region")) for _ in range(2))]
    at_home = await house(start, stack, servers, logical("a.search", "b.search", filled))
    await servers[0].stop()
    assert (await at_home.call()).result
    assert at_home.executed()[1:] == [0, 1]
    (note,) = servers_told(at_home.hub.hub)["notes"]
    assert "leaves out b.search: nothing becomes its 'q', 'region'" in note


async def test_a_misspelt_tool_is_told_with_the_nearest(start: Start, stack: AsyncExitStack) -> None:
    at_home = await house(start, stack, [serving(), serving()], logical("a.search", "b.serch"))
    assert (await at_home.call()).result
    (note,) = servers_told(at_home.hub.hub)["notes"]
    assert note.endswith("leaves out b.serch, which the server does not offer; did you mean b.search?")


async def test_it_is_listed_once_with_one_definition(start: Start, stack: AsyncExitStack) -> None:
    definitions = [tool(annotations=READS, icons=[]), tool(annotations={"readOnlyHint": False})]
    servers = [serving(definition=definition) for definition in definitions]
    one = logical("a.search", "b.search", title="Web search", description="Search the web")
    at_home = await house(start, stack, servers, one)
    listed = {tool["name"]: tool for tool in (await at_home.agent.modern("tools/list")).result["tools"]}
    assert list(listed) == ["web_search", "a__search", "b__search"]
    shown = listed["web_search"]
    assert shown["title"] == "Web search"
    assert shown["description"] == "Search the web"
    assert shown["inputSchema"] == definitions[0]["inputSchema"]
    assert shown["annotations"]["readOnlyHint"] is False
    assert "icons" not in shown


async def test_a_view_may_show_it_without_what_is_behind_it(start: Start, stack: AsyncExitStack) -> None:
    views = (View("web", ("web_*",)), View("plain", ("a.*",)))
    at_home = await house(start, stack, [serving(), serving()], logical("a.search", "b.search"), views=views)
    names = {}
    for view in ("web", "plain"):
        async with RawAgent(f"{at_home.hub.url}/views/{view}/mcp") as agent:
            names[view] = [tool["name"] for tool in (await agent.modern("tools/list")).result["tools"]]
            if view == "web":
                called = await agent.modern("tools/call", {"name": "web_search", "arguments": {"query": "x"}})
                assert called.status == 200
                hidden = await agent.modern("tools/call", {"name": "a__search", "arguments": {"query": "x"}})
                assert hidden.error["code"] == -32602
    assert names == {"web": ["web_search"], "plain": ["a__search"]}


async def test_only_servers_that_the_caller_may_use_are_asked(start: Start, stack: AsyncExitStack) -> None:
    roles = MappingProxyType({"all": Role("all", ("b.*",), members=("*",))})
    at_home = await house(start, stack, [serving(), serving()], logical("a.search", "b.search"), roles=roles)
    assert (await at_home.call()).status == 200
    assert at_home.executed() == [0, 1]


async def test_without_any_it_is_not_there(start: Start, stack: AsyncExitStack) -> None:
    rules = (Rule("none", "deny", ("*.search",)),)
    at_home = await house(start, stack, [serving(), serving()], logical("a.search", "b.search"), policies=rules)
    hidden = await at_home.call()
    absent = await at_home.call(name="web_seerch")
    assert hidden.error == {**absent.error, "message": absent.error["message"].replace("web_seerch", "web_search")}
    assert (await at_home.agent.modern("tools/list")).result["tools"] == []
    assert at_home.executed() == [0, 0]


async def test_it_is_explained_who_would_be_asked(start: Start, stack: AsyncExitStack) -> None:
    roles = MappingProxyType({"all": Role("all", ("b.*", "c.*"), members=("*",))})
    one = logical("a.search", "b.search", "c.search")
    at_home = await house(start, stack, [serving(), serving(), serving()], one, roles=roles)
    told = answer(at_home.hub.hub, Question("web_search", "alice"))
    assert told["visible"]
    assert told["callable"]
    assert told["tool"] == "web_search"
    assert told["reason"] == "allowed by role all"
    places = {candidate["tool"]: (candidate["visible"], candidate["order"]) for candidate in told["candidates"]}
    assert places == {"a.search": (False, None), "b.search": (True, 1), "c.search": (True, 2)}
    assert at_home.executed() == [0, 0, 0]


async def test_who_answered_is_recorded(start: Start, stack: AsyncExitStack) -> None:
    at_home = await house(start, stack, [serving(), serving()], logical("a.search", "b.search", strategy="balance"))
    seen: list[tuple[str | None, str | None, int]] = []
    records = at_home.hub.hub.records
    records._sinks = (*records._sinks, lambda record: seen.append((record.server, record.tool, record.attempts)))
    for _ in range(4):
        await at_home.call()
    assert Counter(seen) == {("a", "search", 1): 2, ("b", "search", 1): 2}
    await until(lambda: at_home.hub.hub.upstreams.get("a").in_flight == 0, "nothing is left")


# -- several at once


def results(*urls: str, after_s: float = 0.0) -> Any:
    async def answer(exchange: Exchange) -> Any:
        if after_s:
            await asyncio.sleep(after_s)
        return {"content": [], "structuredContent": {"results": [{"url": url} for url in urls]}}

    return answer


RANKED = Merge("rank", ("results",), ("url",))


async def test_several_are_asked_at_once_and_their_lists_become_one(start: Start, stack: AsyncExitStack) -> None:
    servers = [serving(on_call=results("x", "both")), serving(legacy_mcp, on_call=results("both", "y"))]
    one = logical("a.search", "b.search", strategy="fanout", fanout=Fanout(merge=RANKED))
    at_home = await house(start, stack, servers, one)
    told = (await at_home.call()).result
    assert [item["url"] for item in told["structuredContent"]["results"]] == ["both", "x", "y"]
    assert told["_meta"]["dev.concento/origins"] == ["a", "a", "b"]
    branches = told["_meta"]["dev.concento/branches"]
    assert [(one["server"], one["outcome"]) for one in branches] == [("a", "ok"), ("b", "ok")]


async def test_results_that_differ_are_mapped_before_they_are_merged(start: Start, stack: AsyncExitStack) -> None:
    async def other(exchange: Exchange) -> Any:
        return {"content": [{"type": "text", "text": '{"data":{"hits":[{"url":"y"}]}}'}]}

    bind = (Bound("a", "search"), Bound("b", "search", result=ResultMap(("data",), {"hits": "results"})))
    servers = [serving(on_call=results("x")), serving(on_call=other)]
    at_home = await house(start, stack, servers, logical(*bind, strategy="fanout", fanout=Fanout(merge=RANKED)))
    told = (await at_home.call()).result
    assert [item["url"] for item in told["structuredContent"]["results"]] == ["x", "y"]


@pytest.mark.parametrize("fault", [reset, garbage, fails])
async def test_what_fails_is_told_beside_the_rest(start: Start, stack: AsyncExitStack, fault: Any) -> None:
    """R10."""
    servers = [serving(on_call=fault), serving(on_call=results("x"))]
    one = logical("a.search", "b.search", strategy="fanout", fanout=Fanout(merge=RANKED))
    at_home = await house(start, stack, servers, one)
    told = (await at_home.call()).result
    assert [item["url"] for item in told["structuredContent"]["results"]] == ["x"]
    outcomes = {one["server"]: one["outcome"] for one in told["_meta"]["dev.concento/branches"]}
    assert outcomes == {"a": "tool_error" if fault is fails else "error", "b": "ok"}


async def test_seven_of_ten_are_enough(start: Start, stack: AsyncExitStack) -> None:
    """R10: ten servers, three bad."""
    servers = [serving(on_call=fault) for fault in (reset, garbage, fails)]
    servers += [serving(on_call=results(f"u{number}")) for number in range(7)]
    bind = [Bound(alias, "search") for alias in "abcdefghij"]
    at_home = await house(start, stack, servers, logical(*bind, strategy="fanout", fanout=Fanout(merge=RANKED)))
    told = (await at_home.call()).result
    assert {item["url"] for item in told["structuredContent"]["results"]} == {f"u{number}" for number in range(7)}
    outcomes = Counter(one["outcome"] for one in told["_meta"]["dev.concento/branches"])
    assert outcomes == {"ok": 7, "error": 2, "tool_error": 1}


async def test_who_was_asked_is_on_record(start: Start, stack: AsyncExitStack) -> None:
    servers = [serving(on_call=results("x")), serving(on_call=results("y"))]
    one = logical("a.search", "b.search", strategy="fanout", fanout=Fanout(merge=RANKED))
    at_home = await house(start, stack, servers, one)
    seen: list[tuple[str | None, str | None, int]] = []
    records = at_home.hub.hub.records
    records._sinks = (*records._sinks, lambda record: seen.append((record.server, record.tool, record.attempts)))
    await at_home.call()
    assert seen == [("a,b", "web_search", 2)]


async def test_where_nothing_was_sent_it_is_said_what_is_in_the_way(start: Start, stack: AsyncExitStack) -> None:
    servers = [serving(on_call=results("x")), serving(on_call=results("y"))]
    one = logical("a.search", "b.search", strategy="fanout", fanout=Fanout(merge=RANKED))
    limits = (LimitRule("few", per=("user",), rate=0.001, burst=1),)
    at_home = await house(start, stack, servers, one, limits=limits)
    await at_home.call()
    refused = await at_home.call()
    assert refused.status == 429
    assert refused.error["code"] == -31003
    assert refused.header("retry-after")


async def test_or_fails_the_whole_where_all_are_needed(start: Start, stack: AsyncExitStack) -> None:
    servers = [serving(on_call=reset), serving(on_call=results("x"))]
    one = logical("a.search", "b.search", strategy="fanout", fanout=Fanout(fail="closed", merge=RANKED))
    at_home = await house(start, stack, servers, one)
    reply = await at_home.call()
    assert reply.error["code"] == -31006
    assert "these failed: a" in reply.error["message"]


async def test_the_first_is_enough_and_the_others_are_cancelled(start: Start, stack: AsyncExitStack) -> None:
    slow = modern_mcp(tools=[tool()], on_call=hang)
    servers = [ScriptedHttpServer(slow), serving(on_call=results("x"))]
    one = logical("a.search", "b.search", strategy="fanout", fanout=Fanout(enough=1, merge=RANKED))
    at_home = await house(start, stack, servers, one)
    told = (await at_home.call()).result
    assert [one["outcome"] for one in told["_meta"]["dev.concento/branches"]] == ["cancelled", "ok"]
    await until(lambda: at_home.hub.hub.upstreams.get("a").in_flight == 0, "the slow one is let go")


async def test_a_quorum_is_waited_for(start: Start, stack: AsyncExitStack) -> None:
    servers = [serving(on_call=results("x")), serving(on_call=results("y")), serving(on_call=hang)]
    one = logical("a.search", "b.search", "c.search", strategy="fanout", fanout=Fanout(enough=2, merge=RANKED))
    at_home = await house(start, stack, servers, one)
    told = (await at_home.call()).result
    assert [item["url"] for item in told["structuredContent"]["results"]] == ["x", "y"]
    await at_home.servers[0].stop()
    await at_home.servers[2].stop()
    reply = await at_home.call()
    assert "2 of 3 servers have to answer, and these failed: a, c" in reply.error["message"]


async def test_a_branch_has_a_deadline_of_its_own(start: Start, stack: AsyncExitStack) -> None:
    servers = [serving(on_call=hang), serving(on_call=results("x"))]
    one = logical("a.search", "b.search", strategy="fanout", fanout=Fanout(branch_s=0.2, merge=RANKED))
    at_home = await house(start, stack, servers, one)
    branches = (await at_home.call()).result["_meta"]["dev.concento/branches"]
    assert branches[0]["code"] == -31002


async def test_a_fan_out_costs_as_many_calls_as_it_makes(start: Start, stack: AsyncExitStack) -> None:
    servers = [serving(on_call=results("x")), serving(on_call=results("y"))]
    one = logical("a.search", "b.search", strategy="fanout", fanout=Fanout(merge=RANKED))
    limits = (LimitRule("few", per=("user",), rate=0.001, burst=3),)
    at_home = await house(start, stack, servers, one, limits=limits)
    assert len((await at_home.call()).result["structuredContent"]["results"]) == 2
    told = (await at_home.call()).result["_meta"]["dev.concento/branches"]
    assert {one["outcome"] for one in told} == {"ok"}
    refused = await at_home.call()
    assert at_home.executed() == [2, 2]
    assert refused.error["data"]["outcome"] == "not_sent"
