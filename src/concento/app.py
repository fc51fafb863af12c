"""The composition root: every part of a hub, made and wired here, started and stopped in order.

Nothing else constructs more than it needs for itself. What is not needed to listen is imported later.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from . import __version__
from .control.federation import Federation
from .control.layers import Layers
from .credentials.accounts import Accounts, Change
from .credentials.connecting import Connecting, Site
from .credentials.exchange import Exchanges
from .credentials.vault import KEY_BYTES, Place, Vault
from .front.agent import AgentFront
from .front.connect import ConnectPages
from .front.http import HttpListener
from .front.identity.authenticator import Authenticator
from .front.identity.hosts import Hosts
from .front.identity.keys import ApiKeys
from .front.session import Sessions
from .front.sse import SseSessions
from .front.tls import Certificates
from .gateway.admit import Gate
from .gateway.call import Gateway
from .gateway.deadline import Deadlines
from .gateway.listen import Listening
from .gateway.promotions import Promotions
from .model import limits
from .model.alerting import Happening
from .model.auth import Tls
from .model.clock import SystemClock
from .model.config import Address, Config, UrlReplica
from .model.errors import StartError
from .model.inventory import WELL
from .model.outbound import Reach
from .model.principal import Principal
from .model.seal import Seal
from .model.tenant import DEFAULT_TENANT
from .observe.access_log import AccessLog
from .observe.alerts import Alerts
from .observe.audit import AuditLog
from .observe.experiments import Experiments
from .observe.metrics import Metrics, Reading
from .observe.record import Record, Records, Sink
from .observe.servers import Children, LoopLag, server_readings
from .observe.traces import Tracing
from .observe.usage import Usage
from .policy.budgets import Crossing
from .policy.decide import policy_of
from .policy.limits import WRITES_MAX, Limits
from .protocol.versions import Era
from .snapshot import Current, Snapshot
from .store.contract import Store
from .store.memory import MemoryStore
from .store.sqlite import SqliteStore
from .transport.watchdog import Watchdog
from .upstream.connect import Means
from .upstream.parking import Parking
from .upstream.pool import Upstreams
from .upstream.tasks import Tasks

_ERAS = "eras"
REAP_EVERY_S = 30.0
NOTES_MAX = 1000
DEFINITIONS_TOLD_MAX = 20
ACCOUNTS_WAIT_S = 10.0
"""How long the end of the hub waits for refreshes of users' tokens."""
KEEP_UP_S = 1.0
"""How often it is looked whether keys, tokens and certificates are still what they were."""


