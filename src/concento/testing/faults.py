"""Hooks that go wrong in ways that only show over many calls, and one that keeps count of what was really done.

    done = Executions(lossy(0.2, seed=7))
    async with ScriptedHttpServer(modern_mcp(on_call=done)) as server:
        ...  # calls, some of which are repeated
    assert done.most == 1  # none ran twice

Each takes the hook that it spoils; by default the echo. Faults of a single call stand in `mcp_server.py`.
"""

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Sequence

from .mcp_server import Exchange, Hook, Json, echo, reset


class Executions:
    """Counts what was executed, by tool and arguments, and then does it."""

    def __init__(self, then: Hook = echo) -> None:
        self._then = then
        self.counts: Counter[tuple[str, str]] = Counter()
        """By tool and arguments, as JSON with sorted keys."""

    async def __call__(self, exchange: Exchange) -> Json | None:
        self.counts[exchange.name, json.dumps(exchange.arguments, sort_keys=True)] += 1
        return await self._then(exchange)

    @property
    def total(self) -> int:
        """All executions."""
        return self.counts.total()

    @property
    def most(self) -> int:
        """How often the same was executed at most."""
        return max(self.counts.values(), default=0)


class Barrier:
    """Holds calls until so many are there, then lets all of them go: for what has to happen at the same time."""

    def __init__(self, count: int, then: Hook = echo) -> None:
        self._count = count
        self._then = then
        self._open = asyncio.Event()
        self.waiting = 0

    async def __call__(self, exchange: Exchange) -> Json | None:
        self.waiting += 1
        if self.waiting >= self._count:
            self._open.set()
        await self._open.wait()
        return await self._then(exchange)


def slow(seconds: float, then: Hook = echo) -> Hook:
    """The answer, but late."""

    async def hook(exchange: Exchange) -> Json | None:
        await asyncio.sleep(seconds)
        return await then(exchange)

    return hook


async def fails(exchange: Exchange) -> Json:
    """A tool that ran and says that it failed."""
    return {"content": [{"type": "text", "text": "it failed"}], "isError": True}


def lost_reply(then: Hook = echo) -> Hook:
    """It runs, and its answer is lost: the connection is reset."""

    async def hook(exchange: Exchange) -> None:
        await then(exchange)
        await reset(exchange)

    return hook


def lossy(share: float, seed: int, then: Hook = echo, fault: Hook = reset) -> Hook:
    """So large a share of calls goes wrong, as dice with this seed say."""
    dice = random.Random(seed)

    async def hook(exchange: Exchange) -> Json | None:
        return await (fault if dice.random() < share else then)(exchange)

    return hook


def flapping(pattern: Sequence[bool], then: Hook = echo, fault: Hook = reset) -> Hook:
    """Well and unwell by turns: call by call as the pattern says, again and again."""
    turns = itertools.cycle(pattern)

    async def hook(exchange: Exchange) -> Json | None:
        return await (then if next(turns) else fault)(exchange)

    return hook
