"""What keeps alerts from being told for a while: a silence that somebody asked for, a maintenance window. Pure."""

from collections.abc import Iterable, Mapping
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


def muted(
    alert: Alert,
    alerts: Iterable[Alert],
    rules: Mapping[str, AlertRule],
    silences: Iterable[Silence],
    maintenance: Iterable[Maintenance],
    now_s: float,
    wall_s: float,
) -> str | None:
    """What keeps an alert from being told now, for people; None: nothing."""
    for silence in silences:
        if now_s < silence.until_s and _fits(silence.match, alert):
            return f"silence {silence.id}"
    for window in maintenance:
        if is_open(window, wall_s) and _fits(window.match, alert):
            return f"maintenance {window.name}"
    behind = rules[alert.rule].behind if alert.rule in rules else ()
    server = dict(alert.labels).get("server")
    if behind and server is not None:
        for other in alerts:
            if other.rule in behind and other.stage != "over" and dict(other.labels).get("server") == server:
                return f"{other.rule} explains it"
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
