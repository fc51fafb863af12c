"""One try of a call at one replica: its span, and what is noted of it while it runs.

Whoever carries it out notes what it had to wait for; whoever watches makes spans and metrics of it once the call ended.
"""

import random
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final, Literal

from msgspec import Struct

from .call import Failure, Reply
from .config import Server
from .errors import CallError

Waited = Literal["policy", "guard", "audit", "queue", "connect", "token"]
"""What a call was held up by: the policy's decision, a guard, an audit record that has to be on disk first, the line
for a place at the server, a link that had to be made, a token that had to be got."""

SHORT_S: Final = 0.001
"""Shorter waits are not worth a span."""
WAITS_MAX: Final = 16


class Wait(Struct, frozen=True):
    """One thing that was waited for, in monotonic seconds. `failed`: what the call ended with there, if it did."""

    what: Waited
    from_s: float
    until_s: float
    failed: str | None = None
    facts: Mapping[str, str] = {}


class Attempt:
    """One attempt. `traceparent` is what its server is told; None where nobody traces."""

    __slots__ = (
        "code",
        "ended_s",
        "failed",
        "replica",
        "revision",
        "server",
        "span",
        "started_s",
        "traceparent",
        "waits",
    )

    def __init__(self, server: Server, replica: int, started_s: float, span: int, traceparent: str | None) -> None:
        self.server = server
        self.replica = replica
        self.started_s = started_s
        self.span = span
        self.traceparent = traceparent
        self.ended_s: float | None = None
        self.failed: str | None = None
        """What went wrong, as `error.type` has it; None if nothing did."""
        self.code: int | None = None
        self.revision = ""
        """The server's protocol revision, once a link to it is there."""
        self.waits: list[Wait] | None = None

    def replied(self, reply: Reply, now_s: float) -> None:
        """The server answered."""
        self.ended_s = now_s
        if isinstance(reply, Failure):
            self.code, self.failed = reply.code, str(reply.code)
        elif reply.failed:
            self.failed = TOOL_ERROR

    def ended(self, error: CallError | None, now_s: float) -> None:
        """It ended without a reply: by an error, or since nobody waits any more."""
        self.ended_s = now_s
        self.failed = CANCELLED if error is None else kind_of(error)
        self.code = None if error is None else error.code

    def waited(self, what: Waited, from_s: float, until_s: float) -> None:
        """It had to wait for something."""
        if until_s - from_s >= SHORT_S:
            if self.waits is None:
                self.waits = []
            if len(self.waits) < WAITS_MAX:
                self.waits.append(Wait(what, from_s, until_s))


TOOL_ERROR: Final = "tool_error"
CANCELLED: Final = "cancelled"

CURRENT: Final[ContextVar[Attempt | None]] = ContextVar("attempt", default=None)
"""The attempt that runs, for what is far below it and is handed no request."""


def kind_of(error: CallError) -> str:
    """An error's `error.type`: what kind it is, in few words. Of a room's own kind, what others know it as."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__name__[0] != "_")


def new_span() -> int:
    """A span's id. Never 0, which stands for none."""
    return random.getrandbits(64) or 1
