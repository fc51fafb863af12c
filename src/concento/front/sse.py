"""The 2024-11-05 transport for agents: a stream at /sse names the URL to POST to, and every reply comes on the stream.

The stream is the session: when it ends, so does the session.
"""

from urllib.parse import parse_qs

from ..model.call import ALL, Principal
from ..model.errors import InvalidRequest
from ..protocol.jsonrpc import Message, Rejection, parse
from ..upstream.tasks import Tasks
from .answers import legacy_error
from .http import Exchange
from .parser import HttpRequest
from .session import Session, Sessions


class SseSessions:
    """The open streams and their sessions."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._tasks = Tasks("legacy streams")

    async def stream(self, principal: Principal, exchange: Exchange) -> None:
        """Serve one agent's stream until it ends."""
        session = self._sessions.begin(ALL, principal)
        if session is None:
            exchange.reply(503, b"", (("retry-after", "5"),))
            return
        session.push = exchange.event
        exchange.event(f"/messages?session={session.id}".encode(), "endpoint")
        try:
            await session.listen().ended.wait()
        finally:
            await self._sessions.end(session)

    def post(self, request: HttpRequest, principal: Principal, exchange: Exchange) -> None:
        """Take one message; its reply goes on the stream."""
        id = parse_qs(request.head.query).get("session", [""])[0]
        session = self._sessions.find(id, ALL, principal)
        if session is None or session.push is None:
            exchange.reply(404, legacy_error(None, InvalidRequest("There is no such session; open /sse again")))
            return
        message = parse(request.body)
        if isinstance(message, Rejection):
            exchange.reply(400, legacy_error(message.id, message.error))
            return
        self._tasks.start(_answer(session, message))
        exchange.reply(202)


async def _answer(session: Session, message: Message) -> None:
    def send(text: bytes) -> None:
        if session.push is not None:
            session.push(text)

    text = await session.answer(message, send)
    if text is not None:
        send(text)
