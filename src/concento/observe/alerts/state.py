"""How an alert begins, fires and ends. Pure: what is known, what was found and the time in, what is known out.

inactive → pending, as soon as a rule holds → firing, once it held for `for_s` → over, once it did not for `clear_s`.
What comes and goes within those times is one alert, or none.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from ...model.alerting import AlertRule, Labels, Severity
from .evaluate import Finding

ALERTS_MAX: Final = 1000
"""Beyond it, what is found anew is counted and not watched."""

Stage = Literal["pending", "firing", "over"]


class Ack(Struct, frozen=True):
    """Somebody takes care of it."""

    by: str
    at_s: float
    note: str = ""


class Alert(Struct, frozen=True, omit_defaults=True):
    """A rule that holds of something."""

    id: str
    """The same each time the rule holds of the same."""
    rule: str
    labels: Labels
    severity: Severity
    stage: Stage
    since_s: float
    """When it was found first."""
    value: float
    reason: str
    fired_s: float = 0.0
    over_s: float = 0.0
    well_s: float | None = None
    """Since when it is not found any more, while it is not over yet."""
    ack: Ack | None = None
    audible_s: float | None = None
    """Since when nothing keeps it from being told; from then on steps count."""
    told: tuple[tuple[int, str], ...] = ()
    """Steps and channels that it was put on the way to."""
    reminded_s: float = 0.0
    """When it was told last."""

    @property
    def firing(self) -> str:
        """The id of this time that it fires, among all."""
        return f"{self.id}-{int(self.fired_s * 1000):x}"

    @property
    def key(self) -> str:
        """What it is kept under: one that is over waits to be told, and the same may begin anew meanwhile."""
        return self.firing if self.stage == "over" else self.id


def alert_id(rule: str, labels: Labels) -> str:
    """The id of a rule's alert about something."""
    return hashlib.sha256("\0".join([rule, *(part for pair in labels for part in pair)]).encode()).hexdigest()[:10]


def advance(
    alerts: Mapping[str, Alert], rule: AlertRule, findings: Sequence[Finding], now_s: float, *, blind: bool = False
) -> dict[str, Alert]:
    """What becomes of a rule's alerts, by their keys. `blind`: that nothing is found says nothing yet.

    Those that are over stay until they were told.
    """
    found = {alert_id(rule.name, finding.labels): finding for finding in findings}
    after = [alert for alert in alerts.values() if alert.stage == "over"]
    for id, alert in alerts.items():
        if alert.stage == "over":
            continue
        if (finding := found.pop(id, None)) is not None:
            after.append(_held(alert, rule, finding, now_s))
        elif alert.stage == "firing":
            after.append(alert if blind else _missed(alert, rule, now_s))
    for id, finding in found.items():
        begun = (now_s, finding.value, finding.reason)
        new = Alert(id, rule.name, finding.labels, rule.severity, "pending", *begun)
        after.append(_held(new, rule, finding, now_s))
    return {alert.key: alert for alert in after}


def begun_by(alert: Alert, now_s: float) -> Alert:
    """An alert that was kept, with no time in it after now: the clock may have been set back while nobody ran."""
    return replace(
        alert,
        since_s=min(alert.since_s, now_s),
        audible_s=None if alert.audible_s is None else min(alert.audible_s, now_s),
        well_s=None if alert.well_s is None else min(alert.well_s, now_s),
        reminded_s=min(alert.reminded_s, now_s),
    )


def ended(alert: Alert, now_s: float) -> Alert | None:
    """An alert whose rule is no more."""
    return replace(alert, stage="over", over_s=now_s) if alert.stage == "firing" else None


def _held(alert: Alert, rule: AlertRule, finding: Finding, now_s: float) -> Alert:
    alert = replace(alert, value=finding.value, reason=finding.reason, severity=rule.severity, well_s=None)
    if alert.stage == "pending" and now_s - alert.since_s >= rule.for_s:
        return replace(alert, stage="firing", fired_s=now_s)
    return alert


def _missed(alert: Alert, rule: AlertRule, now_s: float) -> Alert:
    well_s = now_s if alert.well_s is None else alert.well_s
    if now_s - well_s >= rule.clear_s:
        return replace(alert, stage="over", over_s=now_s, well_s=well_s)
    return replace(alert, well_s=well_s)
