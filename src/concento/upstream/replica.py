"""One replica of a server: its main link, kept up, and the isolated links of principals or sessions.

The main link is kept by a task of its own: connect, wait until it is lost, wait a little, again. Isolated links are
made when first needed and dropped when idle.

A child may sleep: with `start: lazy` until it is first needed, with `idle_stop_s` whenever nobody used it for so long.
Whether to put it to sleep is decided, and done as far as calls can see, without waiting in between; so a call comes
either before, and the child stays, or after, and wakes it. Its process ends before the next one starts.
"""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ..model.call import NO_ABILITIES, Profile, Request
from ..model.config import ChildReplica, UrlReplica
from ..model.errors import CallError, ConcentoError, NeedsAccount, Overloaded, Unavailable
from ..model.inventory import ServerState
from ..model.principal import Principal
from .circuit import CLOSED, failed, succeeded
from .connect import Connected, connect
from .latency import Latency
from .link import DEAF, Link
from .welcome import DISCOVER

if TYPE_CHECKING:
    from .server import Upstream

BACKOFF_BASE_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0
STEADY_S: Final = 60.0
"""A link that lived this long was healthy: its next failure counts as the first."""

PARTITIONS_MAX: Final = 64
"""Isolated links one replica may hold at a time."""
CALLERS_MAX: Final = 1024
"""The same of one at a URL that is shown each caller as who they are."""

PARTITION_IDLE_S: Final = 600.0

ASKABLE_MAX: Final = 16
"""Links for callers of one profile that a replica may hold, for one principal where it is isolated."""

OF: Final = "\0"
"""Stands between a partition and the abilities that its link was made for."""

START_SHARE: Final = 0.9
"""Of a call's time, how much it may wait for a child that it woke: then it is told so and may try again, rather than
time out with an outcome that nobody knows."""

HEALTH_WAIT_S: Final = 5.0
"""Time for the answer to a health check."""
_RECHECKS: Final = 10
"""Who did not answer is asked so much oftener, until it does."""
_PING: Final = Request("ping", {}, {})

ACCOUNT_WAIT_S: Final = 300.0
"""A server that lists for users only is asked again so often, beside whenever one connects an account."""

LOOKS: Final = 10
LOOK_S: Final = 10.0
"""It is looked whether a child is idle ten times within `idle_stop_s`, and at least that often."""


def backoff_s(failures: int, randomness: float) -> float:
    """The pause before the next try after so many failures in a row: doubling, with a quarter of jitter."""
    pause = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2 ** min(failures - 1, 10))
    return float(pause * (0.75 + 0.5 * randomness))


