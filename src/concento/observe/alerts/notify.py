"""Who is told what, and when. Pure: alerts, groups and the time in; alerts, groups and deliveries out.

Each alert goes up the steps of its route by itself, and each step tells each of its channels once. Groups only have
those wait for each other that are due at about the same time, so that a hub whose fifty servers fail sends one message.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from ...model.alerting import SEVERITIES, Labels, Route, Severity
from .evaluate import fits, tenant_of
from .state import Alert

INTERVAL_S: Final = 60.0
"""How soon after a message of a group the next one follows, if only more of the same has come."""
ITEMS_MAX: Final = 20
"""Alerts that one message names, the worst first; the rest is counted."""

What = Literal["firing", "over", "test"]


class Item(Struct, frozen=True, omit_defaults=True):
    """An alert as it is told."""

    id: str
    firing: str
    rule: str
    severity: Severity
    labels: Labels
    value: float
    reason: str
    since_s: float
    over_s: float = 0.0


class Delivery(Struct, frozen=True, omit_defaults=True):
    """A message on its way to a channel."""

    id: str
    """Made of what it tells whom: the same message has the same id, wherever it is made again."""
    channel: str
    what: What
    incident: str
    """What all messages of a group have in common, from the first firing alert to the last that is over."""
    step: int
    at_s: float
    items: tuple[Item, ...]
    more: int = 0
    """Alerts that are not named."""
    open: int = 0
    """Alerts of the incident that still fire."""
    again: bool = False
    """Whether all of it was told before."""

    @property
    def severity(self) -> Severity:
        """The worst of its alerts'."""
        return max((item.severity for item in self.items), key=SEVERITIES.index, default="info")


class Group(Struct, frozen=True):
    """Alerts that are told together."""

    incident: str
    waiting_s: float | None = None
    """Since when something new waits to be told."""
    sent_s: float | None = None


class Told(NamedTuple):
    """What follows from a moment."""

    alerts: dict[str, Alert]
    groups: dict[str, Group]
    deliveries: list[Delivery]


class _Due(NamedTuple):
    alert: Alert
    step: int
    channel: str
    what: What
    again: bool


def advance(
    alerts: Mapping[str, Alert],
    groups: Mapping[str, Group],
    routes: Iterable[Route],
    channels: Iterable[str],
    muted: Callable[[Alert], str | None],
    now_s: float,
) -> Told:
    """Have everything told that is due. Alerts that are over, and whose channels know, are gone afterwards."""
    routes, known = tuple(routes), frozenset(channels)
    after: dict[str, Alert] = {}
    due_of: dict[str, list[_Due]] = {}
    members: dict[str, list[Alert]] = {}
    waits_s: dict[str, float] = {}
    for key, alert in alerts.items():
        if alert.stage == "pending":
            after[key] = alert
            continue
        alert = _audible(alert, muted(alert), now_s)
        route = route_of(alert, routes)
        due = [] if route is None else _due(alert, route, known, now_s)
        if alert.stage == "over" and not due:
            continue
        after[key] = alert
        if route is not None:
            of = group_of(alert, route)
            members.setdefault(of, []).append(alert)
            waits_s.setdefault(of, route.wait_s)
            due_of.setdefault(of, []).extend(due)
    kept: dict[str, Group] = {}
    deliveries: list[Delivery] = []
    for of, of_group in members.items():
        due = due_of[of]
        group = groups.get(of) or Group(_digest("incident", of, f"{now_s:.3f}"))
        if not due:
            kept[of] = replace(group, waiting_s=None)
            continue
        waiting_s = now_s if group.waiting_s is None else group.waiting_s
        if now_s < _ripe_s(due, waiting_s + waits_s[of], group.sent_s, now_s):
            kept[of] = replace(group, waiting_s=waiting_s)
            continue
        for one in due:
            after[one.alert.key] = _noted(after[one.alert.key], one, now_s)
        deliveries += _messages(group.incident, due, of_group, now_s)
        kept[of] = replace(group, waiting_s=None, sent_s=now_s)
    return Told(after, kept, deliveries)


