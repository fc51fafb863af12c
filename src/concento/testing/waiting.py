"""Waiting for a state instead of for a time."""

import asyncio
from collections.abc import Callable

WAIT_S = 15.0
"""How long a test waits for what should happen at once, before it is called a failure."""

_POLL_S = 0.002


async def until(
    condition: Callable[[], object], what: str, told: Callable[[], object] | None = None, *, wait_s: float = WAIT_S
) -> None:
    """Return as soon as the condition holds.

    Errors: AssertionError naming `what` was waited for, and what `told()` says instead, after `wait_s`.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_s
    while not condition():
        if loop.time() > end:
            state = "" if told is None else f"; instead: {told()!r}"
            raise AssertionError(f"waited {wait_s:g} s in vain: {what}{state}")
        await asyncio.sleep(_POLL_S)
