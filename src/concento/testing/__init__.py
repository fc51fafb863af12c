"""A public kit for testing whatever speaks MCP: scripted servers, faults, a raw agent, time by hand.

Imported by nobody in this package. It proves nothing about a correct server or client: for that, use the official SDK.
Read next: `http_server.py` (a server under byte control), `mcp_server.py` (what it says), `faults.py` (what goes wrong
over many calls), `fault_proxy.py` (what goes wrong on the way), `invariants.py` (what has to hold whatever happens),
`stdio_child.py` (the same as a child process), `raw_agent.py` (the other side).
"""

from .clock import ManualClock
from .fault_proxy import FaultProxy
from .faults import Barrier, Executions, fails, flapping, lossy, lost_reply, slow
from .http_server import Conn, Handler, Hit, ScriptedHttpServer
from .invariants import Broken, hold
from .mcp_server import (
    Exchange,
    Hook,
    LegacyMcp,
    LegacySse,
    ModernMcp,
    asks,
    close_mid_body,
    close_mid_stream,
    echo,
    garbage,
    hang,
    legacy_mcp,
    legacy_sse,
    modern_mcp,
    reports,
    reset,
    status,
    twice,
    unknown_result_type,
    wrong_id,
)
from .raw_agent import RawAgent, RawReply, RawStream, legacy_initialize, legacy_request, modern_request
from .stdio_child import child_command, recorded
from .waiting import until

__all__ = [
    "Barrier",
    "Broken",
    "Conn",
    "Exchange",
    "Executions",
    "FaultProxy",
    "Handler",
    "Hit",
    "Hook",
    "LegacyMcp",
    "LegacySse",
    "ManualClock",
    "ModernMcp",
    "RawAgent",
    "RawReply",
    "RawStream",
    "ScriptedHttpServer",
    "asks",
    "child_command",
    "close_mid_body",
    "close_mid_stream",
    "echo",
    "fails",
    "flapping",
    "garbage",
    "hang",
    "hold",
    "legacy_initialize",
    "legacy_mcp",
    "legacy_request",
    "legacy_sse",
    "lossy",
    "lost_reply",
    "modern_mcp",
    "modern_request",
    "recorded",
    "reports",
    "reset",
    "slow",
    "status",
    "twice",
    "unknown_result_type",
    "until",
    "wrong_id",
]
