"""Many requests over one duplex stream of messages (stdio, HTTP+SSE): replies find their request by its id.

A reply under an unknown id, a second one, or one after cancellation is dropped and counted; nobody receives it.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Protocol

from msgspec import Raw

from ..model import meta
from ..model.call import Notify, Reply, Request, RequestId
from ..model.errors import BadReply, CallError, Unavailable
from ..protocol.capabilities import needed_ability
from ..protocol.jsonrpc import Push, encode_error, encode_result, parse_incoming, raw, read_object
from .link import ACKNOWLEDGED, TASK_CHANGED, Listener, tell
from .parking import Parking
from .rounds import Rounds, Unclaimed, refused_ask


class Writer(Protocol):
    """How requests are written for the server's revision."""

    revision: str

    def request(self, id: RequestId, request: Request) -> bytes:
        """The message for a request."""
        ...

    def cancel(self, id: RequestId) -> bytes:
        """The message that ends it."""
        ...


class _Waiting(Rounds):
    """One request that has no reply yet."""

    __slots__ = ("_mux", "_writer", "acknowledged", "id")

    def __init__(
        self, mux: "Mux", id: RequestId, writer: Writer, request: Request, notify: Notify | None, parking: Parking
    ) -> None:
        super().__init__(mux.loop, request, notify, parking)
        self.id = id
        self.acknowledged: asyncio.Event | None = None
        self._mux = mux
        self._writer = writer

    def say(self, message: bytes) -> None:
        self._mux.send(message)

    def withdraw(self) -> None:
        if self._mux.forget(self):
            self._mux.send(self._writer.cancel(self.id))


class Mux:
    """Correlates requests and replies. `send` writes one message and must not block."""

    def __init__(self, send: Callable[[bytes], None], listener: Listener, parking: Parking) -> None:
        self.loop = asyncio.get_running_loop()
        self._send = send
        self._listener = listener
        self.parking = parking
        self._ids = itertools.count(1)
        self._waiting: dict[RequestId, _Waiting] = {}
        self.unclaimed = Unclaimed(self._askable, self._refuse)
        self._ended: CallError | None = None
        self.dropped = 0
        """Messages that belonged to nobody, or were no messages."""

    async def request(
        self,
        writer: Writer,
        request: Request,
        notify: Notify | None = None,
        *,
        acknowledged: asyncio.Event | None = None,
    ) -> Reply:
        """Send one request and wait for its reply. `acknowledged` is set when a listen request takes effect."""
        if self._ended is not None:
            raise Unavailable(self._ended.message, retry_after_s=1.0)
        id = next(self._ids)
        waiting = _Waiting(self, id, writer, request, notify, self.parking)
        if acknowledged is None and request.method == "subscriptions/listen":
            acknowledged = asyncio.Event()  # a caller's own; no call waits for it
        waiting.acknowledged = acknowledged
        self._send(writer.request(id, request))
        self._waiting[id] = waiting
        return await waiting.next()

    def send(self, message: bytes) -> None:
        """Write a message, unless the transport is gone."""
        if self._ended is None:
            self._send(message)

    def forget(self, waiting: _Waiting) -> bool:
        """Wait for it no more; False if nothing was waited for."""
        if self._waiting.pop(waiting.id, None) is None:
            return False
        self.unclaimed.refuse_all()
        return True

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way, parked ones included."""
        return any(waiting.acknowledged is None for waiting in self._waiting.values())

    def feed(self, text: bytes) -> None:
        """Take one message of the server."""
        try:
            message = parse_incoming(text)
        except BadReply as error:
            self._hear_garbage(text, error)
            return
        if isinstance(message, Push):
            if message.id is None:
                self._hear(message)
            else:
                self._take_question(message)
            return
        waiting = None if message.id is None else self._waiting.pop(message.id, None)
        if waiting is None or not waiting.settle(message.reply):
            self.dropped += 1
        self.unclaimed.assign()

    def _hear_garbage(self, text: bytes, error: BadReply) -> None:
        """What is no message ends the request whose id it carries, if any: its reply will not come."""
        self.dropped += 1
        owner = self._waiting.pop(_token((read_object(text) or {}).get("id")) or 0, None)
        if owner is not None:
            owner.settle(error)

    def fail(self, error: CallError) -> None:
        """End every request that waits, since its server may have run it, and refuse new ones."""
        self._ended = error
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            one.settle(BadReply(error.message))

    def _hear(self, push: Push) -> None:
        if tell(self._listener, push):
            return
        params = read_object(push.params) or {}
        if push.method == "notifications/progress":
            owner = self._waiting.get(_token(params.get("progressToken")) or 0)
            if owner is not None:
                owner.ear.hear(push)
        elif push.method in (ACKNOWLEDGED, TASK_CHANGED):
            subscription = (read_object(params.get("_meta", Raw(b"{}"))) or {}).get(meta.SUBSCRIPTION_ID)
            owner = self._waiting.get(_token(subscription) or 0)
            if owner is not None and push.method == TASK_CHANGED:
                owner.ear.hear(push)
            elif owner is not None and owner.acknowledged is not None:
                owner.acknowledged.set()
        elif push.method == "notifications/message" and (owner := self._only_call()) is not None:
            owner.ear.hear(push)

    def _only_call(self) -> _Waiting | None:
        """The one call in flight; None where several are, since nothing says which a message belongs to."""
        calls = [waiting for waiting in self._waiting.values() if waiting.acknowledged is None]
        return calls[0] if len(calls) == 1 else None

    # -- questions

    def _take_question(self, question: Push) -> None:
        """Answer `ping`; ask a caller what it offered to be asked; refuse all else."""
        if question.method == "ping":
            self._send(encode_result(bytes(raw(question.id)), b"{}"))
            return
        if self.unclaimed.take(question):
            return
        self._refuse(question)
        ability = needed_ability(question.method, question.params)
        caller = self._only_call()
        if ability is not None and caller is not None:
            caller.settle(refused_ask(ability))
            caller.withdraw()

    def _askable(self) -> list[_Waiting]:
        return [waiting for waiting in self._waiting.values() if waiting.profile.abilities]

    def _refuse(self, question: Push) -> None:
        text = f"Nobody can be asked for {question.method[:64]!r} here"
        self._send(encode_error(bytes(raw(question.id)), -32601, text))


def _token(value: Raw | None) -> int | None:
    """A token of ours: a plain integer."""
    text = b"" if value is None else bytes(value)
    return int(text) if text.isdigit() and len(text) < 18 else None
