"""Legacy sessions: what an agent settled once, stamped on each of its requests from then on.

A session knows no transport. HTTP, HTTP+SSE and stdio hand it messages and a way to send; it answers with texts.
Source: specifications 2024-11-05 to 2025-11-25, basic/lifecycle; hardening T7, R14, R15.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, structs

from ..gateway.call import Gateway
from ..gateway.listen import Listening, Stream
from ..gateway.lists import describe
from ..model.call import INPUT_REQUIRED, NO_ABILITIES, Call, Endpoint, Failure, Notify, Result
from ..model.errors import CallError, InvalidParams, InvalidRequest, MethodNotFound, Overloaded, RateLimited
from ..model.extensions import SKILLS_METHODS
from ..model.inventory import KINDS
from ..model.limits import SESSION_IDLE_S, SESSIONS_MAX, SESSIONS_PER_PRINCIPAL_MAX
from ..model.principal import ANONYMOUS, Owner, Principal
from ..protocol import legacy
from ..protocol.jsonrpc import Message, encode_notification, encode_result, read_string
from ..protocol.legacy import TASKS_SINCE
from ..protocol.modern import LOG_LEVELS
from ..protocol.versions import MODERN
from .answers import legacy_error
from .asking import Asking, Send
from .legacy_tasks import ABOUT_TASKS, SessionTasks, wants_task
from .replay import EventLog, EventStore, SessionLogs

_encode = msgspec.json.Encoder().encode
_RUNNING_MAX: Final = 1000
_PRIMED_SINCE: Final = "2025-11-25"
"""The revision in which an event may be empty but for its id; agents of older ones would take it for a message."""
_UNRECORDED: Final = frozenset({"ping", "logging/setLevel"})
"""What says nothing of anybody's doing."""
_MODERN_ONLY: Final = frozenset({"server/discover", "subscriptions/listen"}) | SKILLS_METHODS


class Caller(Struct, frozen=True):
    """Who sent a message of a session, and from where. A token is renewed while a session goes on."""

    principal: Principal
    address: str = ""


