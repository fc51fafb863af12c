"""What a server asks of its caller reaches the agent and comes back, whatever eras the two speak.

The official SDK asks, and the official SDK answers.
"""

from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from tests.hub.conftest import Start, config
from tests.hub.test_eras import AGENTS, SERVERS, served

ANSWERS: dict[str, dict[str, Any]] = {
    "elicitation": {"action": "accept", "content": {"colour": "blue"}},
    "sampling": {
        "role": "assistant",
        "content": {"type": "text", "text": "yes"},
        "model": "m",
        "stopReason": "endTurn",
    },
    "roots": {"roots": [{"uri": "file:///work", "name": "work"}]},
}


class Person:
    """Who is asked: counts the questions and answers each."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def elicit(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params)
        return types.ElicitResult.model_validate(ANSWERS["elicitation"])

    async def sample(self, context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        self.asked.append(params)
        return types.CreateMessageResult.model_validate(ANSWERS["sampling"])

    async def roots(self, context: Any) -> types.ListRootsResult:
        self.asked.append(None)
        return types.ListRootsResult.model_validate(ANSWERS["roots"])

    def client(self, url: str, mode: str) -> Client:
        """A client of this person's."""
        return Client(
            url,
            mode=mode,
            elicitation_callback=self.elicit,
            sampling_callback=self.sample,
            list_roots_callback=self.roots,
        )


@pytest.mark.parametrize("mode", AGENTS)
@pytest.mark.parametrize("server", SERVERS)
async def test_what_a_server_asks_is_asked_of_the_agent_that_offered_it(start: Start, server: str, mode: str) -> None:
    async with served(server) as spec:
        hub = await start(config(spec))
        await hub.ready("demo")
        for kind, wanted in ANSWERS.items():
            person = Person()
            async with person.client(hub.mcp, mode) as client:
                result = await client.call_tool("demo__ask", {"kind": kind})
            assert result.structured_content is not None
            answer = result.structured_content["answer"]
            assert {key: answer[key] for key in wanted} == wanted
            assert len(person.asked) == 1
        assert not hub.hub.means.parking

        async with Client(hub.mcp, mode=mode) as silent:
            with pytest.raises((MCPError, ToolFailed)):
                await outcome(silent)


class ToolFailed(Exception):
    """The tool ran, and failed for want of an answer."""


async def outcome(client: Client) -> None:
    """How a call ends that would ask for a form. Errors: MCPError, ToolFailed."""
    result = await client.call_tool("demo__ask", {"kind": "elicitation"})
    if result.is_error:
        raise ToolFailed
