"""One configured server, kept connected: its replicas, their links, their health, its limits.

A replica's main link is kept up by a task of its own: connect, wait until it is lost, wait a little, again. Links for
isolated principals or sessions are made when first needed and dropped when idle.
"""

import asyncio
import random
from collections import deque
from contextlib import suppress
from typing import Final, Protocol

from ..model.call import Notify, Reply, Request
from ..model.clock import Clock
from ..model.config import ChildReplica, Server, UrlReplica
from ..model.errors import CallError, ConcentoError, Overloaded, Unavailable
from ..model.inventory import Health, Reading, ServerState
from ..transport.stdio import Child, ExitNotice
from .connect import CHILD_WAIT_S, Connected, Means, connect
from .link import Link, Welcome
from .tasks import Tasks

BACKOFF_BASE_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0
STEADY_S: Final = 60.0
"""A link that lived this long was healthy: its next failure counts as the first."""

QUEUE_MAX: Final = 1024
"""Calls that may wait for a place at a server whose `concurrency_max` is reached."""

PARTITIONS_MAX: Final = 64
"""Isolated links one replica may hold at a time."""

PARTITION_IDLE_S: Final = 600.0


def backoff_s(failures: int, randomness: float) -> float:
    """The pause before the next try after so many failures in a row: doubling, with a quarter of jitter."""
    pause = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2 ** min(failures - 1, 10))
    return float(pause * (0.75 + 0.5 * randomness))


class Events(Protocol):
    """Who is told what happens to servers. Never blocks."""

    def ready(self, alias: str, welcome: Welcome) -> None:
        """A replica's main link was made, anew or for the first time."""

    def health(self, alias: str) -> None:
        """The server's health is another than before."""

    def changed(self, alias: str, kind: str) -> None:
        """One of its lists changed."""

    def updated(self, alias: str, uri: str) -> None:
        """A subscribed resource of its changed."""


