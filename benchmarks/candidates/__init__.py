"""Whom we measure. The contract is `candidate.Candidate`; each file beside it is one of them, with its exact set-up."""

from .candidate import Candidate, Server
from .concento import Concento
from .contextforge import ContextForge
from .direct import Direct
from .fastmcp import FastMcp
from .mcp_proxy import McpProxy
from .nginx import Nginx

__all__ = ["Candidate", "Server", "known"]


def known(hub: str) -> list[Candidate]:
    """All that we bring ourselves, the reference first among the gateways. `hub`: the command that starts Concento."""
    return [Direct(), Nginx(), Concento(hub), FastMcp(), McpProxy(), ContextForge()]
