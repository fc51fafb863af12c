"""What of a request and of a reply guards look at, and what is left of a message that may not speak. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, structs

from ..catalog.clean import clean_text
from ..model.call import Failure, Reply, Request, Result
from ..model.limits import CONFIRM_CHARS_MAX
from ..model.task import TASK
from ..protocol.jsonrpc import raw, read_object

_encode = msgspec.json.Encoder().encode
SENT: Final = ("arguments", "argument", "context", "inputResponses")
"""Parameters with what callers say; the others name things."""
ABOUT_TASKS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
_OF_A_TASK: Final = ("result", "error", "inputRequests")
_PROGRESS: Final = ("progressToken", "progress", "total")


def sent(request: Request) -> dict[str, Any]:
    """What a caller says to a server, as a webhook gets it."""
    said: dict[str, Any] = {name: request.params[name] for name in SENT if name in request.params}
    if request.answers:
        said["answers"] = {key: told(one) if isinstance(one, Failure) else one for key, one in request.answers.items()}
    elif "inputResponses" in said:
        said["answers"] = said.pop("inputResponses")
    return said


def told(failure: Failure) -> dict[str, Any]:
    """An error, as a webhook gets it."""
    data = {} if failure.data is None else {"data": failure.data}
    return {"error": {"code": failure.code, "message": failure.message, **data}}


def answered(reply: Reply, method: str) -> dict[str, Any] | None:
    """What a server says, as a webhook gets it; None if it says nothing: that a task goes on."""
    if isinstance(reply, Failure):
        return told(reply)
    if reply.kind == TASK:
        return None
    if method not in ABOUT_TASKS:
        return {"result": reply.raw}
    members = read_object(reply.raw) or {}
    said = {name: members[name] for name in _OF_A_TASK if name in members}
    return {"result": said} if said else None


def measured(reply: Reply, method: str) -> tuple[Raw, str | None] | None:
    """What of a reply has a size, and the method whose result it is, if it has types; None if it is no content."""
    if isinstance(reply, Failure):
        return raw(told(reply)), None
    if reply.kind == TASK:
        return None
    if method in ABOUT_TASKS:
        result = (read_object(reply.raw) or {}).get("result")
        return None if result is None else (result, "tools/call")
    return reply.raw, method if reply.kind in (None, "complete") else None


def is_whole(reply: Reply, method: str) -> bool:
    """Whether it is the result of a call: no question, no task, no error."""
    return isinstance(reply, Result) and reply.kind in (None, "complete") and method not in ABOUT_TASKS


def replaced(reply: Reply, by: Raw) -> Result:
    """Another result, of the same era."""
    members: dict[str, Any] = dict(read_object(by) or {})
    kind = reply.kind if isinstance(reply, Result) else None
    failed = bytes(members.get("isError", b"")) == b"true"
    return Result(Raw(_encode({**members, **({} if kind is None else {"resultType": kind})})), kind, failed)


def without_status(reply: Reply) -> Reply:
    """A task without what its server says of its progress."""
    members = read_object(reply.raw) if isinstance(reply, Result) else None
    if not isinstance(reply, Result) or members is None or "statusMessage" not in members:
        return reply
    del members["statusMessage"]
    return structs.replace(reply, raw=Raw(_encode(members)))


def without_text(method: str, params: Raw) -> Raw | None:
    """A message that may not speak: progress goes on, without a text; of others nothing is left."""
    members = read_object(params)
    if method != "notifications/progress" or members is None:
        return None
    return raw({name: members[name] for name in _PROGRESS if name in members})


def shown(arguments: Raw | str | None) -> str:
    """Arguments for the eyes of whoever confirms a call: on one line, without hidden characters, and not too long."""
    try:
        value = json.loads(bytes(arguments)) if isinstance(arguments, Raw) else {}
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return "arguments that can't be shown"
    text = "".join(one if one.isprintable() else " " for one in clean_text(text))
    left = len(text) - CONFIRM_CHARS_MAX
    return text if left <= 0 else f"{text[:CONFIRM_CHARS_MAX]}… and {left:,} characters more"


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether any value is another."""
    return any(after[name] is not value for name, value in before.items())