def route_of(alert: Alert, routes: Iterable[Route]) -> Route | None:
    """The way an alert goes; None: it is only shown."""
    for route in routes:
        if alert.severity in route.severities and fits(route.match, alert.labels, rule=alert.rule):
            return route
    return None


def group_of(alert: Alert, route: Route) -> str:
    """What it shares with those that it is told with."""
    known = {"rule": alert.rule, "severity": alert.severity, "tenant": tenant_of(alert.labels), **dict(alert.labels)}
    return "\0".join(f"{name}={known.get(name, '')}" for name in ("severity", *route.group_by))


def _audible(alert: Alert, reason: str | None, now_s: float) -> Alert:
    if alert.stage == "over":
        return alert
    if reason is not None:
        return alert if alert.audible_s is None else replace(alert, audible_s=None)
    return replace(alert, audible_s=now_s) if alert.audible_s is None else alert


def _due(alert: Alert, route: Route, known: frozenset[str], now_s: float) -> list[_Due]:
    if alert.stage == "over":
        first = _steps_due(alert, route, known, alert.over_s) if alert.ack is None else []
        if first:
            return first
        told = dict.fromkeys(channel for step, channel in alert.told if step >= 0)
        return [
            _Due(alert, -1, channel, "over", False)
            for channel in told
            if channel in known and (-1, channel) not in alert.told
        ]
    if alert.ack is not None:
        return []
    if due := _steps_due(alert, route, known, now_s):
        return due
    repeats = route.repeat_s is not None and alert.audible_s is not None and alert.told
    if not repeats or route.repeat_s is None or now_s - alert.reminded_s < route.repeat_s:
        return []
    return [_Due(alert, step, channel, "firing", True) for channel, step in _latest(alert).items() if channel in known]


def _steps_due(alert: Alert, route: Route, known: frozenset[str], now_s: float) -> list[_Due]:
    if alert.audible_s is None:
        return []
    return [
        _Due(alert, step, channel, "firing", False)
        for step, one in enumerate(route.steps)
        if now_s >= alert.audible_s + one.after_s
        for channel in one.channels
        if channel in known and (step, channel) not in alert.told
    ]


def _latest(alert: Alert) -> dict[str, int]:
    return {channel: step for step, channel in sorted(alert.told)}


def _ripe_s(due: Iterable[_Due], ready_s: float, sent_s: float | None, now_s: float) -> float:
    """When it is told: what is new waits for more of it, a next step and a reminder for nothing."""
    if any(one.again or one.step > 0 for one in due):
        return now_s
    return ready_s if sent_s is None else max(ready_s, sent_s + INTERVAL_S)


def _noted(alert: Alert, due: _Due, now_s: float) -> Alert:
    told = alert.told if due.again else (*alert.told, (due.step, due.channel))
    return replace(alert, told=told, reminded_s=now_s if due.what == "firing" else alert.reminded_s)


def _messages(incident: str, due: Iterable[_Due], members: Iterable[Alert], now_s: float) -> list[Delivery]:
    together: dict[tuple[str, What], list[_Due]] = {}
    for one in due:
        together.setdefault((one.channel, one.what), []).append(one)
    open = sum(alert.stage == "firing" for alert in members)
    made = []
    for (channel, what), some in together.items():
        alerts = {one.alert.key: one.alert for one in some}
        worst = sorted(
            alerts.values(), key=lambda alert: (-SEVERITIES.index(alert.severity), -alert.value, alert.labels)
        )
        again = all(one.again for one in some)
        told = sorted(f"{one.alert.firing} {one.step} {one.alert.reminded_s if one.again else ''}" for one in some)
        made.append(
            Delivery(
                _digest(channel, what, *told),
                channel,
                what,
                incident,
                max(one.step for one in some),
                now_s,
                tuple(map(_item, worst[:ITEMS_MAX])),
                max(0, len(worst) - ITEMS_MAX),
                open,
                again,
            )
        )
    return made


def _item(alert: Alert) -> Item:
    return Item(
        *(alert.id, alert.firing, alert.rule, alert.severity, alert.labels, alert.value, alert.reason, alert.since_s),
        alert.over_s,
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
