"""Servers over Streamable HTTP, both eras: one POST a request, replies as JSON or as an event stream.

`ModernLink` holds nothing but a listen stream; `LegacyLink` holds a session, and makes a new one when the server
forgot it.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from msgspec import Raw

from ..model.call import Failure, Notify, Profile, Reply, Request, RequestId
from ..model.errors import BadReply, CallError, Unavailable
from ..protocol import legacy, modern
from ..protocol.capabilities import needed_ability
from ..protocol.jsonrpc import Push, encode_error, encode_result, parse_incoming, raw
from ..protocol.jsonrpc import Response as IncomingResponse
from ..protocol.sse import Event
from ..protocol.versions import MODERN
from ..transport.http import HttpPool, OnEvent, Response
from .as_task import run_as_task
from .link import ACKNOWLEDGED, Ear, Levels, Listener, Welcome, tell
from .parking import Parking
from .rounds import Rounds, Unclaimed, check_state, refused_ask, with_pages
from .tasks import Tasks
from .welcome import (
    CLIENT_INFO,
    DISCOVER,
    RELISTEN_S,
    SUBSCRIBE_WAIT_S,
    greeting,
    listen_request,
    read_discovery,
    read_greeting,
    rejects_era,
    wants_again,
)

_ACCEPT: Final = ("Accept", "application/json, text/event-stream")
_JSON: Final = ("Content-Type", "application/json")


_NOT_UNDERSTOOD: Final = frozenset({400, 401, 403, 404, 405, 406, 415})
"""HTTP statuses of a server that takes no requests of the era it was asked in, or none of ours any more."""

_RETRY_S_MAX: Final = 10.0
"""Longest pause a server may ask for before its stream is taken up again."""

_HEADS_MAX: Final = 4096
"""Request heads kept per URL: one a tool that is called."""


class Wire:
    """One URL of a server: the pool to its origin, the path, and the static header fields."""

    def __init__(self, pool: HttpPool, target: str, headers: dict[str, str], alias: str) -> None:
        self.pool = pool
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
        return await self.pool.request(self.head("POST", fields, target), body, on_event)

    async def get(self, fields: Iterable[tuple[str, str]], on_event: OnEvent) -> Response:
        """Open an event stream; returns when it ends."""
        return await self.pool.request(self.head("GET", fields), b"", on_event)

    async def delete(self, fields: Iterable[tuple[str, str]]) -> Response:
        """End a session."""
        return await self.pool.request(self.head("DELETE", fields))


Answering = Callable[[Push], CallError | None]
"""Takes a request of the server's; returns how the call ends that caused it, if it ends by that."""


def _ignore(push: Push) -> None:
    """Nobody waits for notifications of this request."""


class _Ask:
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


def _no_answer(push: Push) -> CallError | None:
    """A modern server sends no requests; one that does gets no answer."""
    ability = needed_ability(push.method, push.params)
    return None if ability is None else refused_ask(ability)


def _read(event: Event) -> IncomingResponse | Push | None:
    """The message in an event of a stream that carries no reply; None for what is no message."""
    try:
        return parse_incoming(event.data) if event.data else None
    except BadReply:
        return None


def status_error(alias: str, response: Response) -> CallError:
    """What an HTTP answer without a usable reply means for the call."""
    status = response.status
    if status in (401, 403):
        return Unavailable(
            f"The server {alias!r} refused the hub's credentials (HTTP {status}); check its `headers` and `credentials`"
        )
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


