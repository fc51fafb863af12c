"""Servers that remember earlier calls, for agents with and without sessions."""

from typing import Any

import pytest
from tests.hub.conftest import DEMO, Start, child, config

from concento.model.config import ChildReplica, Server
from concento.testing.raw_agent import RawAgent, legacy_request

SESSION = "dev.concento/session"


async def whoami(agent: RawAgent, session: str | None = None, **caps: Any) -> Any:
    call: dict[str, Any] = {"name": "demo__whoami", "arguments": {}}
    if session is not None:
        call["_meta"] = {SESSION: session}
    return await agent.modern("tools/call", call, **caps)


def pid(reply: Any) -> int:
    return int(reply.result["structuredContent"]["pid"])


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_handle_brings_an_agent_back_to_its_own_child(start: Start, era: str) -> None:
    hub = await start(config(child("demo", str(DEMO), "--transport", "stdio", "--era", era, isolation="session")))
    await hub.ready("demo")
    async with RawAgent(hub.mcp) as agent:
        one, two = await whoami(agent, "new"), await whoami(agent, "new")
        handles = [reply.result["_meta"][SESSION] for reply in (one, two)]
        assert pid(one) != pid(two)
        for reply, handle in zip((one, two), handles, strict=True):
            again = await whoami(agent, handle)
            assert pid(again) == pid(reply)
            assert again.result["_meta"][SESSION] == handle
            assert SESSION not in again.result["structuredContent"]["meta"]
        without = [await whoami(agent), await whoami(agent)]
        assert pid(without[0]) == pid(without[1]) not in (pid(one), pid(two))
        assert SESSION not in without[0].result.get("_meta", {})


async def test_a_handle_of_nobodys_or_of_a_session_that_ended_is_refused(start: Start) -> None:
    hub = await start(
        config(
            child("demo", str(DEMO), "--transport", "stdio", "--era", "modern", isolation="session"),
            child("other", str(DEMO), "--transport", "stdio", "--era", "modern", isolation="session"),
        )
    )
    await hub.ready("demo", "other")
    async with RawAgent(hub.mcp) as agent:
        handle = (await whoami(agent, "new")).result["_meta"][SESSION]
        at_other = {"name": "other__whoami", "arguments": {}, "_meta": {SESSION: handle}}
        for refused in (
            await whoami(agent, "made-up"),
            await whoami(agent, handle[:-2] + "AA"),
            await agent.modern("tools/call", at_other),
        ):
            assert refused.error["code"] == -32602
        upstream = hub.hub.upstreams.get("demo")
        for partition in tuple(upstream.replicas[0].isolated):
            await upstream.replicas[0].drop(partition)
        ended = await whoami(agent, handle)
        assert ended.error["code"] == -32602
        assert "'new'" in ended.error["message"]


async def test_a_server_without_sessions_says_so(start: Start) -> None:
    hub = await start(config(child("demo", str(DEMO), "--transport", "stdio", "--era", "modern")))
    await hub.ready("demo")
    async with RawAgent(hub.mcp) as agent:
        refused = await whoami(agent, "new")
        assert refused.error["code"] == -32602
        assert "stateful" in refused.error["message"]


async def test_a_session_stays_with_one_of_several_replicas(start: Start) -> None:
    command = child("demo", str(DEMO), "--transport", "stdio", "--era", "legacy").replicas[0]
    assert isinstance(command, ChildReplica)
    hub = await start(config(Server("demo", (command, command), isolation="session")))
    await hub.ready("demo")
    async with RawAgent(hub.mcp) as agent:
        session = await agent.begin()
        headers, body = legacy_request("tools/call", {"name": "demo__whoami", "arguments": {}}, session=session)
        assert len({pid(await agent.post(None, body, headers)) for _ in range(4)}) == 1
