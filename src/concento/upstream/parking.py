"""Calls that run at a legacy server and wait there for input: who may go on with which, how many, and for how long.

What is parked is taken once, by the unguessable token that the caller was given sealed. Source: hardening R31, R32.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from ..model.call import Notify, Reply, Request
from ..model.errors import InvalidParams, Outcome, Overloaded
from ..model.limits import INPUT_WAIT_S, PARKED_MAX, PARKED_PER_PRINCIPAL_MAX
from ..model.principal import Owner


class Parked(Protocol):
    """A call that waits: on whose behalf, how to go on, how to give it up."""

    owner: Owner

    async def resume(self, request: Request, notify: Notify | None) -> Reply:
        """Bring answers and wait on."""
        ...

    def give_up(self) -> None:
        """End it, at its server too."""


class Parking:
    """All parked calls of a hub. `now` is monotonic time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._parked: dict[str, tuple[Parked, float]] = {}
        self._per_owner: Counter[Owner] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self.count_max = PARKED_MAX
        self.per_owner_max = PARKED_PER_PRINCIPAL_MAX

    def __len__(self) -> int:
        return len(self._parked)

    def __contains__(self, token: object) -> bool:
        return token in self._parked

    def check_room(self, owner: Owner, *, outcome: Outcome = "not_sent") -> None:
        """Errors: Overloaded, if not one more call of this owner's may be parked.

        Asked before a call is sent that is likely to be parked, so that nothing runs which could not be gone on with.
        """
        for count, most, whose in (
            (len(self._parked), self.count_max, "the hub"),
            (self._per_owner[owner], self.per_owner_max, "this caller"),
        ):
            if count >= most:
                raise Overloaded(
                    f"{most} calls of {whose} wait for input already; answer or wait for some of them",
                    outcome=outcome,
                    retry_after_s=5.0,
                )

    def park(self, parked: Parked) -> str:
        """Keep a call; returns the token that it is taken by. Errors: Overloaded."""
        self.check_room(parked.owner, outcome="failed")
        token = secrets.token_urlsafe(24)
        self._parked[token] = (parked, self.now() + INPUT_WAIT_S)
        self._per_owner[parked.owner] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)
        return token

    def take(self, token: str) -> Parked | None:
        """The call of a token, which is used up by that."""
        entry = self._parked.pop(token, None)
        if entry is None:
            return None
        owner = entry[0].owner
        self._per_owner[owner] -= 1
        if not self._per_owner[owner]:
            del self._per_owner[owner]
        return entry[0]

    def abandon(self, token: str) -> None:
        """Give up a call, at its server too."""
        parked = self.take(token)
        if parked is not None:
            parked.give_up()

    def sweep(self) -> None:
        """Give up what waited for too long."""
        now_s = self.now()
        for token in [token for token, (_, until_s) in self._parked.items() if until_s <= now_s]:
            self.abandon(token)

    def _sweep(self) -> None:
        self.sweep()
        self._timer = None
        if self._parked:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def close(self) -> None:
        """Give up everything."""
        for token in tuple(self._parked):
            self.abandon(token)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_SWEEP_S: Final = 1.0


def no_longer_awaited() -> InvalidParams:
    """How a retry is answered whose call is gone: it was given up, or the hub was restarted. Nothing runs again."""
    return InvalidParams(
        "The input is no longer awaited: the call it was for has ended; make the call anew if it is safe to repeat",
        data={"outcome": "unknown", "retryable": False},
    )
