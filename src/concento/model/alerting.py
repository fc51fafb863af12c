"""What is watched, and who is told, as it is configured: rules, channels, routes, maintenance windows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from types import MappingProxyType
from typing import Final, Literal
from zoneinfo import ZoneInfo

Severity = Literal["info", "warning", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""From what can wait to what can't."""

Bad = Literal["error", "tool_error", "refused", "cancelled"]
"""How a call may have ended, as the label `outcome` of the metrics has it."""

By = Literal["server", "tool", "tenant"]

Happening = Literal[
    "definition_changed",
    "budget_near",
    "budget_passed",
    "account_trouble",
    "certificate_refused",
    "certificate_ending",
    "store_failed",
]
"""What happens at a moment, and has no reading that goes back to normal."""

Labels = tuple[tuple[str, str], ...]
"""What an alert is about, as in `(("server", "time"),)`: sorted by their names."""

HOUR_S: Final = 3600.0
WITHIN_S_MAX: Final = 6 * HOUR_S
"""The longest time over which anything is counted."""
BOUNDS_MAX: Final = 4
"""Different times that all rules together may call slow: each call is held against them."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A metric is above or below a number. One that has labels is watched for each of them."""

    metric: str
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class Increase:
    """A metric that only grows has grown by more than `above` within a time."""

    metric: str
    above: float = 0.0
    within_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Ratio:
    """More than a part of the calls ended badly."""

    above: float
    within_s: float = 300.0
    of: tuple[Bad, ...] = ("error",)
    by: By = "server"
    calls_min: int = 20


@dataclass(frozen=True, slots=True)
class Burn:
    """An objective for calls is used up too fast: over a long time, and over a short one, so that it ends soon.

    `factor` 1 uses it up exactly over the objective's own period. Source: The Site Reliability Workbook, chapter 5.
    """

    objective: float
    factor: float = 14.4
    short_s: float = 300.0
    long_s: float = HOUR_S
    of: tuple[Bad, ...] = ("error",)
    by: By = "server"
    calls_min: int = 20


@dataclass(frozen=True, slots=True)
class Slow:
    """More than a part of the calls took longer than a time: with `share` 0.05, the 95th percentile is above it."""

    over_s: float
    share: float = 0.05
    within_s: float = 600.0
    by: By = "server"
    calls_min: int = 50


@dataclass(frozen=True, slots=True)
class Absence:
    """No call came for a time, or a metric is not there. `server`: which one's calls; None: the whole hub's."""

    metric: str | None = None
    server: str | None = None
    within_s: float = HOUR_S


@dataclass(frozen=True, slots=True)
class Happened:
    """Something happened within the last while."""

    what: Happening
    within_s: float = 900.0


Condition = Threshold | Increase | Ratio | Burn | Slow | Absence | Happened


@dataclass(frozen=True, slots=True)
class AlertRule:
    """What is watched, when it is an alert, and what a person should know of it."""

    name: str
    condition: Condition
    severity: Severity = "warning"
    for_s: float = 0.0
    """How long it has to hold before anybody is told."""
    clear_s: float = 60.0
    """How long it must no longer hold before it counts as over: what comes and goes is one alert."""
    match: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Labels and the patterns that they have to fit."""
    behind: tuple[str, ...] = ()
    """Rules that explain it: while one holds of the same server, nobody is told of this one."""
    says: str = ""
    """The reason that is told, with `{value}` in it; else the condition says it in numbers."""
    means: str = ""
    remedy: str = ""
    runbook: str = ""
    """Where it says more: a URL of the operator's, or the anchor of our own page."""


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """A URL that is posted to."""

    name: str
    url: str = field(repr=False)
    preset: Literal["plain", "slack", "pagerduty"] = "plain"
    secret: str | None = field(default=None, repr=False)
    """What requests are signed with."""
    bearer: str | None = field(default=None, repr=False)
    routing_key: str | None = field(default=None, repr=False)
    """Of PagerDuty: which service it is for."""
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class EmailChannel:
    """A mail server, and who gets mail."""

    name: str
    host: str
    sender: str
    to: tuple[str, ...]
    port: int = 587
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: float = 30.0


Channel = WebhookChannel | EmailChannel


@dataclass(frozen=True, slots=True)
class Step:
    """Who is told, so long after the first."""

    channels: tuple[str, ...]
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Route:
    """Which alerts go which way: the first that fits decides."""

    steps: tuple[Step, ...]
    severities: tuple[Severity, ...] = SEVERITIES
    match: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    group_by: tuple[str, ...] = ("rule", "tenant")
    wait_s: float = 15.0
    """How long the first of a group waits for others."""
    repeat_s: float | None = 4 * HOUR_S
    """How often it is told again while nobody has acknowledged it; None: never."""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A time of the week in which nobody is told. One that ends before it begins goes over midnight."""

    name: str
    begins: time
    ends: time
    days: tuple[int, ...] = tuple(range(7))
    """On which it begins; 0 is Monday."""
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    match: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Alerting:
    """All of it. `rules`: those that are on, the hub's own among them."""

    rules: tuple[AlertRule, ...] = ()
    channels: Mapping[str, Channel] = field(default_factory=lambda: MappingProxyType({}))
    routes: tuple[Route, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
