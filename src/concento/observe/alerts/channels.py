"""Carry a message to a webhook or a mail server, once, within a deadline. Whoever calls tries again."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from ... import __version__
from ...model.alerting import AlertRule, Channel, EmailChannel, WebhookChannel
from ...model.signing import SIGNATURE, signature
from ...transport.outbound import NotFetched, fetch
from .messages import email, webhook_body
from .notify import Delivery

if TYPE_CHECKING:
    from email.message import EmailMessage

DELIVERY: Final = "Concento-Delivery"
"""The header with the message's id: the same each time that it is tried, so that a receiver can drop what it has."""
ANSWER_BYTES_MAX: Final = 64 * 1024


class NotDelivered(Exception):
    """Why a message did not arrive. The text says a status or a kind of failure. `pause_s`: what was asked for."""

    def __init__(self, told: str, pause_s: float = 0.0) -> None:
        super().__init__(told)
        self.pause_s = pause_s


class Carrier(Protocol):
    """Carries messages."""

    async def carry(self, channel: Channel, delivery: Delivery, rules: Mapping[str, AlertRule]) -> str:
        """Deliver a message. Returns what the other side said, for people. Errors: NotDelivered."""
        ...


class Channels:
    """The real ones. `wall` is the time that requests are signed with."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall

    async def carry(self, channel: Channel, delivery: Delivery, rules: Mapping[str, AlertRule]) -> str:
        """Deliver a message."""
        if isinstance(channel, WebhookChannel):
            return await self._post(channel, delivery, rules)
        message = email(channel, delivery, rules)
        try:
            async with asyncio.timeout(2 * channel.timeout_s):  # the thread ends by itself: each step has a deadline
                return await asyncio.to_thread(_mail, channel, message)
        except TimeoutError:
            raise NotDelivered(f"the mail server {channel.host} did not answer in time") from None

    async def _post(self, channel: WebhookChannel, delivery: Delivery, rules: Mapping[str, AlertRule]) -> str:
        body = webhook_body(channel, delivery, rules)
        headers = {
            **{"Content-Type": "application/json", "User-Agent": f"concento/{__version__}", DELIVERY: delivery.id}
        }
        if channel.bearer is not None:
            headers["Authorization"] = f"Bearer {channel.bearer}"
        if channel.secret is not None:
            headers[SIGNATURE] = signature(channel.secret, int(self._wall()), body)
        try:
            answer = await fetch(
                *(channel.url, None),
                method="POST",
                headers=headers,
                body=body,
                wait_s=channel.timeout_s,
                bytes_max=ANSWER_BYTES_MAX,
            )
        except NotFetched as error:
            raise NotDelivered(str(error)) from None
        if not 200 <= answer.status < 300:
            pause = answer.headers.get("retry-after", "")
            pause_s = float(pause) if pause.isascii() and pause.isdigit() and len(pause) < 6 else 0.0
            raise NotDelivered(f"it answered with the status {answer.status}", pause_s)
        return f"it answered with the status {answer.status}"


def _mail(channel: EmailChannel, message: "EmailMessage") -> str:
    """In a thread. Errors: NotDelivered."""
    import smtplib  # here: few hubs send mail, and all start without it
    import ssl

    where, wait_s = f"the mail server {channel.host}:{channel.port}", channel.timeout_s
    context = ssl.create_default_context()
    try:
        with (
            smtplib.SMTP_SSL(channel.host, channel.port, timeout=wait_s, context=context)
            if channel.tls == "implicit"
            else smtplib.SMTP(channel.host, channel.port, timeout=wait_s)
        ) as server:
            if channel.tls == "starttls":
                server.starttls(context=context)
            if channel.user is not None:
                server.login(channel.user, channel.password or "")
            refused = server.send_message(message, channel.sender, channel.to)
    except smtplib.SMTPAuthenticationError as error:
        told = f"{where} does not take the user and password ({error.smtp_code})"
    except smtplib.SMTPNotSupportedError:
        told = f"{where} does not offer what is asked for, such as STARTTLS; see `tls` of the channel"
    except smtplib.SMTPRecipientsRefused:
        told = f"{where} refuses all addresses in `to`"
    except smtplib.SMTPResponseException as error:
        told = f"{where} answered with {error.smtp_code}"
    except ssl.SSLError as error:
        told = f"{where}: TLS failed: {error.reason or 'its certificate is not taken'}"
    except (smtplib.SMTPException, OSError):
        told = f"{where} can't be reached"
    else:
        took = f" for {len(channel.to) - len(refused)} of {len(channel.to)} addresses" if refused else ""
        return f"the mail server took it{took}"
    raise NotDelivered(told)
