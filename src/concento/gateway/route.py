"""Have one of several servers answer: those that a logical tool is bound to, in the order that its strategy says.

Each is asked as if the caller had named its tool: policy, limits, arguments and the audit record look at every one.
"""

from typing import TYPE_CHECKING

from ..catalog.logical import Choice
from ..catalog.view import TenantView, chosen
from ..model.call import Call, Notify, Reply
from ..model.config import owned
from ..model.errors import CallError, Unavailable
from ..observe.record import Record
from ..routing.order import may_follow, order
from . import inputs
from .ask import ask
from .budget import is_repeatable
from .resolve import Target, tool_target

if TYPE_CHECKING:
    from .call import Gateway


async def one_of(
    gateway: "Gateway", view: TenantView, target: Target, call: Call, notify: Notify | None, record: Record
) -> Reply:
    """The reply of the first server that gives one.

    Errors: any `CallError`: of the last that was asked, or of one that may have run the call.
    """
    logical = target.binding.logical
    assert logical is not None
    choices = logical.choices
    key = owned(logical.tool.tenant, logical.tool.name)
    turn = gateway.turns[key] = gateway.turns.get(key, -1) + 1
    if call.state is None:
        weights = [choice.bound.weight for choice in choices]
        places = order(
            logical.groups, weights, lambda place: _is_well(gateway, choices[place]), logical.tool.strategy, turn
        )
    else:
        places = iter((inputs.asking(logical, call, gateway.seal),))
    failed: CallError | None = None
    repeated = 0
    try:
        for place in places:
            binding = chosen(logical, choices[place])
            if failed is not None and failed.outcome == "unknown":
                if not await gateway.budget.take():
                    break
                repeated += 1
            try:
                return await ask(gateway, tool_target(view, call, binding), call, notify, record)
            except CallError as error:
                if not may_follow(error, logical.tool.repeatable or is_repeatable(binding)):
                    raise
                failed = failed if failed is not None and failed.outcome == "unknown" else error
    finally:
        if repeated:
            gateway.budget.leave(repeated)
    assert failed is not None
    raise failed


def _is_well(gateway: "Gateway", choice: Choice) -> bool:
    try:
        return gateway.upstreams.get(choice.server.key).is_well
    except Unavailable:
        return False
