"""A real mail server on this machine that keeps what it gets: with or without TLS and a user."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from tests.hub.conftest import free_port


@dataclass
class Mailbox:
    """What came. `answer`: what the server says to each message."""

    port: int = 0
    got: list[tuple[list[str], Message]] = field(default_factory=list)
    answer: str = "250 OK"
    was_encrypted: bool = False

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        if self.answer.startswith("250"):
            self.was_encrypted = session.ssl is not None
            self.got.append((envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return self.answer


@contextmanager
def mail_server(tls: ssl.SSLContext | None = None, *, implicit: bool = False) -> Iterator[Mailbox]:
    """A server that takes `concento` with `letmein`, where it has TLS."""
    box = Mailbox(free_port())

    def allowed(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        is_right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"concento", b"letmein")
        return AuthResult(success=is_right, handled=False)

    options: dict[str, Any] = {"authenticator": allowed, "auth_require_tls": not implicit}
    if tls is not None and not implicit:
        options |= {"tls_context": tls, "require_starttls": True, "auth_required": True}
    controller = Controller(box, "localhost", box.port, ssl_context=tls if implicit else None, **options)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