class Hub:
    """One running hub: control plane and data path, without listeners until `listen` is called."""

    def __init__(
        self,
        store: Store,
        eras: dict[str, Era],
        seal: Seal,
        sinks: list[Sink],
        metrics: Metrics,
        secrets: "Secrets",
        audit: AuditLog | None = None,
        usage: Usage | None = None,
    ) -> None:
        self._clock = clock = SystemClock()
        self.store = store
        self.metrics = metrics
        self.notes: dict[str, None] = {}
        """What the operator should know, each once."""
        self.reload_failures = 0
        """Configurations that were refused since the start; the last good one stayed."""
        self.current = Current(Snapshot(Config(), {}))
        self.watchdog = Watchdog()
        self.vault = Vault(store, self._vault_trouble)
        self.accounts = Accounts(self.vault, clock, self._reach)
        self.connecting = Connecting(self.accounts, self._note)
        self.means = Means(self.watchdog, Parking(clock.monotonic), eras, accounts=self.accounts)
        self.exchanges = self.means.exchanges = Exchanges(clock, self._reach)
        self.upstreams = Upstreams(self.means, clock)
        self.alerts = Alerts(store, clock, metrics.readings, self._note)
        self.federation = Federation(
            *(self.current, self.upstreams, store),
            clock=clock,
            on_note=self._note,
            on_change=self._definitions_changed,
        )
        self.layers = Layers(store, os.environ, self._note)
        self.layers.take = self.configure
        self.audit = audit
        self._secrets = secrets
        self.experiments = Experiments()
        self.usage = usage
        if usage is not None:
            usage.budgets.on_crossing = self._budget_crossed
        self.tracing = Tracing(clock.monotonic, self._note)
        metering: list[Sink] = [] if usage is None else [usage]  # before the audit record, which has what it says
        counting: list[Sink] = [metrics, self.experiments, self.tracing, self.alerts.counts, *sinks]
        self.records = Records([*counting, *metering, *([] if audit is None else [audit])], clock, self.tracing)
        self.deadlines = Deadlines(clock.monotonic, asyncio.get_running_loop())
        self.limits = Limits(clock, store, lambda principal: self.current.snapshot.roles_of(principal))
        budgets = None if usage is None else usage.budgets
        gate = Gate(self.current, self.limits, _no_intent if audit is None else audit.intent, budgets)
        self.gateway = Gateway(
            *(
                self.current,
                gate,
                self.upstreams,
                self.records,
                self.deadlines,
                self.federation,
                seal,
                store,
                self.connecting,
            ),
            compared=self.experiments.compared,
            judged=self.experiments.judged,
            arm_failed=self.experiments.failed,
            on_problem=self._note,
            cost=None if usage is None else usage.cost,
        )
        self.listening = Listening(self.current, self.upstreams)
        self.sessions = Sessions(self.gateway, self.listening, clock.monotonic)
        self.hosts = Hosts(())
        self.keys = ApiKeys(store, clock)
        self.identity = Authenticator(self.keys, clock)
        self.front = AgentFront(
            self.gateway,
            self.listening,
            self.sessions,
            SseSessions(self.sessions),
            self.hosts,
            self.identity,
            ConnectPages(self.connecting),
            self.is_ready,
            None if audit is None else audit.refused,
        )
        self.listener: HttpListener | None = None
        self._bound: Address | None = None
        self._certificates: list[Certificates] = []
        self._sinks = sinks
        self._tasks = Tasks("the hub")
        self.accounts.on_change = self._account_changed
        self._lag = LoopLag(asyncio.get_running_loop().call_later, clock.monotonic)
        metrics.read_gauges(self._gauges)
        metrics.read_gauges(self.alerts.readings)
        metrics.read_gauges(self._lag.readings)
        metrics.read_slow_gauges(Children(self.upstreams).readings)

    @classmethod
    async def create(
        cls,
        config: Config,
        *,
        keep: bool = True,
        access_log: Callable[[], AccessLog] | None = None,
        audit: bool = False,
        alerts: bool = False,
        export: bool = False,
    ) -> "Hub":
        """Make a hub for a configuration and begin to connect its servers.

        `keep`: use the state folder. `audit`: record and meter calls as the configuration says, in one process alone.
        `alerts`: watch and tell; likewise. `export`: send traces to a collector, if the environment names one.
        """
        store: Store = MemoryStore()
        if keep and config.state_db is not None:
            store = await SqliteStore.open(config.state_db)
        eras: dict[str, Era] = {key: _era(value) for key, value in (await store.items(_ERAS)).items()}
        sinks: list[Sink] = [access_log()] if access_log is not None else []
        secrets = Secrets(config.secrets)
        log = await _audit_log(config, secrets) if audit else None
        usage = await _usage(config, log) if audit else None
        hub = cls(store, eras, Seal(await kept_key(store, "seal")), sinks, Metrics(), secrets, log, usage)
        await hub.keys.load()
        await hub.limits.load()
        await hub.gateway.promotions.load()
        await hub.experiments.load(store)
        await hub.accounts.load()
        if alerts:
            await hub.alerts.load()
        if export:
            hub.tracing.begin_export()
        await hub.configure(config := await hub.layers.begin(config, await kept_key(store, "etag")))
        await hub.tracing.kept.load(store)
        hub.tracing.kept.is_written = audit
        if config.vault_keys[1:]:
            hub._tasks.start(hub._rotate())
        await hub.gateway.tasks.recover()
        hub._lag.start()
        hub._tasks.start(hub._reap())
        hub._tasks.start(hub._keep_up())
        hub._tasks.start(hub._renew())
        if alerts:
            hub._tasks.start(hub.alerts.run())
        return hub

    async def configure(self, config: Config) -> None:
        """Take a configuration, at the start or on a reload."""
        for tenant in (DEFAULT_TENANT, *config.tenants):
            try:
                policy_of(config, tenant)
            except ValueError as error:
                raise StartError(f"the policy of {tenant!r} can't be used: {error}") from None
        self.hosts.allow(config.hosts)
        self._secrets.known = config.secrets
        await self.identity.configure(config.auth, config.base_url, config.outbound)
        if self.audit is not None:
            self.audit.configure(config.audit)
        self.alerts.configure(config.alerts)
        if self.usage is not None:
            await self.usage.configure(config.usage, config.prices, config.budgets)
        self.tracing.configure(config.traces)
        self.vault.use(config.vault_keys or (await kept_key(self.store, "vault"),))
        self.connecting.configure(_sites(config), self._base_url(config))
        self.exchanges.forget([server.key for server in config.servers.values() if server.exchange is not None])
        await self.federation.configure(config)
        await self.gateway.finder.configure(config.search)
        self.limits.configure({"": config.limits, **{tenant.name: tenant.limits for tenant in config.tenants.values()}})

    async def listen_for_browsers(self) -> None:
        """Serve the pages at which users connect accounts, and nothing else, at some port of this machine."""
        listener = HttpListener(self.front.admit_page, self.front.serve)
        bound = await listener.start(Address("127.0.0.1", 0))
        self.listener = listener
        self.connecting.base_url = f"http://{bound}"

    async def listen(self, address: Address) -> Address:
        """Serve agents on an address; returns it with the real port. Errors: StartError."""
        config = self.current.snapshot.config
        listener = HttpListener(self.front.admit, self.front.serve, meet=self.identity.meet)
        bound = await listener.start(address, self.tls(config.tls))
        self.listener = listener
        self._bound = bound
        self.connecting.base_url = self._base_url(config)
        return bound

    def tls(self, tls: Tls | None) -> ssl.SSLContext | None:
        """What a listener speaks TLS with, kept up with its files from now on. Errors: StartError."""
        if tls is None:
            return None
        certificates = Certificates(tls)
        self._certificates.append(certificates)
        return certificates.context

    @property
    def turns(self) -> Mapping[str, int]:
        """How often each logical tool was called, by its key."""
        return self.gateway.turns

    @property
    def promotions(self) -> Promotions:
        """What the operator decided of experiments."""
        return self.gateway.promotions

    async def approve(self, server: str, tool: str, digest: str, by: str) -> bool:
        """Show a tool that was held back, if its definition still is that one."""
        return await self.federation.approve(server, tool, digest, by)

    def changed(
        self, by: Principal, method: str, name: str, reason: str, before: Any = None, after: Any = None
    ) -> None:
        """Have it in the audit record that an operator changed something, with what it was and is."""
        if self.audit is not None:
            self.audit.changed(by, method, name, reason, before, after)

    def wall(self) -> float:
        """Unix time."""
        return self.records.wall()

    def is_ready(self) -> bool:
        """Whether the hub takes calls: not draining, and no required server missing.

        One that sleeps is not missing once it was listed: it has started well before, and starts when it is needed.
        """
        if self.listener is not None and self.listener.draining:
            return False
        slices = self.current.snapshot.slices.values()
        return all(
            slice.health.state in WELL and (slice.inventory is not None or slice.health.state == "waiting")
            for slice in slices
            if slice.server.required
        )

    async def close(self, drain_s: float = limits.DRAIN_S) -> int:
        """Stop in order: agents first, then servers, then the store. Returns how many calls had to be cut."""
        cut = 0
        self._lag.stop()
        if self.listener is not None:
            self.listener.draining = True
            self.listening.end_all()
            self.sessions.end_streams()
            cut = await self.listener.drain(drain_s)
        await self._tasks.close()
        await self.alerts.close()
        await self.sessions.close()
        await self.federation.close()
        await self.gateway.tasks.close()
        await self.gateway.shadows.close()
        await self.gateway.finder.close()
        await self.gateway.webhooks.close()
        self.means.parking.close()
        await self.upstreams.close()
        await self.accounts.close(ACCOUNTS_WAIT_S)
        for grant in self.means.grants.values():
            await grant.close()
        self.watchdog.close()
        for key, era in self.means.eras.items():
            await self.store.put(_ERAS, key, era.encode())
        await self.limits.flush()
        await self.experiments.flush(self.store)
        await self.tracing.kept.flush(self.store, float("inf"))
        await asyncio.to_thread(self.tracing.close)
        await self.keys.flush()
        await self.identity.close()
        if self.usage is not None:
            await self.usage.close()
        if self.audit is not None:
            await self.audit.close()
        await self.store.close()
        for sink in self._sinks:
            if isinstance(sink, AccessLog):
                sink.close()
        return cut

    async def _rotate(self) -> None:
        """Seal with the first key what others sealed, so that those can go."""
        if count := await self.vault.rotate():
            self._note(
                f"the vault: {count} of what users granted {'is' if count == 1 else 'are'} sealed with the new key"
            )

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(REAP_EVERY_S)
            await self.sessions.reap()
            await self.gateway.tasks.reap()

    async def _keep_up(self) -> None:
        """What changes beside the calls: keys revoked elsewhere, tokens that run out, certificates renewed, quotas."""
        while True:
            await asyncio.sleep(KEEP_UP_S)
            try:
                await self.keys.refresh()
                await self.keys.flush()
                await self.limits.flush(WRITES_MAX)
                await self.experiments.flush(self.store)
                await self.tracing.kept.flush(self.store, self.records.now())
            except Exception as error:  # the last edge: a store that fails once must not end this for good
                self._note(f"the state store failed: {error}")
                self.alerts.happened("store_failed", text="the state store could not be written")
            is_alive = partial(self._is_alive, now_s=time.time())
            await self.sessions.cut(is_alive)
            if self.listener is not None:
                self.listener.cut(is_alive)
            for certificates in self._certificates:
                if (problem := await asyncio.to_thread(certificates.reload)) is not None:
                    self._note(problem)
            self._watch_certificates()

    def _watch_certificates(self) -> None:
        for one in self._certificates:
            labels = {"certificate": one.name}
            if one.is_refused:
                text = "its files changed to what can't be used; the one before stays in use"
                self.alerts.happened("certificate_refused", labels, text=text)
            if (days := one.runs_out(self.wall())) is not None:
                self.alerts.happened("certificate_ending", labels, days, f"it runs out in {max(0.0, days):.1f} days")

    async def _renew(self) -> None:
        """Keep the keys of issuers fresh."""
        while True:
            await asyncio.sleep(KEEP_UP_S)
            await self.identity.refresh()

    def _base_url(self, config: Config) -> str:
        """The hub's own URL, with the port that it was given."""
        return config.base_url if self._bound is None else replace(config, listen=self._bound).base_url

    def _reach(self, server: str) -> Reach:
        """Where a server may send the hub."""
        config = self.current.snapshot.config
        known = config.servers.get(server)
        urls = () if known is None else [one.url for one in known.replicas if isinstance(one, UrlReplica)]
        reach = config.outbound
        for url in urls:
            reach = reach.near(url)
        return reach

    def _account_changed(self, place: Place, change: Change, relist: bool) -> None:
        """Have the links of a user follow what they connected, and have it in the audit record."""
        slice = self.current.snapshot.slices.get(place.server)
        relist = relist or slice is None or slice.inventory is None
        gone = change in ("disconnected", "reconnected")
        self._tasks.start(
            self.upstreams.account_changed(place.server, place.tenant, place.holder, gone=gone, relist=relist)
        )
        if self.audit is not None and change != "noticed":
            by = Principal(subject=place.holder, tenant=place.tenant, proof="local")
            self.audit.changed(by, f"accounts/{change}", place.server, "")

    def _is_alive(self, principal: Principal, now_s: float) -> bool:
        """Whether somebody who was let in would be let in now."""
        snapshot = self.current.snapshot
        return snapshot.knows(principal.tenant) and self.identity.is_alive(principal, now_s)

    def _vault_trouble(self, problem: str) -> None:
        self._note(problem)
        self.alerts.happened("account_trouble", text="what users granted can't be read or kept")

    def _budget_crossed(self, crossing: Crossing) -> None:
        whose = {"budget": crossing.budget, "tenant": crossing.tenant, "subject": crossing.subject}
        labels = {name: value for name, value in whose.items() if value}
        text = f"{crossing.spent} of {crossing.amount} {crossing.currency} are spent"
        what: Happening = "budget_passed" if crossing.kind == "hard" else "budget_near"
        self.alerts.happened(what, labels, float(crossing.spent), text)

    def _definitions_changed(self, server: str, tools: Sequence[str]) -> None:
        for tool in tools[:DEFINITIONS_TOLD_MAX]:
            self.alerts.happened("definition_changed", {"server": server, "tool": tool}, text="it says something else")

    def _note(self, note: str) -> None:
        if note not in self.notes and len(self.notes) >= NOTES_MAX:
            del self.notes[next(iter(self.notes))]
        self.notes[note] = None

    def _gauges(self) -> Iterator[Reading]:
        yield "concento_calls_in_flight", "Calls running now", {}, self.records.in_flight
        yield "concento_reload_failures_total", "Configurations refused since the start", {}, self.reload_failures
        yield "concento_sessions", "Legacy sessions open now", {}, len(self.sessions)
        if self.audit is not None:
            yield from self.audit.readings()
        if self.usage is not None:
            yield from self.usage.readings()
        yield from self.limits.readings()
        yield from self.tracing.readings()
        yield "concento_streams", "Listen streams open now", {}, len(self.listening)
        if self.listener is not None:
            yield "concento_connections", "Agents' connections open now", {}, self.listener.connections
            yield "concento_streams_overflowed_total", "Streams cut for a slow reader", {}, self.listener.overflowed
            for status, count in tuple(self.listener.refusals.items()):
                yield "concento_refused_total", "Requests refused on their head", {"status": str(status)}, count
        for cache, count in self.current.snapshot.cached().items():
            yield "concento_cache_entries", "Entries of a cache", {"cache": cache}, count
        yield "concento_info", "Which hub this is", {"version": __version__}, 1.0
        yield "concento_tasks", "Calls that run as tasks of the hub's now", {}, len(self.gateway.tasks)
        yield "concento_parked", "Calls that wait for input at their server now", {}, len(self.means.parking)
        yield "concento_shadows_skipped_total", "Copies of calls not made", {}, self.gateway.shadows.skipped
        for alias, slice in self.current.snapshot.slices.items():
            health = slice.health
            labels = {"server": alias}
            yield "concento_server_up", "Whether a server is ready, or asleep", labels, float(health.state in WELL)
            yield "concento_server_asleep", "Whether it sleeps", labels, float(health.state == "asleep")
            yield "concento_server_stale", "Whether its lists are stale", {"server": alias}, float(health.stale)
            yield "concento_tools_held", "Tools of a server that are held back", labels, len(slice.held)
        yield from server_readings(self.upstreams, self._clock)


