"""While agents are served, the admin API takes a small share of the loop's time, and health checks never wait."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from concento.admin.courtesy import BUSY_RATE, IN_HAND_S, SHARE, WAIT_MAX_S, Courtesy, Load, Timed, aside
from concento.testing.clock import ManualClock


class Hub:
    """An application whose every request takes some of the loop's time, by a clock of ours."""

    def __init__(self, takes_s: float) -> None:
        self.clock = ManualClock()
        self.busy = True
        self.takes_s = takes_s
        self.courtesy = Courtesy(self.app, lambda: self.busy, self.clock.monotonic)

    async def app(self, *_: object) -> None:
        self.clock.advance(self.takes_s)


def test_no_more_than_a_share_is_taken_while_calls_come() -> None:
    hub = Hub(0.001)
    spent = waited = 0.0
    while waited < 600:
        hub.courtesy.took(0.001)
        spent += 0.001
        wait_s = hub.courtesy.wait_s()
        assert wait_s <= WAIT_MAX_S
        hub.clock.advance(wait_s)
        waited += wait_s
    assert spent <= IN_HAND_S + SHARE * waited + 0.001
    hub.busy = False
    assert hub.courtesy.wait_s() == 0


async def test_the_steps_of_a_request_are_counted_and_its_waiting_is_not() -> None:
    clock, told = ManualClock(), list[float]()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        clock.advance(0.25)
        begun.set()
        await go_on.wait()
        clock.advance(0.5)

    async with asyncio.TaskGroup() as group:

        async def timed() -> None:
            await Timed(work(), clock.monotonic, told.append)

        group.create_task(timed())
        await begun.wait()
        clock.advance(100)
        go_on.set()
    assert sum(told) == pytest.approx(0.75)


async def test_cancelling_and_failing_pass_through() -> None:
    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await Timed(fails(), lambda: 0.0, lambda s: None)
    ended = []

    @contextmanager
    def noted() -> Iterator[None]:
        try:
            yield
        finally:
            ended.append(True)

    async def hangs() -> None:
        with noted():
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await Timed(hangs(), lambda: 0.0, lambda s: None)
    assert ended


def test_a_hub_with_few_calls_is_not_busy() -> None:
    clock, count = ManualClock(), [0]
    load = Load(lambda: count[0], clock.monotonic)
    assert not load.is_high()
    for rate, high in ((BUSY_RATE, True), (BUSY_RATE / 2, False), (BUSY_RATE * 40, True), (0, False)):
        clock.advance(1)
        count[0] += int(rate)
        assert load.is_high() == high
        assert load.is_high() == high


async def test_what_a_thread_computes_counts_too() -> None:
    clock = ManualClock()

    def compute() -> int:
        end_s = time.thread_time() + 0.01
        while time.thread_time() < end_s:
            pass
        return 7

    async def app(*_: object) -> None:
        assert await aside(compute) == 7

    courtesy = Courtesy(app, lambda: True, clock.monotonic)
    await courtesy({"type": "http", "path": "/metrics"}, None, None)  # type: ignore[arg-type]
    courtesy.took(IN_HAND_S)
    assert courtesy.wait_s() >= 0.01 / SHARE