class ReplicaLinks:
    """One replica: its main link, kept up, and its isolated ones."""

    def __init__(self, upstream: "Upstream", spec: ChildReplica | UrlReplica) -> None:
        self.spec = spec
        server = upstream.server
        is_child = isinstance(spec, ChildReplica)
        lazy = is_child and server.start == "lazy"
        self.state: ServerState = "asleep" if lazy else "starting"
        self.error: str | None = None
        self.main: Connected | None = None
        self.in_flight = 0
        self.latency = Latency()
        self.circuit = CLOSED
        self.is_child = is_child
        self.connects = 0
        """How often the main link was made."""
        self.replies = 0
        """How many it gave to calls: none needs to be asked for while there are some."""
        self.isolated: dict[str, asyncio.Task[Connected]] = {}
        self.used_s: dict[str, float] = {}
        """When each link was last used, by partition; the main link's is ""."""
        self.asks = False
        """Whether a call to it was ever parked: others are likely to be, too."""
        self._asks_blindly = False
        self._ending: set[Link] = set()
        self._upstream = upstream
        self._idle_stop_s = server.idle_stop_s if is_child else None
        self.stops_when_idle = self._idle_stop_s is not None
        self._start_wait_s = upstream.start_wait_s
        if lazy or self.stops_when_idle:
            self._start_wait_s = max(self._start_wait_s, START_SHARE * server.timeout_s)
        self._wanted = asyncio.Event()
        if not lazy:
            self._wanted.set()
        self._settled = asyncio.Event()
        self._retry = asyncio.Event()
        self._relists = False
        self._knows_callers = server.knows_callers
        self._partitions_max = CALLERS_MAX if server.knows_callers else PARTITIONS_MAX
        self._last_words: tuple[str, ...] = ()

    async def keep(self) -> None:
        """Keep the main link up while it is wanted, until cancelled."""
        upstream = self._upstream
        failures = 0
        while True:
            await self._wanted.wait()
            self._retry.clear()
            try:
                main = await connect(upstream.server, self.spec, upstream.means, upstream.listener)
            except NeedsAccount as error:
                self._last_words, failures = (), 0
                self._set("waiting", str(error))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._retry.wait(), ACCOUNT_WAIT_S)
                continue
            except ConcentoError as error:
                failures += 1
                self._last_words = error.last_words if isinstance(error, CallError) else ()
                warming = upstream.is_warming()
                self._set("starting" if warming else "failing", None if warming else str(error))
                await asyncio.sleep(0.2 if warming else backoff_s(failures, random.random()))
                continue
            self.main = main
            self.connects += 1
            up_s = self.used_s[""] = upstream.clock.monotonic()
            self._set("ready", None)
            upstream.on_ready(main.link)
            beside = [] if self._idle_stop_s is None else [upstream.tasks.start(self._watch(self._idle_stop_s))]
            if (every_s := upstream.server.health_check_s) is not None:
                beside.append(upstream.tasks.start(self._check(main, every_s)))
            reason = await asyncio.shield(main.link.lost)
            for task in beside:
                task.cancel()
            if self.main is not main:  # put to sleep: gone before it can be started again
                await self._end(main.link)
                failures = 0
                continue
            self.main = None
            if self._relists:  # no failure: calls go over links of their callers' meanwhile
                self._relists = False
                await self._end(main.link)
                continue
            if upstream.clock.monotonic() - up_s > STEADY_S:
                failures = 0
            failures += 1
            self._last_words = reason.last_words
            self._set("failing", reason.message)
            await self._end(main.link)
            await asyncio.sleep(backoff_s(failures, random.random()))

    def account_changed(self, *, relist: bool) -> None:
        """A user has connected an account, or none any more. `relist`: lists have to be asked with another's now."""
        self._retry.set()
        if relist and self.main is not None and not self.main.link.lost.done():
            self._relists = True
            self.main.link.lost.set_result(Unavailable("The account that lists are asked with is another now"))

    def wake(self) -> None:
        """Start it if it sleeps."""
        if self.state == "asleep":
            self._wanted.set()
            self._set("starting", None)

    async def _watch(self, idle_stop_s: float) -> None:
        """Look now and then whether it is idle."""
        while self.main is not None:
            await asyncio.sleep(min(idle_stop_s / LOOKS, LOOK_S))
            await self.reap()

    async def _check(self, main: Connected, every_s: float) -> None:
        """Ask whether it is there, as often as nothing else shows it."""
        question = DISCOVER if main.link.welcome.era == "modern" else _PING
        while True:
            seen = self.replies
            pause_s = every_s if self.circuit is CLOSED else every_s / _RECHECKS
            await asyncio.sleep(pause_s * (0.9 + 0.2 * random.random()))
            if self.replies != seen and self.circuit is CLOSED:
                continue
            try:
                async with asyncio.timeout(HEALTH_WAIT_S):
                    await main.link.request(question)
            except (CallError, TimeoutError):
                self.circuit = failed(self.circuit, self._upstream.clock.monotonic(), random.random())
            else:
                self.circuit = succeeded(self.circuit, self._upstream.clock.monotonic())

    def _sleep(self, main: Connected) -> None:
        self.main = None
        self._wanted.clear()
        self._last_words = ()
        self._set("asleep", None)
        self._end(main.link)

    def _end(self, link: Link) -> asyncio.Future[None]:
        """Close a link that is nobody's any more; whoever waits for that may be cancelled."""
        self._ending.add(link)
        return asyncio.shield(self._upstream.tasks.start(self._ended(link)))

    async def _ended(self, link: Link) -> None:
        await link.close()
        self._ending.discard(link)

    def _set(self, state: ServerState, error: str | None) -> None:
        changed = (state, error) != (self.state, self.error)
        self.state, self.error = state, error
        if state == "starting":
            self._settled.clear()
        else:
            self._settled.set()
        if changed:
            self._upstream.on_health()

    async def link(self, partition: str, profile: Profile, owner: Principal) -> tuple[str, Link]:
        """The link for a call, and what it is called, waiting where the server is just starting.

        Errors: Unavailable, Overloaded, NeedsAccount.
        """
        if self._knows_callers and partition:  # whether somebody else may list is of no account to them
            connected = await self._isolated_link(partition, NO_ABILITIES, owner)
            if connected.suits(profile):
                return partition, connected.link
            return await self._askable_link(partition, profile, owner)
        self.wake()
        if self.main is None and self.state == "starting":
            with suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), self._start_wait_s)
        if self.main is None:
            alias = self._upstream.server.alias
            if self.state == "starting":
                raise Unavailable(f"The server {alias!r} is still starting", retry_after_s=1.0)
            raise Unavailable(self.error or f"The server {alias!r} is not connected", retry_after_s=1.0)
        if self.main.suits(profile):
            if not partition:
                return partition, self.main.link
            return partition, (await self._isolated_link(partition, NO_ABILITIES, owner)).link
        return await self._askable_link(partition, profile, owner)

    async def _askable_link(self, partition: str, profile: Profile, owner: Principal) -> tuple[str, Link]:
        """A link that was made for callers of this profile.

        A server that asks, and can't say on whose behalf, gets one call at a time on each.
        """
        abilities = ",".join(sorted(profile.abilities))
        for number in range(ASKABLE_MAX):
            name = f"{partition}{OF}{abilities} {number}"
            link = (await self._isolated_link(name, profile, owner)).link
            self._asks_blindly = self._asks_blindly or link.asks_blindly
            if not (self._asks_blindly and link.is_busy):
                return name, link
        alias = self._upstream.server.alias
        raise Overloaded(
            f"The server {alias!r} has {ASKABLE_MAX} calls that it may ask something for", retry_after_s=1.0
        )

    def used(self, partition: str = "") -> None:
        """Somebody used the link until now: what is idle is counted from here."""
        if self._idle_stop_s is not None:
            self.used_s[""] = now_s = self._upstream.clock.monotonic()
            if partition in self.isolated:
                self.used_s[partition] = now_s

    async def _isolated_link(self, partition: str, profile: Profile, owner: Principal) -> Connected:
        self.used_s[partition] = self._upstream.clock.monotonic()
        making = self.isolated.get(partition)
        if making is None or (making.done() and not _usable(making)):
            if making is None and len(self.isolated) >= self._partitions_max:
                await self._drop_idlest()
                return await self._isolated_link(partition, profile, owner)  # somebody may have made it meanwhile
            making = self._upstream.tasks.start(
                connect(self._upstream.server, self.spec, self._upstream.means, DEAF, profile, owner)
            )
            self.isolated[partition] = making
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            if not making.cancelled():
                raise
            raise Unavailable("The link was closed before it was made", retry_after_s=1.0) from None
        except ConcentoError:
            if self.isolated.get(partition) is making:
                del self.isolated[partition], self.used_s[partition]
            raise

    async def _drop_idlest(self) -> None:
        idle_before_s = self._upstream.clock.monotonic() - 1.0
        idle = (name for name, making in self.isolated.items() if not _is_busy(making))
        partition = min(idle, key=lambda name: self.used_s.get(name, 0.0), default=None)
        if partition is None or self.used_s.get(partition, 0.0) > idle_before_s:
            raise Overloaded(
                f"The server {self._upstream.server.alias!r} holds {self._partitions_max} isolated links already",
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
            await self._end(making.result().link)
        else:
            making.cancel()

    async def reap(self) -> None:
        """Close the isolated links nobody used for long, then put the replica to sleep if nobody used all of it."""
        idle_s = PARTITION_IDLE_S
        if self._idle_stop_s is not None and self._upstream.server.isolation != "session":
            idle_s = min(idle_s, self._idle_stop_s)  # what a session's server remembers stays as long as the session
        for partition, making in tuple(self.isolated.items()):
            if not _is_busy(making) and self._idle_s(partition) >= idle_s:
                await self.drop(partition)
        if self.main is not None and self._may_sleep():
            self._sleep(self.main)

    def _idle_s(self, partition: str) -> float:
        return self._upstream.clock.monotonic() - self.used_s.get(partition, 0.0)

    def _may_sleep(self) -> bool:
        """Whether nobody has used it for long and nothing holds it: no call, no subscription, no isolated link."""
        return (
            self._idle_stop_s is not None
            and not (self.in_flight or self.isolated or self._upstream.is_subscribed)
            and self._idle_s("") >= self._idle_stop_s
        )

    async def close(self) -> None:
        """Close all links."""
        for partition in tuple(self.isolated):
            await self.drop(partition)
        main, self.main = self.main, None
        for link in (*self._ending, *([] if main is None else [main.link])):
            await link.close()

    def connected(self) -> Iterator[Connected]:
        """All links that are there."""
        if self.main is not None:
            yield self.main
        yield from (making.result() for making in tuple(self.isolated.values()) if making.done() and _usable(making))

    def stderr(self) -> tuple[str, ...]:
        """The last lines of the child's standard error."""
        return self.main.stderr() if self.main is not None else self._last_words


def _is_busy(making: "asyncio.Task[Connected]") -> bool:
    return not making.done() or (_usable(making) and making.result().link.is_busy)


def _usable(making: "asyncio.Task[Connected]") -> bool:
    return not making.cancelled() and making.exception() is None and not making.result().link.lost.done()