class Secrets:
    """The values that are never written down, of the configuration that is in force."""

    def __init__(self, known: frozenset[str]) -> None:
        self.known = known

    def __call__(self) -> frozenset[str]:
        return self.known


def _no_intent(record: Record) -> None:
    return None


async def _audit_log(config: Config, secrets: Secrets) -> AuditLog | None:
    path = config.audit_path
    if config.audit.mode == "off" or path is None:
        return None
    return await AuditLog.open(config.audit, path, secrets, SystemClock())


async def _usage(config: Config, log: AuditLog | None) -> Usage | None:
    """What is used, counted on from what the audit record has."""
    path = config.usage_path
    if path is None:
        return None
    is_strict = log is not None and config.audit.mode == "strict"
    return await Usage.open(
        path,
        config.usage,
        SystemClock(),
        audit=None if log is None else config.audit_path,
        intents=0 if log is None else log.number,
        horizon_s=max(limits.CALL_MAX_S, config.task_max_s) if is_strict else 0.0,
        books=config.prices,
        audited=log.written if log is not None and is_strict else None,
    )


def _era(value: bytes) -> Era:
    return "legacy" if value == b"legacy" else "modern"


async def kept_key(store: Store, name: str) -> bytes:
    """A key of the hub's own: made once and kept with the state."""
    key = await store.get("keys", name)
    if key is None or len(key) != KEY_BYTES:
        key = os.urandom(KEY_BYTES)
        await store.put("keys", name, key)
    return key


def _sites(config: Config) -> Iterator[Site]:
    """The servers at which users connect accounts."""
    for server in config.servers.values():
        urls = [replica.url for replica in server.replicas if isinstance(replica, UrlReplica)]
        if server.users is not None and urls:
            yield Site(server.key, server.alias, urls[0], server.users)
