"""Deadlines of running calls, watched by one timer for all of them.

A deadline that passes cancels the call's task, exactly as its caller could, and says afterwards that it was the one.
Setting one costs a set insertion; exactness is the sweep's period.
"""

import asyncio
from collections.abc import Callable

SWEEP_S = 0.05
SLOW_S = 0.25
"""A call that takes longer says so to its caller, who may want to be able to come back for it."""


class Deadline:
    """The latest moment for one task. Use as a context manager around what may take long."""

    __slots__ = ("_all", "_task", "at_s", "on_slow", "passed", "slow_at_s")

    def __init__(self, all: "Deadlines", task: "asyncio.Task[object]", now_s: float, seconds: float) -> None:
        self._all = all
        self._task = task
        self.at_s = now_s + seconds
        self.passed = False
        self.on_slow: Callable[[], None] | None = None
        """Called once after `SLOW_S`."""
        self.slow_at_s = now_s + SLOW_S

    def expire(self) -> None:
        """Cancel the task."""
        self.passed = True
        self._task.cancel()

    def __enter__(self) -> "Deadline":
        self._all.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._all.discard(self)
        if self.passed and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from None


class Deadlines:
    """All deadlines of one event loop. `now` is a monotonic clock."""

    def __init__(self, now: Callable[[], float], loop: asyncio.AbstractEventLoop) -> None:
        self.now = now
        self._loop = loop  # asking for the running loop costs a system call on Python 3.11
        self._waiting: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> Deadline:
        """A deadline for the current task."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        return Deadline(self, task, self.now(), seconds)

    def add(self, deadline: Deadline) -> None:
        """Watch it."""
        self._waiting.add(deadline)
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_S, self.sweep)

    def discard(self, deadline: Deadline) -> None:
        """Watch it no more."""
        self._waiting.discard(deadline)

    def sweep(self) -> None:
        """Expire what is due."""
        now_s = self.now()
        for slow in [one for one in self._waiting if one.on_slow is not None and one.slow_at_s <= now_s]:
            on_slow, slow.on_slow = slow.on_slow, None
            if on_slow is not None:
                on_slow()
        for deadline in [deadline for deadline in self._waiting if deadline.at_s <= now_s]:
            self._waiting.discard(deadline)
            deadline.expire()
        self._timer = self._loop.call_later(SWEEP_S, self.sweep) if self._waiting else None
