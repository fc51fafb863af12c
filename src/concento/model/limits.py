"""Hard bounds of the hub. Configuration may lower some of them; nothing raises them."""

from typing import Final

MIB: Final = 1024 * 1024

BODY_BYTES_MAX: Final = 4 * MIB
"""Largest request body an agent may send; more is 413."""

BODIES_BYTES_MAX: Final = 256 * MIB
"""Bytes of request bodies that have not come whole, in all; a body that goes beyond is 503."""

HEAD_BYTES_MAX: Final = 64 * 1024
"""Largest request head (request line and header fields) in all; more is 431."""

HEADERS_MAX: Final = 100
"""Most header fields in one request; more is 431."""

HEAD_WAIT_S: Final = 5.0
"""A request head that takes longer than this to arrive is 408."""

BODY_RATE_BYTES_S: Final = 1024
"""A body that arrives slower than this, in any `HEAD_WAIT_S`, is 408."""

IDLE_S: Final = 75.0
"""A keep-alive connection with no request for this long is closed."""

CONNECTIONS_PER_ADDRESS_MAX: Final = 4096
"""Connections one client address may hold open at a time; and never more than half of the files that may be open."""

DEPTH_MAX: Final = 64
"""Deepest nesting of a JSON request; deeper is 400."""

KEYS_MAX: Final = 10_000
"""Most object members in one JSON request; more is 400."""

CONTAINERS_MAX: Final = 100_000
"""Most arrays and objects in one JSON request; more is 400. With `DEPTH_MAX` it bounds the time a check may take."""

REPLY_BYTES_MAX: Final = 16 * MIB
"""Largest reply or stdio line accepted from a server, after decompression; more is -31006."""

EVENT_QUEUE_BYTES_MAX: Final = 1 * MIB
"""Bytes waiting for a slow stream reader before the stream is closed."""

WRITE_WAIT_S: Final = 10.0
"""A reader that takes nothing for this long while bytes wait loses its connection."""

KEEPALIVE_S: Final = 15.0
"""Seconds of silence after which an open event stream gets a comment line."""

CONNECT_WAIT_S: Final = 2.0
"""Time for a TCP (and TLS) connection to a server."""

CALL_MAX_S: Final = 300.0
"""Longest a call may take, whatever progress it reports."""

SESSIONS_MAX: Final = 10_000
"""Legacy sessions open at once, in all."""

SESSIONS_PER_PRINCIPAL_MAX: Final = 1000
"""Of these, those of one principal, where callers prove who they are; one more is 429."""

STREAMS_MAX: Final = 20_000
"""Listen streams open at once, in all, those of sessions among them; one more is 503."""

STREAMS_PER_PRINCIPAL_MAX: Final = 1000
"""Of these, those of one principal, where callers prove who they are; one more is 429."""

SUBSCRIPTIONS_PER_PRINCIPAL_MAX: Final = 10_000
"""Resources that all streams of one principal together may subscribe to, where callers prove who they are."""

HOPS_MAX: Final = 4
"""Hubs one call may pass through, so that hubs which call each other in a circle stop; one more is -31004."""

SESSION_IDLE_S: Final = 3600.0
"""A legacy session without a request or an open stream for this long ends."""

LIST_PAGES_MAX: Final = 200
"""Pages followed when a server's list is fetched."""

LIST_ITEMS_MAX: Final = 20_000
"""Items kept of one server's list; a longer list is an error that names the server."""

SKILLS_WAIT_S: Final = 10.0
"""Time for each server to say which skills it has, when somebody lists them; its own `timeout_s` if that is less."""

SKILLS_CURSOR_CHARS_MAX: Final = 4096
"""Longest cursor kept of one server's list of skills."""

STDERR_RING_LINES: Final = 200
"""Lines of a child's standard error that are kept to be shown."""

STDERR_LINE_BYTES_MAX: Final = 2048
"""Bytes kept of one line of a child's standard error."""

DRAIN_S: Final = 25.0
"""Time for calls in flight to finish after the first SIGTERM."""

SUBSCRIPTION_URIS_MAX: Final = 1000
"""Resource URIs one listen stream or session may subscribe to."""

WEBHOOK_BYTES_MAX: Final = 16 * MIB
"""Largest answer accepted from the webhook of a guard; a larger one counts as none."""

REASON_CHARS_MAX: Final = 500
"""What is told to callers of a webhook's reason."""

CONFIRM_CHARS_MAX: Final = 1000
"""What is shown of the arguments to whoever has to confirm a call."""

LABELS_MAX: Final = 2000
"""Tools that metrics name, and sets of labels that a metric of calls has; the rest count as `other`."""

LABELS_PER_SERVER_MAX: Final = 200
"""Of the tools, those of one server for one tenant: a server with many must not use up the names of the others."""

INPUT_WAIT_S: Final = 600.0
"""How long a call that asked for input waits for it."""

QUESTIONS_MAX: Final = 16
"""Questions a server may ask at a time."""

ROUNDS_MAX: Final = 32
"""Times a server may ask during one call of a legacy agent, which the hub answers for."""

STATE_BYTES_MAX: Final = 65_536
"""Longest `requestState` that is kept for a server."""

STATE_ONLY_PAUSE_S: Final = 1.0
"""Pause before a call is made anew whose server asked for patience only."""

PARKED_MAX: Final = 1000
"""Calls of legacy servers that may wait for input at a time, in all; one more is refused."""

PARKED_PER_PRINCIPAL_MAX: Final = 100
"""Of these, those of one principal."""

REPLAY_BYTES_MAX: Final = 64 * MIB
"""Bytes of events kept for legacy agents that come back for a broken stream, in all; the oldest go first."""

REPLAY_EVENTS_MAX: Final = 100_000
"""Events kept for them, in all."""

TASKS_MAX: Final = 1000
"""Calls that may run as tasks of the hub's at a time, in all."""

TASKS_PER_PRINCIPAL_MAX: Final = 100
"""Of these, those of one principal."""

TASKS_KEPT_MAX: Final = 5000
"""Tasks whose outcome is kept, in all; the oldest that are over go first."""

TASKS_KEPT_PER_PRINCIPAL_MAX: Final = 500
"""Of these, those of one principal."""

BATCH_MAX: Final = 100
"""Messages in one JSON-RPC batch, which only agents of 2025-03-26 send."""
