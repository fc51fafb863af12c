"""Every `_meta` key the hub writes or reads, in one place."""

from typing import Final

PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
PROGRESS_TOKEN: Final = "progressToken"
TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
BAGGAGE: Final = "baggage"

OWN_PREFIX: Final = "dev.concento/"
SERVERS: Final = "dev.concento/servers"
"""On list results: per server that is missing or stale, `{alias: {"state": ..., "error": ...}}`."""
SERVER: Final = "dev.concento/server"
"""On a listed item: the alias of the server it comes from, and its own name there."""
