"""A task: the durable handle of a call that takes longer than its caller waits. Era-free."""

from typing import Literal

from msgspec import UNSET, Raw, Struct, UnsetType

TASKS_EXTENSION = "io.modelcontextprotocol/tasks"
TASK = "task"
"""The `resultType` of a result that is a handle."""

TaskStatus = Literal["working", "input_required", "completed", "failed", "cancelled"]
OVER: frozenset[TaskStatus] = frozenset({"completed", "failed", "cancelled"})


class TaskError(Struct, frozen=True):
    """The JSON-RPC error that a task failed with."""

    code: int
    message: str
    data: Raw | UnsetType = UNSET


class TaskState(Struct, frozen=True):
    """A task at one moment, as it is kept in the state store. Times are wall seconds."""

    id: str
    owner: str
    status: TaskStatus
    created_s: float
    updated_s: float
    ttl_s: float
    message: str | None = None
    result: Raw | UnsetType = UNSET
    error: TaskError | None = None
    questions: Raw | UnsetType = UNSET


class TaskRef(Struct, frozen=True, array_like=True):
    """What a public task id holds, sealed: whose task it is and its id there. The hub's own have no alias."""

    alias: str
    replica: int
    own: str
    tool: str = ""
    """The server's own name of the tool that runs as it: who may not call that may not ask for its task."""
