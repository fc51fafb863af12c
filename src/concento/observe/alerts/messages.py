"""What a channel is told: names, numbers and states, in the form that it takes. Pure.

Names come from servers and agents, so that they are cleaned for each form: nothing in them is a control character,
a link, a mention or markup to whoever shows them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ...model.alerting import AlertRule, EmailChannel, Severity, WebhookChannel
from .evaluate import span
from .notify import Delivery, Item

if TYPE_CHECKING:
    from email.message import EmailMessage

NAME_CHARS_MAX: Final = 120
REASON_CHARS_MAX: Final = 400
SUMMARY_CHARS_MAX: Final = 200
_PAGERDUTY: Final[Mapping[Severity, str]] = {"info": "info", "warning": "warning", "critical": "critical"}
_encode = msgspec.json.Encoder().encode


def clean(text: str, chars_max: int = NAME_CHARS_MAX) -> str:
    """Text on one line, without what is not printable, and with no link in it."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[: chars_max + 1])
    shown = shown.replace("://", ": //")
    return shown if len(shown) <= chars_max else shown[: chars_max - 1] + "…"


def about(item: Item) -> str:
    """What an alert is about: `server_down time`."""
    return " ".join([item.rule, *(clean(value) for _, value in item.labels)])


def summary(delivery: Delivery) -> str:
    """A message in one line."""
    if delivery.what == "test" or not delivery.items:
        return "Test of this channel: nothing is wrong"
    count = len(delivery.items) + delivery.more
    first = delivery.items[0]
    names = dict.fromkeys(clean(value, 40) for item in delivery.items for _, value in item.labels)
    mark = "over" if delivery.what == "over" else delivery.severity + (", still" if delivery.again else "")
    rules = ", ".join(dict.fromkeys(item.rule for item in delivery.items))
    text = f"[{mark}] {about(first)}" if count == 1 else f"[{mark}] {rules}: {count} alerts: {', '.join(names)}"
    return text if len(text) <= SUMMARY_CHARS_MAX else text[: SUMMARY_CHARS_MAX - 1] + "…"


def lines(delivery: Delivery, rules: Mapping[str, AlertRule]) -> list[str]:
    """A message for people, line by line."""
    told = []
    for item in delivery.items:
        lasted = f", over after {span(max(0.0, item.over_s - item.since_s))}" if item.over_s else ""
        told.append(
            f"{about(item)} ({item.id}): {clean(item.reason, REASON_CHARS_MAX)}; since {_when(item.since_s)}{lasted}"
        )
    if delivery.more:
        told.append(f"and {delivery.more} more: concento alerts")
    if delivery.what == "firing":
        for name in dict.fromkeys(item.rule for item in delivery.items):
            rule = rules.get(name)
            if rule is not None and rule.remedy:
                told.append(f"What to do about {name}: {rule.remedy}")
            if rule is not None and rule.runbook:
                told.append(f"More: {rule.runbook}")
        if delivery.items:
            told.append(f"It is taken care of: concento alerts ack {delivery.items[0].id}")
    return told


def webhook_body(channel: WebhookChannel, delivery: Delivery, rules: Mapping[str, AlertRule]) -> bytes:
    """What a webhook is posted."""
    match channel.preset:
        case "slack":
            return _encode(_slack(delivery, rules))
        case "pagerduty":
            return _encode(_pagerduty(channel, delivery, rules))
        case "plain":
            return _encode(_plain(delivery, rules))


def email(channel: EmailChannel, delivery: Delivery, rules: Mapping[str, AlertRule]) -> "EmailMessage":
    """What is mailed. The messages of one incident are one thread."""
    from email.message import EmailMessage  # here: few hubs send mail, and all start without it
    from email.policy import SMTP

    message = EmailMessage(policy=SMTP)
    domain = channel.sender.rpartition("@")[2]
    message["From"] = channel.sender
    message["To"] = ", ".join(channel.to)
    message["Subject"] = summary(delivery)
    message["Date"] = datetime.fromtimestamp(delivery.at_s, UTC)
    message["Message-ID"] = f"<{delivery.id}@{domain}>"
    if delivery.incident:
        message["References"] = f"<{delivery.incident}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["Concento-Delivery"] = delivery.id
    message.set_content("\n\n".join(lines(delivery, rules)) or summary(delivery))
    return message


def _plain(delivery: Delivery, rules: Mapping[str, AlertRule]) -> dict[str, Any]:
    return {
        **{"id": delivery.id, "what": delivery.what, "incident": delivery.incident, "severity": delivery.severity},
        **{"summary": summary(delivery), "step": delivery.step, "again": delivery.again, "open": delivery.open},
        "alerts": [_told(item, rules) for item in delivery.items],
        "more": delivery.more,
    }


def _told(item: Item, rules: Mapping[str, AlertRule]) -> dict[str, Any]:
    rule = rules.get(item.rule)
    return {
        **{"id": item.id, "firing": item.firing, "rule": item.rule, "severity": item.severity},
        "labels": {name: clean(value) for name, value in item.labels},
        **{"value": item.value, "reason": clean(item.reason, REASON_CHARS_MAX)},
        **{"since": _when(item.since_s), "over": _when(item.over_s) if item.over_s else None},
        "runbook": "" if rule is None else rule.runbook,
    }


def _slack(delivery: Delivery, rules: Mapping[str, AlertRule]) -> dict[str, Any]:
    """As blocks of plain text, in which nothing is markup; the line beside them is for notifications."""
    text = "\n".join(lines(delivery, rules))[:2900] or "-"
    escaped = summary(delivery).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {
        **{"text": escaped, "mrkdwn": False, "unfurl_links": False},
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": summary(delivery)[:150], "emoji": False}},
            {"type": "section", "text": {"type": "plain_text", "text": text, "emoji": False}},
        ],
    }


def _pagerduty(channel: WebhookChannel, delivery: Delivery, rules: Mapping[str, AlertRule]) -> dict[str, Any]:
    """An event of its Events API v2. It is resolved once nothing of the incident fires any more."""
    over = delivery.what == "over" and not delivery.open
    told: dict[str, Any] = {
        **{"routing_key": channel.routing_key or "", "dedup_key": delivery.incident, "client": "concento"},
        "event_action": "resolve" if over or delivery.what == "test" else "trigger",
    }
    if told["event_action"] == "trigger":
        told["payload"] = {
            **{"summary": summary(delivery), "source": "concento", "severity": _PAGERDUTY[delivery.severity]},
            **{"class": delivery.items[0].rule if delivery.items else "", "group": delivery.incident},
            "custom_details": {"delivery": delivery.id, "alerts": lines(delivery, rules)},
        }
    return told


def _when(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
