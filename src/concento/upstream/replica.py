"""One replica of a server: its main link, kept up, and the isolated links of principals or sessions.

The main link is kept by a task of its own: connect, wait until it is lost, wait a little, again. Isolated links are
made when first needed and dropped when idle.
"""

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ..model.config import ChildReplica, UrlReplica
from ..model.errors import CallError, ConcentoError, Overloaded, Unavailable
from ..model.inventory import ServerState
from .connect import Connected, connect
from .link import Link

if TYPE_CHECKING:
    from .server import Upstream

BACKOFF_BASE_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0
STEADY_S: Final = 60.0
"""A link that lived this long was healthy: its next failure counts as the first."""

PARTITIONS_MAX: Final = 64
"""Isolated links one replica may hold at a time."""

PARTITION_IDLE_S: Final = 600.0


def backoff_s(failures: int, randomness: float) -> float:
    """The pause before the next try after so many failures in a row: doubling, with a quarter of jitter."""
    pause = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2 ** min(failures - 1, 10))
    return float(pause * (0.75 + 0.5 * randomness))


class _Deaf:
    """Listens for isolated links: the main link hears the same."""

    def changed(self, kind: str) -> None:
        pass

    def updated(self, uri: str) -> None:
        pass


class ReplicaLinks:
    """One replica: its main link, kept up, and its isolated ones."""

    def __init__(self, upstream: "Upstream", spec: ChildReplica | UrlReplica) -> None:
        self.spec = spec
        self.state: ServerState = "starting"
        self.error: str | None = None
        self.main: Connected | None = None
        self.in_flight = 0
        self.isolated: dict[str, asyncio.Task[Connected]] = {}
        self.used_s: dict[str, float] = {}
        self._upstream = upstream
        self._settled = asyncio.Event()
        self._last_words: tuple[str, ...] = ()

    async def keep(self) -> None:
        """Keep the main link up, until cancelled."""
        upstream = self._upstream
        failures = 0
        while True:
            try:
                self.main = await connect(upstream.server, self.spec, upstream.means, upstream.listener)
            except ConcentoError as error:
                failures += 1
                self._last_words = error.last_words if isinstance(error, CallError) else ()
                warming = upstream.is_warming()
                self._set("starting" if warming else "failing", None if warming else str(error))
                await asyncio.sleep(0.2 if warming else backoff_s(failures, random.random()))
                continue
            up_s = upstream.clock.monotonic()
            self._set("ready", None)
            upstream.on_ready(self.main.link)
            reason = await asyncio.shield(self.main.link.lost)
            lost, self.main = self.main, None
            if upstream.clock.monotonic() - up_s > STEADY_S:
                failures = 0
            failures += 1
            self._last_words = reason.last_words
            self._set("failing", reason.message)
            await lost.link.close()
            await asyncio.sleep(backoff_s(failures, random.random()))

    def _set(self, state: ServerState, error: str | None) -> None:
        changed = (state, error) != (self.state, self.error)
        self.state, self.error = state, error
        if state == "starting":
            self._settled.clear()
        else:
            self._settled.set()
        if changed:
            self._upstream.on_health()

    async def link(self, partition: str) -> Link:
        """The link for a call, waiting a little where the server is just starting. Errors: Unavailable."""
        if self.main is None and self.state == "starting":
            with suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), self._upstream.start_wait_s)
        if self.main is None:
            alias = self._upstream.server.alias
            if self.state == "starting":
                raise Unavailable(f"The server {alias!r} is still starting", retry_after_s=1.0)
            raise Unavailable(self.error or f"The server {alias!r} is not connected", retry_after_s=1.0)
        return self.main.link if not partition else (await self._isolated_link(partition))

    async def _isolated_link(self, partition: str) -> Link:
        self.used_s[partition] = self._upstream.clock.monotonic()
        making = self.isolated.get(partition)
        if making is None or (making.done() and not _usable(making)):
            if making is None and len(self.isolated) >= PARTITIONS_MAX:
                await self._drop_idlest()
            making = self._upstream.tasks.start(
                connect(self._upstream.server, self.spec, self._upstream.means, _Deaf())
            )
            self.isolated[partition] = making
        try:
            return (await asyncio.shield(making)).link
        except ConcentoError:
            self.isolated.pop(partition, None)
            raise

    async def _drop_idlest(self) -> None:
        idle_before_s = self._upstream.clock.monotonic() - 1.0
        partition = min(self.isolated, key=lambda name: self.used_s.get(name, 0.0))
        if self.used_s.get(partition, 0.0) > idle_before_s:
            raise Overloaded(
                f"The server {self._upstream.server.alias!r} holds {PARTITIONS_MAX} isolated links already",
                retry_after_s=1.0,
            )
        await self.drop(partition)

    async def drop(self, partition: str) -> None:
        """Close an isolated link."""
        making = self.isolated.pop(partition, None)
        self.used_s.pop(partition, None)
        if making is None:
            return
        if making.done() and not making.cancelled() and making.exception() is None:
            await making.result().link.close()
        else:
            making.cancel()

    async def reap(self, now_s: float) -> None:
        """Close the isolated links nobody used for long."""
        for partition in [name for name, used_s in self.used_s.items() if now_s - used_s > PARTITION_IDLE_S]:
            await self.drop(partition)

    async def close(self) -> None:
        """Close all links."""
        for partition in tuple(self.isolated):
            await self.drop(partition)
        main, self.main = self.main, None
        if main is not None:
            await main.link.close()

    def stderr(self) -> tuple[str, ...]:
        """The last lines of the child's standard error."""
        return self.main.stderr() if self.main is not None else self._last_words


def _usable(making: "asyncio.Task[Connected]") -> bool:
    return not making.cancelled() and making.exception() is None and not making.result().link.lost.done()
