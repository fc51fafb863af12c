"""Serve one modern listen request, on whatever transport carries its messages."""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw

from ..gateway.listen import Listening
from ..gateway.tasks import CallTasks
from ..gateway.watched import TASK_CHANGED, Watched
from ..model import meta
from ..model.call import Call
from ..model.errors import InvalidParams
from ..model.inventory import Kind
from ..protocol.jsonrpc import encode_notification, encode_result, read_object, read_once

_FILTERS: Final[dict[str, Kind]] = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}
_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"


async def serve_listen(
    listening: Listening, tasks: CallTasks, raw_id: bytes, call: Call, send: Callable[[bytes], None]
) -> bytes:
    """Acknowledge, tell of changes until the hub stops, and return the final answer. Cancelling ends it silently.

    The acknowledgement is sent only when every server confirmed, and before any change.
    Errors: InvalidParams.
    """
    wanted = read_once(call.params.get("notifications", Raw(b"")))
    if wanted is None:
        raise InvalidParams("The parameter 'notifications' must be an object")
    kinds = [kind for name, kind in _FILTERS.items() if wanted.get(name) == Raw(b"true")]
    uris = _strings(wanted.get("resourceSubscriptions"))
    task_ids = _strings(wanted.get("taskIds"))
    stamp = {meta.SUBSCRIPTION_ID: Raw(raw_id)}

    def push(method: str, params: Raw) -> None:
        send(encode_notification(method, {**(read_object(params) or {}), "_meta": stamp}))

    held: list[tuple[str, Raw]] = []
    with tasks.gateway.recorded(call):
        stream = listening.open(
            *(call.endpoint, call.principal, kinds, lambda *change: held.append(change), call.address)
        )
    watched = Watched(tasks, call, lambda params: stream.push(TASK_CHANGED, params))
    try:
        honoured: dict[str, object] = {name: True for name, kind in _FILTERS.items() if kind in kinds}
        if uris:
            honoured["resourceSubscriptions"] = await listening.subscribe(stream, uris)
        if task_ids:
            honoured["taskIds"] = watched.begin(task_ids)
        send(encode_notification(_ACKNOWLEDGED, {"notifications": honoured, "_meta": stamp}))
        stream.push = push
        for change in held:
            push(*change)
        await stream.ended.wait()
    finally:
        await watched.close()
        await listening.close(stream)
    ended = b'{"resultType":"complete","_meta":{"%b":%b}}' % (meta.SUBSCRIPTION_ID.encode(), raw_id)
    return encode_result(raw_id, ended)


def _strings(raw: Raw | None) -> list[str]:
    try:
        return [] if raw is None else msgspec.json.decode(raw, type=list[str])
    except msgspec.DecodeError:
        raise InvalidParams("resourceSubscriptions and taskIds must be lists of strings") from None
