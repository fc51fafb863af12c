"""What fires, who was told and what is silenced; and the words that acknowledge, silence and test."""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from .. import alerts
from ..operations import Asked, Operation
from ..problems import Problem


class Acknowledged(Struct, frozen=True):
    """Whose word it is that somebody takes care."""

    by: str
    at: float
    note: str


class AlertShown(Struct, frozen=True):
    """One alert."""

    id: str
    rule: str
    state: str
    """pending, firing, acknowledged, silenced or over."""
    severity: str
    labels: dict[str, str]
    value: float
    reason: str
    since: float
    over: float | None
    silenced_by: str | None
    acknowledged: Acknowledged | None
    told: list[str]
    goes_to: list[list[str]]
    not_delivered: dict[str, str]
    runbook: str


class SilenceShown(Struct, frozen=True):
    """What nobody is told of, until when."""

    id: str
    match: dict[str, str]
    by: str
    why: str
    since: float
    until: float


class AlertsShown(Struct, frozen=True):
    """All of them, the worst first, those that are over last; `rules` and `channels` are names."""

    alerts: list[AlertShown]
    silences: list[SilenceShown]
    rules: list[str]
    channels: list[str]


class Care(Struct, frozen=True, forbid_unknown_fields=True):
    """An alert, or a rule, that somebody takes care of."""

    alert: str
    note: str


class Taken(Struct, frozen=True):
    """The alerts that are acknowledged."""

    acknowledged: list[str]


class Quiet(Struct, frozen=True, forbid_unknown_fields=True):
    """What to tell nobody of, and how long."""

    match: Annotated[str, Meta(description="Labels and patterns: `server=time rule=slow_*`.")]
    span: Annotated[str, Meta(description="Such as `30m`, `2h` or `1d`.")]
    why: str


class Silenced(Struct, frozen=True, forbid_unknown_fields=True):
    """Which silence."""

    silence: str


class Channel(Struct, frozen=True, forbid_unknown_fields=True):
    """Which channel."""

    channel: str


class Tried(Struct, frozen=True):
    """What came of a test."""

    channel: str
    delivered: bool
    said: str


async def all_of_them(asked: Asked) -> dict[str, Any]:
    """What fires, is pending, or was over lately."""
    return alerts.alerts(asked.hub)


async def acknowledge(asked: Asked) -> dict[str, Any]:
    """Say that somebody takes care."""
    return await alerts.acknowledge(asked.hub, asked.body.alert, asked.body.note, asked.caller)


async def silence(asked: Asked) -> dict[str, Any]:
    """Tell nobody of what fits."""
    given: Quiet = asked.body
    try:
        return await alerts.silence(asked.hub, given.match, given.span, given.why, asked.caller)
    except alerts.Unreadable as error:
        raise Problem(422, str(error)) from None


async def unsilence(asked: Asked) -> dict[str, Any]:
    """End a silence."""
    return await alerts.unsilence(asked.hub, asked.body.silence, asked.caller)


async def test(asked: Asked) -> dict[str, Any]:
    """Send a test through a channel."""
    return await alerts.test(asked.hub, asked.body.channel, asked.caller)


_PATH: Final = "/api/v1/alerts"
OPERATIONS: Final = (
    Operation(
        *("GET", _PATH, "Alerts that fire, are pending or were over lately, and silences", "viewer"),
        *(all_of_them, AlertsShown),
    ),
    Operation(
        *("POST", f"{_PATH}/ack", "Say that somebody takes care", "operator", acknowledge, Taken),
        body=Care,
        statuses=(404,),
    ),
    Operation(
        *("POST", f"{_PATH}/silence", "Tell nobody of what fits for a while", "operator", silence, SilenceShown),
        body=Quiet,
    ),
    Operation(
        *("POST", f"{_PATH}/unsilence", "End a silence", "operator", unsilence, SilenceShown),
        body=Silenced,
        statuses=(404,),
    ),
    Operation(
        *("POST", f"{_PATH}/test", "Send a test through a channel", "operator", test, Tried),
        body=Channel,
        statuses=(404,),
    ),
)
