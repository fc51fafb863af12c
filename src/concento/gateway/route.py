"""Have one of several servers answer: those that a logical tool is bound to, in the order that its strategy says.

Each is asked as if the caller had named its tool: policy, limits, arguments and the audit record look at every one.
"""

from collections.abc import Awaitable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from ..catalog.logical import Choice
from ..catalog.view import TenantView, chosen
from ..model import meta
from ..model.call import INPUT_REQUIRED, Call, Notify, Reply, Result
from ..model.config import owned
from ..model.errors import CallError
from ..model.logical import Sticky
from ..observe.record import Record
from ..routing.order import may_follow, only, order, share_of
from .ask import ask
from .budget import is_repeatable
from .own_questions import asking
from .planned import candidates_of
from .resolve import Target, tool_target
from .told import with_meta

if TYPE_CHECKING:
    from .call import Gateway

_TRUE: Final = Raw(b"true")
_SHOWN_CHARS: Final = 256
_TOLD: Final = ("tool", "well", "order", "why")
LAST_ARMS_MAX: Final = 10_000


async def one_of(
    gateway: "Gateway", view: TenantView, target: Target, call: Call, notify: Notify | None, record: Record
) -> Reply:
    """The reply of the first server that gives one.

    Errors: any `CallError`: of the last that was asked, or of one that may have run the call.
    """
    logical = target.binding.logical
    assert logical is not None
    choices = logical.choices
    tool = logical.tool
    key = owned(tool.tenant, tool.name)
    before = _candidates(gateway, target, call) if _is_told(call) else None
    turn = gateway.turns[key] = gateway.turns.get(key, -1) + 1
    if call.state is None:
        share, weights = 0.0, logical.weights
        if tool.strategy == "split":
            share = share_of(key, _whose(call, tool.sticky))
            if (promoted := gateway.promotions.place(key, logical)) is not None:
                weights = only(promoted, weights)
        well = partial(_is_well, gateway, choices)
        places = order(logical.groups, weights, well, tool.strategy, turn, share)
    else:
        places = iter((asking(logical, call, gateway.seal),))
    failed: CallError | None = None
    repeated = 0
    asked: list[dict[str, Any]] = []
    try:
        for place in places:
            wanted = target if place == 0 else tool_target(view, call, chosen(logical, choices[place]))
            binding = wanted.binding
            if failed is not None and failed.outcome == "unknown":
                if not await gateway.budget.take():
                    break
                repeated += 1
            if tool.strategy == "split":
                record.arm, record.arm_s = (key, f"{binding.alias}.{binding.own}"), gateway.records.now()
            try:
                reply = await ask(gateway, wanted, call, notify, record)
                if isinstance(reply, Result) and reply.kind == INPUT_REQUIRED:
                    record.arm = None  # it counts once it is answered
                elif tool.feedback:
                    _keep_arm(gateway, call, tool.name, record.arm)
                if before is not None:
                    asked.append({"tool": f"{binding.alias}.{binding.own}", "outcome": "answered"})
                    route = {"strategy": tool.strategy, "candidates": before, "asked": asked}
                    reply = with_meta(reply, meta.ROUTE, route)
                return reply
            except CallError as error:
                told = {"outcome": error.outcome, "code": error.code, "message": error.message[:_SHOWN_CHARS]}
                asked.append({"tool": f"{binding.alias}.{binding.own}", **told})
                if not may_follow(error, tool.repeatable or is_repeatable(binding)):
                    raise
                if record.arm is not None and error.fault == "upstream":
                    gateway.arm_failed(record.arm, gateway.records.now() - record.arm_s)
                record.arm = None
                failed = failed if failed is not None and failed.outcome == "unknown" else error
    finally:
        if repeated:
            gateway.budget.leave(repeated)
    assert failed is not None
    raise failed


async def with_route(gateway: "Gateway", target: Target, call: Call, reply: Awaitable[Reply]) -> Reply:
    """The reply of several servers, for a caller that wants to know it with how they were before they were asked."""
    if not _is_told(call):
        return await reply
    before = _candidates(gateway, target, call)
    logical = target.binding.logical
    assert logical is not None
    return with_meta(await reply, meta.ROUTE, {"strategy": logical.tool.strategy, "candidates": before})


def _is_told(call: Call) -> bool:
    """Whether a caller wants to know how its call is routed."""
    return meta.ROUTE in call.meta and call.meta[meta.ROUTE] == _TRUE


def _candidates(gateway: "Gateway", target: Target, call: Call) -> list[dict[str, Any]]:
    """How it looked before anybody was asked, of what this caller may use: no more of a server than whether it is well,
    since others use it, too, and nothing of what the operator adds to arguments."""
    reach = gateway.current.snapshot.reach(call.principal)
    logical = target.binding.logical
    whose = None if logical is None else _whose(call, logical.tool.sticky)
    found = candidates_of(gateway, target.binding, reach, call.principal, None, whose)
    return [{name: one[name] for name in _TOLD} for one in found if one["visible"]]


def _keep_arm(gateway: "Gateway", call: Call, name: str, arm: tuple[str, str] | None) -> None:
    """Keep whose result a caller may judge: its last one."""
    if arm is None:
        return
    while len(gateway.last_arms) >= LAST_ARMS_MAX:
        del gateway.last_arms[next(iter(gateway.last_arms))]
    gateway.last_arms[call.principal.owner_key, name] = arm


def _whose(call: Call, sticky: Sticky) -> str:
    """Whose calls keep to one arm of an experiment."""
    if sticky == "tenant":
        return call.principal.tenant
    if sticky == "session" and call.session is not None:
        return call.session
    return call.principal.owner_key


def _is_well(gateway: "Gateway", choices: Sequence[Choice], place: int) -> bool:
    return gateway.upstreams.is_well(choices[place].server.key)
