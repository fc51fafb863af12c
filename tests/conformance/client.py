"""The client that the conformance suite runs: a hub whose only server is the suite's, and an agent before it.

    python -m tests.conformance.client URL

The agent, on the official SDK and of the era under test, uses all that it is shown: it reads every resource, gets every
prompt and calls every tool. It says `finished` at the end; any error on the way ends it with exit code 1.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

import mcp_types as types
import msgspec
import uvloop
from mcp import Client
from mcp.shared.exceptions import MCPError
from tests.conformance.runs import ALIAS, hub_before
from tests.conformance.suite import FINISHED

SAMPLES: Mapping[str, Any] = {"string": "text", "number": 5, "integer": 5, "boolean": True, "array": [], "object": {}}
ECHO = "json_schema_echo"
LISTED_ONLY = frozenset({"json-schema-ref-no-deref"})
"""Scenarios whose servers list tools and can't call them."""


async def accept(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    """Fill in the form that is asked for: each field that has a default with that, and the one that confirms."""
    schema = params.requested_schema if isinstance(params, types.ElicitRequestFormParams) else {}
    fields: dict[str, Any] = schema.get("properties", {})
    content = {name: field["default"] for name, field in fields.items() if "default" in field}
    return types.ElicitResult(action="accept", content=content or {"confirmed": True})


async def use_all(agent: Client, told: Mapping[str, Any]) -> list[MCPError]:
    """Use everything that the server shows; returns the errors met."""
    errors: list[MCPError] = []
    tools = (await agent.list_tools()).tools
    for resource in (await agent.list_resources()).resources:
        await agent.read_resource(str(resource.uri))
    for prompt in (await agent.list_prompts()).prompts:
        await agent.get_prompt(prompt.name)
    calls = told.get("toolCalls") or [{"name": tool.name, "arguments": arguments(tool, tools)} for tool in tools]
    if os.environ["MCP_CONFORMANCE_SCENARIO"] in LISTED_ONLY:
        calls = []
    for call in calls:
        try:
            await agent.call_tool(call["name"], call["arguments"])
        except MCPError as error:
            errors.append(error)
    return errors


def arguments(tool: types.Tool, tools: list[types.Tool]) -> dict[str, Any]:
    """A value for each parameter; the tool that echoes a schema gets that of the first."""
    if tool.name == ECHO:
        return {"schema": tools[0].input_schema}
    properties: dict[str, dict[str, Any]] = tool.input_schema.get("properties", {})
    return {name: SAMPLES.get(field.get("type", "string")) for name, field in properties.items()}


async def main(url: str) -> int:
    """Serve the URL through a hub and use it."""
    told = msgspec.json.decode(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"), type=dict[str, Any])
    mode = "legacy" if os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"] < "2026" else "auto"
    async with (
        hub_before(url) as hub,
        Client(f"{hub.url}/servers/{ALIAS}/mcp", mode=mode, elicitation_callback=accept) as agent,
    ):
        errors = await use_all(agent, told)
    for error in errors:
        print(error, file=sys.stderr)
    if not errors:
        print(FINISHED)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(uvloop.run(main(sys.argv[1])))
