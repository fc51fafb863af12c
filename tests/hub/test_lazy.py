"""Servers that start when needed, as agents and operators see them. Source: docs/servers-when-needed.md."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.hub.conftest import Running, Start, config
from tests.peers import sdk_command

from concento.app import Hub
from concento.model.config import Address, ChildReplica, Config, Server
from concento.testing.mcp_server import ECHO_TOOL
from concento.testing.raw_agent import RawAgent, modern_request
from concento.testing.stdio_child import child_command, recorded
from concento.testing.waiting import until

CALL = {"name": "s__echo", "arguments": {"text": "hello"}}
OTHER_TOOL = {**ECHO_TOOL, "name": "other"}


def lazy(*command: str, **options: object) -> Server:
    return Server("s", (ChildReplica(command),), **{"start": "lazy", **options})  # type: ignore[arg-type]


def scripted(folder: Path, behaviour: str = "plain", **options: object) -> Server:
    """A lazy server that writes down what it is asked and lists what the folder's file `tools` says."""
    tools = folder / "tools"
    if not tools.exists():
        tools.write_text(json.dumps([ECHO_TOOL]))
    return lazy(*child_command(behaviour, record=folder / "record", tools=tools), **options)


def starts(folder: Path) -> int:
    return len(recorded(folder / "record", "server/discover"))


@asynccontextmanager
async def kept(configuration: Config) -> AsyncIterator[Running]:
    """A hub that keeps its state over a restart."""
    hub = await Hub.create(configuration)
    try:
        yield Running(hub, await hub.listen(Address("127.0.0.1", 0)))
    finally:
        await hub.close(drain_s=2.0)


async def listed(configuration: Config) -> None:
    """Run a hub until the lists of its server are kept for the next one."""
    async with kept(configuration) as hub:
        hub.hub.upstreams.get("s").wake()
        await are_kept(hub)


async def are_kept(hub: Running) -> None:
    async with asyncio.timeout(20):
        while not await hub.hub.store.items("inventories"):
            pass


async def names(agent: RawAgent) -> list[str]:
    return [tool["name"] for tool in (await agent.modern("tools/list")).result["tools"]]


def state(hub: Running) -> str:
    return hub.hub.current.snapshot.slices["s"].health.state


async def test_a_server_never_listed_is_started_by_the_first_lists_once(start: Start, tmp_path: Path) -> None:
    hub = await start(config(scripted(tmp_path), start_wait_s=20.0))
    assert (state(hub), starts(tmp_path)) == ("asleep", 0)

    async with RawAgent(hub.mcp) as one, RawAgent(hub.mcp) as two:
        assert [*await asyncio.gather(names(one), names(two))] == [["s__echo"], ["s__echo"]]

    assert (state(hub), starts(tmp_path)) == ("ready", 1)


async def test_calls_to_a_server_never_listed_start_it_once_and_are_answered(start: Start, tmp_path: Path) -> None:
    hub = await start(config(scripted(tmp_path), start_wait_s=20.0))

    async with RawAgent(hub.mcp) as one, RawAgent(hub.mcp) as two:
        replies = await asyncio.gather(one.modern("tools/call", CALL), two.modern("tools/call", CALL))

    assert all(reply.result["content"] for reply in replies)
    assert starts(tmp_path) == 1


async def test_a_restart_lists_what_was_known_and_starts_nothing_until_a_call(tmp_path: Path) -> None:
    configuration = config(scripted(tmp_path), state_db=tmp_path / "state.db", start_wait_s=20.0)
    await listed(configuration)

    async with kept(configuration) as hub, RawAgent(hub.mcp) as agent:
        result = (await agent.modern("tools/list")).result
        assert [tool["name"] for tool in result["tools"]] == ["s__echo"]
        assert "dev.concento/servers" not in result["_meta"], "nothing is missing, nothing is stale"
        assert (state(hub), starts(tmp_path)) == ("asleep", 1)

        assert (await agent.modern("tools/call", CALL)).result["content"]
        assert starts(tmp_path) == 2


async def test_lists_that_were_shown_are_kept_however_soon_the_hub_stops(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = await start(config(scripted(tmp_path)))
    written, put = asyncio.Event(), hub.hub.store.put

    async def slowly(space: str, key: str, value: bytes) -> None:
        await written.wait()
        await put(space, key, value)

    monkeypatch.setattr(hub.hub.store, "put", slowly)
    hub.hub.upstreams.get("s").wake()
    await hub.ready("s")

    closing = asyncio.ensure_future(hub.hub.federation.close())  # noqa: TID251 - awaited below
    await asyncio.sleep(0)
    written.set()
    await closing

    assert await hub.hub.store.items("inventories")


async def test_lists_of_a_sleeping_server_hold_as_long_as_they_would_freshly_fetched(tmp_path: Path) -> None:
    """It can say nothing else before it wakes."""
    configuration = config(lazy(*sdk_command("legacy")), state_db=tmp_path / "state.db", list_ttl_s=50.0)
    await listed(configuration)

    async with kept(configuration) as hub, RawAgent(hub.mcp) as agent:
        assert (await agent.modern("tools/list")).result["ttlMs"] == 50_000
        assert state(hub) == "asleep"


async def test_what_changed_while_it_slept_is_told_when_it_wakes(start: Start, tmp_path: Path) -> None:
    hub = await start(config(scripted(tmp_path, idle_stop_s=0.05), start_wait_s=20.0))
    headers, body = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id="sub")
    async with RawAgent(hub.mcp) as agent:
        assert await names(agent) == ["s__echo"]
        await until(lambda: state(hub) == "asleep", "it sleeps")
        async with agent.stream("POST", None, body, headers) as stream:
            await stream.next_message()
            (tmp_path / "tools").write_text(json.dumps([ECHO_TOOL, OTHER_TOOL]))
            assert await names(agent) == ["s__echo"], "what it said last"

            assert (await agent.modern("tools/call", CALL)).result["content"]

            assert (await stream.next_message())["method"] == "notifications/tools/list_changed"
        assert await names(agent) == ["s__echo", "s__other"]


