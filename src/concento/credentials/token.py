"""A token that calls share: used until shortly before it ends, and fetched by one for all who wait."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from ..model.errors import CallError, NoGrant
from .token_endpoint import Granted, NoToken

YOUNG_S: Final = 5.0
"""A token that is refused is renewed only if it is older: of a new one that is refused, another is as bad."""
EARLY_S: Final = 30.0
"""A token is renewed so long before it ends, or after half of its life if that is shorter."""
RETRY_S: Final = 2.0
"""After a failure, nobody asks again for so long: a thousand calls must not ask a thousand times."""


class Token:
    """One token. `name` is what errors call the server that it is for; what is fetched, whoever inherits says."""

    def __init__(self, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._now = now
        self._field = b""
        self._until_s = float("-inf")
        self._failed: NoToken | None = None
        """Why the last fetch brought nothing."""
        self._fetched_s = float("-inf")
        self._failed_s = float("-inf")
        self._closed = False
        self._turns = 0
        """Counts what was kept or dropped: what a fetch brings that began before counts for nothing."""
        self._fetching: asyncio.Task[None] | None = None
        self.fetches = 0

    async def field(self) -> bytes:
        """The header field that shows the token. Errors: any `CallError`; nothing was sent to the server then."""
        if self._now() >= self._until_s:
            await self._fetch_once()
        if not self._field:
            raise self._problem(NoToken("it was not waited for"))
        return self._field

    async def renewed(self, refused: bytes) -> bytes:
        """The field after a server refused one: new, unless somebody fetched it meanwhile. Errors: as `field`."""
        if self._field == refused and self._now() - self._fetched_s >= YOUNG_S:
            self._until_s = float("-inf")
        return await self.field()

    async def close(self) -> None:
        """Stop fetching; whoever asks from now on is told so."""
        self._closed, self._field, self._until_s = True, b"", float("-inf")
        self._failed = NoToken("the hub is stopping")
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def keep(self, access_token: str, lasts_s: float) -> None:
        """Use a token from now on."""
        self._turns += 1
        self._field = b"Authorization: Bearer %b\r\n" % access_token.encode("ascii")
        self._fetched_s, self._failed = self._now(), None
        self._until_s = self._fetched_s + max(lasts_s - EARLY_S, lasts_s / 2)

    def drop(self) -> None:
        """Use no token any more, until there is another."""
        self._turns += 1
        self._field, self._until_s, self._failed = b"", float("-inf"), None

    def refused(self, status: int, header: str) -> CallError | None:
        """What it means that the server refused what it was shown, with its challenge; None: what it always means."""
        return None

    async def _fetch_once(self) -> None:
        if self._failed is not None and (self._closed or self._now() - self._failed_s < RETRY_S):
            raise self._problem(self._failed)
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        await asyncio.wait([self._fetching])  # who stops waiting must not stop it for the others
        if self._failed is not None:
            raise self._problem(self._failed)

    async def _fetch(self) -> None:
        self.fetches += 1
        self._failed = None
        turn = self._turns
        try:
            granted = await self._ask()
            if granted is not None and self._turns == turn:
                self.keep(granted.access_token, granted.lasts_s)
        except NoToken as error:
            self._failed, self._failed_s = error, self._now()
        except Exception as error:  # the last edge: everybody waits for this, and must hear of whatever went wrong
            self._failed, self._failed_s = NoToken(type(error).__name__), self._now()
        finally:
            self._fetching = None

    async def finish(self, wait_s: float) -> None:
        """Let a fetch that runs end, for it may have spent what the next one needs."""
        if self._fetching is not None:
            await asyncio.wait([self._fetching], timeout=wait_s)

    async def _ask(self) -> Granted | None:
        """Fetch one; None if it is in use already. Errors: NoToken."""
        raise NotImplementedError

    def _problem(self, why: NoToken) -> CallError:
        """What a caller is told, each time anew: an error is one call's."""
        return NoGrant(f"The authorization server of {self._name!r} gave no token: {why}", retry_after_s=RETRY_S)
