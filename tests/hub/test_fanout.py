"""One call to several servers at once, and what becomes of their results. Source: hardening R10."""

from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.hub.bound import RANKED, house, logical, results, serving, tool
from tests.hub.conftest import Start

from concento.model.limiting import LimitRule
from concento.model.logical import Bound, Fanout, ResultMap
from concento.testing.faults import fails
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, garbage, hang, legacy_mcp, modern_mcp, reset
from concento.testing.waiting import until


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
