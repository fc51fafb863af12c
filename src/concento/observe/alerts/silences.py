"""What keeps alerts from being told for a while: a silence that somebody asked for, a maintenance window. Pure."""

from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from ...model.alerting import AlertRule, Maintenance
from .evaluate import fits
from .state import Alert

SILENCES_MAX: Final = 500
LABELS_MAX: Final = 10
"""That one silence may name."""
SILENCE_S_MAX: Final = 30 * 86_400.0


class Silence(Struct, frozen=True):
    """Nobody is told of alerts whose labels fit, until a time."""

    id: str
    match: dict[str, str]
    """Labels and patterns; `rule` and `severity` count as labels."""
    by: str
    why: str
    since_s: float
    until_s: float


def held(alerts: Iterable[Alert]) -> frozenset[tuple[str, str]]:
    """Which rules hold of which servers: what may explain other alerts."""
    return frozenset(
        (alert.rule, value)
        for alert in alerts
        if alert.stage != "over"
        for name, value in alert.labels
        if name == "server"
    )


def muted(
    alert: Alert,
    holding: Container[tuple[str, str]],
    rule: AlertRule | None,
    silences: Iterable[Silence],
    windows: Iterable[Maintenance],
) -> str | None:
    """What keeps an alert from being told, for people; None: nothing. `silences` and `windows`: those of now."""
    if alert.stage == "over":
        return None
    for silence in silences:
        if _fits(silence.match, alert):
            return f"silence {silence.id}"
    for window in windows:
        if _fits(window.match, alert):
            return f"maintenance {window.name}"
    server = dict(alert.labels).get("server", "")
    for other in () if rule is None else rule.behind:
        if (other, server) in holding:
            return f"{other} explains it"
    return None


def is_open(window: Maintenance, wall_s: float) -> bool:
    """Whether a maintenance window is open at a Unix time. Its days and hours are those of its zone's clocks."""
    here = datetime.fromtimestamp(wall_s, UTC).astimezone(window.zone)
    for day in (here.date(), here.date() - timedelta(days=1)):
        begins = datetime.combine(day, window.begins, window.zone)
        ends = datetime.combine(day + timedelta(days=window.ends <= window.begins), window.ends, window.zone)
        if day.weekday() in window.days and begins.timestamp() <= wall_s < ends.timestamp():
            return True
    return False


def _fits(match: Mapping[str, str], alert: Alert) -> bool:
    return fits(match, alert.labels, rule=alert.rule, severity=alert.severity)
