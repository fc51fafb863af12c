"""One configured server: its replicas, their health, its limits, and the program that runs beside its URL."""

import asyncio
import random
from contextlib import suppress
from typing import Final, Protocol

from ..model.attempt import Attempt
from ..model.call import INPUT_REQUIRED, NO_ABILITIES, Notify, Reply, Request, Result
from ..model.clock import Clock
from ..model.config import ChildReplica, Server, UrlReplica
from ..model.errors import CallError, ConcentoError, Unavailable
from ..model.inventory import WELL, Health, Reading
from ..model.principal import ANONYMOUS, Principal, owner_prefix
from ..transport.stdio import Child, ExitNotice
from .circuit import CLOSED, begun, ended, failed, restored, standing, succeeded, warmth
from .connect import CHILD_WAIT_S, Means
from .link import Link, Welcome
from .places import Places
from .replica import OF, STEADY_S, ReplicaLinks, backoff_s
from .tasks import Tasks

OFFER_S: Final = 5.0
"""Lists that nobody was shown yet are asked with another caller's token at most so often."""


class Events(Protocol):
    """Who is told what happens to servers, by their keys. Never blocks."""

    def ready(self, key: str, welcome: Welcome) -> None:
        """A replica's main link was made, anew or for the first time."""

    def health(self, key: str) -> None:
        """The server's health is another than before."""

    def changed(self, key: str, kind: str) -> None:
        """One of its lists changed."""

    def updated(self, key: str, uri: str) -> None:
        """A subscribed resource of its changed."""


class _Listener:
    """Passes what one server sends unasked on under its key."""

    def __init__(self, key: str, events: Events) -> None:
        self._key = key
        self._events = events

    def changed(self, kind: str) -> None:
        self._events.changed(self._key, kind)

    def updated(self, uri: str) -> None:
        self._events.updated(self._key, uri)


