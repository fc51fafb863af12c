"""Have a server answer: which of its replicas and links, under which state, and what its reply means for the caller."""

import random
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import structs

from ..catalog.view import chosen
from ..model import meta
from ..model.attempt import SHORT_S, Waited, kind_of
from ..model.call import INPUT_REQUIRED, Call, Notify, Reply, Result
from ..model.errors import CallError, NeedsAccount
from ..model.limits import INPUT_WAIT_S
from ..model.task import TASK
from ..observe.record import Record
from ..routing.plan import plan
from ..upstream.parking import no_longer_awaited
from ..upstream.server import Upstream
from . import affinity, inputs
from .accounts import opened, to_connect
from .deliver import deliver
from .guarded import guarding
from .meant import chosen_before
from .own_questions import NOTHING, asking, with_answers
from .resolve import RESOLVE, Target
from .task_refs import publish_created
from .told import with_meta

if TYPE_CHECKING:
    from .call import Gateway

_T = TypeVar("_T")
_ONLY: Final = (0,)


async def ask(
    gateway: "Gateway",
    target: Target,
    call: Call,
    notify: Notify | None,
    record: Record,
    replica: int | None = None,
    *,
    is_admitted: bool = False,
) -> Reply:
    """The server's reply in the caller's names, if it may be asked: by a replica of the plan's, or by that one alone.

    Errors: any `CallError`.
    """
    if not is_admitted:
        objection = _judged(gateway, target, call, record)
        if objection is not None:
            return objection
    answered = NOTHING
    if call.state is not None:
        call, answered = with_answers(call, target.alias, gateway.seal, gateway.wall())
        if answered:
            target = structs.replace(target, request=structs.replace(target.request, answers=None))
            await opened(gateway, target.binding.server, call, answered)
    guarded = guarding(gateway, target, call, record) if gateway.current.snapshot.guards else None
    if guarded is not None:
        passed = await _timed(gateway, record, "guard", guarded.before(answered))
        if isinstance(passed, Result):
            return passed
        target, notify = passed, guarded.hearing(notify)
    if not is_admitted and (written := gateway.gate.intent(record)) is not None:
        await _timed(gateway, record, "audit", written)
    upstream = gateway.upstreams.get(target.binding.server.key)
    attempts = _planned(upstream, target, call) if replica is None else (replica,)
    request, handle, plain = target.request, None, call
    if meta.SESSION in call.meta:
        call, handle = affinity.in_session(upstream, call, gateway.seal)
        request = structs.replace(request, meta=call.meta)
    partition = affinity.partition_of(upstream, call)
    if partition and len(attempts) > 1:
        attempts = affinity.steady(attempts, [one.usable for one in upstream.readings()], partition)
    if call.state is not None:
        held = inputs.open_state(call, call.state, target.alias, gateway.seal, gateway.wall())
        if held.asked is not None:
            record.goes_on_from(held.asked, gateway.wall() - (held.until_s - INPUT_WAIT_S))
        if held.parked and held.state not in gateway.upstreams.parking:
            raise no_longer_awaited()
        request = structs.replace(request, state=held.state)
        if held.replica < len(upstream.replicas):
            attempts = (held.replica, *(one for one in attempts if one != held.replica))
    try:
        reply = await deliver(gateway, upstream, attempts, partition, target.binding, request, call, notify, record)
    except NeedsAccount as needed:
        return to_connect(gateway, upstream.server, plain, answered, needed)
    if guarded is not None:
        reply = await _timed(gateway, record, "guard", guarded.after(reply))
    if isinstance(reply, Result) and reply.kind == INPUT_REQUIRED:
        reply = _with_questions(gateway, reply, call, target.alias, record)
    elif isinstance(reply, Result) and reply.kind == TASK:
        reply = publish_created(reply, target.binding, record.replica, call.principal, gateway.seal)
    else:
        reply = target.publish(reply)
    return reply if handle is None else with_meta(reply, meta.SESSION, handle)


def _judged(gateway: "Gateway", target: Target, call: Call, record: Record) -> Result | None:
    """What the gate says; a refusal, and a decision that takes long, are noted. Errors: as the gate's."""
    now = gateway.records.now
    began_s = now()
    try:
        objection = gateway.gate.admit(target, call, record)
    except CallError as error:
        record.waited("policy", began_s, now(), kind_of(error))
        raise
    if objection is not None or now() - began_s > SHORT_S:
        record.waited("policy", began_s, now(), None if objection is None else "invalid")
    return objection


async def _timed(gateway: "Gateway", record: Record, what: Waited, work: Awaitable[_T]) -> _T:
    """Something beside the servers that a call waits for: noted if it takes long, or ends the call."""
    now = gateway.records.now
    began_s = now()
    try:
        done = await work
    except CallError as error:
        record.waited(what, began_s, now(), kind_of(error))
        raise
    if now() - began_s > SHORT_S:
        record.waited(what, began_s, now())
    return done


def _planned(upstream: Upstream, target: Target, call: Call) -> Sequence[int]:
    """The replicas to try, in order."""
    if len(upstream.replicas) == 1:
        return _ONLY
    balance = upstream.server.balance
    key = affinity.hash_key(upstream.server.hash_by, target.request, call) if balance == "hash" else b""
    return plan(upstream.readings(), balance, upstream.turn(), upstream.weights, random.random(), key)


def _with_questions(gateway: "Gateway", reply: Result, call: Call, alias: str, record: Record) -> Result:
    """The server's questions as the caller gets them. What can't be asked of it is given up at the server, too."""
    state = inputs.state_of(reply)
    parked = state in gateway.upstreams.parking
    try:
        return inputs.seal_questions(reply, call, alias, record, gateway.seal, gateway.wall(), parked=parked)
    except CallError:
        if state is not None and parked:
            gateway.upstreams.parking.abandon(state)
        raise


def abandon(gateway: "Gateway", call: Call) -> None:
    """End a call that waits for input which will not come."""
    view = gateway.current.snapshot.view(call.endpoint, call.principal)
    resolve = RESOLVE.get(call.method)
    if view is not None and resolve is not None and call.state is not None:
        with suppress(CallError):
            if call.name in view.meta_tools:
                call = chosen_before(call, gateway.seal)
            binding = resolve(view, call).binding
            if (logical := binding.logical) is not None:
                binding = chosen(logical, logical.choices[asking(logical, call, gateway.seal)])
            held = inputs.open_state(call, call.state or "", binding.alias, gateway.seal, gateway.wall())
            if held.state is not None:
                gateway.upstreams.parking.abandon(held.state)
