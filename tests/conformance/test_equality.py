"""What the fixture shows and answers through the hub is what it shows and answers by itself, member for member.

A hub that showed nothing would pass most of the suite; these tests are why it can't.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from tests.conformance import catalog
from tests.conformance.runs import ALIAS, fixture, hub_before
from tests.conformance.suite import REVISIONS

from concento.testing.raw_agent import RawAgent, legacy_request

LISTS: Mapping[str, tuple[str, list[catalog.Item]]] = {
    "tools/list": ("tools", catalog.TOOLS),
    "prompts/list": ("prompts", catalog.PROMPTS),
    "resources/list": ("resources", catalog.RESOURCES),
    "resources/templates/list": ("resourceTemplates", catalog.TEMPLATES),
}
ARGUMENTS: Mapping[str, dict[str, Any]] = {
    "greet": {"name": "Ada"},
    "json_schema_2020_12_tool": {"name": "Ada", "phone": "1"},
    "test_error_handling": {},
    "test_tool_with_logging": {},
    "test_tool_with_progress": {},
    "slow_compute": {"seconds": 0},
    **{name: {} for name in catalog.CONTENTS},
}
SAMPLES: list[tuple[str, dict[str, Any]]] = [
    *(("tools/call", {"name": name, "arguments": arguments}) for name, arguments in ARGUMENTS.items()),
    ("prompts/get", {"name": "test_simple_prompt"}),
    ("prompts/get", {"name": "test_prompt_with_arguments", "arguments": {"arg1": "ä", "arg2": "' \" \\"}}),
    ("prompts/get", {"name": "test_prompt_with_embedded_resource", "arguments": {"resourceUri": "test://static-text"}}),
    ("prompts/get", {"name": "test_prompt_with_image"}),
    ("resources/read", {"uri": "test://static-text"}),
    ("resources/read", {"uri": "test://static-binary"}),
    ("resources/read", {"uri": "test://template/a%20b/data"}),
    (
        "completion/complete",
        {
            "ref": {"type": "ref/prompt", "name": "test_prompt_with_arguments"},
            "argument": {"name": "arg1", "value": "par"},
        },
    ),
    (
        "completion/complete",
        {"ref": {"type": "ref/resource", "uri": "test://template/{id}/data"}, "argument": {"name": "id", "value": ""}},
    ),
]


class Asker:
    """An agent of one era at one endpoint."""

    def __init__(self, agent: RawAgent, session: str | None) -> None:
        self._agent = agent
        self._session = session

    @classmethod
    async def begin(cls, url: str, revision: str) -> "Asker":
        """Connect; in the legacy era, open a session."""
        agent = RawAgent(url)
        if revision >= "2026":
            return cls(agent, None)
        session = await agent.begin(revision)
        headers, body = legacy_request("notifications/initialized", id=None, session=session)
        assert (await agent.post(None, body, headers)).status == 202
        return cls(agent, session)

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """The result of a request."""
        if self._session is None:
            return (await self._agent.modern(method, params)).result
        headers, body = legacy_request(method, params, session=self._session)
        return (await self._agent.post(None, body, headers)).result

    def close(self) -> None:
        """Disconnect."""
        self._agent.close()


@pytest.fixture(scope="module", params=REVISIONS)
async def askers(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Asker, Asker]]:
    """One agent at the server, one at the hub."""
    async with fixture() as url, hub_before(url) as hub:
        direct = await Asker.begin(url, request.param)
        through = await Asker.begin(f"{hub.url}/servers/{ALIAS}/mcp", request.param)
        yield direct, through
        direct.close()
        through.close()


@pytest.mark.parametrize("method", LISTS)
async def test_a_list_through_the_hub_is_the_servers_own(askers: tuple[Asker, Asker], method: str) -> None:
    direct, through = askers
    key, items = LISTS[method]
    own = (await direct.ask(method))[key]
    assert [item["name"] for item in own] == [item["name"] for item in items]
    assert (await through.ask(method))[key] == own


@pytest.mark.parametrize(("method", "params"), SAMPLES, ids=lambda value: value if isinstance(value, str) else "")
async def test_an_answer_through_the_hub_is_the_servers_own(
    askers: tuple[Asker, Asker], method: str, params: dict[str, Any]
) -> None:
    direct, through = askers
    assert await through.ask(method, params) == await direct.ask(method, params)
