"""Alerts as operators see them, on a terminal or in the API. Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...model.alerting import SEVERITIES, AlertRule, Route
from .messages import REASON_CHARS_MAX, clean
from .notify import route_of
from .outbox import Waiting
from .state import Alert, Stage

_ORDER: Mapping[Stage, int] = {"firing": 0, "pending": 1, "over": 2}


def shown(
    alerts: Iterable[Alert],
    rules: Mapping[str, AlertRule],
    routes: Iterable[Route],
    waiting: Iterable[Waiting],
    muted: Callable[[Alert], str | None],
) -> list[dict[str, Any]]:
    """Every alert, the worst first and those that are over last, each under its `state`: `firing`, `acknowledged`,
    `silenced`, `pending` or `over`."""
    routes, late = tuple(routes), _late(waiting)
    return [
        _shown(alert, rules.get(alert.rule), route_of(alert, routes), late.get(alert.id, {}), muted(alert))
        for alert in sorted(alerts, key=_place)
    ]


def _place(alert: Alert) -> tuple[int, int, float, str]:
    since_s = -alert.over_s if alert.stage == "over" else alert.since_s
    return _ORDER[alert.stage], -SEVERITIES.index(alert.severity) if alert.stage != "over" else 0, since_s, alert.id


def _late(waiting: Iterable[Waiting]) -> dict[str, dict[str, str]]:
    """Which channels have not got all yet that there is to say of alerts, and why, by the alerts' ids."""
    late: dict[str, dict[str, str]] = {}
    for one in waiting:
        for item in one.delivery.items:
            late.setdefault(item.id, {})[one.delivery.channel] = one.problem or "it is on its way"
    return late


def _shown(
    alert: Alert, rule: AlertRule | None, route: Route | None, late: Mapping[str, str], muted: str | None
) -> dict[str, Any]:
    ack = alert.ack
    return {
        **{"id": alert.id, "rule": alert.rule, "state": _state(alert, muted), "severity": alert.severity},
        **{"labels": dict(alert.labels), "value": alert.value, "reason": clean(alert.reason, REASON_CHARS_MAX)},
        **{"since": alert.since_s, "over": alert.over_s or None, "silenced_by": muted},
        "acknowledged": None if ack is None else {"by": ack.by, "at": ack.at_s, "note": ack.note},
        "told": sorted({channel for step, channel in alert.told if step >= 0} - late.keys()),
        "goes_to": [] if route is None else [list(step.channels) for step in route.steps],
        "not_delivered": dict(late),
        "runbook": "" if rule is None else rule.runbook,
    }


def _state(alert: Alert, muted: str | None) -> str:
    if alert.stage != "firing":
        return alert.stage
    if alert.ack is not None:
        return "acknowledged"
    return "firing" if muted is None else "silenced"
