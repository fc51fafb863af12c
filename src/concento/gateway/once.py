"""Calls that their agents gave a key to, made once: the same again gets the same reply, while it is made or later.

An agent that does not know whether a call ran can repeat it with its key, and it will not run twice. Replies are kept
for ten minutes in this process; after a restart a key is new. Source: hardening R13.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Raw

from ..model import meta
from ..model.call import Call, Reply, Result
from ..model.errors import BadReply, CallError, InvalidParams, Overloaded
from ..protocol.jsonrpc import read_string

KEPT_S: Final = 600.0
KEYS_MAX: Final = 10_000
KEYS_OF_ONE_MAX: Final = 1000
"""Keys that one principal may have at a time."""
BYTES_MAX: Final = 64 * 1024 * 1024
"""Of replies that are kept; a key whose reply had to go is answered with an error, not made again."""
KEY_CHARS_MAX: Final = 255

_Key = tuple[str, str]


class _Made:
    """One call: what it was about, and its reply as soon as there is one."""

    __slots__ = ("digest", "reply", "size", "until_s", "waiting")

    def __init__(self, digest: bytes, until_s: float) -> None:
        self.digest = digest
        self.until_s = until_s
        self.reply: Reply | CallError | None = None
        self.size = 0
        self.waiting: list[asyncio.Future[None]] = []


class Once:
    """The keyed calls of a hub."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._made: dict[_Key, _Made] = {}
        self._of: dict[str, int] = {}
        self._bytes = 0

    async def call(self, call: Call, make: Callable[[], Awaitable[Reply]], check: Callable[[], None]) -> Reply:
        """Make a call that has a key, or answer it as the one before with that key.

        `check` raises what the policy has against a call that is not made again: another agent of the same user, or
        another time, may not be let through. Errors: InvalidParams, for a key that is none or was used for another
        call; Overloaded, if too many are kept; what the call itself ends with.
        """
        owner, key = call.principal.owner_key, _key(call)
        digest = _digest(call)
        self._forget()
        known = self._made.get((owner, key))
        if known is None:
            return await self._first((owner, key), digest, make)
        if known.digest != digest:
            raise InvalidParams(f"The key {key[:64]!r} was used for another call; take a new one for each call")
        check()
        while known.reply is None:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            known.waiting.append(waiting)
            await waiting
        if isinstance(known.reply, CallError):
            raise known.reply.with_traceback(None)  # or each repetition would make it longer
        return known.reply

    async def _first(self, name: _Key, digest: bytes, make: Callable[[], Awaitable[Reply]]) -> Reply:
        owner = name[0]
        if len(self._made) >= KEYS_MAX or self._of.get(owner, 0) >= KEYS_OF_ONE_MAX:
            raise Overloaded(f"Too many calls with keys are kept; each is for {KEPT_S:g} s", retry_after_s=60.0)
        made = self._made[name] = _Made(digest, self._now() + KEPT_S)
        self._of[owner] = self._of.get(owner, 0) + 1
        try:
            reply = await make()
        except CallError as error:
            if error.outcome == "not_sent":
                self._drop(name)  # nothing ran: the same again may
            _end(made, error)
            raise
        except BaseException:
            _end(made, BadReply("The first call with this key was given up; it may have run", outcome="unknown"))
            raise
        _end(made, reply)
        if isinstance(reply, Result) and reply.kind not in (None, "complete"):
            self._drop(name)  # it goes on under a name of its own: a question's state, a task's id
        else:
            made.size = _size(reply)
            if self._bytes + made.size > BYTES_MAX:
                told = "The call ran, but its reply was too large to be kept for a repetition"
                made.size, made.reply = 0, BadReply(told, outcome="failed")
            self._bytes += made.size
        return reply

    def _forget(self) -> None:
        """Let go of what is past. Keys end in the order in which they came."""
        now_s = self._now()
        while self._made:
            name = next(iter(self._made))
            if self._made[name].until_s > now_s or self._made[name].reply is None:
                return
            self._bytes -= self._made[name].size
            self._drop(name)

    def _drop(self, name: _Key) -> None:
        del self._made[name]
        self._of[name[0]] -= 1
        if not self._of[name[0]]:
            del self._of[name[0]]


def _size(reply: Reply) -> int:
    if isinstance(reply, Result):
        return memoryview(reply.raw).nbytes
    return len(reply.message) + (0 if reply.data is None else memoryview(reply.data).nbytes)


def _end(made: _Made, reply: Reply | CallError) -> None:
    """Answer all who wait."""
    made.reply = reply
    for waiting in made.waiting:
        if not waiting.done():
            waiting.set_result(None)
    made.waiting.clear()


def _key(call: Call) -> str:
    key = read_string(call.meta.get(meta.IDEMPOTENCY_KEY))
    if not key or len(key) > KEY_CHARS_MAX:
        raise InvalidParams(f"{meta.IDEMPOTENCY_KEY!r} in `_meta` must be a string of 1 to {KEY_CHARS_MAX} characters")
    return key


def _digest(call: Call) -> bytes:
    """What a call is about: where, what, and with which arguments, as the bytes that came."""
    arguments = call.params.get("arguments", Raw(b""))
    parts = (call.endpoint.kind, call.endpoint.name, call.method, call.name or "")
    told = "\0".join(parts).encode() + b"\0" + bytes(arguments)
    return hashlib.sha256(told).digest()
