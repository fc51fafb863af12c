"""Carry out a plan: one attempt after the other, until one may not be followed by another.

An attempt is followed by the next only if nothing of it was sent, the method only reads, or the tool may run twice.
Source: hardening R2, R12.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Raw, structs

from ..catalog.view import Binding
from ..model import limits
from ..model.attempt import CURRENT
from ..model.call import INPUT_REQUIRED, Call, Notify, Reply, Request, Result
from ..model.errors import BadReply, CallError, TimedOut
from ..model.extensions import SKILLS_METHODS
from ..model.task import TASK
from ..observe.record import Record
from ..protocol.trace_context import shown
from ..upstream.server import Upstream
from .budget import is_repeatable

if TYPE_CHECKING:
    from .call import Gateway

_NOTHING: Final = Raw(b"{}")

READS: Final = frozenset({"prompts/get", "resources/read", "completion/complete"}) | SKILLS_METHODS
"""Methods that change nothing, so that asking twice is safe."""


async def deliver(
    gateway: "Gateway",
    upstream: Upstream,
    attempts: Sequence[int],
    partition: str,
    binding: Binding,
    request: Request,
    call: Call,
    notify: Notify | None,
    record: Record,
) -> Reply:
    """Ask the replicas in order and return the first reply.

    Units: the server's `timeout_s` from the last sign of progress, `CALL_MAX_S` in all, over all attempts.
    Errors: the last attempt's `CallError`; TimedOut with outcome `unknown` once something was sent.
    """
    deadlines, patience = gateway.deadlines, call.patience
    timeout_s = upstream.server.timeout_s
    if patience is not None and patience.granted_s is not None:
        timeout_s = patience.granted_s
    deadline = deadlines.within(timeout_s)
    latest_s = deadline.at_s - timeout_s + max(limits.CALL_MAX_S, timeout_s)

    def hand_on(method: str, params: Raw) -> None:
        deadline.at_s = min(deadlines.now() + timeout_s, latest_s)
        if notify is not None:
            notify(method, params)

    if patience is not None:

        def granted(seconds: float) -> None:
            nonlocal timeout_s, latest_s
            timeout_s = seconds
            deadline.at_s = latest_s = deadlines.now() + seconds

        patience.on_grant = granted
    if notify is not None and call.session is not None:
        deadline.on_slow = lambda: notify("", _NOTHING)
    about = shown(request.meta, record.parent, gateway.current.snapshot.config.baggage)
    if about is not request.meta:
        request = structs.replace(request, meta=about)
    repeated = 0
    try:
        with deadline:
            for number, replica in enumerate(attempts, start=1):
                record.attempts, record.replica = record.attempts + 1, replica
                attempt = record.attempt(upstream.server, replica, deadlines.now())
                CURRENT.set(attempt)
                sent = structs.replace(request, attempt=attempt)
                try:
                    reply = _checked(upstream, call, await upstream.request(replica, partition, sent, hand_on))
                    attempt.replied(reply, deadlines.now())
                    return reply
                except CallError as error:
                    attempt.ended(error, deadlines.now())
                    if error.fault == "caller":
                        raise
                    again = error.outcome == "not_sent" or (
                        error.outcome == "unknown" and _may_repeat(request, binding)
                    )
                    if not again or number == len(attempts):
                        raise
                    if error.outcome == "unknown":
                        if not await gateway.budget.take():
                            raise
                        repeated += 1
            raise AssertionError("a plan has at least one attempt")
    except TimeoutError:
        upstream.failed(record.replica)
        late = TimedOut(f"The server {upstream.server.alias!r} did not answer within {timeout_s:g} s")
        if record.tries and record.tries[-1].ended_s is None:
            record.tries[-1].ended(late, deadlines.now())
        raise late from None
    finally:
        if repeated:
            gateway.budget.leave(repeated)


def _may_repeat(request: Request, binding: Binding) -> bool:
    """Whether a call that may have run may be made again; one that goes on after a question never."""
    if request.method in READS:
        return True
    return request.method == "tools/call" and request.state is None and is_repeatable(binding)


def _checked(upstream: Upstream, call: Call, reply: Reply) -> Reply:
    if isinstance(reply, Result) and reply.kind not in (None, "complete", INPUT_REQUIRED):
        if reply.kind == TASK and call.profile.tasks and call.method == "tools/call":
            return reply
        told = f"The server {upstream.server.alias!r} answered with the result type {reply.kind!r}"
        raise BadReply(f"{told}, which the caller did not declare", outcome="failed")
    return reply
