"""One tool, many servers: failover, turns, adapters, and what is seen of it. Through a whole hub."""

import asyncio
import json
import re
from collections import Counter
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Any

import pytest
from tests.hub.bound import house, logical, serving, tool
from tests.hub.conftest import Start

from concento.admin.describe import servers as servers_told
from concento.admin.explain import Question, answer
from concento.model.auth import Auth
from concento.model.config import View
from concento.model.logical import Adapter, Bound, Fanout, Merge
from concento.model.policy import Role, Rule
from concento.model.tenant import Tenant
from concento.testing.faults import Executions, lossy, lost_reply
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import asks, garbage, hang, legacy_mcp, reset
from concento.testing.raw_agent import RawAgent
from concento.testing.waiting import until
from concento.upstream.circuit import BASE_S, FAILURES_MAX, JITTER

READS = {"readOnlyHint": True}


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
    first, second = route["candidates"]
    assert (first["tool"], first["order"], second["order"]) == ("a.search", 1, 2)
    assert first["why"] == "it stands first"
    assert first.keys() == {"tool", "well", "order", "why"}, "no more is told of servers that others use, too"


async def test_whose_turn_it_is_is_told_as_it_comes(start: Start, stack: AsyncExitStack) -> None:
    at_home = await house(start, stack, [serving(), serving()], logical("a.search", "b.search", strategy="balance"))
    params = {"name": "web_search", "arguments": {"query": "x"}, "_meta": {"dev.concento/route": True}}
    for _ in range(4):
        route = (await at_home.agent.modern("tools/call", params)).result["_meta"]["dev.concento/route"]
        planned = [one["tool"] for one in sorted(route["candidates"], key=lambda one: int(one["order"]))]
        assert planned[0] == route["asked"][0]["tool"]


async def test_turns_go_by_weight(start: Start, stack: AsyncExitStack) -> None:
    bind = (Bound("a", "search", weight=3), Bound("b", "search"))
    at_home = await house(start, stack, [serving(), serving()], logical(*bind, strategy="balance"))
    for _ in range(8):
        await at_home.call()
    assert at_home.executed() == [6, 2]


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


async def test_it_is_explained_why_one_is_passed_over(start: Start, stack: AsyncExitStack) -> None:
    one = logical("a.search", "b.search", repeatable=True)
    at_home = await house(start, stack, [serving(on_call=reset), serving()], one)
    for _ in range(FAILURES_MAX):
        assert (await at_home.call()).status == 200
    told = answer(at_home.hub.hub, Question("web_search", "alice"))
    first, second = told["candidates"]
    (replica,) = first["replicas"]
    assert (first["well"], replica["circuit"], replica["failures"]) == (False, "open", FAILURES_MAX)
    assert 0 < replica["open_s"] <= BASE_S * (1 + JITTER)
    assert re.fullmatch(
        r"its server is not well \(its breaker is open for \d+ s more\), so that the others go first", first["why"]
    )
    assert (second["well"], second["order"]) == (True, 1)


async def test_who_answered_is_recorded(start: Start, stack: AsyncExitStack) -> None:
    at_home = await house(start, stack, [serving(), serving()], logical("a.search", "b.search", strategy="balance"))
    seen: list[tuple[str | None, str | None, int]] = []
    records = at_home.hub.hub.records
    records._sinks = (*records._sinks, lambda record: seen.append((record.server, record.tool, record.attempts)))
    for _ in range(4):
        await at_home.call()
    assert Counter(seen) == {("a", "search", 1): 2, ("b", "search", 1): 2}
    await until(lambda: at_home.hub.hub.upstreams.get("a").in_flight == 0, "nothing is left")


