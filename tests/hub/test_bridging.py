"""What a caller did not offer is never asked of it, whatever eras the two sides speak."""

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from tests.hub.conftest import Start, config
from tests.hub.test_eras import AGENTS, SERVERS, served


class ToolFailed(Exception):
    """The tool ran, and failed for want of an answer."""


async def outcome(client: Client, kind: str) -> None:
    """How a call ends whose server would ask something. Errors: MCPError, ToolFailed."""
    result = await client.call_tool("demo__ask", {"kind": kind})
    if result.is_error:
        raise ToolFailed


@pytest.mark.parametrize("server", SERVERS)
async def test_what_was_not_offered_is_not_asked(start: Start, server: str) -> None:
    """R34."""
    async with served(server) as spec:
        hub = await start(config(spec))
        await hub.ready("demo")
        for mode in AGENTS:
            async with Client(hub.mcp, mode=mode) as silent:
                for kind in ("elicitation", "url", "sampling", "roots"):
                    with pytest.raises((MCPError, ToolFailed)):
                        await outcome(silent, kind)
        assert not hub.hub.means.parking
