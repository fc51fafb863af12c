"""One server tried against another: split callers, and copies that nobody sees. Through a whole hub."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.hub.bound import house, logical, results, serving
from tests.hub.conftest import Start

from concento.admin import trials
from concento.admin.access import OPERATOR
from concento.admin.explain import Question, answer
from concento.admin.trials import experiments
from concento.gateway import shadow
from concento.model.logical import Bound
from concento.testing.faults import fails
from concento.testing.mcp_server import Exchange, hang, reset
from concento.testing.raw_agent import RawAgent, legacy_request
from concento.testing.waiting import until


async def test_each_caller_keeps_to_one_arm_and_the_arms_are_counted(start: Start, stack: AsyncExitStack) -> None:
    bind = (Bound("a", "search"), Bound("b", "search"))
    servers = [serving(on_call=fails), serving()]
    at_home = await house(start, stack, servers, logical(*bind, strategy="split", sticky="session"))
    async with RawAgent(at_home.hub.mcp) as agent:
        for number in range(40):
            if number >= 8 and all(at_home.executed()):
                break
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


async def test_a_promoted_arm_gets_all_calls_until_the_experiment_goes_on(start: Start, stack: AsyncExitStack) -> None:
    bind = (Bound("a", "search", weight=1), Bound("b", "search", weight=1000))
    at_home = await house(start, stack, [serving(), serving()], logical(*bind, strategy="split"))
    hub = at_home.hub.hub
    assert (await at_home.call()).result
    assert at_home.executed() == [0, 1]
    assert (await trials.promote(hub, "web_search", "a.search", OPERATOR))["promoted"]["arm"] == "a.search"
    assert (await at_home.call()).result
    assert at_home.executed() == [1, 1]
    explained = answer(hub, Question("web_search", "anonymous"))
    first = explained["candidates"][0]
    assert (first["order"], first["why"]) == (1, "an operator promoted it")
    await at_home.servers[0].stop()  # the promoted one is gone: the other stands in
    assert (await at_home.call()).result
    assert at_home.executed() == [1, 2]
    assert (await trials.resume(hub, "web_search", OPERATOR))["promoted"] is None
    assert (await at_home.call()).result
    assert at_home.executed() == [1, 3]


async def test_rolled_back_the_first_arm_gets_all_calls(start: Start, stack: AsyncExitStack) -> None:
    bind = (Bound("a", "search", weight=1), Bound("b", "search", weight=1000))
    at_home = await house(start, stack, [serving(), serving()], logical(*bind, strategy="split"))
    assert (await trials.rollback(at_home.hub.hub, "web_search", OPERATOR))["promoted"]["arm"] == "a.search"
    assert (await at_home.call()).result
    assert at_home.executed() == [1, 0]


async def test_a_promoted_shadow_answers_and_the_first_gets_the_copies(start: Start, stack: AsyncExitStack) -> None:
    servers = [serving(on_call=results("old")), serving(on_call=results("new"))]
    one = logical("a.search", "b.search", strategy="shadow", repeatable=True)
    at_home = await house(start, stack, servers, one)
    await trials.promote(at_home.hub.hub, "web_search", "b.search", OPERATOR)
    reply = await at_home.call()
    assert reply.result["structuredContent"]["results"] == [{"url": "new"}]
    await servers[0].arrived("tools/call", count=1)


async def test_what_is_no_arm_can_not_be_promoted(start: Start, stack: AsyncExitStack) -> None:
    at_home = await house(start, stack, [serving(), serving()], logical("a.search", "b.search", strategy="split"))
    with pytest.raises(trials.NoSuchThing, match=r"its arms: a\.search, b\.search"):
        await trials.promote(at_home.hub.hub, "web_search", "c.search", OPERATOR)
    with pytest.raises(trials.NoSuchThing, match="there are: web_search"):
        await trials.rollback(at_home.hub.hub, "other", OPERATOR)


async def test_callers_judge_the_arm_that_answered_them_once(start: Start, stack: AsyncExitStack) -> None:
    at_home = await house(
        start, stack, [serving(), serving()], logical("a.search", "b.search", strategy="split", feedback=True)
    )
    listed = (await at_home.agent.modern("tools/list")).result["tools"]
    assert [one["name"] for one in listed][:2] == ["feedback", "web_search"]
    early = await at_home.call({"tool": "web_search", "useful": True}, name="feedback")
    assert early.result["isError"]
    assert (await at_home.call()).result
    judged = await at_home.call({"tool": "web_search", "useful": False}, name="feedback")
    assert not judged.result.get("isError", False)
    again = await at_home.call({"tool": "web_search", "useful": True}, name="feedback")
    assert again.result["isError"]
    (told,) = trials.experiments(at_home.hub.hub)["experiments"]
    asked = at_home.executed()
    verdicts = [(arm["useful"], arm["useless"]) for arm in told["arms"]]
    assert verdicts == [(0, count) for count in asked]
    assert sum(asked) == 1


async def test_nobody_is_offered_to_judge_what_is_on_no_trial(start: Start, stack: AsyncExitStack) -> None:
    at_home = await house(start, stack, [serving(), serving()], logical("a.search", "b.search", strategy="split"))
    reply = await at_home.call({"tool": "web_search", "useful": True}, name="feedback")
    assert reply.error["code"] == -32602


async def test_an_arm_that_fails_is_counted_though_another_stands_in(start: Start, stack: AsyncExitStack) -> None:
    bind = (Bound("a", "search", weight=1000), Bound("b", "search", weight=1))
    at_home = await house(start, stack, [serving(), serving()], logical(*bind, strategy="split"))
    await at_home.servers[0].stop()
    for _ in range(3):
        assert (await at_home.call()).result
    (told,) = trials.experiments(at_home.hub.hub)["experiments"]
    counts = {arm["arm"]: (arm["calls"], arm["errors"]) for arm in told["arms"]}
    assert counts == {"a.search": (1, 1), "b.search": (3, 0)}, "one that is not well is not asked again"
