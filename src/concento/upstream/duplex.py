"""Servers that answer over one duplex stream of messages: stdio in both eras, and legacy HTTP+SSE.

What carries the messages is an argument; the rest (probing, requests, changes, subscriptions) is the same.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from msgspec import Raw

from ..model.call import Notify, Profile, Reply, Request
from ..model.errors import CallError, Unavailable
from ..protocol import legacy, modern
from ..protocol.versions import LEGACY, MODERN, Era
from .as_task import run_as_task
from .link import Levels, Listener, Welcome
from .mux import Mux, Writer
from .parking import Parking
from .rounds import check_state, with_pages
from .tasks import Tasks
from .welcome import (
    CLIENT_INFO,
    DISCOVER,
    SUBSCRIBE_WAIT_S,
    greeting,
    listen_request,
    read_discovery,
    read_greeting,
    rejects_era,
    wants_again,
)

PROBE_WAIT_S: Final = 10.0
"""A server silent for so long after the modern probe is greeted the legacy way too; its first answer counts."""


class DuplexLink:
    """A link whose messages `send` carries there; the transport feeds what comes back to `mux`."""

    def __init__(
        self,
        alias: str,
        send: Callable[[bytes], None],
        listener: Listener,
        end: Callable[[], Awaitable[None]],
        *,
        parking: Parking,
        profile: Profile,
    ) -> None:
        self.welcome = Welcome("modern", MODERN[0], Raw(b"{}"), Raw(b"{}"))
        self.lost: asyncio.Future[CallError] = asyncio.get_running_loop().create_future()
        self.mux = Mux(send, listener, parking)
        self._alias = alias
        self._profile = profile
        self._send = send
        self._end = end
        self._writer: Writer = modern.Writer(MODERN[0], CLIENT_INFO)
        self._levels = Levels()
        self._tasks = Tasks(alias)
        self._listening: asyncio.Task[Reply] | None = None
        self._uris: frozenset[str] = frozenset()

    def fail(self, error: CallError) -> None:
        """The transport broke: end what waits."""
        if not self.lost.done():
            self.lost.set_result(error)
        self.mux.fail(error)

    async def greet(self, known: Era | None = None) -> Welcome:
        """Find out the server's era and what it offers. `known` is an earlier verdict, tried first."""
        welcome = None
        if known != "legacy":
            welcome = await self._probe()
        if welcome is None:
            welcome = await self._initialize()
        self.welcome = welcome
        if welcome.era == "modern":
            await self.subscribe(frozenset())
        return welcome

    async def _probe(self) -> Welcome | None:
        """Try the modern way; a silent server is greeted the legacy way too, and its first answer decides."""
        probe = self._tasks.start(self.mux.request(self._writer, DISCOVER))
        try:
            done, _ = await asyncio.wait([probe], timeout=PROBE_WAIT_S)
            if done:
                reply = probe.result()
                if wants_again(reply):
                    reply = await self.mux.request(self._writer, DISCOVER)
                return read_discovery(reply)
            hello = self._tasks.start(self.mux.request(legacy.Writer(LEGACY[0]), greeting(self._profile)))
            try:
                done, _ = await asyncio.wait([probe, hello], return_when=asyncio.FIRST_COMPLETED)
                if probe in done and (welcome := read_discovery(probe.result())) is not None:
                    return welcome
                reply = await hello
                if rejects_era(reply):
                    return read_discovery(await probe)
                return self._initialized(reply)
            finally:
                hello.cancel()
        finally:
            probe.cancel()

    async def _initialize(self) -> Welcome:
        reply = await self.mux.request(legacy.Writer(LEGACY[0]), greeting(self._profile))
        if rejects_era(reply):
            welcome = read_discovery(await self.mux.request(self._writer, DISCOVER))
            if welcome is not None:
                return welcome
        return self._initialized(reply)

    def _initialized(self, reply: Reply) -> Welcome:
        welcome = read_greeting(self._alias, reply)
        self._writer = legacy.Writer(welcome.revision)
        self._send(legacy.INITIALIZED)
        return welcome

    async def request(self, request: Request, notify: Notify | None = None) -> Reply:
        """Ask; see `Link.request`."""
        if self.welcome.era == "modern":
            return await self.mux.request(self._writer, request, notify)
        check_state(request)
        if request.task_only:
            return await run_as_task(self, self.mux.parking, request, notify)
        level = self._levels.to_set(request, self.welcome)
        if level is not None:
            await self.mux.request(self._writer, Request("logging/setLevel", {"level": level}, {}))
        return with_pages(await self.mux.request(self._writer, request, notify), request)

    @property
    def is_busy(self) -> bool:
        """See `Link.is_busy`."""
        return self.mux.is_busy

    @property
    def asks_blindly(self) -> bool:
        """See `Link.asks_blindly`."""
        return self.mux.unclaimed.seen

    async def subscribe(self, uris: frozenset[str]) -> None:
        """Have changes told from now on; see `Link.subscribe`."""
        before, self._uris = self._uris, uris
        if self.welcome.era == "legacy":
            if self.welcome.offers("resources", "subscribe"):
                for uri in uris - before:
                    await self.mux.request(self._writer, Request("resources/subscribe", {"uri": uri}, {}))
                for uri in before - uris:
                    await self.mux.request(self._writer, Request("resources/unsubscribe", {"uri": uri}, {}))
            return
        request = listen_request(self.welcome, uris)
        old = self._listening
        if request is not None:
            live = asyncio.Event()
            listening = self._tasks.start(self.mux.request(self._writer, request, acknowledged=live))
            self._listening = listening
            with suppress(TimeoutError):
                await asyncio.wait_for(live.wait(), SUBSCRIBE_WAIT_S)
        if old is not None:
            old.cancel()

    async def close(self) -> None:
        """End the transport; what waits fails."""
        self.fail(Unavailable(f"The server {self._alias!r} was disconnected"))
        await self._tasks.close()
        await self._end()
