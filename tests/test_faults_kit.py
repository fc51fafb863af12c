"""The kit for faults: a proxy that spoils the way, and a checker that finds and shrinks what does not hold."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest

from concento.testing import Broken, FaultProxy, RawAgent, ScriptedHttpServer, hold, modern_mcp, until

CALL = {"name": "echo", "arguments": {"text": "hello"}}


async def said(agent: RawAgent) -> Any:
    return (await agent.modern("tools/call", CALL)).result["content"]


@asynccontextmanager
async def spoiled() -> AsyncIterator[tuple[ScriptedHttpServer, FaultProxy, RawAgent]]:
    """A server, the proxy before it, and an agent that goes through the proxy."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ScriptedHttpServer(modern_mcp()))
        proxy = await stack.enter_async_context(FaultProxy(server.url))
        yield server, proxy, await stack.enter_async_context(RawAgent(proxy.url))


async def test_a_proxy_that_is_told_nothing_passes_everything_on() -> None:
    async with (
        ScriptedHttpServer(modern_mcp()) as server,
        FaultProxy(server.url) as proxy,
        RawAgent(proxy.url) as agent,
    ):
        for _ in range(3):
            assert await said(agent)
        assert proxy.connections == 1
        assert proxy.up_bytes > 100
        assert proxy.down_bytes > 100
        assert len(server.hits("tools/call")) == 3


async def test_cut_and_refused_are_seen_as_resets_until_it_is_healed() -> None:
    async with spoiled() as (server, proxy, agent):
        await said(agent)
        proxy.refuse()
        await said(agent)  # what is connected goes on
        proxy.cut()
        with pytest.raises((ConnectionError, EOFError)):
            await said(agent)
        proxy.heal()
        assert await said(agent)
        assert len(server.hits("tools/call")) == 3


async def test_stalled_bytes_arrive_when_it_is_healed() -> None:
    async with spoiled() as (server, proxy, agent):
        await said(agent)
        proxy.stall()
        async with asyncio.TaskGroup() as group:
            call = group.create_task(said(agent))
            done, _ = await asyncio.wait([call], timeout=0.2)
            assert not done
            assert len(server.hits("tools/call")) == 1
            proxy.heal()
            assert await call


async def test_what_passes_can_be_made_late() -> None:
    async with spoiled() as (_, proxy, agent):
        await said(agent)
        proxy.delay_s = 0.2
        before_s = asyncio.get_running_loop().time()
        await said(agent)
        assert asyncio.get_running_loop().time() - before_s >= 0.39, "there and back"
        proxy.heal()
        assert proxy.delay_s == 0


async def test_a_reply_can_be_cut_in_its_middle() -> None:
    async with spoiled() as (server, proxy, agent):
        await said(agent)
        proxy.cut_after(20)
        before = proxy.down_bytes
        with pytest.raises((ConnectionError, EOFError)):
            await said(agent)
        assert proxy.down_bytes == before + 20
        await until(lambda: len(server.hits("tools/call")) == 2, "the server had the call")


# -- invariants


async def breaks(steps: Sequence[str]) -> str | None:
    """Wrong as soon as `b` comes some time after `a`, and `c` right after that."""
    seen = False
    for one, other in pairwise(steps):
        seen |= one == "a"
        if seen and (one, other) == ("b", "c"):
            return "c after b after a"
    return None


async def test_what_breaks_is_shrunk_to_the_fewest_steps() -> None:
    for seed in range(20):
        with pytest.raises(Broken) as caught:
            await hold(breaks, list("abcdefgh"), seed=seed, length=200)
        assert caught.value.steps == ["a", "b", "c"]
        assert f"seed {seed}" in str(caught.value)


async def test_the_same_seed_finds_the_same() -> None:
    tried: list[list[list[str]]] = []
    for _ in range(2):
        run: list[list[str]] = []

        async def trial(steps: Sequence[str], run: list[list[str]] = run) -> None:
            run.append(list(steps))

        await hold(trial, list("abc"), seed=3, sequences=5)
        tried.append(run)
    assert tried[0] == tried[1]
    assert len(tried[0]) == 5


async def test_a_trial_that_raises_has_failed() -> None:
    async def trial(steps: Sequence[int]) -> None:
        with suppress(KeyError):
            assert sum(steps) < 10, "too many"

    with pytest.raises(Broken, match="too many") as caught:
        await hold(trial, [1, 5, 9], seed=random.Random(1).randint(0, 100))
    assert sum(caught.value.steps) >= 10
    assert sum(caught.value.steps[1:]) < 10


async def test_shrinking_ends() -> None:
    trials = 0

    async def trial(steps: Sequence[int]) -> str:
        nonlocal trials
        trials += 1
        return "always"

    with pytest.raises(Broken):
        await hold(trial, [1], seed=1, length=500, shrinks_max=10)
    assert trials <= 11
