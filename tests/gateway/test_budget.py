"""Repetitions are bounded and wait in line. Source: hardening R12."""

import asyncio

import pytest

from concento.gateway import budget
from concento.gateway.budget import LEAST, Budget


async def test_what_finds_no_room_waits_until_there_is_some() -> None:
    one = Budget(lambda: 0)
    for _ in range(LEAST):
        assert await one.take()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(one.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        one.leave(1)
    assert waiting.result()
    assert one.taken == LEAST


async def test_more_calls_make_more_room() -> None:
    one = Budget(lambda: 100)
    for _ in range(20):
        assert await one.take()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(one.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()


async def test_who_gives_up_passes_the_turn_on() -> None:
    one = Budget(lambda: 0)
    for _ in range(LEAST):
        await one.take()
    async with asyncio.TaskGroup() as group:
        first, second = (group.create_task(one.take()) for _ in range(2))
        await asyncio.sleep(0)
        one.leave(1)
        first.cancel()
    assert first.cancelled()
    assert second.result()


async def test_the_line_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "LINE_MAX", 0)
    one = Budget(lambda: 0)
    for _ in range(LEAST):
        await one.take()
    assert not await one.take()
