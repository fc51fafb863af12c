"""The facts of one call, gathered while it runs and handed on once when it ends.

Log line, metric and (later) audit, span and usage are made from the same record, so they can't disagree.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, Protocol

from msgspec import Struct

from ..model.attempt import TOOL_ERROR, WAITS_MAX, Attempt, Wait, Waited, kind_of, new_span
from ..model.call import INPUT_REQUIRED, Call, Failure, Reply
from ..model.clock import Clock, SystemClock
from ..model.config import Server
from ..model.errors import CallError, Forbidden, NeedsScope, OverBudget, Quarantined, RateLimited, Unguarded, Withheld
from ..model.prices import Price
from ..model.usage import Part
from ..policy.limits import Lease
from ..protocol.trace_context import TraceContext, read_context, write_parent

Decided = Literal[
    "allow",
    "hidden",
    "unknown",
    "invalid",
    "forbidden",
    "needs_scope",
    "rate_limited",
    "over_budget",
    "quarantined",
    "withheld",
]
"""What was decided of a call. `hidden`: there is such a thing, but not for this caller, who is told what `unknown` is
told. `invalid`: its arguments do not fit the tool. `withheld`: it ran, and a guard keeps its result."""

_DECIDED: Final[dict[type[CallError], Decided]] = {
    Forbidden: "forbidden",
    NeedsScope: "needs_scope",
    RateLimited: "rate_limited",
    OverBudget: "over_budget",
    Quarantined: "quarantined",
    Unguarded: "forbidden",
    Withheld: "withheld",
}

End = Literal["ok", "tool_error", "error", "refused", "cancelled"]

Origin = tuple[str, str]
"""A span elsewhere that this one has to do with: its trace's id and its own."""
TRIES_MAX: Final = 64
"""Attempts kept of one call; more are counted only."""

Did = Literal["asked", "confirmed", "redacted", "noted", "refused", "withheld", "replaced", "failed"]
"""What a guard did. `asked`: the user, who has not answered yet; `failed`: it could not be asked itself."""


class Act(Struct, omit_defaults=True):
    """What a guard did about a call: with what of it, and what detectors found how often. Never what that was."""

    guard: str
    did: Did
    where: str = ""
    found: dict[str, int] = {}


