"""Attribute names of spans, in one place, as the MCP semantic conventions of OpenTelemetry have them.

Their status is Development: where they change, this is the file to change. What is the hub's own is under `concento.`.
Source: semantic-conventions-genai, MCP.
"""

from typing import Final

METHOD: Final = "mcp.method.name"
TOOL: Final = "gen_ai.tool.name"
PROMPT: Final = "gen_ai.prompt.name"
OPERATION: Final = "gen_ai.operation.name"
EXECUTE_TOOL: Final = "execute_tool"
REVISION: Final = "mcp.protocol.version"
SESSION: Final = "mcp.session.id"
RESOURCE: Final = "mcp.resource.uri"
REQUEST_ID: Final = "jsonrpc.request.id"
STATUS: Final = "rpc.response.status_code"
ERROR: Final = "error.type"
TRANSPORT: Final = "network.transport"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
CLIENT_ADDRESS: Final = "client.address"

TENANT: Final = "concento.tenant"
ENDPOINT: Final = "concento.endpoint"
SERVER: Final = "concento.server"
REPLICA: Final = "concento.replica"
ATTEMPTS: Final = "concento.attempts"
OUTCOME: Final = "concento.outcome"
DECISION: Final = "concento.decision"
RULE: Final = "concento.rule"
GUARDS: Final = "concento.guards"
"""What guards did, each by its name."""
INPUT_WAIT: Final = "concento.input_wait_ms"
KEPT: Final = "concento.kept"
"""Why the trace was kept: `error`, `slow` or `sampled`."""
