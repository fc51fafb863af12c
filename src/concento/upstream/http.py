"""What servers over Streamable HTTP have in common: one POST a request, replies as JSON or as an event stream.

Read next: `modern_http.py`, whose links hold nothing but a listen stream, and `legacy_http.py`, whose hold a session.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

from ..credentials.challenge import read_challenge
from ..credentials.token import Token
from ..model import meta
from ..model.attempt import CURRENT
from ..model.call import Failure, Reply, Request, RequestId
from ..model.errors import BadReply, CallError, Unavailable
from ..model.principal import ANONYMOUS, Principal
from ..protocol.jsonrpc import Push, parse_incoming, read_string
from ..protocol.jsonrpc import Response as IncomingResponse
from ..protocol.sse import Event
from ..transport.http import HttpPool, OnEvent, Response, fields
from .link import Listener, tell

_ACCEPT: Final = ("Accept", "application/json, text/event-stream")
_JSON: Final = ("Content-Type", "application/json")

NOT_UNDERSTOOD: Final = frozenset({400, 401, 403, 404, 405, 406, 415})
"""HTTP statuses of a server that takes no requests of the era it was asked in, or none of ours any more."""


class Wire:
    """One URL of a server: the pool to its origin, the path, and the static header fields."""

    def __init__(
        self,
        pool: HttpPool,
        target: str,
        headers: dict[str, str],
        alias: str,
        grant: Token | None = None,
        grant_of: Callable[[Principal], Token] | None = None,
    ) -> None:
        self.pool = pool
        self._grant = grant
        self._grant_of = grant_of
        self.request = pool.request if grant is None else self._granted
        """Send a request with a head that was made before: as the pool's own, with a token where one is needed."""
        self.target = target
        self.alias = alias
        self._headers = tuple(headers.items())

    def head(self, method: str, fields: Iterable[tuple[str, str]], target: str | None = None) -> bytes:
        """A whole request head; made once where it can be used again."""
        accept = (_JSON, _ACCEPT) if method == "POST" else (("Accept", "text/event-stream"),)
        return self.pool.head(method, target or self.target, [*self._headers, *accept, *fields])

    async def post(
        self, fields: Iterable[tuple[str, str]], body: bytes, on_event: OnEvent | None = None, target: str | None = None
    ) -> Response:
        """POST one message."""
        return await self.request(self.head("POST", fields, target), body, on_event)

    async def get(self, fields: Iterable[tuple[str, str]], on_event: OnEvent) -> Response:
        """Open an event stream; returns when it ends."""
        return await self.request(self.head("GET", fields), b"", on_event)

    async def delete(self, fields: Iterable[tuple[str, str]]) -> Response:
        """End a session."""
        return await self.request(self.head("DELETE", fields), b"", None)

    async def request_for(self, owner: Principal, head: bytes, body: bytes, on_event: OnEvent | None) -> Response:
        """A request for a caller: where what they show becomes a token, with that one, whatever made the link."""
        if self._grant_of is None or owner is ANONYMOUS:  # the hub itself, for lists
            return await self.request(head, body, on_event)
        return await self._shown(self._grant_of(owner), head, body, on_event)

    @property
    def asks_who(self) -> bool:
        """Whether each request is made as whoever calls, by what they show with it."""
        return self._grant_of is not None

    async def _granted(self, head: bytes, body: bytes = b"", on_event: OnEvent | None = None) -> Response:
        assert self._grant is not None
        return await self._shown(self._grant, head, body, on_event)

    async def _shown(self, grant: Token, head: bytes, body: bytes, on_event: OnEvent | None) -> Response:
        """A request with a token. One that is refused is made once more with a new one: it was not carried out.

        Errors: what the grant says of a refusal; the challenge that comes with it goes no further.
        """
        shown = await _waited(grant.field())
        response = await self.pool.request(head + shown, body, on_event)
        if response.status == 401:
            fresh = await _waited(grant.renewed(shown))
            if fresh != shown:
                response = await self.pool.request(head + fresh, body, on_event)
        if response.status in (401, 403):
            problem = grant.refused(response.status, response.headers.get("www-authenticate", ""))
            if problem is not None:
                raise problem
        return response


