"""Every `_meta` key the hub writes or reads, in one place."""

from typing import Final

PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
"""On every modern request, both ways: the revision it speaks."""
CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
"""On every modern request: what the caller can do. The hub declares none of its own to servers."""
CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
"""On a modern request: who calls, by name and version."""
LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
"""On a modern request: the least severe log message to send beside the reply."""
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
"""On modern results: who answered; the hub where the reply is its own."""
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
"""On notifications of a listen stream: the listen request's id."""
PROGRESS_TOKEN: Final = "progressToken"
"""On a request: asks for progress, which bears the same token. Toward a server the hub uses one of its own."""
RELATED_TASK: Final = "io.modelcontextprotocol/related-task"
"""On messages of 2025-11-25: the task that they belong to. It ends at the hub."""
TRACEPARENT: Final = "traceparent"
"""W3C trace context: its trace id becomes that of the access log and of errors. A server gets the span that asks it."""
TRACESTATE: Final = "tracestate"
"""W3C trace context, relayed with a `traceparent`."""
BAGGAGE: Final = "baggage"
"""W3C baggage: servers are shown the members that `telemetry.baggage` names."""

OWN_PREFIX: Final = "dev.concento/"
IDEMPOTENCY_KEY: Final = "dev.concento/idempotencyKey"
"""On a tool call: a text of the agent's own. The same call with the same key runs once, and is answered alike."""
HOPS: Final = "dev.concento/hops"
"""On requests to servers: how many hubs the call has been through, so that a loop of hubs ends."""
NOTICES: Final = "dev.concento/notices"
"""On results: what the caller should know beside, such as a quota that is nearly used up."""

COST: Final = "dev.concento/cost"
"""On a call, `true`: tell what it costs. On its result: the amount as text, the currency and the price that it was
charged at; an amount of `0` alone where it costs nothing."""

ROUTE: Final = "dev.concento/route"
"""On a call of a logical tool, `true`: tell how it was routed. On its result: the strategy; the candidates, whether
each was well, its order and why; and, where one answers for all, who was asked, each with how it ended."""
BRANCHES: Final = "dev.concento/branches"
"""On results of a tool that asks several servers at once: how each of them ended."""
ORIGINS: Final = "dev.concento/origins"
"""On results whose structured content was merged: the server of each item of the list, in its order."""

SEARCH: Final = "dev.concento/search"
"""On results of `find_tools`: how likely the first is the right one, the scores, and what all tools would have cost."""
CAPABILITY: Final = "dev.concento/capability"
"""On results of `use_capability`: the tool that was called, how likely it is the right one, and the runners-up, each
with its score and what stood against it."""

SERVERS: Final = "dev.concento/servers"
"""On list results: per server that is missing or stale, `{alias: {"state": ..., "error": ...}}`."""
SESSION: Final = "dev.concento/session"
"""On a call to a server that remembers earlier calls, by an agent without a session: `new`, or the handle that its
result brought. On that result: the handle."""
SERVER: Final = "dev.concento/server"
"""On a question that a server asks its caller, and on content of several servers in one result: the server's alias, so
that people can be told who asks, or says so."""