class Record:
    """One call, from parsing to its end. Written by `gateway` only; sinks read it after `close`."""

    __slots__ = (
        "arm",
        "arm_s",
        "attempts",
        "branches",
        "call",
        "code",
        "cost",
        "decision",
        "duration_s",
        "end",
        "failed_as",
        "guards",
        "input_wait_s",
        "intent",
        "intents",
        "lease",
        "links",
        "metered",
        "notices",
        "parent",
        "part",
        "price",
        "replica",
        "reply_bytes",
        "rule",
        "sampled",
        "server",
        "span",
        "started_s",
        "tool",
        "trace_id",
        "traced",
        "tries",
        "waits",
        "wall_s",
        "within",
    )

    def __init__(self, call: Call, now_s: float, wall_s: float) -> None:
        self.call = call
        self.started_s = now_s
        self.wall_s = wall_s
        self.parent: TraceContext | None = read_context(call.meta) if call.meta else None
        self.trace_id = f"{random.getrandbits(128) or 1:032x}" if self.parent is None else self.parent.trace
        """The caller's (W3C trace context), or a new one."""
        self.span = new_span()
        self.traced = False
        """Whether spans may be made of it."""
        self.sampled = False
        """Whether they are made in any case, and servers are told so."""
        self.tries: list[Attempt] = []
        self.waits: list[Wait] | None = None
        self.branches: list[Record] | None = None
        """Of a call to several servers at once: the record of each that was asked, which counts apart."""
        self.within: list[Record] | None = None
        """What it is made of, where several servers are asked at once, counted apart or not: with this one's trace."""
        self.links: list[Origin] | None = None
        self.input_wait_s: float | None = None
        """How long its caller took to answer what was asked, before it began."""
        self.server: str | None = None
        self.tool: str | None = None
        self.attempts = 0
        self.replica = 0
        self.end: End = "error"
        self.code: int | None = None
        self.failed_as: str | None = None
        """What went wrong, as `error.type` has it; None if nothing did."""
        self.reply_bytes = 0
        self.decision: Decided = "allow"
        self.rule: str | None = None
        """The rule or limit that decided."""
        self.intent = 0
        """The number under which the audit record has that it would be made."""
        self.intents: tuple[int, ...] = ()
        """All such numbers, where it was sent to one server after another."""
        self.part: Part = ""
        """What it is beside itself; each call counts once."""
        self.metered = 0
        """Under which number its use was counted; 0: not yet, or never."""
        self.price: Price | None = None
        self.cost = 0
        """What it costs at that price, in `PARTS`."""
        self.arm: tuple[str, str] | None = None
        """Of an experiment: the logical tool's key, and the bound tool that was chosen."""
        self.arm_s = now_s
        """When that one was asked, in monotonic seconds."""
        self.lease: Lease | None = None
        """What its limits want back at the end."""
        self.notices: list[str] | None = None
        """What its caller should know beside the result."""
        self.guards: list[Act] | None = None
        """What guards did."""
        self.duration_s = 0.0

    @property
    def is_refused(self) -> bool:
        """Whether it was wrong or not allowed, and did not run: one whose result a guard keeps did."""
        return self.end == "refused" and self.decision != "withheld"

    def replied(self, reply: Reply) -> None:
        """The server answered."""
        if isinstance(reply, Failure):
            self.end, self.code, self.failed_as = "error", reply.code, str(reply.code)
        else:
            self.reply_bytes = memoryview(reply.raw).nbytes
            self.end = "refused" if self.decision == "invalid" else "tool_error" if reply.failed else "ok"
            if reply.failed:
                self.failed_as = TOOL_ERROR
            if reply.kind == INPUT_REQUIRED:
                self.part = self.part or "asked"

    def failed(self, error: CallError) -> None:
        """The hub had to answer itself."""
        self.end = "refused" if error.fault in ("caller", "policy") else "error"
        self.code = error.code
        self.failed_as = kind_of(error)
        if error.outcome == "not_sent":
            self.part = self.part or "unsent"
        if error.fault == "policy" or self.end == "refused":
            self.decision = _DECIDED.get(type(error), self.decision)
            if isinstance(error, RateLimited):
                self.rule = error.limit
            elif isinstance(error, Forbidden):
                self.rule = error.rule

    def notice(self, text: str) -> None:
        """Have the caller told something beside the result."""
        if self.notices is None:
            self.notices = []
        self.notices.append(text)

    def guarded(self, guard: str, did: Did, where: str = "", found: Mapping[str, int] = MappingProxyType({})) -> None:
        """Note what a guard did. What it did before in the same way counts together."""
        if self.guards is None:
            self.guards = []
        for act in self.guards:
            if (act.guard, act.did, act.where) == (guard, did, where):
                act.found = {name: act.found.get(name, 0) + found.get(name, 0) for name in {**act.found, **found}}
                return
        self.guards.append(Act(guard, did, where, dict(found)))

    def cancelled(self) -> None:
        """The agent gave up, or went away."""
        self.end = self.failed_as = "cancelled"
        if not self.attempts:
            self.part = self.part or "unsent"

    # -- what spans are made of

    def attempt(self, server: Server, replica: int, now_s: float) -> Attempt:
        """Begin an attempt, and say what its server is told of the trace."""
        span = new_span()
        told = write_parent(self.trace_id, span, sampled=self.sampled) if self.traced else None
        attempt = Attempt(server, replica, now_s, span, told)
        if len(self.tries) < TRIES_MAX:
            self.tries.append(attempt)
        return attempt

    def branch(self, call: Call, now_s: float) -> "Record":
        """The record of a part of the call, which is asked of one server beside others."""
        part = Record(call, now_s, self.wall_s + now_s - self.started_s)
        part.trace_id, part.traced, part.sampled = self.trace_id, self.traced, self.sampled
        if self.within is None:
            self.within = []
        self.within.append(part)
        return part

    def copied_from(self, original: "Record") -> None:
        """This is a copy of a call, with a trace of its own: they only point at each other."""
        self.trace_id, self.parent = f"{random.getrandbits(128) or 1:032x}", None
        self.sampled = original.sampled
        self.link(original.trace_id, f"{original.span:016x}")

    def goes_on_from(self, asked: Origin, after_s: float) -> None:
        """An earlier call was answered with questions; this one brings the answers, so many seconds after."""
        self.link(*asked)
        self.input_wait_s = max(0.0, after_s)

    def link(self, trace: str, span: str) -> None:
        """It has to do with a span elsewhere, which is not its parent."""
        if self.links is None:
            self.links = []
        self.links.append((trace, span))

    def waited(
        self,
        what: Waited,
        from_s: float,
        until_s: float,
        failed: str | None = None,
        facts: dict[str, str] | None = None,
    ) -> None:
        """Something took its time, or ended the call."""
        if self.waits is None:
            self.waits = []
        if len(self.waits) < WAITS_MAX:
            self.waits.append(Wait(what, from_s, until_s, failed, facts or {}))


class Head(Protocol):
    """Decides at the beginning of a call whether spans are made of it, whatever comes of it."""

    def open(self, record: Record) -> None:
        """Set `traced` and `sampled`."""
        ...


Sink = Callable[[Record], None]
"""Takes a closed record; must not block or raise."""


class Records:
    """Opens records and hands the closed ones to every sink."""

    def __init__(self, sinks: Sequence[Sink], clock: Clock | None = None, head: Head | None = None) -> None:
        self._sinks = tuple(sinks)
        self._head = head
        self._clock = clock or SystemClock()
        self.now = self._clock.monotonic
        self.wall = self._clock.wall
        self.in_flight = 0
        self.opened = 0
        """Calls since the start."""

    def open(self, call: Call) -> Record:
        """Begin the record of a call."""
        self.in_flight += 1
        self.opened += 1
        record = Record(call, self.now(), self._clock.wall())
        if self._head is not None:
            self._head.open(record)
        return record

    def time(self, record: Record) -> None:
        """How long a call took that ends now."""
        record.duration_s = self.now() - record.started_s

    def close(self, record: Record) -> None:
        """The call ended: hand its record on."""
        self.in_flight -= 1
        if not record.metered:
            self.time(record)
        for sink in self._sinks:
            sink(record)
