"""How tasks read in either era: the extension of 2026-07-28, and the experimental tasks of 2025-11-25.

Source: the tasks extension (SEP-2663); specification 2025-11-25, basic/utilities/tasks.
"""

import datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from ..model.call import Result
from ..model.task import TASK, TaskState
from .jsonrpc import raw, read_object

_encode = msgspec.json.Encoder().encode
POLL_MS: Final = 1000
"""How often an agent may ask for a task, as it is told."""


def created(state: TaskState) -> Result:
    """The result that hands out a task."""
    return Result(raw({"resultType": TASK, **_modern(state)}), TASK)


def detailed(state: TaskState) -> dict[str, Any]:
    """A task with what its status brings along, for `tasks/get` and `notifications/tasks`."""
    told = _modern(state)
    if state.status == "completed":
        told["result"] = state.result
    elif state.status == "failed":
        told["error"] = state.error
    elif state.status == "input_required":
        told["inputRequests"] = state.questions
    return told


def legacy(state: TaskState) -> dict[str, Any]:
    """A task as 2025-11-25 puts it: without its outcome, which is asked for apart."""
    told = _modern(state)
    told["ttl"], told["pollInterval"] = told.pop("ttlMs"), told.pop("pollIntervalMs")
    result = {} if state.result is UNSET else read_object(state.result) or {}
    if result.get("isError") == Raw(b"true"):
        told["status"] = "failed"  # in that revision a tool that failed is a task that failed
    return told


def _modern(state: TaskState) -> dict[str, Any]:
    told: dict[str, Any] = {
        "taskId": state.id,
        "status": state.status,
        "createdAt": _time(state.created_s),
        "lastUpdatedAt": _time(state.updated_s),
        "ttlMs": round(state.ttl_s * 1000),
        "pollIntervalMs": POLL_MS,
    }
    if state.message is not None:
        told["statusMessage"] = state.message
    return told


def _time(wall_s: float) -> str:
    moment = datetime.datetime.fromtimestamp(wall_s, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