def output(**properties: Any) -> dict[str, Any]:
    return {"outputSchema": {"type": "object", "properties": properties}}


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        (tool("search", "query", "region"), "tries b.search, whose arguments differ: it has 'region'"),
        (tool("search", "q"), "tries b.search, whose arguments differ: it lacks 'query', has 'q'"),
        (tool(), None),
    ],
)
async def test_arms_that_take_other_arguments_are_told(
    start: Start, stack: AsyncExitStack, definition: dict[str, Any], told: str | None
) -> None:
    one = logical("a.search", "b.search", strategy="split")
    at_home = await house(start, stack, [serving(), serving(definition=definition)], one)
    notes = list(at_home.hub.hub.current.snapshot.logical_notes())
    assert (told is None) is (notes == [])
    assert told is None or told in notes[0]
    adapted = logical("a.search", Bound("b", "search", adapter=Adapter()), strategy="split")
    at_home = await house(start, stack, [serving(), serving(definition=definition)], adapted)
    assert not list(at_home.hub.hub.current.snapshot.logical_notes())


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        (tool(**output(hits={"type": "array"})), "merges nothing of b.search: its output schema has no 'page'"),
        (tool(**output(page={"type": "string"})), None),
        (
            tool(**output(page={"type": "object", "properties": {"items": {"type": "string"}}})),
            "no list at 'page.items', but the type 'string'",
        ),
        (tool(**output(page={"type": "object", "properties": {"items": {"type": "array"}}})), None),
        (tool(outputSchema={"$ref": "#/$defs/x", "properties": {}}), None),
        (tool(), None),
    ],
)
async def test_a_list_that_nobody_returns_is_told(
    start: Start, stack: AsyncExitStack, definition: dict[str, Any], told: str | None
) -> None:
    merge = Fanout(merge=Merge("union", ("page", "items"), ("url",)))
    one = logical("a.search", "b.search", strategy="fanout", fanout=merge)
    at_home = await house(start, stack, [serving(), serving(definition=definition)], one)
    notes = list(at_home.hub.hub.current.snapshot.logical_notes())
    assert (told is None) is (notes == [])
    assert told is None or told in notes[0]


async def test_a_tenant_reads_nothing_of_what_is_not_shared_with_it(start: Start, stack: AsyncExitStack) -> None:
    secret = tool("search", "query", "payroll_id", description="INTERNAL: the payroll")
    shared = tool("search", "query", description="Search the handbook")
    servers = [serving(definition=secret), serving(definition=shared)]
    tenants = MappingProxyType({"acme": Tenant("acme", ("b.*",))})
    at_home = await house(
        start, stack, servers, logical("a.search", "b.search"), tenants=tenants, auth=Auth(), roles=EVERYBODY
    )
    _, key = await at_home.hub.hub.keys.create("alice", tenant="acme", roles=("all",))
    async with RawAgent(at_home.hub.mcp, bearer=key) as agent:
        listed = (await agent.modern("tools/list")).result["tools"]
        (one,) = [found for found in listed if found["name"] == "web_search"]
        assert one["description"] == "Search the handbook"
        assert list(one["inputSchema"]["properties"]) == ["query"]
        called = await agent.modern("tools/call", {"name": "web_search", "arguments": {"query": "x"}})
        assert called.status == 200
    assert at_home.executed() == [0, 1]


EVERYBODY = MappingProxyType({"all": Role("all", ("*",))})


@pytest.mark.parametrize(("strategy", "orders"), [("fanout", [1, 1]), ("shadow", [1, None])])
async def test_other_strategies_tell_their_route_too(
    start: Start, stack: AsyncExitStack, strategy: str, orders: list[int | None]
) -> None:
    one = logical("a.search", "b.search", strategy=strategy, repeatable=True)
    at_home = await house(start, stack, [serving(), serving()], one)
    params = {"name": "web_search", "arguments": {"query": "x"}, "_meta": {"dev.concento/route": True}}
    route = (await at_home.agent.modern("tools/call", params)).result["_meta"]["dev.concento/route"]
    assert route["strategy"] == strategy
    assert [candidate["order"] for candidate in route["candidates"]] == orders
