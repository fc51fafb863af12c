"""A call of one of the hub's own tools that stands for the call of another, over the rounds of a call that asks.

What its caller keeps names the tool that was chosen, sealed as any state is: the next round goes to that one, without
a search, whatever the catalog has become.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, structs

from ..model.call import INPUT_REQUIRED, Call, Reply, Result
from ..model.errors import InvalidParams
from ..model.seal import Seal
from ..protocol.jsonrpc import EMPTY_OBJECT, raw, read_object, read_string
from .inputs import SEALED_CHARS_MAX, context_of

_encode = msgspec.json.Encoder().encode
_CHARS_MAX: Final = 2 * SEALED_CHARS_MAX


class _Chosen(Struct, frozen=True):
    tool: str
    state: str


_decode = msgspec.json.Decoder(_Chosen).decode


def call_of(call: Call, tool: str, arguments: Raw) -> Call:
    """The call of a tool in place of one of the hub's own."""
    params: dict[str, Any] = {**call.params, "name": raw(tool), "arguments": arguments}
    return structs.replace(call, name=tool, params=params, mirrored=None)


def with_choice(reply: Reply, call: Call, tool: str, seal: Seal) -> Reply:
    """A reply that asks for input, with a state that remembers which tool asks."""
    if not isinstance(reply, Result) or reply.kind != INPUT_REQUIRED:
        return reply
    members = read_object(reply.raw) or {}
    state = read_string(members.get("requestState"))
    if state is None:
        return reply
    members["requestState"] = raw(seal.close(_encode(_Chosen(tool, state)), context_of(call)))
    return structs.replace(reply, raw=Raw(_encode(members)))


def chosen_before(call: Call, seal: Seal) -> Call:
    """The call that a state was given for. Errors: InvalidParams, if it was not given to this caller for this call."""
    opened = seal.open(call.state or "", context_of(call), chars_max=_CHARS_MAX)
    if opened is None:
        raise InvalidParams("The requestState is not one that was given to this caller for this request")
    chosen = _decode(opened)
    asked = read_object(call.params.get("arguments", EMPTY_OBJECT)) or {}
    return structs.replace(call_of(call, chosen.tool, asked.get("arguments", EMPTY_OBJECT)), state=chosen.state)
