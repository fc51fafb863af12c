"""A server of the stateless era over HTTP: each request says all there is to say, and only changes have a stream."""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import Raw

from ..model.call import Notify, Reply, Request, RequestId
from ..model.errors import CallError, Unavailable
from ..protocol import modern
from ..protocol.capabilities import needed_ability
from ..protocol.jsonrpc import Push
from ..protocol.sse import Event
from ..protocol.versions import MODERN
from .http import NOT_UNDERSTOOD, Ask, Wire, ignore, read_event, status_error, with_trace
from .link import ACKNOWLEDGED, DEAF, Ear, Listener, Welcome, tell
from .rounds import refused_ask
from .tasks import Tasks
from .welcome import (
    CLIENT_INFO,
    DISCOVER,
    RELISTEN_S,
    SUBSCRIBE_WAIT_S,
    listen_request,
    read_discovery,
    rejects_era,
    wants_again,
)

_HEADS_MAX: Final = 4096
"""Request heads kept per URL: one a tool that is called."""


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
            if self._listener is not DEAF:
                await self.subscribe(frozenset())
        return welcome

    async def _discover(self) -> Reply | None:
        id = next(self._ids)
        body = self._writer.request(id, DISCOVER)
        ask = self._ask(id, ignore)
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
            head = with_trace(self._head(request), request)
            if self._wire.asks_who:
                response = await self._wire.request_for(request.owner, head, body, ask.hear)
            else:
                response = await self._wire.request(head, body, ask.hear)
        except Unavailable as error:
            self._lose(error)
            raise
        finally:
            self._running -= 1
        try:
            reply = ask.result(response)
        except Unavailable as error:
            if response.status in NOT_UNDERSTOOD:  # no answer of this era: find out anew what it speaks
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

    def _ask(self, id: RequestId, hear: Callable[[Push], None]) -> Ask:
        return Ask(self._wire.alias, id, hear, self._listener, _no_answer)

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
                message = read_event(event)
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


def _no_answer(push: Push) -> CallError | None:
    """A modern server sends no requests; one that does gets no answer."""
    ability = needed_ability(push.method, push.params)
    return None if ability is None else refused_ask(ability)


def modern_revision() -> str:
    """The newest stateless revision, in which servers are probed."""
    return MODERN[0]