class ModernLink:
    """A server of the stateless era over HTTP. Its only standing connection is the stream that tells of changes."""

    def __init__(self, wire: Wire, listener: Listener) -> None:
        self.welcome = Welcome("modern", modern_revision(), Raw(b"{}"), Raw(b"{}"))
        self.lost: asyncio.Future[CallError] = asyncio.get_running_loop().create_future()
        self._wire = wire
        self._listener = listener
        self._writer = modern.Writer(self.welcome.revision, CLIENT_INFO)
        self._ids = itertools.count(1)
        self._listening: asyncio.Task[None] | None = None
        self._tasks = Tasks(wire.alias)
        self._heads: dict[tuple[str, str | None], bytes] = {}
        self._running = 0
        self._uris: frozenset[str] = frozenset()

    async def greet(self) -> Welcome | None:
        """Discover the server; None if it is none of this era. Errors: Unavailable, if it can't be reached."""
        reply = await self._discover()
        if reply is not None and wants_again(reply):
            reply = await self._discover()
        welcome = None if reply is None else read_discovery(reply)
        if welcome is not None:
            self.welcome = welcome
            await self.subscribe(frozenset())
        return welcome

    async def _discover(self) -> Reply | None:
        id = next(self._ids)
        body = self._writer.request(id, DISCOVER)
        ask = self._ask(id, _ignore)
        response = await self._wire.post(self._writer.headers(DISCOVER), body, ask.hear)
        if response.status in (401, 403):
            raise status_error(self._wire.alias, response)
        try:
            return ask.result(response)
        except CallError:
            return None

    async def request(self, request: Request, notify: Notify | None = None) -> Reply:
        """Ask; see `Link.request`."""
        id = next(self._ids)
        ask = self._ask(id, Ear(request, notify).hear)
        body = self._writer.request(id, request)
        self._running += 1
        try:
            response = await self._wire.pool.request(self._head(request), body, ask.hear)
        except Unavailable as error:
            self._lose(error)
            raise
        finally:
            self._running -= 1
        try:
            reply = ask.result(response)
        except Unavailable as error:
            if response.status in _NOT_UNDERSTOOD:  # no answer of this era: find out anew what it speaks
                self._lose(error)
            raise
        if rejects_era(reply):
            changed = Unavailable(f"The server {self._wire.alias!r} changed its protocol revision", retry_after_s=1.0)
            self._lose(changed)
            raise changed
        return reply

    @property
    def is_busy(self) -> bool:
        """See `Link.is_busy`; nothing is parked at a server of this era."""
        return self._running > 0

    @property
    def asks_blindly(self) -> bool:
        """Never: a server of this era asks in its reply."""
        return False

    def _head(self, request: Request) -> bytes:
        """The request's head, kept for the next call of the same tool."""
        if request.headers:
            return self._wire.head("POST", self._writer.headers(request))
        key = (request.method, request.name)
        head = self._heads.get(key)
        if head is None:
            head = self._wire.head("POST", self._writer.headers(request))
            if len(self._heads) < _HEADS_MAX:
                self._heads[key] = head
        return head

    def _ask(self, id: RequestId, hear: Callable[[Push], None]) -> _Ask:
        return _Ask(self._wire.alias, id, hear, self._listener, _no_answer)

    async def subscribe(self, uris: frozenset[str]) -> None:
        """Open a listen stream for all wanted changes, and only then close the one before."""
        request = listen_request(self.welcome, uris)
        before, self._uris = self._listening, uris
        if request is not None:
            live = asyncio.Event()
            self._listening = self._tasks.start(self._listen(request, live))
            with suppress(TimeoutError):
                await asyncio.wait_for(live.wait(), SUBSCRIBE_WAIT_S)
        if before is not None:
            before.cancel()

    async def _listen(self, request: Request, live: asyncio.Event) -> None:
        """Keep a listen stream open; after each break, whatever it would have told counts as changed."""
        while not self.lost.done():
            id = next(self._ids)

            def hear(event: Event, id: int = id) -> bool | None:
                message = _read(event)
                if isinstance(message, Push):
                    if message.method == ACKNOWLEDGED:
                        live.set()
                    else:
                        tell(self._listener, message)
                    return None
                return message is not None and message.id == id

            with suppress(CallError):
                response = await self._wire.post(self._writer.headers(request), self._writer.request(id, request), hear)
                if response.status in (400, 404, 405):
                    live.set()
                    return  # it declared what it does not do
            await asyncio.sleep(RELISTEN_S)
            for kind in ("tools", "prompts", "resources"):
                self._listener.changed(kind)

    def _lose(self, error: CallError) -> None:
        if not self.lost.done():
            self.lost.set_result(error)

    async def close(self) -> None:
        """End the listen stream."""
        self._lose(Unavailable(f"The server {self._wire.alias!r} was disconnected"))
        await self._tasks.close()
        await self._wire.pool.close()


class _Streamed(Rounds):
    """A request whose caller can be asked something: it outlives the round in which it was sent."""

    __slots__ = ("_link", "task")

    def __init__(self, link: "LegacyLink", request: Request, notify: Notify | None, parking: Parking) -> None:
        super().__init__(asyncio.get_running_loop(), request, notify, parking)
        self._link = link
        self.task: asyncio.Task[None] | None = None

    async def run(self, request: Request) -> None:
        """Send it, and take its reply."""
        ended: Reply | CallError = BadReply("The server was disconnected while the call ran")
        try:
            ended = await self._link.converse(request, lambda push: self.ear.hear(push), self._answer)
        except CallError as error:
            ended = error
        finally:
            self.settle(ended)

    def _answer(self, push: Push) -> CallError | None:
        if needed_ability(push.method, push.params) not in self.profile.abilities:
            return self._link.answer(push)
        self.ask(push)
        return None

    def say(self, message: bytes) -> None:
        self._link.post_soon(message)

    def withdraw(self) -> None:
        if self.task is not None:
            self.task.cancel()


