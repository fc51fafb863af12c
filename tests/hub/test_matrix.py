"""Each cell of the bridging matrix, by the official SDK on both sides where the SDK has it, else in raw HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from tests.hub import matrix
from tests.hub.asked import ANSWERS, Person
from tests.hub.conftest import Running, config, running
from tests.hub.test_eras import served

from concento.testing.raw_agent import RawAgent, legacy_request, modern_request
from concento.testing.waiting import until

TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}


class Cell:
    """One agent before one hub."""

    def __init__(self, hub: Running, agent: str) -> None:
        self.hub = hub
        self.agent = agent
        self.person = Person()
        self.heard: list[Any] = []

    def client(self, **options: Any) -> Client:
        """The official client, in the era, which can be asked everything."""

        async def log(params: Any) -> None:
            self.heard.append(params.data)

        mode = "auto" if self.agent == "modern" else "legacy"
        return self.person.client(self.hub.mcp, mode, logging_callback=log, **options)

    # -- one method a feature

    async def call(self) -> None:
        async with self.client() as client:
            result = await client.call_tool("demo__add", {"a": 2, "b": 3})
        assert result.structured_content == {"result": 5}

    async def progress(self) -> None:
        seen: list[float] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)

        async with self.client() as client:
            await client.call_tool("demo__count", {"n": 3}, progress_callback=on_progress)
        assert len(seen) == 3
        assert seen == sorted(seen)

    async def log(self) -> None:
        options = {"log_level": "info"} if self.agent == "modern" else {}
        async with self.client(**options) as client:
            if self.agent == "legacy":
                await client.set_logging_level("info")
            await client.call_tool("demo__log", {"level": "warning", "text": "mind the gap"})
        assert self.heard == ["mind the gap"]

    async def cancel(self) -> None:
        upstream = self.hub.hub.upstreams.get("demo")
        async with self.client() as client:
            call = asyncio.ensure_future(client.call_tool("demo__slow", {"seconds": 30}))  # noqa: TID251 - cancelled below
            await until(lambda: upstream.in_flight == 1, "the call runs")
            call.cancel()
            await until(lambda: upstream.in_flight == 0, "the call has ended")

    async def elicit_form(self) -> None:
        await self._asked("elicitation")

    async def elicit_url(self) -> None:
        await self._asked("url")

    async def sample(self) -> None:
        await self._asked("sampling")

    async def roots(self) -> None:
        await self._asked("roots")

    async def _asked(self, kind: str) -> None:
        async with self.client() as client:
            result = await client.call_tool("demo__ask", {"kind": kind})
        assert result.structured_content is not None, result
        answer = result.structured_content["answer"]
        assert {key: answer.get(key) for key in ANSWERS[kind]} == ANSWERS[kind]
        assert len(self.person.asked) == 1

    async def list_changed(self) -> None:
        async with self._told({"toolsListChanged": True}, None) as (call, next_message):
            await call("demo__mutate", {"kind": "tools"})
            assert (await next_message())["method"] == "notifications/tools/list_changed"
            await call("demo__mutate", {"kind": "tools"})
            assert (await next_message())["method"] == "notifications/tools/list_changed"

    async def resource_update(self) -> None:
        uri = "test://demo!static/text"
        async with self._told({"resourceSubscriptions": [uri]}, uri) as (call, next_message):
            await call("demo__touch", {"uri": "test://static/text"})
            told = await next_message()
            assert (told["method"], told["params"]["uri"]) == ("notifications/resources/updated", uri)

    @asynccontextmanager
    async def _told(self, wanted: dict[str, Any], uri: str | None) -> AsyncIterator[Any]:
        """A stream of changes that is open, and a way to call beside it."""
        async with RawAgent(self.hub.mcp) as agent:
            if self.agent == "modern":
                headers, body = modern_request("subscriptions/listen", {"notifications": wanted})
                async with agent.stream("POST", None, body, headers) as stream:
                    assert (await stream.next_message())["params"]["notifications"] == wanted

                    async def call(name: str, arguments: Any) -> Any:
                        return await agent.modern("tools/call", {"name": name, "arguments": arguments})

                    yield call, stream.next_message
                return
            session = await self._session(agent)
            if uri is not None:
                headers, body = legacy_request("resources/subscribe", {"uri": uri}, session=session)
                assert (await agent.post(None, body, headers)).result == {}
            fields = {"Accept": "text/event-stream", "Mcp-Session-Id": session}
            async with agent.stream("GET", None, b"", fields) as stream:
                await anext(stream)  # the primer: the stream is open

                async def call_in_session(name: str, arguments: Any) -> Any:
                    params = {"name": name, "arguments": arguments}
                    headers, body = legacy_request("tools/call", params, session=session)
                    return await agent.post(None, body, headers)

                yield call_in_session, stream.next_message

    async def task(self) -> None:
        call = {"name": "demo__slow", "arguments": {"seconds": 0.3}}
        async with RawAgent(self.hub.mcp) as agent:
            if self.agent == "modern":
                made = (await agent.modern("tools/call", call, caps=TASKS)).result
                assert (made["resultType"], made["status"]) == ("task", "working")
                headers, body = modern_request("tasks/get", {"taskId": made["taskId"]}, caps=TASKS)
                headers["Mcp-Name"] = made["taskId"]
                while (state := (await agent.post(None, body, headers)).result)["status"] == "working":
                    pass
                assert state["result"]["content"]
                return
            session = await self._session(agent)
            headers, body = legacy_request("tools/call", {**call, "task": {"ttl": 60_000}}, session=session)
            made = (await agent.post(None, body, headers)).result["task"]
            assert made["status"] == "working"
            headers, body = legacy_request("tasks/result", {"taskId": made["taskId"]}, session=session)
            assert (await agent.post(None, body, headers)).result["content"]

    async def _session(self, agent: RawAgent) -> str:
        return await agent.begin()


@pytest.fixture(scope="module", params=[kind for kind in matrix.SERVERS if kind not in matrix.IMPOSSIBLE])
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """A hub before one server."""
    kind = str(request.param)
    async with (
        served("sse" if kind == "sse-legacy" else kind) as server,
        running(config(server, as_task_after_s=0.0)) as started,
    ):
        await started.ready("demo")
        yield started


@pytest.mark.parametrize("feature", matrix.FEATURES)
@pytest.mark.parametrize("agent", matrix.AGENTS)
async def test_cell(hub: Running, agent: str, feature: str) -> None:
    prove: Callable[[], Awaitable[None]] = getattr(Cell(hub, agent), feature)
    async with asyncio.timeout(60):
        await prove()


def test_the_page_shows_the_matrix() -> None:
    assert matrix.PAGE.read_text() == matrix.page(), "write it anew: python -m tests.hub.matrix"