class Upstream:
    """One server of the configuration."""

    def __init__(self, server: Server, means: Means, events: Events, clock: Clock, start_wait_s: float) -> None:
        self.server = server
        self.means = means
        self.clock = clock
        self.start_wait_s = start_wait_s
        self.listener = _Listener(server.key, events)
        self.replicas = [ReplicaLinks(self, spec) for spec in server.replicas]
        self._events = events
        self._places = Places(server.alias, server.concurrency_max)
        self.weights = tuple(spec.weight for spec in server.replicas)
        self._times = len(self.replicas) > 1
        self._turns = 0
        self._uris: frozenset[str] = frozenset()
        self._offered_s = float("-inf")
        self.tasks = Tasks(server.alias)
        self._ending = Tasks(server.alias)
        self._beside: Child | None = None
        self._beside_since_s: float | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._draining = False
        self._drained = False

    def start(self, *, drained: bool = False) -> None:
        """Begin to connect, unless it takes no calls."""
        if drained:
            self._draining = self._drained = True
            return
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
            return _ONE  # whether it takes calls is found out by asking it
        now_s = self.clock.monotonic()
        return tuple(
            Reading(
                replica.state != "failing" and standing(replica.circuit, now_s) != "open",
                replica.in_flight,
                replica.latency.at(now_s),
                warmth(replica.circuit, now_s),
            )
            for replica in self.replicas
        )

    def turn(self) -> int:
        """Counts the calls, for rotation."""
        self._turns += 1
        return self._turns

    @property
    def is_well(self) -> bool:
        """Whether a replica is there, or may be woken, and has not failed too often."""
        if self._draining:
            return False
        for replica in self.replicas:
            if replica.state in WELL and (
                replica.circuit is CLOSED or standing(replica.circuit, self.clock.monotonic()) != "open"
            ):
                return True
        return False

    @property
    def is_ejected(self) -> bool:
        """Whether a replica failed so often that it gets no calls now."""
        now_s = self.clock.monotonic()
        return any(standing(replica.circuit, now_s) == "open" for replica in self.replicas)

    @property
    def in_flight(self) -> int:
        """Calls that have a place right now."""
        return self._places.taken

    @property
    def waiting(self) -> int:
        """Calls that wait in line for a place."""
        return self._places.waiting

    @property
    def beside_pid(self) -> int | None:
        """The program that runs beside its URL."""
        return None if self._beside is None or self._beside_since_s is None else self._beside.pid

    def health(self) -> Health:
        """Ready as soon as one replica is, else asleep if one may be woken; else the first replica's condition."""
        if self._draining:
            return Health("drained" if self._drained else "draining", _DRAINED, stale=True)
        by_state = {replica.state: replica for replica in reversed(self.replicas)}
        best = by_state.get("ready") or by_state.get("asleep") or self.replicas[0]
        welcome = best.main.link.welcome if best.main is not None else None
        stderr = best.stderr() or (self._beside.stderr_tail() if self._beside is not None else ())
        return Health(
            state=best.state,
            error=best.error if best.state != "ready" else None,
            stale=best.state not in WELL,
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
        if self._draining and (self._drained or request.state is None):
            raise Unavailable(f"The server {self.server.alias!r} takes no calls now: {_DRAINED}")
        tries = links.circuit is not CLOSED and self._tries(links)
        attempt = request.attempt
        if not self._places.take_now():
            await self._in_line(attempt)
        links.in_flight += 1
        self._idle.clear()
        began_s = self.clock.monotonic() if self._times else 0.0
        try:
            parked = None if request.state is None else self.means.parking.take(request.state)
            if parked is not None:
                return await parked.resume(request, notify)
            main = links.main
            if main is not None and not partition and main.suits(request.profile):
                if attempt is not None:
                    attempt.revision = main.link.welcome.revision
                reply = await main.link.request(request, notify)
                links.replies += 1
                if links.circuit is not CLOSED:
                    links.circuit = succeeded(links.circuit, self.clock.monotonic())
                return reply
            partition, link = await self._link(links, partition, request)
            if links.asks:
                self.means.parking.check_room(request.owner.owner)
            reply = await link.request(request, notify)
            links.replies += 1
            links.asks = links.asks or (isinstance(reply, Result) and reply.kind == INPUT_REQUIRED)
            if links.circuit is not CLOSED:
                links.circuit = succeeded(links.circuit, self.clock.monotonic())
            return reply
        except CallError as error:
            if error.fault == "upstream":
                self.failed(replica)
            raise
        finally:
            links.in_flight -= 1
            if tries:
                links.circuit = ended(links.circuit)
            if self._times:
                now_s = self.clock.monotonic()
                links.latency.note(now_s - began_s, now_s)
            if links.stops_when_idle and request.method not in _LISTS:
                links.used(partition)
            self._places.give_back()
            if not self._places.taken:
                self._idle.set()

    async def _in_line(self, attempt: Attempt | None) -> None:
        """Wait for a place, and note how long. Errors: Overloaded."""
        began_s = self.clock.monotonic()
        try:
            await self._places.take()
        finally:
            if attempt is not None:
                attempt.waited("queue", began_s, self.clock.monotonic())

    async def _link(self, links: ReplicaLinks, partition: str, request: Request) -> tuple[str, Link]:
        """The link for a call, and how long it took where it had to be made first. Errors: as `ReplicaLinks.link`."""
        attempt, began_s = request.attempt, self.clock.monotonic()
        try:
            partition, link = await links.link(partition, request.profile, request.owner)
        finally:
            if attempt is not None:
                attempt.waited("connect", began_s, self.clock.monotonic())
        if attempt is not None:
            attempt.revision = link.welcome.revision
        return partition, link

    def _tries(self, links: ReplicaLinks) -> bool:
        """Let a call pass to a replica that failed lately, or not. Returns whether it is the one that tries it.

        Of several, none is passed over where all keep failing. Errors: Unavailable.
        """
        now_s = self.clock.monotonic()
        if standing(links.circuit, now_s) == "open" and (
            len(self.replicas) == 1 or self._others_are_well(links, now_s)
        ):
            alias, times = self.server.alias, links.circuit.failures
            left_s = max(1.0, links.circuit.until_s - now_s)
            told = f"The server {alias!r} failed {times} times in a row; it is tried again in {left_s:.0f} s"
            raise Unavailable(told, retry_after_s=left_s)
        before, links.circuit = links.circuit, begun(links.circuit, now_s)
        return before is not links.circuit

    def _others_are_well(self, links: ReplicaLinks, now_s: float) -> bool:
        return any(
            other.state != "failing" and standing(other.circuit, now_s) != "open"
            for other in self.replicas
            if other is not links
        )

    def failed(self, replica: int) -> None:
        """A replica gave no reply to a call, or none that is one."""
        links = self.replicas[replica]
        links.circuit = failed(links.circuit, self.clock.monotonic(), random.random())

    async def listen(self, replica: int, partition: str, request: Request, notify: Notify) -> None:
        """Hear what a listen request of a caller's own brings, until cancelled. It takes no call's place."""
        if replica < len(self.replicas) and not self._drained:
            _, link = await self.replicas[replica].link(partition, request.profile, request.owner)
            await link.request(request, notify)

    def holds(self, partition: str) -> bool:
        """Whether a link of that partition is there, for callers of whatever profile."""
        return any(name.partition(OF)[0] == partition for replica in self.replicas for name in replica.isolated)

    async def subscribe(self, uris: frozenset[str]) -> None:
        """Have changes of exactly these resources told. A server that can't be reached is told when it is back.

        One that sleeps is woken, and kept awake until nothing is subscribed. What belongs to users is not told of: the
        link that would tell is no user's.
        """
        if self.server.knows_callers:
            return
        self._uris = uris
        for replica in self.replicas:
            replica.used()
        await asyncio.gather(*(self._subscribe_at(replica, uris) for replica in self.replicas))

    async def _subscribe_at(self, replica: ReplicaLinks, uris: frozenset[str]) -> None:
        if uris and replica.state == "asleep" and not self._draining:
            with suppress(CallError, TimeoutError):
                await asyncio.wait_for(replica.link("", NO_ABILITIES, ANONYMOUS), self.start_wait_s)
        if replica.main is not None:
            with suppress(CallError):
                await replica.main.link.subscribe(uris)

    @property
    def is_subscribed(self) -> bool:
        """Whether changes of a resource are to be told."""
        return bool(self._uris)

    def wake(self) -> None:
        """Start a child that sleeps, unless a replica is there already, or about to be."""
        if self._draining:
            return
        by_state = {replica.state: replica for replica in reversed(self.replicas)}
        if "asleep" in by_state and not by_state.keys() & {"ready", "starting"}:
            by_state["asleep"].wake()

    def on_ready(self, link: Link) -> None:
        """A main link was made, by a replica that is well then."""
        for replica in self.replicas:
            if replica.main is not None and replica.main.link is link:
                replica.circuit = restored(replica.circuit, self.clock.monotonic())
        if self._uris:
            self.tasks.start(self._subscribe_again(link))
        self._events.ready(self.server.key, link.welcome)

    async def _subscribe_again(self, link: Link) -> None:
        with suppress(CallError):
            await link.subscribe(self._uris)

    def on_health(self) -> None:
        """A replica's condition changed."""
        self._events.health(self.server.key)

    async def reap(self) -> None:
        """Close the links nobody used for long."""
        for replica in self.replicas:
            await replica.reap()

    def offer(self, caller: Principal) -> bool:
        """Have lists asked, which nobody was shown yet, with what a caller's token is exchanged for, if they can be."""
        exchange, exchanges, spec = self.server.exchange, self.means.exchanges, self.server.replicas[0]
        if exchange is None or exchanges is None or not isinstance(spec, UrlReplica) or caller.token is None:
            return False
        now_s = self.clock.monotonic()
        if now_s - self._offered_s >= OFFER_S:
            self._offered_s = now_s
            token = exchanges.token(self.server.key, self.server.alias, spec.url, exchange, caller)
            exchanges.offer(self.server.key, token)
            for replica in self.replicas:
                replica.account_changed(relist=True)
        return True

    async def account_changed(self, tenant: str, subject: str, *, gone: bool, relist: bool) -> None:
        """A user's account is another now. `gone`: what was held for them is closed.

        `relist`: lists may be asked with another account from now on.
        """
        for replica in self.replicas:
            replica.account_changed(relist=relist)
            for partition in list(replica.isolated) if gone else []:
                if partition.startswith(owner_prefix(tenant, subject)):
                    await replica.drop(partition)

    async def forget(self, session: str) -> None:
        """Close the links that were held for a session that is gone."""
        for replica in self.replicas:
            for partition in [name for name in replica.isolated if name.partition(OF)[0].endswith(f"/{session}")]:
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

    @property
    def is_draining(self) -> bool:
        """Whether it takes no new calls, since an operator said so."""
        return self._draining

    def drain(self) -> None:
        """Take no new calls, let all that run end in their time, then close every link and child."""
        self._draining = True
        self._ending.start(self._drain())
        self.on_health()

    async def _drain(self) -> None:
        await self._idle.wait()
        await self._stop()
        self._drained = True
        self.on_health()

    async def close(self, drain_s: float = 0.0) -> None:
        """Take no more calls, let those in flight end for a while, then close every link and child."""
        self._closed = True
        if drain_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), drain_s)
        await self._ending.close()
        await self._stop()

    async def _stop(self) -> None:
        await self.tasks.close()
        for replica in self.replicas:
            await replica.close()
        if self._beside is not None:
            await self._beside.close()
            self._beside = None


_DRAINED: Final = "it is drained by whoever runs the hub"
_ONE = (Reading(),)

_LISTS = frozenset({"tools/list", "prompts/list", "resources/list", "resources/templates/list"})
"""What only the hub itself asks, to keep its catalog true: no use that keeps a child awake."""


def _ignore(line: bytes) -> None:
    """What a program prints that serves over HTTP is nobody's message."""
