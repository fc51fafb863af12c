"""Alerts on a manual clock: readings that a test sets, calls that it counts, and receivers that note what comes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from concento.model.alerting import Alerting, AlertRule, Channel, Route, Step, Threshold
from concento.model.call import ALL, NO_ABILITIES, Call
from concento.model.principal import Principal
from concento.observe.alerts import Alerts, NotDelivered
from concento.observe.alerts.alerts import TICK_S
from concento.observe.alerts.notify import Delivery
from concento.observe.metrics import Reading
from concento.observe.record import End, Record
from concento.store.contract import Store
from concento.store.memory import MemoryStore
from concento.testing.clock import ManualClock

DOWN = AlertRule("server_down", Threshold("concento_server_up", below=1.0), "critical", for_s=120.0)


@dataclass
class Received:
    """A carrier that delivers nowhere: what it was given, and whether it fails."""

    got: list[Delivery] = field(default_factory=list)
    failing: str | None = None

    async def carry(self, channel: Channel, delivery: Delivery, rules: Mapping[str, AlertRule]) -> str:
        if self.failing is not None:
            raise NotDelivered(self.failing)
        self.got.append(delivery)
        return "taken"

    def told(self) -> list[tuple[str, str, int, list[str]]]:
        """What came: channel, what, step, and of what it is."""
        return [
            (one.channel, one.what, one.step, [dict(item.labels).get("server", "") for item in one.items])
            for one in self.got
        ]


@dataclass(frozen=True)
class Nowhere:
    """A channel that a fake carrier carries to."""

    name: str


def alerting(
    *rules: AlertRule,
    steps: tuple[Step, ...] = (Step(("ops",)),),
    channels: Mapping[str, Any] | None = None,
    **more: Any,
) -> Alerting:
    """Rules, and one route for all of them."""
    names = {channel for step in steps for channel in step.channels}
    repeat_s = more.pop("repeat_s", None)
    route = Route(steps, repeat_s=repeat_s)
    return Alerting(rules, channels or {name: Nowhere(name) for name in names}, (route,), **more)


class Bench:
    """Alerts over readings that a test sets. `up`: servers, and whether they are."""

    def __init__(self, config: Alerting, store: Store | None = None, carrier: Any = None) -> None:
        self.clock = ManualClock()
        self.store = store or MemoryStore()
        self.config = config
        self.up: dict[str, float] = {}
        self.more: list[Reading] = []
        self.notes: list[str] = []
        self.received = carrier or Received()
        self.alerts = self._made()

    def _made(self) -> Alerts:
        return Alerts(self.store, self.clock, self._readings, self.notes.append, self.received)

    async def begin(self) -> "Bench":
        await self.alerts.load()
        self.alerts.configure(self.config)
        return self

    async def restart(self) -> None:
        """As after a kill: nothing but the store is left."""
        self.alerts = self._made()
        await self.begin()

    def _readings(self) -> list[Reading]:
        return [("concento_server_up", "", {"server": name}, value) for name, value in self.up.items()] + [
            *self.more,
            *self.alerts.readings(),
        ]

    async def tick(self) -> None:
        await self.alerts.tick()
        await self.alerts.idle()

    async def pass_s(self, seconds: float, step_s: float = TICK_S) -> None:
        """Let time pass, looking every few seconds."""
        end_s = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end_s - 1e-6:
            self.clock.advance(min(step_s, end_s - self.clock.monotonic()))
            await self.tick()

    def stages(self) -> dict[str, str]:
        """What each alert's state is, by server."""
        return {one["labels"].get("server", ""): one["state"] for one in self.alerts.shown() if one["state"] != "over"}

    def called(
        self, end: End, times: int = 1, *, server: str = "time", seconds: float = 0.01, tenant: str = "default"
    ) -> None:
        """Calls that ended so."""
        for _ in range(times):
            self.alerts.counts(closed(end, server, seconds, tenant))


def closed(end: End, server: str, seconds: float, tenant: str = "default") -> Record:
    """A record as it is when it is closed."""
    principal = Principal("alice", tenant=tenant)
    record = Record(Call("tools/call", {}, {}, "now", ALL, principal, NO_ABILITIES), 0.0, 0.0)
    record.end, record.server, record.tool, record.duration_s = end, server, "now", seconds
    return record


@dataclass
class Receiver:
    """A real HTTP server that notes what is posted, and answers as it is told."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200, headers=self.headers)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    app = web.Application()
    app.router.add_post("/hook", one.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    one.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield one
    finally:
        await runner.cleanup()
