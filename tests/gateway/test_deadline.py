"""Deadlines by hand: they pass once, say so, and never swallow anybody else's cancellation.

Source: hardening R2, R20.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from concento.gateway.deadline import SWEEP_S, Deadline, Deadlines
from concento.testing.clock import ManualClock
from concento.testing.waiting import until


class Timers:
    """Counts the timers that are set on the loop, and never lets one fire: the test sweeps."""

    def __init__(self) -> None:
        self.set: list[Callable[[], None]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> "Timers":
        assert delay == SWEEP_S
        self.set.append(callback)
        return self

    def fire(self) -> None:
        callback = self.set.pop()
        assert not self.set, "one timer for all"
        callback()


class Time:
    """Deadlines on a clock that moves by hand, and tasks under them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.timers = Timers()
        loop: Any = asyncio.get_running_loop()
        self.deadlines = Deadlines(self.clock.monotonic, loop)
        self.deadlines._loop = _Loop(loop, self.timers)  # type: ignore[assignment]
        self.tasks: list[asyncio.Task[Any]] = []

    def start(self, seconds: float, work: Callable[[Deadline], Any]) -> "asyncio.Task[str]":
        """Run work under a deadline."""

        async def run() -> str:
            deadline = self.deadlines.within(seconds)
            try:
                with deadline:
                    result = await work(deadline)
            except TimeoutError:
                return "timed out"
            return str(result)

        task = asyncio.ensure_future(run())  # noqa: TID251 - ended by the fixture
        self.tasks.append(task)
        return task

    async def pass_by(self, seconds: float) -> None:
        """Let time pass, sweep if a timer is set, and let the tasks notice."""
        self.clock.advance(seconds)
        if self.timers.set:
            self.timers.fire()
        for _ in range(5):
            await asyncio.sleep(0)


class _Loop:
    """The running loop as `asyncio.current_task` needs it, with timers of the test's own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timers: Timers) -> None:
        self._loop = loop
        self.call_later = timers.call_later

    def __eq__(self, other: object) -> bool:
        return other is self._loop

    def __hash__(self) -> int:
        return hash(self._loop)


@pytest.fixture
async def time() -> AsyncIterator[Time]:
    time = Time()
    yield time
    for task in time.tasks:
        task.cancel()
    await asyncio.gather(*time.tasks, return_exceptions=True)
    assert not time.deadlines._waiting


async def forever(_: Deadline) -> None:
    await asyncio.Event().wait()


async def started(time: Time, count: int = 1) -> None:
    await until(lambda: len(time.deadlines._waiting) == count, "they wait")


async def test_a_deadline_that_passes_ends_the_wait(time: Time) -> None:
    task = time.start(1.0, forever)
    await started(time)
    await time.pass_by(0.9)
    assert not task.done()
    await time.pass_by(0.2)
    assert await task == "timed out"
    assert task.cancelling() == 0


async def test_work_that_ends_in_time_is_left_alone(time: Time) -> None:
    go = asyncio.Event()

    async def work(_: Deadline) -> str:
        await go.wait()
        return "done"

    task = time.start(1.0, work)
    await started(time)
    go.set()
    assert await task == "done"
    await time.pass_by(5.0)
    assert not time.timers.set


async def test_a_deadline_can_be_moved_while_it_runs(time: Time) -> None:
    moved: list[Deadline] = []

    async def work(deadline: Deadline) -> None:
        moved.append(deadline)
        await forever(deadline)

    task = time.start(1.0, work)
    await started(time)
    for _ in range(3):
        await time.pass_by(0.9)
        moved[0].at_s = time.clock.monotonic() + 1.0
    assert not task.done()
    await time.pass_by(1.1)
    assert await task == "timed out"


async def test_many_deadlines_share_one_timer(time: Time) -> None:
    tasks = [time.start(1.0 + number, forever) for number in range(100)]
    await started(time, 100)
    assert len(time.timers.set) == 1
    await time.pass_by(50.5)
    assert sum(task.done() for task in tasks) == 50
    assert len(time.timers.set) == 1
    await time.pass_by(100.0)
    assert [await task for task in tasks] == ["timed out"] * 100
    assert not time.timers.set
    time.start(1.0, forever)
    await started(time)
    assert len(time.timers.set) == 1


async def test_the_callers_own_cancellation_stays_one(time: Time) -> None:
    task = time.start(1.0, forever)
    await started(time)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await time.pass_by(5.0)


@pytest.mark.parametrize("first", ["caller", "deadline"])
async def test_a_cancellation_at_the_moment_the_deadline_passes_stays_one(time: Time, first: str) -> None:
    task = time.start(1.0, forever)
    await started(time)
    time.clock.advance(2.0)
    if first == "caller":
        task.cancel()
        time.timers.fire()
    else:
        time.timers.fire()
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_result_at_the_moment_the_deadline_passes_leaves_no_cancellation_behind(time: Time) -> None:
    """The task was cancelled already when the work ended: nothing after it may be hit."""
    ready = asyncio.get_running_loop().create_future()

    async def work(_: Deadline) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "a result all the same"
        return ""

    after: list[int] = []

    async def run() -> str:
        with time.deadlines.within(1.0) as deadline:
            result = await work(deadline)
        task = asyncio.current_task()
        assert task is not None
        after.append(task.cancelling())
        await asyncio.sleep(0)
        ready.set_result(None)
        return result

    task = asyncio.ensure_future(run())  # noqa: TID251 - awaited below
    await started(time)
    await time.pass_by(2.0)
    assert await task == "a result all the same"
    assert after == [0]


async def test_an_error_at_the_moment_the_deadline_passes_is_the_error(time: Time) -> None:
    async def work(_: Deadline) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("mine") from None

    task = time.start(1.0, work)
    await started(time)
    await time.pass_by(2.0)
    with pytest.raises(ValueError, match="mine"):
        await task
    assert task.cancelling() == 0


async def test_the_inner_of_two_deadlines_is_the_inners(time: Time) -> None:
    async def work(_: Deadline) -> str:
        try:
            with time.deadlines.within(1.0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "the inner one"
        return ""

    task = time.start(5.0, work)
    await started(time, 2)
    await time.pass_by(2.0)
    assert await task == "the inner one"


async def test_the_outer_of_two_deadlines_is_the_outers(time: Time) -> None:
    inner: list[str] = []

    async def work(_: Deadline) -> None:
        try:
            with time.deadlines.within(5.0):
                await asyncio.Event().wait()
        except TimeoutError:
            inner.append("wrong")

    task = time.start(1.0, work)
    await started(time, 2)
    await time.pass_by(2.0)
    assert await task == "timed out"
    assert inner == []


async def test_two_deadlines_that_pass_together_end_both_waits(time: Time) -> None:
    async def work(_: Deadline) -> None:
        with time.deadlines.within(1.0):
            await asyncio.Event().wait()

    task = time.start(1.0, work)
    await started(time, 2)
    await time.pass_by(2.0)
    assert await asyncio.wait_for(task, 5) == "timed out"


async def test_a_wall_clock_that_jumps_moves_no_deadline() -> None:
    """R20: only the monotonic reading counts, and on the real loop a sweep comes by itself."""
    clock = ManualClock()
    deadlines = Deadlines(clock.monotonic, asyncio.get_running_loop())
    clock._wall_s += 3600

    async def run() -> None:
        with deadlines.within(1.0):
            clock.advance(2.0)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await run()
    await until(lambda: deadlines._timer is None, "the timer is not set again")
