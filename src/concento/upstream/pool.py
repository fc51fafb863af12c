"""All servers of the hub: created, replaced and removed as the configuration changes; unchanged ones stay connected."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping

from ..model.clock import Clock, SystemClock
from ..model.config import Server
from ..model.errors import Unavailable
from ..model.principal import Principal
from .connect import Means
from .link import Welcome
from .parking import Parking
from .server import Upstream
from .tasks import Tasks

REAP_EVERY_S = 30.0


class Upstreams:
    """Owns every `Upstream`. Interested parties register callbacks; a callback must not block."""

    def __init__(self, means: Means, clock: Clock | None = None) -> None:
        self._means = means
        self._clock = clock or SystemClock()
        self._by_key: dict[str, Upstream] = {}
        self._closing = Tasks("the servers")
        self._tasks = Tasks("the servers")
        self._ready: list[Callable[[str, Welcome], None]] = []
        self._health: list[Callable[[str], None]] = []
        self._changed: list[Callable[[str, str], None]] = []
        self._updated: list[Callable[[str, str], None]] = []

    # -- callbacks (the `Events` of each server)

    def on_ready(self, callback: Callable[[str, Welcome], None]) -> None:
        """Call when a main link was made."""
        self._ready.append(callback)

    def on_health(self, callback: Callable[[str], None]) -> None:
        """Call when a server's health changed."""
        self._health.append(callback)

    def on_changed(self, callback: Callable[[str, str], None]) -> None:
        """Call when a server said that one of its lists changed."""
        self._changed.append(callback)

    def on_updated(self, callback: Callable[[str, str], None]) -> None:
        """Call when a subscribed resource changed."""
        self._updated.append(callback)

    def ready(self, key: str, welcome: Welcome) -> None:
        """A main link was made."""
        for callback in self._ready:
            callback(key, welcome)

    def health(self, key: str) -> None:
        """A server's health changed."""
        for callback in self._health:
            callback(key)

    def changed(self, key: str, kind: str) -> None:
        """A server's list changed."""
        for callback in self._changed:
            callback(key, kind)

    def updated(self, key: str, uri: str) -> None:
        """A server's resource changed."""
        for callback in self._updated:
            callback(key, uri)

    # -- servers

    def __iter__(self) -> Iterator[Upstream]:
        return iter(tuple(self._by_key.values()))

    @property
    def parking(self) -> Parking:
        """Where calls wait for input."""
        return self._means.parking

    def get(self, key: str) -> Upstream:
        """The server of that key. Errors: Unavailable, if it was removed meanwhile."""
        upstream = self._by_key.get(key)
        if upstream is None:
            raise Unavailable(f"The server {key!r} was removed")
        return upstream

    def is_well(self, key: str) -> bool:
        """Whether a server is there and can be expected to answer."""
        upstream = self._by_key.get(key)
        return upstream is not None and upstream.is_well

    def apply(
        self,
        servers: Mapping[str, Server],
        start_wait_s: float,
        drain_s: float = 30.0,
        drained: Collection[str] = (),
    ) -> None:
        """Make these the servers: start new ones, replace changed ones, let removed ones end with their last call.

        Those `drained` take no calls; one that is so no more starts anew.
        """
        for key, upstream in list(self._by_key.items()):
            if servers.get(key) != upstream.server or (upstream.is_draining and key not in drained):
                del self._by_key[key]
                self._closing.start(upstream.close(drain_s))
            elif key in drained and not upstream.is_draining:
                upstream.drain()
        for key, server in servers.items():
            if key not in self._by_key:
                upstream = Upstream(server, self._means, self, self._clock, start_wait_s)
                self._by_key[key] = upstream
                upstream.start(drained=key in drained)
        if not self._tasks:
            self._tasks.start(self._reap())

    async def subscribe(self, key: str, uris: frozenset[str]) -> None:
        """Have changes of exactly these resources of a server told."""
        upstream = self._by_key.get(key)
        if upstream is not None:
            await upstream.subscribe(uris)

    def offer(self, key: str, caller: Principal) -> bool:
        """Have a server's lists asked with what a caller's token is exchanged for, if that is how it is asked."""
        upstream = self._by_key.get(key)
        return upstream is not None and upstream.offer(caller)

    async def account_changed(self, key: str, tenant: str, subject: str, *, gone: bool, relist: bool) -> None:
        """A user's account at a server is another now."""
        upstream = self._by_key.get(key)
        if upstream is not None:
            await upstream.account_changed(tenant, subject, gone=gone, relist=relist)

    async def forget(self, session: str) -> None:
        """Close the links that were held for a session that is gone."""
        for upstream in tuple(self._by_key.values()):
            await upstream.forget(session)

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(REAP_EVERY_S)
            for upstream in tuple(self._by_key.values()):
                await upstream.reap()

    async def close(self) -> None:
        """Close every server, at once and side by side."""
        await self._tasks.close()
        upstreams, self._by_key = list(self._by_key.values()), {}
        await asyncio.gather(
            *(upstream.close() for upstream in upstreams), self._closing.close(), return_exceptions=True
        )
