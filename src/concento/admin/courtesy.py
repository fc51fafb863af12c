"""The admin API takes little of the event loop's time while agents are served, however much it is asked."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from .access import OPEN

P = ParamSpec("P")
T = TypeVar("T")

SHARE: Final = 0.005
"""Of the loop's time, while calls come. A call in a hundred may be slow before p99 moves: this keeps it to fewer."""
IN_HAND_S: Final = 0.05
"""What may be taken at once, after a time with less: a console that opens is not slowed."""
WAIT_MAX_S: Final = 2.0
"""What one request waits at most, of those that wait for their turn."""


BUSY_RATE: Final = 50.0
"""Calls a second from which on the hub is busy: whoever has fewer notices no millisecond."""
OVER_S: Final = 1.0


class Load:
    """Whether many calls come, by the count of them at two moments at least a second apart."""

    def __init__(self, count: Callable[[], int], now_s: Callable[[], float]) -> None:
        self._count = count
        self._now_s = now_s
        self._seen, self._at_s = 0, now_s()
        self._high = False

    def is_high(self) -> bool:
        """Whether they came lately."""
        now_s, count = self._now_s(), self._count()
        if (over_s := now_s - self._at_s) >= OVER_S:
            self._high = (count - self._seen) / over_s >= BUSY_RATE
            self._seen, self._at_s = count, now_s
        return self._high


_TOLD: ContextVar[Callable[[float], None] | None] = ContextVar("told", default=None)
"""Who is told what a request's threads took."""


async def aside(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Work on a thread. Its processor time counts as the loop's, since only one of them runs at a time."""

    def timed() -> T:
        began_s = time.thread_time()
        try:
            return work(*args, **named)
        finally:
            spent_s.append(time.thread_time() - began_s)

    spent_s: list[float] = []
    try:
        return await asyncio.to_thread(timed)
    finally:
        if (told := _TOLD.get()) is not None:
            told(sum(spent_s))


class Courtesy:
    """Has requests wait for their turn while the hub is busy. Health checks never do.

    `is_busy`: whether agents are served; `now_s`: monotonic seconds.
    """

    def __init__(self, app: ASGIApp, is_busy: Callable[[], bool], now_s: Callable[[], float]) -> None:
        self._app = app
        self._is_busy = is_busy
        self._now_s = now_s
        self._left_s = IN_HAND_S
        self._at_s = now_s()
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        async with self._turn:
            if (wait_s := self.wait_s()) > 0:
                await asyncio.sleep(wait_s)
        _TOLD.set(self.took)
        await Timed(self._app(scope, receive, send), self._now_s, self.took)  # type: ignore[arg-type]

    def wait_s(self) -> float:
        """How long the next request has to wait now."""
        now_s = self._now_s()
        self._left_s = min(IN_HAND_S, self._left_s + (now_s - self._at_s) * SHARE)
        self._at_s = now_s
        if not self._is_busy():
            self._left_s = IN_HAND_S
        return min(WAIT_MAX_S, -self._left_s / SHARE) if self._left_s < 0 else 0.0

    def took(self, spent_s: float) -> None:
        """A request took so long of the loop's time, or of a thread's."""
        self._left_s -= spent_s


class Timed:
    """Awaits a coroutine, and tells how long its steps took of the loop's time: not how long it waited."""

    def __init__(
        self, work: Coroutine[Any, Any, None], now_s: Callable[[], float], told: Callable[[float], None]
    ) -> None:
        self._work = work
        self._now_s = now_s
        self._told = told

    def __await__(self) -> Generator[Any, Any, None]:
        value: Any = None
        error: BaseException | None = None
        while True:
            began_s = self._now_s()
            try:
                waited = self._work.send(value) if error is None else self._work.throw(error)
            except StopIteration:
                return
            finally:
                self._told(self._now_s() - began_s)
            value = error = None
            try:
                value = yield waited
            except BaseException as thrown:  # passed on to the work as it came, cancellation too
                error = thrown
