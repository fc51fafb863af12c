"""The 2024-11-05 transport for agents: a stream at /sse names the URL to POST to, and every reply comes on the stream.

The stream is the session: when it ends, so does the session.
"""

from urllib.parse import parse_qs

from ..model.call import ALL
from ..model.errors import CallError, InvalidRequest
from ..model.principal import Principal
from ..protocol.jsonrpc import Message, Rejection, parse
from ..upstream.tasks import Tasks
from .answers import legacy_error, legacy_status, retry_headers
from .asking import Send
from .batch import answer_batch, batch_in, join
from .http import Exchange
from .parser import HttpRequest
from .session import Caller, Session, Sessions


class SseSessions:
    """The open streams and their sessions."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._tasks = Tasks("legacy streams")

    async def stream(self, principal: Principal, exchange: Exchange) -> None:
        """Serve one agent's stream until it ends."""
        try:
            session = self._sessions.begin(ALL, principal)
        except CallError as error:
            exchange.reply(legacy_status(error), legacy_error(None, error), retry_headers(error))
            return
        session.push, session.has_stream = exchange.event, True
        try:
            stream = session.listen()
        except CallError as error:
            await self._sessions.end(session)
            exchange.reply(legacy_status(error), legacy_error(None, error), retry_headers(error))
            return
        exchange.event(f"/messages?session={session.id}".encode(), "endpoint")
        try:
            await stream.ended.wait()
        finally:
            await self._sessions.end(session)

    def post(self, request: HttpRequest, principal: Principal, exchange: Exchange) -> None:
        """Take one message; its reply goes on the stream."""
        id = parse_qs(request.head.query).get("session", [""])[0]
        session = self._sessions.find(id, ALL, principal, exchange.peer.address)
        if session is None or session.push is None:
            exchange.reply(404, legacy_error(None, InvalidRequest("There is no such session; open /sse again")))
            return
        message = parse(request.body)
        if not isinstance(message, Rejection):
            self._tasks.start(_answer(session, session.push, message, session.caller))
            exchange.reply(202)
        elif (batch := batch_in(session, request.body)) is not None:
            self._tasks.start(_answer_batch(session, session.push, batch, session.caller))
            exchange.reply(202)
        else:
            exchange.reply(400, legacy_error(message.id, message.error))


async def _answer(session: Session, send: Send, message: Message, caller: Caller) -> None:
    text = await session.answer(message, send, caller=caller)
    if text is not None:
        send(text)


async def _answer_batch(session: Session, send: Send, batch: list[bytes], caller: Caller) -> None:
    replies = await answer_batch(session, batch, send, caller)
    if replies:
        send(join(replies))