async def _waited(token: Awaitable[bytes]) -> bytes:
    """A token, and how long its call waited for it."""
    attempt = CURRENT.get()
    if attempt is None:
        return await token
    began_s = time.monotonic()
    try:
        return await token
    finally:
        attempt.waited("token", began_s, time.monotonic())


def trace_fields(request: Request) -> tuple[tuple[str, str], ...]:
    """The header fields that repeat what a request's `_meta` says of its trace."""
    attempt = request.attempt
    if attempt is None or attempt.traceparent is None:
        return ()
    beside = ((name, read_string(request.meta.get(name))) for name in (meta.TRACESTATE, meta.BAGGAGE))
    return ((meta.TRACEPARENT, attempt.traceparent), *((name, text) for name, text in beside if text))


def with_trace(head: bytes, request: Request) -> bytes:
    """A head that was made before, with what this one request says of its trace."""
    attempt = request.attempt
    if attempt is None or attempt.traceparent is None:
        return head
    if meta.TRACESTATE not in request.meta and meta.BAGGAGE not in request.meta:
        return b"%btraceparent: %b\r\n" % (head, attempt.traceparent.encode())
    return head + fields(trace_fields(request))


WANTS_USERS: Final = "`credentials: {user: {}}` has each user connect an account of theirs"
"""What to do where a server says where its users get tokens."""

Answering = Callable[[Push], CallError | None]
"""Takes a request of the server's; returns how the call ends that caused it, if it ends by that."""


def ignore(push: Push) -> None:
    """Nobody waits for notifications of this request."""


class Ask:
    """One POSTed request: finds its reply among what comes back, as JSON or as events."""

    def __init__(
        self, alias: str, id: RequestId, hear: Callable[[Push], None], listener: Listener, answer: Answering
    ) -> None:
        self.alias = alias
        self.id = id
        self.hear_own = hear
        self.listener = listener
        self.answer = answer
        self.reply: Reply | None = None
        self.error: CallError | None = None
        self.last: Event | None = None
        """The last event that came with an id: where a stream that breaks is taken up again."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is waited for."""
        return self.reply is not None or self.error is not None

    def hear(self, event: Event) -> bool | None:
        """Take one event; True once the reply is there."""
        if event.id is not None:
            self.last = event
        if not event.data:
            return None
        try:
            message = parse_incoming(event.data)
        except BadReply as error:
            self.error = error
            return True
        if isinstance(message, Push):
            if message.id is not None:
                self.error = self.answer(message)
                if self.error is not None:
                    return True
            elif not tell(self.listener, message):
                self.hear_own(message)
            return None
        if message.id != self.id:
            return None
        self.reply = message.reply
        return True

    def result(self, response: Response) -> Reply:
        """The reply, wherever it came; raises what its absence means."""
        if self.error is not None:
            raise self.error
        if self.reply is not None:
            return self.reply
        if response.body:
            with suppress(BadReply):
                message = parse_incoming(response.body)
                if not isinstance(message, Push):
                    failed = isinstance(message.reply, Failure)
                    if message.id == self.id or (message.id is None and failed and response.status >= 400):
                        return message.reply
        raise status_error(self.alias, response)


def read_event(event: Event) -> IncomingResponse | Push | None:
    """The message in an event of a stream that carries no reply; None for what is no message."""
    try:
        return parse_incoming(event.data) if event.data else None
    except BadReply:
        return None


def status_error(alias: str, response: Response) -> CallError:
    """What an HTTP answer without a usable reply means for the call."""
    status = response.status
    if status in (401, 403):
        told = "check its `headers` and `credentials`"
        if read_challenge(response.headers.get("www-authenticate", "")).metadata_url is not None:
            told = f"{WANTS_USERS}, or {told}"
        return Unavailable(f"The server {alias!r} refused the hub's credentials (HTTP {status}); {told}")
    if status == 429 or status == 503:
        retry_after = response.headers.get("retry-after", "")
        return Unavailable(
            f"The server {alias!r} is busy (HTTP {status})",
            retry_after_s=float(retry_after) if retry_after.isdigit() else None,
        )
    if 300 <= status < 500:
        return Unavailable(f"The server {alias!r} does not take MCP requests at its URL (HTTP {status})")
    if status >= 500:
        return BadReply(f"The server {alias!r} failed (HTTP {status})")
    return BadReply(f"The server {alias!r} sent no reply to the request")
