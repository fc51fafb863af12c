"""A tool of a legacy server that only runs as a task: its call looks like any other to whoever made it.

The task is made, and its outcome waited for in the one request that 2025-11-25 has for that; what the server asks
meanwhile comes on the same stream. Source: specification 2025-11-25, basic/utilities/tasks.
"""

import asyncio
from contextlib import suppress
from typing import Final

from msgspec import structs

from ..model.call import INPUT_REQUIRED, Failure, Notify, Reply, Request
from ..model.errors import BadReply, CallError
from ..protocol.jsonrpc import EMPTY_OBJECT, raw, read_object, read_string
from .link import Link
from .parking import Parking
from .rounds import without_task

_TTL_MS: Final = 3_600_000
_CANCEL_WAIT_S: Final = 5.0


async def run_as_task(link: Link, parking: Parking, request: Request, notify: Notify | None) -> Reply:
    """Make a call that has to be a task, and wait for its outcome. Cancelling cancels the task.

    Errors: any `CallError`; BadReply, if the server makes no task of it.
    """
    task = raw({"ttl": _TTL_MS})
    made = await link.request(structs.replace(request, task_only=False, params={**request.params, "task": task}))
    if isinstance(made, Failure):
        return made
    if made.kind == INPUT_REQUIRED:
        parking.abandon(read_string((read_object(made.raw) or {}).get("requestState")) or "")
        raise BadReply("The server asked for input before it made a task of the call, which can't be bridged")
    about = read_object((read_object(made.raw) or {}).get("task", EMPTY_OBJECT)) or {}
    id = read_string(about.get("taskId"))
    if id is None:
        raise BadReply("The server made no task of a call that has to be one", outcome="unknown")
    outcome = structs.replace(request, task_only=False, method="tasks/result", params={"taskId": id}, name=id)
    try:
        return without_task(await link.request(outcome, notify))
    except asyncio.CancelledError:
        with suppress(CallError, TimeoutError):
            cancel = Request("tasks/cancel", {"taskId": id}, {})
            await asyncio.shield(asyncio.wait_for(link.request(cancel), _CANCEL_WAIT_S))
        raise