class Places:
    """At most so many calls at a time; some more wait in line, the rest are refused."""

    def __init__(self, alias: str, count_max: int) -> None:
        self._alias = alias
        self._free = count_max
        self._line: deque[asyncio.Future[None]] = deque()
        self.taken = 0

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
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise
        self.taken += 1

    def give_back(self) -> None:
        """Leave the place to the next in line."""
        self.taken -= 1
        self._pass_on()

    def _pass_on(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class _Listener:
    """Passes what one server sends unasked on under its alias."""

    def __init__(self, alias: str, events: Events) -> None:
        self._alias = alias
        self._events = events

    def changed(self, kind: str) -> None:
        self._events.changed(self._alias, kind)

    def updated(self, uri: str) -> None:
        self._events.updated(self._alias, uri)


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


class Upstream:
    """One server of the configuration."""

    def __init__(self, server: Server, means: Means, events: Events, clock: Clock, start_wait_s: float) -> None:
        self.server = server
        self.means = means
        self.clock = clock
        self.start_wait_s = start_wait_s
        self.listener = _Listener(server.alias, events)
        self.replicas = [ReplicaLinks(self, spec) for spec in server.replicas]
        self._events = events
        self._places = Places(server.alias, server.concurrency_max)
        self._turns = 0
        self._uris: frozenset[str] = frozenset()
        self.tasks = Tasks(server.alias)
        self._beside: Child | None = None
        self._beside_since_s: float | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def start(self) -> None:
        """Begin to connect."""
        keepers = [replica.keep() for replica in self.replicas]
        if self.server.beside is not None:
            self._beside_since_s = self.clock.monotonic()
            keepers.append(self._keep_beside(self.server.beside))
        for keeper in keepers:
            self.tasks.start(keeper)

    # -- what planning reads

    def readings(self) -> tuple[Reading, ...]:
        """Each replica's condition right now."""
        if len(self.replicas) == 1:
            return _ONE
        return tuple(Reading(replica.state != "failing", replica.in_flight) for replica in self.replicas)

    def turn(self) -> int:
        """Counts the calls, for rotation."""
        self._turns += 1
        return self._turns

    @property
    def in_flight(self) -> int:
        """Calls that have a place right now."""
        return self._places.taken

    def health(self) -> Health:
        """Ready as soon as one replica is; else the first replica's condition."""
        best = next((replica for replica in self.replicas if replica.state == "ready"), self.replicas[0])
        welcome = best.main.link.welcome if best.main is not None else None
        stderr = best.stderr() or (self._beside.stderr_tail() if self._beside is not None else ())
        return Health(
            state=best.state,
            error=best.error if best.state != "ready" else None,
            stale=best.state != "ready",
            era=welcome.era if welcome else None,
            revision=welcome.revision if welcome else None,
            stderr=stderr,
        )

    # -- calls

    async def request(self, replica: int, partition: str, request: Request, notify: Notify | None = None) -> Reply:
        """Ask one replica. Errors: any `CallError`."""
        links = self.replicas[replica]
        if self._closed:
            raise Unavailable(f"The server {self.server.alias!r} was removed")
        if not self._places.take_now():
            await self._places.take()
        links.in_flight += 1
        self._idle.clear()
        try:
            main = links.main
            link = main.link if main is not None and not partition else await links.link(partition)
            return await link.request(request, notify)
        finally:
            links.in_flight -= 1
            self._places.give_back()
            if not self._places.taken:
                self._idle.set()

    async def subscribe(self, uris: frozenset[str]) -> None:
        """Have changes of exactly these resources told. A server that can't be reached is told when it is back."""
        self._uris = uris
        for replica in self.replicas:
            if replica.main is not None:
                with suppress(CallError):
                    await replica.main.link.subscribe(uris)

    def on_ready(self, link: Link) -> None:
        """A main link was made."""
        if self._uris:
            self.tasks.start(self._subscribe_again(link))
        self._events.ready(self.server.alias, link.welcome)

    async def _subscribe_again(self, link: Link) -> None:
        with suppress(CallError):
            await link.subscribe(self._uris)

    def on_health(self) -> None:
        """A replica's condition changed."""
        self._events.health(self.server.alias)

    async def reap(self) -> None:
        """Close isolated links nobody used for long."""
        for replica in self.replicas:
            await replica.reap(self.clock.monotonic())

    async def forget(self, session: str) -> None:
        """Close the links that were held for a session that is gone."""
        for replica in self.replicas:
            for partition in [name for name in replica.isolated if name.endswith(f"/{session}")]:
                await replica.drop(partition)

    # -- a server started beside its URL

    def is_warming(self) -> bool:
        """Whether the program behind the URL was started a short while ago and lives, so that refusals are expected."""
        since_s = self._beside_since_s
        return since_s is not None and self.clock.monotonic() - since_s < CHILD_WAIT_S

    async def _keep_beside(self, spec: ChildReplica) -> None:
        """Keep the program running that serves the URL."""
        failures = 0
        while True:
            ended: asyncio.Queue[ExitNotice] = asyncio.Queue(1)
            started_s = self.clock.monotonic()
            try:
                self._beside = await Child.start(
                    spec, watchdog=self.means.watchdog, on_line=_ignore, on_exit=ended.put_nowait
                )
                self._beside_since_s = started_s
                problem = (await ended.get()).how
                await self._beside.close()
            except ConcentoError as error:
                problem = str(error)
            self._beside_since_s = None
            failures = 1 if self.clock.monotonic() - started_s > STEADY_S else failures + 1
            for replica in self.replicas:
                if replica.main is None:
                    replica.state, replica.error = "failing", f"The server {self.server.alias!r} {problem}"
            self.on_health()
            await asyncio.sleep(backoff_s(failures, random.random()))

    # -- the end

    async def close(self, drain_s: float = 0.0) -> None:
        """Take no more calls, let those in flight end for a while, then close every link and child."""
        self._closed = True
        if drain_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), drain_s)
        await self.tasks.close()
        for replica in self.replicas:
            await replica.close()
        if self._beside is not None:
            await self._beside.close()


_ONE = (Reading(),)


def _ignore(line: bytes) -> None:
    """What a program prints that serves over HTTP is nobody's message."""