class LegacyLink:
    """A server of the session era over Streamable HTTP."""

    def __init__(self, wire: Wire, listener: Listener, parking: Parking, profile: Profile) -> None:
        self.welcome = Welcome("legacy", "", Raw(b"{}"), Raw(b"{}"))
        self.lost: asyncio.Future[CallError] = asyncio.get_running_loop().create_future()
        self._wire = wire
        self._listener = listener
        self._writer = legacy.Writer("")
        self._ids = itertools.count(1)
        self._fields: list[tuple[str, str]] = []
        self._session: str | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._stream: asyncio.Task[None] | None = None
        self._tasks = Tasks(wire.alias)
        self._levels = Levels()
        self._uris: frozenset[str] = frozenset()
        self._parking = parking
        self._profile = profile
        self._running = 0
        self._askable: list[_Streamed] = []
        self._unclaimed = Unclaimed(lambda: self._askable, self._refuse)

    async def greet(self) -> int:
        """Make a session. Returns the HTTP status, so that 400, 404 and 405 can be told from success (200).

        Errors: Unavailable, BadReply.
        """
        request = greeting(self._profile)
        id = next(self._ids)
        ask = _Ask(self._wire.alias, id, _ignore, self._listener, self.answer)
        response = await self._wire.post([], self._writer.request(id, request), ask.hear)
        if response.status in (400, 404, 405) and ask.reply is None:
            return response.status
        self.welcome = read_greeting(self._wire.alias, ask.result(response))
        self._writer = legacy.Writer(self.welcome.revision)
        self._session = response.headers.get("mcp-session-id")
        self._fields = [("MCP-Protocol-Version", self.welcome.revision)]
        if self._session is not None:
            self._fields.append(("Mcp-Session-Id", self._session))
        await self._wire.post(self._fields, legacy.INITIALIZED)
        if self._stream is not None:
            self._stream.cancel()
        self._stream = self._tasks.start(self._hear())
        return 200

    async def request(self, request: Request, notify: Notify | None = None) -> Reply:
        """Ask; a session that the server forgot is made anew, once. See `Link.request`."""
        check_state(request)
        if request.task_only:
            return await run_as_task(self, self._parking, request, notify)
        if not request.profile.abilities:
            return with_pages(await self.converse(request, Ear(request, notify).hear, self.answer), request)
        rounds = _Streamed(self, request, notify, self._parking)
        self._askable.append(rounds)
        rounds.task = self._tasks.start(self._run(rounds, request))
        return with_pages(await rounds.next(), request)

    async def _run(self, rounds: "_Streamed", request: Request) -> None:
        try:
            await rounds.run(request)
            self._askable.remove(rounds)
            self._unclaimed.assign()
        except asyncio.CancelledError:
            self._askable.remove(rounds)
            self._unclaimed.refuse_all()
            raise

    @property
    def is_busy(self) -> bool:
        """See `Link.is_busy`."""
        return self._running > 0 or bool(self._askable)

    @property
    def asks_blindly(self) -> bool:
        """See `Link.asks_blindly`: on the stream of no request's; else a question comes on its request's own."""
        return self._unclaimed.seen

    async def converse(self, request: Request, hear: Callable[[Push], None], answer: Answering) -> Reply:
        """Send a request and wait for its reply; what the server asks meanwhile goes to `answer`."""
        self._running += 1
        try:
            return await self._converse(request, hear, answer)
        finally:
            self._running -= 1

    async def _converse(self, request: Request, hear: Callable[[Push], None], answer: Answering) -> Reply:
        level = self._levels.to_set(request, self.welcome)
        if level is not None:
            await self._send(Request("logging/setLevel", {"level": level}, {}))
        for _ in range(2):
            session = self._session
            response, ask = await self._send(request, hear, answer)
            if response.status == 400 or (response.status in _NOT_UNDERSTOOD and session is None):
                # a legacy server tells errors in 200: this one speaks something else by now
                error = status_error(self._wire.alias, response)
                self._lose(error)
                raise error
            if response.status != 404 or session is None or ask.reply is not None:
                return ask.result(response)
            await self._renew(session)
        raise Unavailable(f"The server {self._wire.alias!r} forgets its sessions at once", retry_after_s=1.0)

    async def _send(
        self, request: Request, hear: Callable[[Push], None] = _ignore, answer: Answering | None = None
    ) -> tuple[Response, _Ask]:
        id = next(self._ids)
        ask = _Ask(self._wire.alias, id, hear, self._listener, answer or self.answer)
        try:
            response = await self._wire.post(self._fields, self._writer.request(id, request), ask.hear)
            if response.status == 200 and not response.body and not ask.is_over and ask.last is not None:
                response = await self._take_up(ask, ask.last)
            return response, ask
        except asyncio.CancelledError:
            self.post_soon(self._writer.cancel(id))
            raise
        except Unavailable as error:
            self._lose(error)
            raise
        finally:
            if ask.error is not None:
                self.post_soon(self._writer.cancel(id))

    async def _take_up(self, ask: _Ask, last: Event) -> Response:
        """Go on with a stream that the server ended before the reply, until the reply or the call's deadline."""
        while True:
            await asyncio.sleep(min(RELISTEN_S if last.retry_ms is None else last.retry_ms / 1000, _RETRY_S_MAX))
            try:
                response = await self._wire.get([*self._fields, ("Last-Event-ID", last.id or "")], ask.hear)
            except CallError:
                raise BadReply(
                    f"The server {self._wire.alias!r} broke its stream and can't be asked for the rest"
                ) from None
            if ask.is_over or ask.last is None:
                return response
            if response.status != 200:  # whatever it says now, the call may have run
                told = f"The server {self._wire.alias!r} broke its stream and does not go on with it"
                raise BadReply(f"{told} (HTTP {response.status})")
            last = ask.last

    def answer(self, push: Push) -> CallError | None:
        """Answer a request of the server's: `ping` yes, all else no. Returns how the call ends that caused it."""
        raw_id = bytes(raw(push.id))
        if push.method == "ping":
            self.post_soon(encode_result(raw_id, b"{}"))
            return None
        ability = needed_ability(push.method, push.params)
        error = refused_ask(ability or push.method)
        self.post_soon(encode_error(raw_id, -32601, error.message))
        return None if ability is None else error

    def _refuse(self, push: Push) -> None:
        self.answer(push)

    def post_soon(self, body: bytes) -> None:
        """Send a message that no reply is waited for."""
        self._tasks.start(self._wire.post(self._fields, body))

    async def _renew(self, forgotten: str) -> None:
        """Make a new session in place of one the server forgot; many callers share one renewal."""
        if self._session != forgotten:
            return
        if self._renewing is None:
            self._renewing = self._tasks.start(self._renew_once())
        await asyncio.shield(self._renewing)

    async def _renew_once(self) -> None:
        try:
            await self._greet_again()
        finally:
            self._renewing = None

    async def _greet_again(self) -> None:
        self._levels = Levels()
        if await self.greet() != 200:
            error = Unavailable(f"The server {self._wire.alias!r} ended the session and takes no new one")
            self._lose(error)
            raise error
        uris, self._uris = self._uris, frozenset()
        await self.subscribe(uris)
        for kind in ("tools", "prompts", "resources"):
            self._listener.changed(kind)

    async def subscribe(self, uris: frozenset[str]) -> None:
        """Subscribe to what is new, unsubscribe from what is gone."""
        before, self._uris = self._uris, uris
        if not self.welcome.offers("resources", "subscribe"):
            return
        for uri in uris - before:
            await self._send(Request("resources/subscribe", {"uri": uri}, {}))
        for uri in before - uris:
            await self._send(Request("resources/unsubscribe", {"uri": uri}, {}))

    async def _hear(self) -> None:
        """Keep the session's own stream open, where the server has one."""

        def hear(event: Event) -> None:
            message = _read(event)
            if isinstance(message, Push):
                if message.id is not None:
                    if not self._unclaimed.take(message):
                        self.answer(message)
                else:
                    tell(self._listener, message)

        while not self.lost.done():
            with suppress(CallError):
                response = await self._wire.get(self._fields, hear)
                if response.status == 404 and self._session is not None:
                    self._tasks.start(self._renew(self._session))
                    return
                if response.status >= 400:
                    return
            await asyncio.sleep(RELISTEN_S)

    def _lose(self, error: CallError) -> None:
        if not self.lost.done():
            self.lost.set_result(error)

    async def close(self) -> None:
        """End the session."""
        self._lose(Unavailable(f"The server {self._wire.alias!r} was disconnected"))
        await self._tasks.close()
        if self._session is not None:
            with suppress(CallError, TimeoutError):
                await asyncio.wait_for(self._wire.delete(self._fields), 1.0)
        await self._wire.pool.close()


def modern_revision() -> str:
    """The newest stateless revision, in which servers are probed."""
    return MODERN[0]