class Session:
    """One agent's session. `push` writes a message on the stream that belongs to no request; None if there is none.

    `has_stream`: that stream is open now. `logs`: the streams the agent can come back to, `standing` that one of them.
    """

    def __init__(
        self,
        id: str,
        endpoint: Endpoint,
        principal: Principal,
        gateway: Gateway,
        listening: Listening,
        events: EventStore,
    ) -> None:
        self.id = id
        self.endpoint = endpoint
        self.caller = Caller(principal)
        self.hello: legacy.Hello | None = None
        self.push: Callable[[bytes], None] | None = None
        self.has_stream = False
        self.logs = SessionLogs(events)
        self.standing: EventLog | None = None
        self.used_s = 0.0
        self._gateway = gateway
        self._asking = Asking(gateway)
        self._tasks = SessionTasks(gateway, principal, self._asking)
        self._listening = listening
        self._log_level = "info"
        self._running: dict[bytes, asyncio.Task[Any]] = {}
        self._cancelled: set[bytes] = set()
        self._stream: Stream | None = None
        self._subscribed: dict[str, None] = {}

    async def answer(
        self,
        message: Message,
        send: Send | None,
        begin: Callable[[], None] | None = None,
        refuse: Callable[[CallError], None] | None = None,
        caller: "Caller | None" = None,
    ) -> bytes | None:
        """The reply to one message; None for those that get none, and for a request that was cancelled.

        `send` writes on the stream of this very request, None if it has none; `begin` opens it without a message;
        `refuse` is told of an error before the reply that says it. `caller` is who sent this message, if others may
        have sent some since.
        """
        if message.kind != "request":
            self.hear(message)
            return None
        raw_id = message.id or b"null"
        if raw_id in self._running or len(self._running) >= _RUNNING_MAX:
            return legacy_error(raw_id, InvalidRequest("A request with this id is running, or too many are"))
        task = asyncio.current_task()
        assert task is not None
        self._running[raw_id] = task
        try:
            return await self._reply(raw_id, message, send, begin, caller or self.caller)
        except CallError as error:
            if refuse is not None:
                refuse(error)
            return legacy_error(raw_id, error)
        except asyncio.CancelledError:
            if raw_id not in self._cancelled:
                raise
            task.uncancel()
            return None  # the agent wants no reply to what it cancelled
        finally:
            self._running.pop(raw_id, None)
            self._cancelled.discard(raw_id)

    async def _reply(
        self, raw_id: bytes, message: Message, send: Send | None, begin: Callable[[], None] | None, caller: "Caller"
    ) -> bytes:
        own = _OWN.get(message.method)
        if own is not None:
            if message.method in _UNRECORDED:
                return encode_result(raw_id, await own(self, message))
            with self._gateway.recorded(self._as_call(message, caller)):
                return encode_result(raw_id, await own(self, message))
        if self.hello is None:
            raise InvalidRequest("The session begins with initialize")
        about_task = ABOUT_TASKS.get(message.method)
        if about_task is not None and self.hello.revision >= TASKS_SINCE:
            with self._gateway.recorded(self._as_call(message, caller)):
                told = await about_task(self._tasks, message, send or self.push)
            return legacy_error(raw_id, told) if isinstance(told, Failure) else encode_result(raw_id, told)
        if message.method in _MODERN_ONLY or message.method.startswith("tasks/"):
            refused = f"Revision {self.hello.revision}, which this session speaks, has no method {message.method!r}"
            raise MethodNotFound(f"{refused}; it is of {MODERN[0]}")
        call = legacy.lift(
            message,
            self.endpoint,
            caller.principal,
            profile=self.hello.profile,
            log_level=self._log_level,
            session=self.id,
            address=caller.address,
            revision=self.hello.revision,
        )
        if call.method == "tools/call" and "task" in call.params and self.hello.revision >= TASKS_SINCE:
            return encode_result(raw_id, await self._as_task(call))
        notify = None if send is None else _notifying(send, begin)
        reply = await self._gateway.call(call, notify)
        if isinstance(reply, Result) and reply.kind == INPUT_REQUIRED:
            reply = await self._asking.go_on(call, reply, notify, send or self.push)
        elif wants_task(reply):
            reply = await self._tasks.through(call, send or self.push)
        return (
            legacy_error(raw_id, reply) if isinstance(reply, Failure) else encode_result(raw_id, legacy.render(reply))
        )

    def _as_call(self, message: Message, caller: "Caller") -> Call:
        """What is recorded of a request that the session answers itself."""
        return Call(
            *(message.method, message.params, message.meta or {}, None, self.endpoint, caller.principal, NO_ABILITIES),
            session=self.id,
            address=caller.address,
            id=message.id,
            revision="" if self.hello is None else self.hello.revision,
            link=message.link,
        )

    def hear(self, message: Message) -> None:
        """Take a message that gets no reply: a notification, or the answer to something asked."""
        if message.kind == "response":
            self._asking.take(message)
        elif message.method == "notifications/cancelled":
            raw_id = message.params.get("requestId")
            task = self._running.get(bytes(raw_id)) if raw_id is not None else None
            if raw_id is not None and task is not None:
                self._cancelled.add(bytes(raw_id))
                task.cancel()

    async def _as_task(self, call: Call) -> bytes:
        params = {name: value for name, value in call.params.items() if name != "task"}
        return await self._tasks.begin(structs.replace(call, params=params), call.params["task"])

    # -- requests the hub answers itself

    async def _initialize(self, message: Message) -> bytes:
        if self.hello is not None:
            raise InvalidRequest("The session is initialized already")
        hello = legacy.read_hello(message)
        view = self._gateway.current.snapshot.view(self.endpoint, self.principal)
        if view is None:
            raise InvalidParams("There is no such endpoint")
        self.hello = hello
        self.logs.primes = hello.revision >= _PRIMED_SINCE
        described = describe(view)
        described["capabilities"] = legacy.capabilities(described["capabilities"], hello.revision)
        return _encode({"protocolVersion": hello.revision, **described})

    async def _ping(self, _: Message) -> bytes:
        return b"{}"

    async def _set_level(self, message: Message) -> bytes:
        level = read_string(message.params.get("level"))
        if level not in LOG_LEVELS:
            raise InvalidParams(f"The level must be one of {', '.join(LOG_LEVELS)}")
        self._log_level = level
        return b"{}"

    async def _subscribe(self, message: Message) -> bytes:
        uri = self._uri(message)
        wanted = dict(self._subscribed)
        wanted[uri] = None
        honoured = await self._listening.subscribe(self.listen(), wanted)
        if uri not in honoured:
            raise InvalidParams(f"Unknown resource: {uri[:256]}")
        self._subscribed = wanted
        return b"{}"

    async def _unsubscribe(self, message: Message) -> bytes:
        self._subscribed.pop(self._uri(message), None)
        await self._listening.subscribe(self.listen(), self._subscribed)
        return b"{}"

    @staticmethod
    def _uri(message: Message) -> str:
        uri = read_string(message.params.get("uri"))
        if uri is None:
            raise InvalidParams("The parameter 'uri' must be a string")
        return uri

    # -- what belongs to no request

    @property
    def principal(self) -> Principal:
        """Whose it is, as of the last request."""
        return self.caller.principal

    def renew(self, principal: Principal, address: str) -> None:
        """Go on for a request of the same owner's: one who may call more or less than before."""
        if principal is not self.caller.principal or address != self.caller.address:
            self.caller = Caller(principal, address)
            if self._stream is not None:
                self._stream.principal, self._stream.address = principal, address

    def listen(self) -> Stream:
        """Begin to tell the agent of changes, through `push`."""
        if self._stream is None:
            self._stream = self._listening.open(
                *(self.endpoint, self.principal, KINDS, self._tell, self.caller.address)
            )
        return self._stream

    def _tell(self, method: str, params: Raw) -> None:
        if self.push is not None:
            self.push(encode_notification(method, params))

    @property
    def is_running(self) -> bool:
        """Whether a request or a stream is open."""
        return bool(self._running) or self.has_stream

    async def end(self) -> None:
        """End the session: what runs is cancelled, what was subscribed is not any more."""
        for task in tuple(self._running.values()):
            task.cancel()
        if self.standing is not None:
            self.standing.cut()
        if self._stream is not None:
            await self._listening.close(self._stream)


