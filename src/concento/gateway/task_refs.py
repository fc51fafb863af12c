"""The ids of tasks as agents know them, and servers' own tasks as their owners get them.

An id is sealed: only its owner's requests open it, and it says whose task it is. So nothing has to be kept of servers'
own tasks. Source: the tasks extension (SEP-2663); hardening T5, T6.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw

from ..catalog.rewrite import publish_result
from ..catalog.view import Binding, TenantView
from ..model.call import Call, Result
from ..model.errors import BadReply, InvalidParams, MissingCapability
from ..model.principal import Principal
from ..model.seal import Seal
from ..model.task import TASK, TASKS_EXTENSION, TaskRef
from ..protocol.jsonrpc import raw, read_object, read_string
from .inputs import checked

_encode = msgspec.json.Encoder().encode
_ref = msgspec.json.Decoder(TaskRef)

ABOUT_TASKS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})


def seal_ref(ref: TaskRef, principal: Principal, seal: Seal) -> str:
    """The id under which an agent knows a task."""
    return seal.close(_encode(ref), _context(principal))


def open_ref(call: Call, seal: Seal) -> TaskRef:
    """Whose task a call names. Errors: MissingCapability; InvalidParams, for what is not this caller's."""
    if not call.profile.tasks:
        raise missing_tasks()
    ref = find_ref(call.name or "", call.principal, seal)
    if ref is None:
        raise unknown_task()
    return ref


def find_ref(id: str, principal: Principal, seal: Seal) -> TaskRef | None:
    """Whose task an id is; None if it is not this principal's."""
    opened = seal.open(id, _context(principal))
    return None if opened is None else _ref.decode(opened)


def missing_tasks() -> MissingCapability:
    """How a request about tasks is answered whose caller did not declare them."""
    needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {TASKS_EXTENSION: {}}}}
    return MissingCapability(f"This needs the client capability {TASKS_EXTENSION}", data=needed)


def unknown_task() -> InvalidParams:
    """How a request about a task is answered that is not there, or not this caller's."""
    return InvalidParams("There is no such task: its time is up, or it never was this caller's")


def _context(principal: Principal) -> bytes:
    return _encode(("task", principal.owner_key))


def publish_created(reply: Result, binding: Binding, replica: int, principal: Principal, seal: Seal) -> Result:
    """A server's handle as its owner gets it. Errors: BadReply."""
    members: dict[str, Any] = dict(read_object(reply.raw) or {})
    own = read_string(members.get("taskId"))
    if not own:
        raise BadReply(f"The server {binding.alias!r} made a task without an id", outcome="failed")
    members["taskId"] = seal_ref(TaskRef(binding.alias, replica, own, binding.own), principal, seal)
    return Result(raw(members), TASK)


def publish_detailed(reply: Result, call: Call, alias: str, view: TenantView) -> Result:
    """A server's answer about a task as its owner gets it: the id it knows, its outcome with public URIs, and only
    questions that it can be asked. Errors: BadReply."""
    members: dict[str, Any] = dict(read_object(reply.raw) or {})
    if "taskId" in members:
        members["taskId"] = call.name
    if "result" in members and view.endpoint.kind != "server":
        members["result"] = Raw(publish_result("tools/call", members["result"], alias))
    if "inputRequests" in members:
        questions = read_object(members["inputRequests"]) or {}
        members["inputRequests"] = {key: checked(question, call, alias) for key, question in questions.items()}
    return Result(raw(members), reply.kind, reply.failed)