async def test_an_open_listen_stream_alone_keeps_nothing_awake(start: Start, tmp_path: Path) -> None:
    hub = await start(config(scripted(tmp_path, start="eager", idle_stop_s=0.05)))
    headers, body = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id="sub")
    async with RawAgent(hub.mcp) as agent, agent.stream("POST", None, body, headers) as stream:
        await stream.next_message()
        await until(lambda: state(hub) == "asleep", "it sleeps")
        assert starts(tmp_path) == 1


async def test_a_subscription_wakes_the_server_and_its_updates_are_told(tmp_path: Path) -> None:
    configuration = config(lazy(*sdk_command("legacy"), idle_stop_s=0.2), state_db=tmp_path / "state.db")
    await listed(configuration)

    uri = "test://s!static/text"
    async with kept(configuration) as hub, RawAgent(hub.mcp) as agent, RawAgent(hub.mcp) as caller:
        wanted = {"notifications": {"resourceSubscriptions": [uri]}}
        headers, body = modern_request("subscriptions/listen", wanted, id="sub")
        async with agent.stream("POST", None, body, headers) as stream:
            acknowledged = await stream.next_message()
            assert acknowledged["params"]["notifications"] == {"resourceSubscriptions": [uri]}
            await hub.ready("s")
            touched = {"name": "s__touch", "arguments": {"uri": "test://static/text"}}
            assert "result" in (await caller.modern("tools/call", touched)).message
            told = await stream.next_message()
            assert (told["method"], told["params"]["uri"]) == ("notifications/resources/updated", uri)
            assert state(hub) == "ready"
        await until(lambda: state(hub) == "asleep", "it sleeps once nothing is subscribed")


async def test_a_server_that_can_not_start_says_why_to_who_needed_it(start: Start, tmp_path: Path) -> None:
    hub = await start(config(scripted(tmp_path, "exit_at_once"), start_wait_s=20.0))
    async with RawAgent(hub.mcp) as agent:
        asked = asyncio.ensure_future(agent.modern("resources/read", {"uri": "test://s!a"}))  # noqa: TID251
        error = (await asked).error
    assert (error["code"], error["data"]["outcome"], error["data"]["retryable"]) == (-31001, "not_sent", True)
    assert "exited with code 1" in error["message"]
    assert state(hub) == "failing"


async def test_a_required_server_that_sleeps_is_not_missed_once_it_has_started_well(tmp_path: Path) -> None:
    """It is started once to be sure, where nothing is known of it."""
    configuration = config(scripted(tmp_path, required=True, idle_stop_s=0.05), state_db=tmp_path / "state.db")
    async with kept(configuration) as hub, RawAgent(hub.url) as agent:
        assert (await agent.get("/health/ready")).status == 503
        await until(hub.hub.is_ready, "it has started")
        await until(lambda: state(hub) == "asleep", "it sleeps again")
        assert (await agent.get("/health/ready")).status == 200
        await are_kept(hub)
    async with kept(configuration) as hub, RawAgent(hub.url) as agent:
        assert (await agent.get("/health/ready")).status == 200
        assert (state(hub), starts(tmp_path)) == ("asleep", 1)


async def test_a_reload_wakes_nobody(start: Start, tmp_path: Path) -> None:
    server = scripted(tmp_path, idle_stop_s=0.05)
    hub = await start(config(server, start_wait_s=20.0))
    async with RawAgent(hub.mcp) as agent:
        assert await names(agent) == ["s__echo"]
        await until(lambda: state(hub) == "asleep", "it sleeps")

        await hub.hub.configure(config(server, list_ttl_s=5.0))

        assert await names(agent) == ["s__echo"]
        assert (state(hub), starts(tmp_path)) == ("asleep", 1)


async def test_sleep_is_seen_in_metrics_and_counts_as_up(start: Start, tmp_path: Path) -> None:
    hub = await start(config(scripted(tmp_path)))
    text = hub.hub.metrics.text().decode()
    assert 'concento_server_up{server="s"} 1.0' in text
    assert 'concento_server_asleep{server="s"} 1.0' in text
