"""How many calls one server is given at a time; the others wait in line."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from ..model.errors import Overloaded

QUEUE_MAX: Final = 1024
"""Calls that may wait for a place at a server whose `concurrency_max` is reached."""


class Line:
    """Who waits for something, first come first served."""

    def __init__(self) -> None:
        self._turns: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._turns)

    async def wait(self, passed_on: Callable[[], object]) -> None:
        """Until it is one's turn. `passed_on` is called for who leaves just when it was theirs."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                passed_on()
            raise

    def next(self) -> bool:
        """Let the next one go; whether there was one."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return True
        return False


class Places:
    """At most so many calls at a time; some more wait in line, the rest are refused."""

    def __init__(self, alias: str, count_max: int) -> None:
        self._alias = alias
        self._free = count_max
        self._line = Line()
        self.taken = 0

    @property
    def waiting(self) -> int:
        """Calls in line."""
        return len(self._line)

    def take_now(self) -> bool:
        """Take a place if one is free."""
        if self._free <= 0:
            return False
        self._free -= 1
        self.taken += 1
        return True

    async def take(self) -> None:
        """Wait in line for a place. Errors: Overloaded, if the line is full."""
        if len(self._line) >= QUEUE_MAX:
            raise Overloaded(f"The server {self._alias!r} has {QUEUE_MAX} calls waiting", retry_after_s=1.0)
        await self._line.wait(self._pass_on)
        self.taken += 1

    def give_back(self) -> None:
        """Leave the place to the next in line."""
        self.taken -= 1
        self._pass_on()

    def _pass_on(self) -> None:
        if not self._line.next():
            self._free += 1
