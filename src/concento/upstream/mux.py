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
from ..protocol.jsonrpc import Push, encode_error, encode_result, parse_incoming, raw, read_object
from ..protocol.legacy import SERVER_ASKS
from .link import ACKNOWLEDGED, Ear, Listener, refused_ask, tell


class Writer(Protocol):
    """How requests are written for the server's revision."""

    revision: str

    def request(self, id: RequestId, request: Request) -> bytes:
        """The message for a request."""
        ...

    def cancel(self, id: RequestId) -> bytes:
        """The message that ends it."""
        ...


class _Waiting:
    """One request that has no reply yet."""

    __slots__ = ("acknowledged", "ear", "reply")

    def __init__(self, reply: asyncio.Future[Reply], ear: Ear) -> None:
        self.reply = reply
        self.ear = ear
        self.acknowledged: asyncio.Event | None = None


class Mux:
    """Correlates requests and replies. `send` writes one message and must not block."""

    def __init__(self, send: Callable[[bytes], None], listener: Listener) -> None:
        self._send = send
        self._listener = listener
        self._ids = itertools.count(1)
        self._waiting: dict[RequestId, _Waiting] = {}
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
        waiting = _Waiting(asyncio.get_running_loop().create_future(), Ear(request, notify))
        waiting.acknowledged = acknowledged
        self._send(writer.request(id, request))
        self._waiting[id] = waiting
        try:
            return await waiting.reply
        except asyncio.CancelledError:
            if waiting.reply.cancelled():  # else the reply came in the same moment
                self._cancel(writer, id)
            raise
        finally:
            self._waiting.pop(id, None)

    def _cancel(self, writer: Writer, id: RequestId) -> None:
        if self._ended is None:
            self._send(writer.cancel(id))

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
                self._answer(message, message.id)
            return
        waiting = None if message.id is None else self._waiting.get(message.id)
        if waiting is None or waiting.reply.done():
            self.dropped += 1
        else:
            waiting.reply.set_result(message.reply)

    def _hear_garbage(self, text: bytes, error: BadReply) -> None:
        """What is no message ends the request whose id it carries, if any: its reply will not come."""
        self.dropped += 1
        owner = self._waiting.get(_token((read_object(text) or {}).get("id")) or 0)
        if owner is not None and not owner.reply.done():
            owner.reply.set_exception(error)

    def fail(self, error: CallError) -> None:
        """End every request that waits, since its server may have run it, and refuse new ones."""
        self._ended = error
        for waiting in self._waiting.values():
            if not waiting.reply.done():
                waiting.reply.set_exception(BadReply(error.message))

    def _hear(self, push: Push) -> None:
        if tell(self._listener, push):
            return
        params = read_object(push.params) or {}
        if push.method == "notifications/progress":
            owner = self._waiting.get(_token(params.get("progressToken")) or 0)
            if owner is not None:
                owner.ear.hear(push)
        elif push.method == ACKNOWLEDGED:
            subscription = (read_object(params.get("_meta", Raw(b"{}"))) or {}).get(meta.SUBSCRIPTION_ID)
            owner = self._waiting.get(_token(subscription) or 0)
            if owner is not None and owner.acknowledged is not None:
                owner.acknowledged.set()
        elif push.method == "notifications/message" and (owner := self._only_call()) is not None:
            owner.ear.hear(push)

    def _only_call(self) -> _Waiting | None:
        """The one call in flight; None where several are, since nothing says which a message belongs to."""
        calls = [waiting for waiting in self._waiting.values() if waiting.acknowledged is None]
        return calls[0] if len(calls) == 1 else None

    def _answer(self, push: Push, id: RequestId) -> None:
        """Answer a request of the server's: `ping` yes, all else no, and the call that caused it ends."""
        raw_id = bytes(raw(id))
        if push.method == "ping":
            self._send(encode_result(raw_id, b"{}"))
            return
        error = refused_ask(push.method)
        self._send(encode_error(raw_id, -32601, error.message))
        caller = self._only_call()
        if push.method in SERVER_ASKS and caller is not None and not caller.reply.done():
            caller.reply.set_exception(error)


def _token(value: Raw | None) -> int | None:
    """A token of ours: a plain integer."""
    text = b"" if value is None else bytes(value)
    return int(text) if text.isdigit() and len(text) < 18 else None
