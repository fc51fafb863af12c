"""The alerts of a hub: every few seconds everything is sampled, rules are held against it, and who has to know is told.

What is decided is decided by pure functions beside this file. Here is what they can't do: look at clocks, keep the
state, send. A message is kept before it is sent and forgotten after it arrived, both in one write with all that led to
it. So a hub that is killed in between sends it once more, under the same id, and no other way leads to a second one.
"""

import asyncio
import random
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ...model.alert_rules import DEFAULTS
from ...model.alerting import BOUNDS_MAX, SEVERITIES, Alerting, AlertRule, Happening, Increase, Labels, Slow, Threshold
from ...model.clock import Clock
from ...store.contract import Store
from ...upstream.tasks import Tasks
from ..metrics import Reading
from .channels import Carrier, Channels, NotDelivered
from .counts import Counts
from .evaluate import blind, evaluate
from .messages import clean
from .notify import Delivery, Group, Item
from .notify import advance as tell
from .outbox import Outbox, Waiting
from .samples import Event, Samples
from .shown import shown
from .silences import LABELS_MAX, SILENCE_S_MAX, SILENCES_MAX, Silence, held, is_open, muted
from .state import ALERTS_MAX, Ack, Alert, begun_by, ended
from .state import advance as watch

TICK_S: Final = 5.0
CLOSE_WAIT_S: Final = 3.0
SPACE: Final = "alerts"
PROVEN_S: Final = 60.0
"""After so long each gauge should be there."""
OVER_MAX: Final = 50
"""Alerts that are over, and still shown."""


class Kept(Struct, omit_defaults=True):
    """All that outlives a restart, in one value."""

    alerts: list[Alert] = []
    groups: dict[str, Group] = {}
    silences: list[Silence] = []
    waiting: list[Waiting] = []
    over: list[Alert] = []


_OWN: Final = frozenset(rule.name for rule in DEFAULTS)
_decode = msgspec.msgpack.Decoder(Kept).decode
_encode = msgspec.msgpack.Encoder().encode


class NoSuchAlert(Exception):
    """What was named is not there; the text says what is."""


