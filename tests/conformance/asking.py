"""How a tool or prompt of the fixture asks the client for something, in either era.

    answers = await ask(ctx, user_name=form("What is your name?", name=STRING))

In the modern era the call ends with what is wanted, and comes again with the answers; in the legacy era the client is
asked while the call runs. Source: SEP-2322; specification 2025-11-25, client features.
"""

from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

Context = Any
Wanted = dict[str, dict[str, Any]]

STRING = {"type": "string"}
ROOTS: dict[str, Any] = {"method": "roots/list", "params": {}}

_CAPABILITIES = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
_TYPES: dict[str, tuple[type[Any], type[BaseModel]]] = {
    "elicitation/create": (types.ElicitRequest, types.ElicitResult),
    "sampling/createMessage": (types.CreateMessageRequest, types.CreateMessageResult),
    "roots/list": (types.ListRootsRequest, types.ListRootsResult),
}


class InputRequired(Exception):
    """The call ends here and comes again with answers."""

    def __init__(self, wanted: Wanted, state: str | None = None) -> None:
        self.result: dict[str, Any] = {"resultType": "input_required", "inputRequests": wanted}
        if state is not None:
            self.result["requestState"] = state


def form(message: str, required: bool = True, **properties: dict[str, Any]) -> dict[str, Any]:
    """The request to have the user fill in a form."""
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(properties)
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


def sampling(prompt: str, tokens_max: int = 100) -> dict[str, Any]:
    """The request to have the client's model answer a prompt."""
    message = {"role": "user", "content": {"type": "text", "text": prompt}}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": tokens_max}}


def is_modern(ctx: Context) -> bool:
    """Whether a request is of the stateless era."""
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def capabilities(ctx: Context) -> Mapping[str, Any]:
    """What the client of a request declared: with the request, or for its session."""
    if is_modern(ctx):
        return dict(ctx.params["_meta"]["io.modelcontextprotocol/clientCapabilities"])
    declared = ctx.session.client_capabilities
    return {} if declared is None else dict(declared.model_dump(by_alias=True, mode="json", exclude_none=True))


def state(ctx: Context) -> str | None:
    """The state that a call brought back, verified and opened by the SDK."""
    brought: str | None = ctx.params.get("requestState")
    return brought


async def ask(ctx: Context, state: str | None = None, **wanted: dict[str, Any]) -> dict[str, Any]:
    """The client's answers, all of them. Errors: InputRequired; MCPError, if the client can't be asked that."""
    for request in wanted.values():
        needed = _CAPABILITIES[request["method"]]
        if needed not in capabilities(ctx):
            text = f"This needs a client that declares {needed}"
            raise MCPError(-32021 if is_modern(ctx) else -32602, text, {"requiredCapabilities": {needed: {}}})
    if not is_modern(ctx):
        return {key: await _ask_now(ctx, request) for key, request in wanted.items()}
    given = ctx.params.get("inputResponses") or {}
    if not wanted.keys() <= given.keys():
        raise InputRequired(wanted, state)
    return {key: given[key] for key in wanted}


async def _ask_now(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    kind, answer = _TYPES[request["method"]]
    on_this_stream = ServerMessageMetadata(related_request_id=ctx.request_id)
    result = await ctx.session.send_request(kind.model_validate(request), answer, metadata=on_this_stream)
    return dict(result.model_dump(by_alias=True, mode="json", exclude_none=True))
