"""What the hub tells a caller beside a server's result, in its `_meta`."""

from typing import Any, Final

import msgspec
from msgspec import Raw, structs

from ..model.call import Reply, Result
from ..protocol.jsonrpc import EMPTY_OBJECT, raw, read_object

_encode: Final = msgspec.json.Encoder().encode


def with_meta(reply: Reply, key: str, value: Any) -> Reply:
    """A result with one member more in its `_meta`. An error stays as it is."""
    if not isinstance(reply, Result):
        return reply
    members: dict[str, Any] = dict(read_object(reply.raw) or {})
    about = read_object(members.get("_meta", EMPTY_OBJECT)) or {}
    members["_meta"] = {**about, key: raw(value)}
    return structs.replace(reply, raw=Raw(_encode(members)))