class Alerts:
    """Watches, remembers and tells. `readings`: all gauges of the hub as they are now; `on_note`: tells the operator.

    Whatever is a gauge can be watched: to add one is to have `Metrics` read it. What has no reading that goes back to
    normal is told by `happened`.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        readings: Callable[[], Iterable[Reading]],
        on_note: Callable[[str], None] = lambda note: None,
        carrier: Carrier | None = None,
    ) -> None:
        self.counts = Counts()
        self.alerts: dict[str, Alert] = {}
        self.silences: dict[str, Silence] = {}
        self.over: list[Alert] = []
        """The last that are over, the newest last."""
        self.lost = 0
        """Messages that were given up."""
        self._store = store
        self._clock = clock
        self._readings = readings
        self._on_note = on_note
        self._carrier = carrier or Channels(clock.wall)
        self._began = clock.wall() - clock.monotonic()
        self._alerting = Alerting()
        self._rules: dict[str, AlertRule] = {}
        self._samples = Samples(self.now())
        self._groups: dict[str, Group] = {}
        self._outbox = Outbox()
        self._tasks = Tasks("the alerts")
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._writing = asyncio.Lock()
        self._kept = b""
        self.is_on = False
        """Whether it watches: only one process at a time may."""
        self._is_unproven = True

    def now(self) -> float:
        """The alerts' own time, in seconds: Unix time as it was at the start, from then on without jumps."""
        return self._began + self._clock.monotonic()

    # -- beginning

    async def load(self) -> None:
        """Begin with what was kept: what fires, who was told, what is on its way."""
        self.is_on = True
        with suppress(msgspec.DecodeError):
            kept, now_s = _decode(await self._store.get(SPACE, "state") or _encode(Kept())), self.now()
            self.alerts = {alert.key: alert for alert in (begun_by(alert, now_s) for alert in kept.alerts)}
            self.silences = {silence.id: silence for silence in kept.silences}
            self.over = kept.over
            self._groups = {of: Group(group.incident) for of, group in kept.groups.items()}
            self._outbox = Outbox({one.delivery.id: replace(one, next_s=now_s) for one in kept.waiting})

    def configure(self, alerting: Alerting) -> None:
        """Watch this from now on. An alert whose rule is gone is over with it."""
        self._alerting = alerting
        self._rules = {rule.name: rule for rule in alerting.rules}
        self._is_unproven = True
        now_s = self.now()
        self._samples.configure(alerting.rules, now_s)
        bounds = (rule.condition.over_s for rule in alerting.rules if isinstance(rule.condition, Slow))
        self.counts.bound(tuple(sorted(set(bounds)))[:BOUNDS_MAX])
        for alert in [alert for alert in self.alerts.values() if alert.rule not in self._rules]:
            after = ended(alert, now_s) if alert.stage != "over" else alert
            del self.alerts[alert.key]
            if after is not None:
                self.alerts[after.key] = after
        if gone := self._outbox.forget(alerting.channels):
            self._lose(gone, "their channel is not configured any more")

    async def run(self) -> None:
        """Do all of it, until cancelled."""
        while True:
            try:
                await self.tick()
            except Exception as error:  # the last edge: one look that fails must not be the last one
                self._on_note(f"alerts: they could not be looked at ({type(error).__name__}: {error})")
            await asyncio.sleep(TICK_S)

    async def close(self) -> None:
        """Let what is being sent arrive, for a moment; what did not is sent after the next start."""
        if not self.is_on:
            return
        self.is_on, sending = False, [*self._sending.values()]
        if sending:
            await asyncio.wait(sending, timeout=CLOSE_WAIT_S)
        await self._tasks.close()
        await self._keep()

    # -- each few seconds

    async def tick(self) -> None:
        """Look at everything once, and send what is due."""
        now_s = self.now()
        self._samples.take(now_s, self._readings(), self.counts.cells, self.counts.bounds)
        for rule in self._alerting.rules:
            self._watch(rule, now_s)
        if self._is_unproven and now_s - self._samples.since_s >= PROVEN_S:
            self._is_unproven = False
            self._note_idle()
        self.silences = {id: silence for id, silence in self.silences.items() if now_s < silence.until_s}
        before = {id for id, alert in self.alerts.items() if alert.stage == "over"}
        told = tell(
            *(self.alerts, self._groups, self._alerting.routes, self._alerting.channels),
            self._muting(),
            now_s,
        )
        self.over = (self.over + [self.alerts[id] for id in before if id not in told.alerts])[-OVER_MAX:]
        self.alerts, self._groups = told.alerts, told.groups
        if dropped := self._outbox.add(told.deliveries):
            self._lose(dropped, "more messages wait than fit")
        await self._keep()
        self._send()

    def _watch(self, rule: AlertRule, now_s: float) -> None:
        own = {id: alert for id, alert in self.alerts.items() if alert.rule == rule.name}
        findings = evaluate(rule, self._samples, now_s)
        if not own and not findings:
            return
        after = watch(own, rule, findings, now_s, blind=blind(rule, self._samples, now_s))
        others = {id: alert for id, alert in self.alerts.items() if alert.rule != rule.name}
        room = max(0, ALERTS_MAX - len(others))
        if len(after) > room:
            self._on_note(f"alerts: there are more than {ALERTS_MAX}; what {rule.name!r} found beyond is not watched")
        kept = sorted(after.items(), key=lambda one: one[1].stage == "pending")[:room]
        self.alerts = others | dict(kept)

    def _note_idle(self) -> None:
        """A rule of the operator's that watches nothing should not go unnoticed. The hub's own may have nothing yet."""
        for rule in self._alerting.rules:
            metric = rule.condition.metric if isinstance(rule.condition, Threshold | Increase) else None
            if metric is not None and metric not in self._samples.values and rule.name not in _OWN:
                told = f"the rule {rule.name!r} watches {metric}, of which there is nothing"
                self._on_note(f"alerts: {told}; /metrics of the admin listener has all gauges there are")

    def _muting(self) -> Callable[[Alert], str | None]:
        """What keeps each alert from being told now."""
        now_s, wall_s, alerting = self.now(), self._clock.wall(), self._alerting
        windows = [window for window in alerting.maintenance if is_open(window, wall_s)]
        silences = [silence for silence in self.silences.values() if now_s < silence.until_s]
        holding = held(self.alerts.values())
        return lambda alert: muted(alert, holding, self._rules.get(alert.rule), silences, windows)

    async def _keep(self) -> None:
        """Have what is known outlive the process. A store that fails keeps nobody from being told."""
        async with self._writing:
            rest = (self._groups, [*self.silences.values()], [*self._outbox.waiting.values()], self.over)
            # A number that moves while an alert fires is no reason to write.
            essence = _encode(Kept([replace(alert, value=0, reason="") for alert in self.alerts.values()], *rest))
            if essence == self._kept:
                return
            try:
                await self._store.put(SPACE, "state", _encode(Kept([*self.alerts.values()], *rest)))
                self._kept = essence
            except Exception as error:  # whatever a store fails with: who has to know of it must not depend on it
                self._on_note(
                    f"alerts: what was told could not be kept ({error}); after a restart it may be told again"
                )

    # -- sending

    def _send(self) -> None:
        for waiting in list(self._outbox.due(self.now(), self._sending)):
            channel = waiting.delivery.channel
            task = self._tasks.start(self._carry(waiting.delivery))
            self._sending[channel] = task
            task.add_done_callback(partial(self._sent, channel))

    def _sent(self, channel: str, task: "asyncio.Task[None]") -> None:
        """A channel has a hand free for what is behind, unless the hub stops."""
        del self._sending[channel]
        if not task.cancelled() and task.exception() is None and self.is_on:
            self._send()

    async def _carry(self, delivery: Delivery) -> None:
        channel = self._alerting.channels.get(delivery.channel)
        if channel is None:
            return
        try:
            await self._carrier.carry(channel, delivery, self._rules)
        except NotDelivered as error:
            given_up = self._outbox.failed(delivery.id, str(error), self.now(), random.random(), error.pause_s)
            if given_up is not None:
                self._lose([given_up], str(error))
        else:
            self._outbox.arrived(delivery.id)
        await self._keep()

    async def idle(self) -> None:
        """Wait until nothing is being sent."""
        while self._sending:
            await asyncio.gather(*self._sending.values())
            await asyncio.sleep(0)

    def _lose(self, deliveries: Iterable[Delivery], why: str) -> None:
        for delivery in deliveries:
            self.lost += 1
            self._on_note(f"alerts: a message to {delivery.channel!r} is given up: {why}")

    # -- from elsewhere

    def happened(
        self, what: Happening, labels: dict[str, str] | None = None, value: float = 0.0, text: str = ""
    ) -> None:
        """Have it known that something happened: `text` says what, in names, numbers and states only."""
        named: Labels = tuple(sorted((labels or {}).items()))
        self._samples.happened(what, Event(self.now(), named, value, text))

    def readings(self) -> Iterator[Reading]:
        """For metrics."""
        firing = [alert.severity for alert in self.alerts.values() if alert.stage == "firing"]
        for severity in SEVERITIES:
            yield "concento_alerts_firing", "Alerts that fire now", {"severity": severity}, firing.count(severity)
        yield (
            "concento_alerts_waiting",
            "Messages about alerts that have not arrived yet",
            {},
            len(self._outbox.waiting),
        )
        yield "concento_alerts_lost_total", "Messages about alerts that were given up since the start", {}, self.lost

    # -- what operators do

    def find(self, name: str) -> list[Alert]:
        """The alert that fires under an id, or all of a rule. Errors: NoSuchAlert."""
        firing = [alert for alert in self.alerts.values() if alert.stage == "firing"]
        found = [alert for alert in firing if name in (alert.id, alert.rule)]
        if not found:
            known = ", ".join(alert.id for alert in firing[:20]) or "none"
            raise NoSuchAlert(f"no alert {clean(name)!r} fires; there are: {known}")
        return found

    async def acknowledge(self, name: str, by: str, note: str = "") -> list[Alert]:
        """Somebody takes care: no further step, no reminder. That it is over is told. Errors: NoSuchAlert."""
        found = self.find(name)
        for alert in found:
            self.alerts[alert.id] = replace(alert, ack=Ack(by, self.now(), clean(note, 200)))
        await self._keep()
        return found

    async def silence(self, match: dict[str, str], for_s: float, by: str, why: str) -> Silence:
        """Tell nobody of what fits, for a while. Errors: ValueError, with what is wrong."""
        if not match:
            raise ValueError("a silence has to say what it is about, such as server=time or rule=slow_calls")
        if len(match) > LABELS_MAX:
            raise ValueError(f"a silence names {LABELS_MAX} labels at most")
        if not 0 < for_s <= SILENCE_S_MAX:
            raise ValueError(
                f"a silence lasts up to {SILENCE_S_MAX / 86_400:g} days; `maintenance` comes back each week"
            )
        if len(self.silences) >= SILENCES_MAX:
            raise ValueError(f"there are {SILENCES_MAX} silences already; end one with `concento alerts unsilence`")
        now_s = self.now()
        silence = Silence(secrets.token_hex(4), match, by, clean(why, 200), now_s, now_s + for_s)
        self.silences[silence.id] = silence
        await self._keep()
        return silence

    async def unsilence(self, id: str) -> Silence:
        """End a silence. Errors: NoSuchAlert."""
        silence = self.silences.pop(id, None)
        if silence is None:
            known = ", ".join(self.silences) or "none"
            raise NoSuchAlert(f"there is no silence {clean(id)!r}; there are: {known}")
        await self._keep()
        return silence

    async def test(self, channel: str) -> str:
        """Send a test through a channel, at once. Returns what came back. Errors: NoSuchAlert, NotDelivered."""
        known = self._alerting.channels
        if channel not in known:
            raise NoSuchAlert(f"there is no channel {clean(channel)!r}; there are: {', '.join(known) or 'none'}")
        return await self._carrier.carry(known[channel], test_message(channel, self.now()), self._rules)

    def waiting(self) -> list[Waiting]:
        """Messages that have not arrived yet, the oldest first."""
        return [*self._outbox.waiting.values()]

    def rule_names(self) -> list[str]:
        """The rules that are on."""
        return [*self._rules]

    def channel_names(self) -> list[str]:
        """Where messages may go."""
        return [*self._alerting.channels]

    def shown(self) -> list[dict[str, Any]]:
        """Every alert, the worst first and those that are over last: for people and programs."""
        alerts = [*self.alerts.values(), *self.over]
        return shown(alerts, self._rules, self._alerting.routes, self.waiting(), self._muting())


def test_message(channel: str, now_s: float) -> Delivery:
    """A message that says only that a channel works."""
    item = Item("test", "test", "test", "info", (), 0.0, "nothing is wrong: somebody tests this channel", now_s)
    return Delivery(f"test-{secrets.token_hex(8)}", channel, "test", f"test-{secrets.token_hex(8)}", 0, now_s, (item,))