def _notifying(send: Send, begin: Callable[[], None] | None) -> Notify:
    def notify(method: str, params: Raw) -> None:
        if method:
            send(encode_notification(method, params))
        elif begin is not None:
            begin()

    return notify


_OWN: Final = {
    "initialize": Session._initialize,
    "ping": Session._ping,
    "logging/setLevel": Session._set_level,
    "resources/subscribe": Session._subscribe,
    "resources/unsubscribe": Session._unsubscribe,
}


class Sessions:
    """All sessions of an HTTP listener, by unguessable ids that only the hub chooses."""

    def __init__(self, gateway: Gateway, listening: Listening, now: Callable[[], float]) -> None:
        self._gateway = gateway
        self._listening = listening
        self._now = now
        self._by_id: dict[str, Session] = {}
        self._events = EventStore()
        self._per_owner: Counter[Owner] = Counter()
        self.count_max = SESSIONS_MAX
        self.per_owner_max = SESSIONS_PER_PRINCIPAL_MAX

    def __len__(self) -> int:
        return len(self._by_id)

    def end_streams(self) -> None:
        """End the streams that belong to no request: the hub is stopping."""
        for session in self._by_id.values():
            if session.standing is not None:
                session.standing.cut()

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_id.values()))

    def begin(self, endpoint: Endpoint, principal: Principal) -> Session:
        """A new session. Errors: RateLimited, if its owner has too many; Overloaded, if the hub has."""
        if len(self._by_id) >= self.count_max:
            raise Overloaded("The hub holds too many sessions", retry_after_s=5.0)
        if principal is not ANONYMOUS and self._per_owner[principal.owner] >= self.per_owner_max:
            told = f"This caller has {self.per_owner_max} sessions open; end some of them"
            raise RateLimited(told, retry_after_s=5.0)
        self._per_owner[principal.owner] += 1
        session = Session(secrets.token_urlsafe(24), endpoint, principal, self._gateway, self._listening, self._events)
        session.used_s = self._now()
        self._by_id[session.id] = session
        return session

    def find(self, id: str, endpoint: Endpoint, principal: Principal, address: str = "") -> Session | None:
        """The session, if it is this caller's at this endpoint."""
        session = self._by_id.get(id)
        if session is None or session.endpoint != endpoint:
            return None
        before = session.principal
        if before is not principal and (before.owner, before.narrowed) != (principal.owner, principal.narrowed):
            return None
        session.renew(principal, address)
        session.used_s = self._now()
        return session

    async def end(self, session: Session) -> None:
        """End a session."""
        if self._by_id.pop(session.id, None) is not None:
            self._per_owner[session.principal.owner] -= 1
            if not self._per_owner[session.principal.owner]:
                del self._per_owner[session.principal.owner]
            await session.end()
            await self._gateway.upstreams.forget(session.id)

    async def cut(self, is_alive: Callable[[Principal], bool]) -> None:
        """End the sessions of those who are nobody any more."""
        for session in [session for session in self._by_id.values() if not is_alive(session.principal)]:
            await self.end(session)

    async def reap(self) -> None:
        """End the sessions that nobody used for long."""
        before_s = self._now() - SESSION_IDLE_S
        for session in [s for s in self._by_id.values() if s.used_s < before_s and not s.is_running]:
            await self.end(session)

    async def close(self) -> None:
        """End them all."""
        for session in tuple(self._by_id.values()):
            await self.end(session)
