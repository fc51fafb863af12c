"""What a logical tool promises whatever happens on the way to its servers: random sequences of faults and calls."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.hub.bound import logical, serving, with_tools
from tests.hub.conftest import at, config, running

from concento.testing import Executions, FaultProxy, RawAgent, ScriptedHttpServer, hold

FAULTS = ("stall", "cut", "refuse", "lose", "heal")
"""`lose`: the next reply is cut in its middle, so that nobody knows of a call that ran."""
STEPS = [
    *["call"] * 6,
    "lose 0",
    "heal 0",
    "heal 1",
    "calls at once",
    *(f"{what} {number}" for what in FAULTS for number in "01"),
]
CALLS_AT_ONCE = 8
ANSWERED = {"answered", -31001, -31002, -31004, -31006}


class World:
    """A hub with one logical tool over two servers, each behind a proxy; what was called, and what was executed."""

    def __init__(self, stack: AsyncExitStack, *, repeatable: bool) -> None:
        self._stack = stack
        self._repeatable = repeatable
        self.calls: dict[int, Any] = {}
        """By number: how each ended."""
        self.executions = [Executions(), Executions()]
        self.proxies: list[FaultProxy] = []

    async def start(self) -> "World":
        known = []
        for alias, done in zip("ab", self.executions, strict=True):
            server: ScriptedHttpServer = await self._stack.enter_async_context(serving(on_call=done))
            proxy = await self._stack.enter_async_context(FaultProxy(server.url))
            self.proxies.append(proxy)
            known.append(at(alias, proxy.url, timeout_s=0.3, health_check_s=None))
        one = logical("a.search", "b.search", repeatable=self._repeatable)
        self.hub = await self._stack.enter_async_context(running(with_tools(config(*known), one)))
        await self.hub.ready("a", "b")
        self.agent = await self._stack.enter_async_context(RawAgent(self.hub.mcp))
        return self

    async def do(self, step: str) -> None:
        what, _, number = step.partition(" ")
        if what == "call":
            await self.call()
        elif what == "calls":
            await asyncio.gather(*(self.call() for _ in range(CALLS_AT_ONCE)))
        elif what == "lose":
            self.proxies[int(number)].cut_after(40)
        else:
            getattr(self.proxies[int(number)], what)()

    async def call(self) -> None:
        number = len(self.calls)
        self.calls[number] = None
        params = {"name": "web_search", "arguments": {"query": str(number)}}
        reply = await self.agent.modern("tools/call", params, id=number)
        message = json.loads(reply.body)
        self.calls[number] = message["error"]["code"] if "error" in message else "answered"

    def problem(self) -> str | None:
        """What does not hold."""
        executed: Counter[str] = Counter()
        for done in self.executions:
            for (_, arguments), count in done.counts.items():
                executed[json.loads(arguments)["query"]] += count
        twice = {query: count for query, count in executed.items() if count > 1}
        if twice and not self._repeatable:
            return f"executed more than once: {twice}"
        unanswered = {number: end for number, end in self.calls.items() if end not in ANSWERED}
        if unanswered:
            return f"not answered as it should be: {unanswered}"
        lost = [number for number, end in self.calls.items() if end == "answered" and not executed[str(number)]]
        if lost:
            return f"answered without having been executed: {lost}"
        left = {one.server.alias: one.in_flight for one in self.hub.hub.upstreams if one.in_flight}
        return f"calls in flight when all have ended: {left}" if left else None


async def trial(steps: Sequence[str], *, repeatable: bool) -> str | None:
    async with AsyncExitStack() as stack:
        world = await World(stack, repeatable=repeatable).start()
        for step in steps:
            await world.do(step)
        for proxy in world.proxies:
            proxy.heal()
        return world.problem()


@pytest.mark.parametrize("repeatable", [False, True], ids=["not repeatable", "repeatable"])
async def test_no_call_is_lost_or_runs_twice_whatever_the_network_does(repeatable: bool) -> None:
    """R8, R12."""
    await hold(lambda steps: trial(steps, repeatable=repeatable), STEPS, seed=6, sequences=20, length=15)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
async def test_nor_over_many_more_sequences(seed: int) -> None:
    await hold(lambda steps: trial(steps, repeatable=False), STEPS, seed=seed, sequences=40, length=25)
