"""Tasks as agents of 2025-11-25 know them: asked for by the call itself, their outcome fetched apart.

They are the hub's own, whatever server the call goes to. Source: specification 2025-11-25, basic/utilities/tasks.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType, structs

from ..gateway.call import Gateway
from ..model import meta
from ..model.call import Call, Failure, Reply, Result
from ..model.errors import InvalidParams
from ..model.principal import Principal
from ..model.task import TASKS_EXTENSION, TaskState
from ..protocol import legacy
from ..protocol import tasks as wire
from ..protocol.capabilities import with_tasks
from ..protocol.jsonrpc import EMPTY_OBJECT, Message, read_object, read_string
from .asking import Asking, Send

_encode = msgspec.json.Encoder().encode


class SessionTasks:
    """The tasks that one session's requests are about."""

    def __init__(self, gateway: Gateway, principal: Principal, asking: Asking) -> None:
        self._tasks = gateway.tasks
        self._principal = principal
        self._asking = asking

    async def begin(self, call: Call, wanted: Raw) -> bytes:
        """Make a call as a task. Errors: InvalidParams, Overloaded."""
        try:
            ttl_ms = msgspec.json.decode(wanted, type=_Wanted).ttl
        except msgspec.DecodeError:
            raise InvalidParams("The parameter 'task' must be an object, and its 'ttl' a number") from None
        state = await self._tasks.start(call, None if ttl_ms is None else ttl_ms / 1000)
        return _encode({"task": wire.legacy(state)})

    async def get(self, message: Message, _: Send | None) -> bytes:
        """How a task is."""
        return _encode(wire.legacy(await self._tasks.get(_id(message), self._principal)))

    async def list(self, message: Message, _: Send | None) -> bytes:
        """All tasks of this agent's that are kept."""
        return _encode({"tasks": [wire.legacy(state) for state in await self._tasks.list(self._principal)]})

    async def cancel(self, message: Message, _: Send | None) -> bytes:
        """End a task. Errors: InvalidParams, if it is over."""
        state = await self._tasks.get(_id(message), self._principal)
        if state.status not in ("working", "input_required"):
            raise InvalidParams(f"The task is {state.status} already")
        await self._tasks.cancel(state.id, self._principal)
        return _encode(wire.legacy(await self._tasks.settled(state.id, self._principal)))

    async def result(self, message: Message, send: Send | None) -> bytes | Failure:
        """The outcome of a task, waited for; what its server asks meanwhile is asked on this request's stream."""
        state = await self._awaited(_id(message), send)
        return _outcome(state)

    async def through(self, call: Call, send: Send | None) -> Result | Failure:
        """The plain answer to a call that its server runs as a task only: the hub takes the task and waits for it."""
        state = await self._tasks.start(structs.replace(call, profile=with_tasks(call.profile)))
        try:
            state = await self._awaited(state.id, send)
        except BaseException:
            await self._tasks.cancel(state.id, self._principal)
            raise
        if state.error is not None:
            return Failure(state.error.code, state.error.message, _or_none(state.error.data))
        if state.result is UNSET:
            return Failure(_INTERNAL_ERROR, f"{call.name}: the task of this call was cancelled")
        return Result(state.result, "complete")

    async def _awaited(self, id: str, send: Send | None) -> TaskState:
        while (state := await self._tasks.result(id, self._principal)).status == "input_required":
            questions = read_object(EMPTY_OBJECT if state.questions is UNSET else state.questions) or {}
            await self._tasks.update(id, self._principal, await self._asking.ask_all(questions, [], send))
        return state


def wants_task(reply: Reply) -> bool:
    """Whether a server refused a call since its caller takes no tasks."""
    if not isinstance(reply, Failure) or reply.code != _MISSING_CAPABILITY or reply.data is None:
        return False
    return TASKS_EXTENSION.encode() in bytes(reply.data)


_MISSING_CAPABILITY: Final = -32021
_INTERNAL_ERROR: Final = -32603


def _or_none(data: Raw | UnsetType) -> Raw | None:
    return None if data is UNSET else data


def _outcome(state: TaskState) -> bytes | Failure:
    if state.status == "completed":
        result = Result(EMPTY_OBJECT if state.result is UNSET else state.result, "complete")
        members: dict[str, Any] = dict(read_object(legacy.render(result)) or {})
        about = read_object(members.get("_meta", EMPTY_OBJECT)) or {}
        return _encode({**members, "_meta": {**about, meta.RELATED_TASK: {"taskId": state.id}}})
    if state.error is not None:
        return Failure(state.error.code, state.error.message, _or_none(state.error.data))
    raise InvalidParams("The task was cancelled")


def _id(message: Message) -> str:
    id = read_string(message.params.get("taskId"))
    if id is None:
        raise InvalidParams("The parameter 'taskId' must be a string")
    return id


class _Wanted(msgspec.Struct):
    ttl: float | None = None


ABOUT_TASKS: Final[Mapping[str, Callable[[SessionTasks, Message, Send | None], Awaitable[bytes | Failure]]]] = {
    "tasks/get": SessionTasks.get,
    "tasks/list": SessionTasks.list,
    "tasks/cancel": SessionTasks.cancel,
    "tasks/result": SessionTasks.result,
}
