"""HTTP requests to calls and back, for agents of both eras on one endpoint.

Which era a request speaks is decided on its body (and, for a modern version, its header); from there on each era has
its own short path, and both end in `Gateway.call`. Source: docs/decisions/0002; specification 2026-07-28, versioning.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Raw

from ..gateway.call import Gateway
from ..gateway.listen import Listening
from ..model.call import ALL, Call, Endpoint, Failure
from ..model.errors import CallError, InvalidRequest
from ..model.principal import ANONYMOUS, Principal
from ..protocol import modern
from ..protocol.jsonrpc import (
    Message,
    Rejection,
    encode_error,
    encode_notification,
    encode_result,
    parse,
)
from ..protocol.versions import LEGACY, is_modern
from .answers import legacy_error, modern_error, retry_headers
from .batch import answer_batch, batch_in, join
from .http import Exchange
from .identity.hosts import Hosts
from .listening import serve_listen
from .parser import HttpHead, HttpRequest, Refusal
from .replay import EventLog
from .session import Session, Sessions
from .sse import SseSessions

_MCP: Final = frozenset({"POST", "GET", "DELETE"})
_NO_STREAM: Final = "A GET opens a session's stream: send 'Accept: text/event-stream', or POST a message here"
_GONE: Final = (
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"There is no such session; initialize again"}}'
)


class AgentFront:
    """What an HTTP listener for agents answers with."""

    def __init__(
        self,
        gateway: Gateway,
        listening: Listening,
        sessions: Sessions,
        sse: SseSessions,
        hosts: Hosts,
        is_ready: Callable[[], bool],
    ) -> None:
        self._gateway = gateway
        self._listening = listening
        self._sessions = sessions
        self._sse = sse
        self.hosts = hosts
        self._is_ready = is_ready

    # -- on the head alone

    def admit(self, head: HttpHead) -> Refusal | None:
        """Judge a request before its body is read."""
        refusal = self.hosts.refusal(head)
        if refusal is not None:
            return refusal
        path = head.path
        if path.startswith("/health/") or path == "/sse":
            return None if head.method == "GET" else _method_refusal("GET")
        if path == "/messages":
            return _media_refusal(head) if head.method == "POST" else _method_refusal("POST")
        if endpoint_of(path) is None:
            return Refusal(404, "There is nothing at this path; agents connect to /mcp", close=False)
        if head.method not in _MCP:
            return _method_refusal("POST, GET, DELETE")
        version = head.fields.get("mcp-protocol-version")
        if head.method == "POST":
            return _media_refusal(head)
        if version is not None and is_modern(version):
            return _method_refusal("POST")
        return None

    # -- whole requests

    async def serve(self, request: HttpRequest, exchange: Exchange) -> None:
        """Answer one request."""
        head = request.head
        endpoint = endpoint_of(head.path)
        if endpoint is None:
            await self._serve_other(request, exchange)
        elif not self._gateway.current.snapshot.exists(endpoint):
            text = f"There is no {endpoint.kind} {endpoint.name[:64]!r} here"
            exchange.reply(404, encode_error(None, -32600, text))
        elif head.method == "POST":
            await self._post(request, endpoint, exchange)
        elif head.method == "GET":
            await self._get(head, endpoint, exchange)
        else:
            await self._delete(head, endpoint, exchange)

    async def _serve_other(self, request: HttpRequest, exchange: Exchange) -> None:
        path = request.head.path
        if path == "/sse":
            await self._sse.stream(ANONYMOUS, exchange)
        elif path == "/messages":
            self._sse.post(request, ANONYMOUS, exchange)
        elif path == "/health/live":
            exchange.reply(200, b'{"status":"live"}')
        elif path == "/health/ready":
            ready = self._is_ready()
            exchange.reply(200 if ready else 503, b'{"status":"ready"}' if ready else b'{"status":"not ready"}')
        else:
            exchange.reply(404, b'{"error":"not found"}')

    async def _post(self, request: HttpRequest, endpoint: Endpoint, exchange: Exchange) -> None:
        head = request.head.protocol()
        message = parse(request.body)
        if isinstance(message, Rejection):
            session = self._session_of(request.head, endpoint)
            if session is not None and (batch := batch_in(session, request.body)) is not None:
                await self._in_batch(session, batch, exchange, streams=_accepts_stream(request.head))
            else:
                exchange.reply(modern.status(message.error), modern_error(message.id, message.error))
        elif not modern.is_addressed(message, head):
            await self._legacy(request.head, message, endpoint, ANONYMOUS, exchange)
        elif message.kind == "notification":
            exchange.reply(202)
        elif message.kind == "response":
            exchange.reply(400, modern_error(None, InvalidRequest("A modern server sends no requests to answer")))
        else:
            raw_id = message.id or b"null"
            try:
                call = modern.lift(message, head, endpoint, ANONYMOUS)
                if call.method == "subscriptions/listen":
                    exchange.reply(
                        200, await serve_listen(self._listening, self._gateway.tasks, raw_id, call, exchange.event)
                    )
                else:
                    await self._modern(raw_id, call, exchange, streams=_accepts_stream(request.head))
            except CallError as error:
                exchange.reply(modern.status(error), modern_error(raw_id, error), retry_headers(error))

    # -- modern

    async def _modern(self, raw_id: bytes, call: Call, exchange: Exchange, *, streams: bool) -> None:
        def notify(method: str, params: Raw) -> None:
            if method:
                exchange.event(encode_notification(method, params))

        exchange.may_stream = streams
        makes = self._gateway.tasks if call.profile.tasks and call.method == "tools/call" else self._gateway
        reply = await makes.call(call, notify if streams else None)
        if isinstance(reply, Failure):
            exchange.reply(modern.status(reply), modern_error(raw_id, reply))
        else:
            exchange.reply(200, encode_result(raw_id, modern.render(call.method, reply)))

    # -- legacy

    async def _legacy(
        self, head: HttpHead, message: Message, endpoint: Endpoint, principal: Principal, exchange: Exchange
    ) -> None:
        version = head.fields.get("mcp-protocol-version")
        if version is not None and version not in LEGACY and message.method != "initialize":
            exchange.reply(
                400, legacy_error(message.id, InvalidRequest(f"Protocol version {version[:32]!r} is not supported"))
            )
            return
        id = head.fields.get("mcp-session-id")
        if message.method == "initialize":
            await self._initialize(message, endpoint, principal, exchange)
            return
        if id is None:
            exchange.reply(
                400, legacy_error(message.id, InvalidRequest("The Mcp-Session-Id header is missing; initialize first"))
            )
            return
        session = self._sessions.find(id, endpoint, principal)
        if session is None or "mcp-session-id" in head.repeated:
            exchange.reply(404, _GONE)
        else:
            await self._in_session(session, message, exchange, streams=_accepts_stream(head))

    async def _initialize(self, message: Message, endpoint: Endpoint, principal: Principal, exchange: Exchange) -> None:
        session = self._sessions.begin(endpoint, principal)
        if session is None:
            exchange.reply(
                503, encode_error(message.id, -31004, "The hub holds too many sessions"), (("retry-after", "5"),)
            )
            return
        text = await session.answer(message, None)
        if session.hello is None:
            await self._sessions.end(session)
            exchange.reply(200, text or b"")
        else:
            exchange.reply(200, text or b"", (("mcp-session-id", session.id),))

    async def _in_session(self, session: Session, message: Message, exchange: Exchange, *, streams: bool) -> None:
        exchange.survives = True  # an agent of this era that goes away has not cancelled
        if streams and message.kind == "request":
            exchange.may_stream = True
            log = EventLog(session.logs, exchange)
            try:
                log.finish(await session.answer(message, log.event, log.begin))
            except BaseException:
                log.cut()
                raise
        else:
            text = await session.answer(message, None)
            exchange.reply(202 if text is None else 200, text or b"")

    async def _in_batch(self, session: Session, messages: list[bytes], exchange: Exchange, *, streams: bool) -> None:
        exchange.survives = True
        exchange.may_stream = streams
        replies = await answer_batch(session, messages, exchange.event if streams else None)
        if exchange.streaming:
            for reply in replies:
                exchange.event(reply)
            exchange.end()
        else:
            exchange.reply(200 if replies else 202, join(replies) if replies else b"")

    def _session_of(self, head: HttpHead, endpoint: Endpoint) -> Session | None:
        id = head.fields.get("mcp-session-id")
        return None if id is None else self._sessions.find(id, endpoint, ANONYMOUS)

    async def _get(self, head: HttpHead, endpoint: Endpoint, exchange: Exchange) -> None:
        """The stream of a session on which the hub tells what belongs to no request."""
        id = head.fields.get("mcp-session-id")
        session = self._session_of(head, endpoint)
        if not _accepts_stream(head):
            exchange.reply(406, modern_error(None, InvalidRequest(_NO_STREAM)))
        elif id is None:
            exchange.reply(405, b"", (("allow", "POST"),))
        elif session is None:
            exchange.reply(404, _GONE)
        elif (last_id := head.fields.get("last-event-id")) is not None:
            await self._read_on(session, last_id, exchange)
        elif session.has_stream:
            exchange.reply(409, b'{"error":"the session has a stream already"}')
        else:
            log = EventLog(session.logs, exchange)
            exchange.open_stream()
            await self._stand(session, log, exchange)

    async def _read_on(self, session: Session, last_id: str, exchange: Exchange) -> None:
        """Go on with a stream that broke, from the event that the agent had last."""
        found = session.logs.find(last_id)
        if found is None:
            exchange.reply(404, b'{"error":"the events of this stream are no longer kept"}')
            return
        log, place = found
        log.read_on(exchange, place)
        if log is session.standing:
            await self._stand(session, log, exchange)
        else:
            await log.read_by(exchange)

    async def _stand(self, session: Session, log: EventLog, exchange: Exchange) -> None:
        """Keep the stream open on which the hub tells what belongs to no request."""
        session.listen()
        session.push, session.standing, session.has_stream = log.event, log, True
        try:
            await log.read_by(exchange)
        finally:
            if session.standing is log and not log.is_read:
                session.has_stream = False  # what is told meanwhile is kept: the agent may come back for it

    async def _delete(self, head: HttpHead, endpoint: Endpoint, exchange: Exchange) -> None:
        id = head.fields.get("mcp-session-id")
        session = self._session_of(head, endpoint)
        if id is None:
            exchange.reply(400, _GONE)
        elif session is None:
            exchange.reply(404, _GONE)
        else:
            await self._sessions.end(session)
            exchange.reply(204)


def endpoint_of(path: str) -> Endpoint | None:
    """The endpoint a path addresses, whether or not it exists."""
    if path == "/mcp":
        return ALL
    parts = path.split("/")
    if len(parts) == 4 and parts[3] == "mcp" and parts[2]:
        if parts[1] == "views":
            return Endpoint("view", parts[2])
        if parts[1] == "servers":
            return Endpoint("server", parts[2])
    return None


def _accepts_stream(head: HttpHead) -> bool:
    return "text/event-stream" in head.fields.get("accept", "")


def _media_refusal(head: HttpHead) -> Refusal | None:
    fields = head.fields
    if fields.get("content-encoding", "identity") != "identity":
        return Refusal(415, "A compressed body is not taken")
    if fields.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return Refusal(415, "The Content-Type must be application/json")
    return None


def _method_refusal(allowed: str) -> Refusal:
    return Refusal(405, f"This path takes {allowed}", close=False, headers=(("allow", allowed),))
