"""What fires, who was told and what is silenced; and the words that acknowledge, silence and test. Audited."""

import re
from typing import Any, Final

from ..model.principal import Principal
from ..observe.alerts import NoSuchAlert, NotDelivered, Silence
from .describe import Hub
from .trials import NoSuchThing

_SPANS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LABEL: Final = re.compile(r"([a-z_]{1,32})=([^\x00-\x1f\x7f]{1,256})")


class Unreadable(Exception):
    """What was asked for can't be; the text says what is expected."""


def alerts(hub: Hub) -> dict[str, Any]:
    """`{"alerts": [{id, rule, state, severity, labels, value, reason, since, …}], "silences": [...], "rules": [...],
    "channels": [...]}`: the worst first, those that are over last; `rules` and `channels` are names."""
    watching = hub.alerts
    return {
        "alerts": watching.shown(),
        "silences": [_silence(silence) for silence in watching.silences.values()],
        "rules": watching.rule_names(),
        "channels": watching.channel_names(),
    }


async def acknowledge(hub: Hub, alert: str, note: str, by: Principal) -> dict[str, Any]:
    """Say that somebody takes care of an alert, or of all of a rule. Errors: NoSuchThing."""
    try:
        found = await hub.alerts.acknowledge(alert, by.subject, note)
    except NoSuchAlert as error:
        raise NoSuchThing(str(error)) from None
    for one in found:
        hub.changed(by, "alerts/ack", f"{one.rule} {one.id}", note)
    return {"acknowledged": [one.id for one in found]}


async def silence(hub: Hub, match: str, span: str, why: str, by: Principal) -> dict[str, Any]:
    """Tell nobody of what fits for a while: `match` as `server=time rule=slow_*`, `span` as `2h`. Errors:
    Unreadable."""
    try:
        made = await hub.alerts.silence(read_match(match), read_span(span), by.subject, why)
    except ValueError as error:
        raise Unreadable(str(error)) from None
    hub.changed(by, "alerts/silence", made.id, f"{match} for {span}: {why}")
    return _silence(made)


async def unsilence(hub: Hub, silence: str, by: Principal) -> dict[str, Any]:
    """End a silence. Errors: NoSuchThing."""
    try:
        ended = await hub.alerts.unsilence(silence)
    except NoSuchAlert as error:
        raise NoSuchThing(str(error)) from None
    hub.changed(by, "alerts/unsilence", ended.id, "")
    return _silence(ended)


async def test(hub: Hub, channel: str, by: Principal) -> dict[str, Any]:
    """Send a test through a channel. Errors: NoSuchThing."""
    try:
        hub.changed(by, "alerts/test", channel[:64], "")
        return {"channel": channel, "delivered": True, "said": await hub.alerts.test(channel)}
    except NoSuchAlert as error:
        raise NoSuchThing(str(error)) from None
    except NotDelivered as error:
        return {"channel": channel, "delivered": False, "said": str(error)}


def read_match(text: str) -> dict[str, str]:
    """Labels and patterns, with spaces between. Errors: ValueError."""
    match = {}
    for word in text.split():
        found = _LABEL.fullmatch(word)
        if found is None:
            raise ValueError(f"expected LABEL=PATTERN, such as server=time or rule=slow_*, found {word[:64]!r}")
        match[found[1]] = found[2]
    return match


def read_span(text: str) -> float:
    """Seconds of a time such as `30m`, `2h` or `1d`. Errors: ValueError."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if found is None:
        raise ValueError(f"expected a time such as 30m, 2h or 1d, found {text[:32]!r}")
    return float(int(found[1]) * _SPANS[found[2]])


def _silence(silence: Silence) -> dict[str, Any]:
    return {
        **{"id": silence.id, "match": silence.match, "by": silence.by, "why": silence.why},
        **{"since": silence.since_s, "until": silence.until_s},
    }
