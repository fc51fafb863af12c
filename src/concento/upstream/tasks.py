"""A parent for background tasks: each is kept, its failure is told, and all end with their owner."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..model.errors import ConcentoError

T = TypeVar("T")


class Tasks:
    """Owns tasks. A failure that is no `ConcentoError` goes to the loop's exception handler."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, task: object) -> bool:
        return task in self._running

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run it as a task of this owner's."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, ConcentoError):
            context = {"message": f"a task of {self._name} failed", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)

    async def finish(self) -> None:
        """Wait until they have ended by themselves."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def close(self) -> None:
        """Cancel them all and wait until they have ended."""
        current = asyncio.current_task()
        running = [task for task in self._running if task is not current]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
