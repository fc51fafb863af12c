"""A server of the session era over Streamable HTTP: a session, made anew when the server forgot it, and its stream."""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import Raw

from ..model.call import Notify, Profile, Reply, Request
from ..model.errors import BadReply, CallError, Forbidden, NeedsAccount, Unavailable
from ..protocol import legacy
from ..protocol.capabilities import needed_ability
from ..protocol.jsonrpc import Push, encode_error, encode_result, raw
from ..protocol.sse import Event
from ..transport.http import Response
from .as_task import run_as_task
from .http import NOT_UNDERSTOOD, Answering, Ask, Wire, ignore, read_event, status_error, trace_fields
from .link import Ear, Levels, Listener, Welcome, tell
from .parking import Parking
from .rounds import Rounds, Unclaimed, check_state, refused_ask, with_pages
from .tasks import Tasks
from .welcome import (
    RELISTEN_S,
    greeting,
    read_greeting,
)

_RETRY_S_MAX: Final = 10.0
"""Longest pause a server may ask for before its stream is taken up again."""


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
        ask = Ask(self._wire.alias, id, ignore, self._listener, self.answer)
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
            if response.status == 400 or (response.status in NOT_UNDERSTOOD and session is None):
                # a legacy server tells errors in 200: this one speaks something else by now
                error = status_error(self._wire.alias, response)
                self._lose(error)
                raise error
            if response.status != 404 or session is None or ask.reply is not None:
                return ask.result(response)
            await self._renew(session)
        raise Unavailable(f"The server {self._wire.alias!r} forgets its sessions at once", retry_after_s=1.0)

    async def _send(
        self, request: Request, hear: Callable[[Push], None] = ignore, answer: Answering | None = None
    ) -> tuple[Response, Ask]:
        id = next(self._ids)
        ask = Ask(self._wire.alias, id, hear, self._listener, answer or self.answer)
        try:
            shown = [*self._fields, *trace_fields(request)]
            head, body = self._wire.head("POST", shown), self._writer.request(id, request)
            response = await self._wire.request_for(request.owner, head, body, ask.hear)
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

    async def _take_up(self, ask: Ask, last: Event) -> Response:
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
            message = read_event(event)
            if isinstance(message, Push):
                if message.id is not None:
                    if not self._unclaimed.take(message):
                        self.answer(message)
                else:
                    tell(self._listener, message)

        while not self.lost.done():
            with suppress(CallError):
                try:
                    response = await self._wire.get(self._fields, hear)
                except (NeedsAccount, Forbidden):
                    return  # the server does not take the account, or no more
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
