"""Copies of calls to other servers, whose results are compared and thrown away: to see how a server would do.

The caller waits for the first bound tool alone. Copies are calls: policy, limits and the audit record hold for each. So
that they never become the load, a bounded number is under way at a time; the rest is not sent, and counted.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec import structs

from ..catalog.logical import Choice, Logical
from ..catalog.view import TenantView, chosen
from ..model.call import NO_ABILITIES, Call, Notify, Reply, Result
from ..model.config import owned
from ..model.errors import CallError
from ..observe.record import Record
from ..routing.compare import is_alike
from ..upstream.tasks import Tasks
from .ask import ask
from .resolve import Target, tool_target

if TYPE_CHECKING:
    from .call import Gateway

COPIES_MAX: Final = 64
"""Copies under way at a time."""
AT_ONCE_BYTES: Final = 64 * 1024
"""Of two results together, what is compared without leaving the event loop."""


class Shadows:
    """The copies of a hub that are under way."""

    def __init__(self) -> None:
        self.tasks = Tasks("the copies of calls")
        self.skipped = 0
        """Copies that were not sent, since the start."""

    async def close(self) -> None:
        """Give up those under way."""
        await self.tasks.close()


async def shadowed(
    gateway: "Gateway", view: TenantView, target: Target, call: Call, notify: Notify | None, record: Record
) -> Reply:
    """The first server's reply, or the promoted one's; the others get a copy once it is there.

    Errors: any `CallError`, of the one that the caller waits for.
    """
    logical = target.binding.logical
    assert logical is not None
    key = owned(logical.tool.tenant, logical.tool.name)
    first = gateway.promotions.place(key, logical) or 0
    if first:
        target = tool_target(view, call, chosen(logical, logical.choices[first]))
    record.arm = (key, target.label_of_arm)
    reply = await ask(gateway, target, call, notify, record)
    if isinstance(reply, Result) and reply.kind in (None, "complete") and call.state is None:
        for choice in (*logical.choices[:first], *logical.choices[first + 1 :]):
            if len(gateway.shadows.tasks) < COPIES_MAX:
                gateway.shadows.tasks.start(_copy(gateway, view, logical, choice, call, reply, record))
            else:
                gateway.shadows.skipped += 1
    return reply


async def _is_alike(one: Result, other: Result) -> bool:
    """Whether two results say the same; large ones are read off the event loop."""
    if len(bytes(one.raw)) + len(bytes(other.raw)) > AT_ONCE_BYTES:
        return await asyncio.to_thread(is_alike, one, other)
    return is_alike(one, other)


async def _copy(
    gateway: "Gateway", view: TenantView, logical: Logical, choice: Choice, call: Call, reply: Result, original: Record
) -> None:
    bare = structs.replace(call, profile=NO_ABILITIES)
    record = gateway.records.open(bare)
    record.part = "copy"
    record.copied_from(original)
    key = owned(logical.tool.tenant, logical.tool.name)
    target = None
    try:
        target = tool_target(view, bare, chosen(logical, choice))
        record.arm = (key, target.label_of_arm)
        answered = await ask(gateway, target, bare, None, record)
        record.replied(answered)
        gateway.compared(record.arm, isinstance(answered, Result) and await _is_alike(reply, answered))
    except CallError as error:
        record.failed(error)
        if target is not None and error.fault not in ("caller", "policy"):
            gateway.compared((key, target.label_of_arm), False)
    except asyncio.CancelledError:
        record.cancelled()
        raise
    finally:
        if record.lease is not None:
            record.lease.leave()
        gateway.records.close(record)
