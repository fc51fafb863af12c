"""HTTP requests to calls and back, for agents of both eras on one endpoint.

Which era a request speaks is decided on its body (and, for a modern version, its header); from there on each era has
its own short path, and both end in `Gateway.call`. Source: docs/decisions/0002; specification 2026-07-28, versioning.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Raw

from ..credentials.connecting import CONNECT_PATH
from ..gateway.call import Gateway
from ..gateway.listen import Listening
from ..model.call import ALL, Call, Endpoint, Failure
from ..model.errors import CallError, InvalidRequest, NeedsScope
from ..model.meta import TRACEPARENT
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
from ..protocol.trace_context import with_fields
from ..protocol.versions import LEGACY, is_modern
from .answers import legacy_error, legacy_status, modern_error, retry_headers
from .batch import answer_batch, batch_in, join
from .connect import ConnectPages, is_page
from .http import Exchange, refusal_body
from .identity.authenticator import Authenticator, Peer, Unproved
from .identity.hosts import Hosts
from .identity.metadata import WELL_KNOWN
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
        identity: Authenticator,
        pages: ConnectPages,
        is_ready: Callable[[], bool],
        on_refused: Callable[[str, int, str, str], None] | None = None,
    ) -> None:
        self._gateway = gateway
        self._listening = listening
        self._sessions = sessions
        self._sse = sse
        self.hosts = hosts
        self.identity = identity
        self._pages = pages
        self._is_ready = is_ready
        self._on_refused = on_refused

    # -- on the head alone

    def admit(self, head: HttpHead, peer: Peer) -> Refusal | Principal | None:
        """Judge a request before its body is read: whether it may come here at all, who calls, whether it makes sense.

        A caller who proves nothing learns nothing: not even which methods a path takes.
        """
        refusal = self.hosts.refusal(head)
        if refusal is not None:
            return refusal
        path = head.path
        if path.startswith(("/health/", WELL_KNOWN)):
            return ANONYMOUS if head.method == "GET" else _method_refusal("GET")
        if is_page(path):
            allowed = "GET, POST" if path.startswith(CONNECT_PATH) else "GET"
            return ANONYMOUS if head.method in allowed.split(", ") else _method_refusal(allowed)
        is_endpoint = endpoint_of(path) is not None
        if not is_endpoint and path not in ("/sse", "/messages"):
            return Refusal(404, "There is nothing at this path; agents connect to /mcp", close=False)
        caller = self.identity.judge(head, peer)
        if isinstance(caller, Refusal):
            self._refused(caller, peer, path)
            return caller
        if is_endpoint:
            refusal = _endpoint_refusal(head)
        elif path == "/sse":
            refusal = None if head.method == "GET" else _method_refusal("GET")
        else:
            refusal = _media_refusal(head) if head.method == "POST" else _method_refusal("POST")
        return caller if refusal is None else refusal

    def admit_page(self, head: HttpHead, peer: Peer) -> Refusal | Principal | None:
        """Judge a request where there is nothing but pages for people."""
        return self.admit(head, peer) if is_page(head.path) else Refusal(404, "There is nothing at this path")

    def _refused(self, refusal: Refusal, peer: Peer, path: str) -> None:
        """Have it recorded that somebody was not let in."""
        if self._on_refused is not None:
            why = refusal.why if isinstance(refusal, Unproved) else refusal.reason
            self._on_refused(peer.address, refusal.status, why, path)

    # -- whole requests

    async def serve(self, request: HttpRequest, exchange: Exchange) -> None:
        """Answer one request."""
        head = request.head
        principal = request.principal
        if principal is None:
            settled = await self.identity.settle(head, exchange.peer)
            if isinstance(settled, Refusal):
                self._refused(settled, exchange.peer, head.path)
                exchange.reply(settled.status, refusal_body(settled), settled.headers)
                return
            principal = exchange.principal = settled
        endpoint = endpoint_of(head.path)
        if endpoint is None:
            await self._serve_other(request, principal, exchange)
        elif not self._gateway.current.snapshot.exists(endpoint, principal):
            text = f"There is no {endpoint.kind} {endpoint.name[:64]!r} here"
            exchange.reply(404, encode_error(None, -32600, text))
        elif head.method == "POST":
            await self._post(request, endpoint, principal, exchange)
        elif head.method == "GET":
            await self._get(head, endpoint, principal, exchange)
        else:
            await self._delete(head, endpoint, principal, exchange)

    async def _serve_other(self, request: HttpRequest, principal: Principal, exchange: Exchange) -> None:
        path = request.head.path
        if path == "/sse":
            await self._sse.stream(principal, exchange)
        elif path == "/messages":
            self._sse.post(request, principal, exchange)
        elif is_page(path):
            await self._pages.serve(request, exchange)
        elif path.startswith(WELL_KNOWN):
            told = self.identity.metadata(path)
            exchange.reply(404, b'{"error":"not found"}') if told is None else exchange.reply(200, told)
        elif path == "/health/live":
            exchange.reply(200, b'{"status":"live"}')
        elif path == "/health/ready":
            ready = self._is_ready()
            exchange.reply(200 if ready else 503, b'{"status":"ready"}' if ready else b'{"status":"not ready"}')
        else:
            exchange.reply(404, b'{"error":"not found"}')

    async def _post(self, request: HttpRequest, endpoint: Endpoint, principal: Principal, exchange: Exchange) -> None:
        head = request.head.protocol()
        message = parse(request.body)
        if isinstance(message, Message) and TRACEPARENT in request.head.fields:
            message = with_fields(message, request.head.fields, request.head.repeated)
        if isinstance(message, Rejection):
            session = self._session_of(request.head, endpoint, principal, exchange.peer.address)
            if session is not None and (batch := batch_in(session, request.body)) is not None:
                await self._in_batch(session, batch, exchange, streams=_accepts_stream(request.head))
            else:
                exchange.reply(modern.status(message.error), modern_error(message.id, message.error))
        elif not modern.is_addressed(message, head):
            await self._legacy(request.head, message, endpoint, principal, exchange)
        elif message.kind == "notification":
            exchange.reply(202)
        elif message.kind == "response":
            exchange.reply(400, modern_error(None, InvalidRequest("A modern server sends no requests to answer")))
        else:
            raw_id = message.id or b"null"
            try:
                call = modern.lift(message, head, endpoint, principal, exchange.peer.address)
                if call.method == "subscriptions/listen":
                    exchange.reply(
                        200, await serve_listen(self._listening, self._gateway.tasks, raw_id, call, exchange.event)
                    )
                else:
                    await self._modern(raw_id, call, exchange, streams=_accepts_stream(request.head))
            except CallError as error:
                exchange.reply(
                    modern.status(error), modern_error(raw_id, error), self._headers(error, request.head.path)
                )

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
        session = self._sessions.find(id, endpoint, principal, exchange.peer.address)
        if session is None or "mcp-session-id" in head.repeated:
            exchange.reply(404, _GONE)
        else:
            await self._in_session(session, message, head, exchange)

    async def _initialize(self, message: Message, endpoint: Endpoint, principal: Principal, exchange: Exchange) -> None:
        try:
            session = self._sessions.begin(endpoint, principal)
        except CallError as error:
            exchange.reply(legacy_status(error), legacy_error(message.id, error), retry_headers(error))
            return
        text = await session.answer(message, None)
        if session.hello is None:
            await self._sessions.end(session)
            exchange.reply(200, text or b"")
        else:
            exchange.reply(200, text or b"", (("mcp-session-id", session.id),))

    async def _in_session(self, session: Session, message: Message, head: HttpHead, exchange: Exchange) -> None:
        exchange.survives = True  # an agent of this era that goes away has not cancelled

        def refuse(error: CallError) -> None:
            exchange.status, exchange.headers = legacy_status(error), self._headers(error, head.path)

        if _accepts_stream(head) and message.kind == "request":
            exchange.may_stream = True
            log = EventLog(session.logs, exchange)
            try:
                log.finish(await session.answer(message, log.event, log.begin, refuse))
            except BaseException:
                log.cut()
                raise
        else:
            text = await session.answer(message, None, None, refuse)
            exchange.reply(202 if text is None else exchange.status, text or b"", exchange.headers)

    async def _in_batch(self, session: Session, messages: list[bytes], exchange: Exchange, *, streams: bool) -> None:
        exchange.survives = True
        exchange.may_stream = streams
        replies = await answer_batch(session, messages, exchange.event if streams else None, session.caller)
        if exchange.streaming:
            for reply in replies:
                exchange.event(reply)
            exchange.end()
        else:
            exchange.reply(200 if replies else 202, join(replies) if replies else b"")

    def _session_of(self, head: HttpHead, endpoint: Endpoint, principal: Principal, address: str) -> Session | None:
        id = head.fields.get("mcp-session-id")
        return None if id is None else self._sessions.find(id, endpoint, principal, address)

    def _headers(self, error: CallError, path: str) -> tuple[tuple[str, str], ...]:
        """What goes with an error in the head: when to come back, or which scopes to bring."""
        if isinstance(error, NeedsScope):
            return self.identity.challenge(path, error="insufficient_scope", scopes=error.scopes)
        return retry_headers(error)

    async def _get(self, head: HttpHead, endpoint: Endpoint, principal: Principal, exchange: Exchange) -> None:
        """The stream of a session on which the hub tells what belongs to no request."""
        id = head.fields.get("mcp-session-id")
        session = self._session_of(head, endpoint, principal, exchange.peer.address)
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
            try:
                session.listen()
            except CallError as error:
                exchange.reply(legacy_status(error), legacy_error(None, error), retry_headers(error))
                return
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

    async def _delete(self, head: HttpHead, endpoint: Endpoint, principal: Principal, exchange: Exchange) -> None:
        id = head.fields.get("mcp-session-id")
        session = self._session_of(head, endpoint, principal, exchange.peer.address)
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


def _endpoint_refusal(head: HttpHead) -> Refusal | None:
    if head.method not in _MCP:
        return _method_refusal("POST, GET, DELETE")
    if head.method == "POST":
        return _media_refusal(head)
    version = head.fields.get("mcp-protocol-version")
    return _method_refusal("POST") if version is not None and is_modern(version) else None


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
