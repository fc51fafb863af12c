"""Tasks through the hub: servers' own, and calls to any server that take long. Source: the tasks extension (SEP-2663);
specification 2025-11-25, basic/utilities/tasks; hardening T5, T6, R31."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.hub.conftest import Running, Start, at, config

from concento.app import Hub
from concento.model.config import Address, Config, Server, UrlReplica
from concento.model.errors import InvalidParams
from concento.model.principal import Principal
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, ScriptedMcp, echo, legacy_mcp, legacy_sse, modern_mcp
from concento.testing.raw_agent import RawAgent, RawReply, legacy_initialize, legacy_request, modern_request
from concento.testing.waiting import WAIT_S, until

TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
CALL = {"name": "s__echo", "arguments": {"text": "hello"}}
FORM = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {"x": {"type": "string"}}}}
KINDS = [modern_mcp, legacy_mcp, legacy_sse]


class Gate:
    """A tool that waits until it is let go; what it does then is `ending`."""

    def __init__(self, ending: Any = echo) -> None:
        self.ending = ending
        self.open = asyncio.Event()
        self.running = 0

    async def __call__(self, exchange: Exchange) -> Any:
        self.running += 1
        await exchange.progress(1, 2, "half")
        await self.open.wait()
        return await self.ending(exchange)


async def about(agent: RawAgent, method: str, id: str, caps: Any = TASKS, **params: Any) -> RawReply:
    """A request about a task."""
    headers, body = modern_request(method, {"taskId": id, **params}, caps=caps)
    return await agent.post(None, body, {**headers, "Mcp-Name": id})


async def over(agent: RawAgent, id: str, caps: Any = TASKS) -> Any:
    """Poll until the task is over."""
    return await polled(agent, id, caps, lambda state: state["status"] in ("completed", "failed", "cancelled"))


async def polled(agent: RawAgent, id: str, caps: Any, is_wanted: Callable[[Any], bool]) -> Any:
    """Ask for the task, as an agent does, until it is as wanted."""
    async with asyncio.timeout(WAIT_S):
        while not is_wanted(state := (await about(agent, "tasks/get", id, caps)).result):
            pass
    return state


@asynccontextmanager
async def slow(start: Start, kind: type[ScriptedMcp], gate: Gate, **options: Any) -> AsyncIterator[Any]:
    """A hub that makes a task of whatever is not answered at once, before a server whose tool waits."""
    async with ScriptedHttpServer(kind(on_call=gate, streamed=True)) as server:
        hub = await start(config(at("s", server.url), **{"as_task_after_s": 0.0, **options}))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            try:
                yield hub, server, agent
            finally:
                gate.open.set()


async def handle(agent: RawAgent, gate: Gate, caps: Any = TASKS, **call: Any) -> str:
    """The id of a call that has become a task, and runs."""
    before = gate.running
    reply = await agent.modern("tools/call", {**CALL, "_meta": {"progressToken": 1}, **call}, caps=caps)
    assert reply.result["resultType"] == "task", reply.result
    assert reply.result["status"] == "working"
    await until(lambda: gate.running > before, "the tool runs")
    return str(reply.result["taskId"])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_slow_call_to_any_server_becomes_a_task(start: Start, kind: type[ScriptedMcp]) -> None:
    gate = Gate()
    async with slow(start, kind, gate) as (hub, server, agent):
        id = await handle(agent, gate)
        await until(lambda: len(hub.hub.gateway.tasks) == 1, "it runs")
        state = (await about(agent, "tasks/get", id)).result
        assert (state["resultType"], state["status"], state["taskId"]) == ("complete", "working", id)
        gate.open.set()
        done = await over(agent, id)
        assert done["status"] == "completed"
        assert "hello" in done["result"]["content"][0]["text"]
        assert (await about(agent, "tasks/get", id)).result["result"] == done["result"]
        assert len(server.hits("tools/call")) == 1
        assert len(hub.hub.gateway.tasks) == 0


async def test_progress_becomes_the_tasks_message(start: Start) -> None:
    gate = Gate()
    async with slow(start, legacy_mcp, gate) as (_, _, agent):
        id = await handle(agent, gate)
        await polled(agent, id, TASKS, lambda state: state.get("statusMessage") == "1 of 2: half")


async def fails(exchange: Exchange) -> Any:
    return {"content": [{"type": "text", "text": "no"}], "isError": True}


async def refuses(exchange: Exchange) -> None:
    await exchange.error(-32000, "not today", {"why": "rain"})


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tool_that_fails_completes_and_an_error_is_a_failure(start: Start, kind: type[ScriptedMcp]) -> None:
    for ending in (fails, refuses):
        gate = Gate(ending)
        async with slow(start, kind, gate) as (_, _, agent):
            id = await handle(agent, gate)
            gate.open.set()
            state = await over(agent, id)
            if ending is fails:
                assert (state["status"], state["result"]["isError"]) == ("completed", True)
            else:
                assert (state["status"], state["error"]["code"]) == ("failed", -32000)
                assert state["error"]["data"] == {"why": "rain"}


async def test_a_call_past_task_max_s_has_failed(start: Start) -> None:
    gate = Gate()
    async with slow(start, modern_mcp, gate, task_max_s=0.2) as (_, _, agent):
        state = await over(agent, await handle(agent, gate))
    assert (state["status"], state["error"]["code"]) == ("failed", -31002)
    assert state["error"]["data"]["outcome"] == "unknown"


async def test_a_task_outlives_the_servers_timeout(start: Start) -> None:
    gate = Gate()
    async with ScriptedHttpServer(modern_mcp(on_call=gate)) as server:
        hub = await start(config(at("s", server.url, timeout_s=0.1), as_task_after_s=0.0))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            id = await handle(agent, gate)
            await asyncio.sleep(0.3)
            gate.open.set()
            assert (await over(agent, id))["status"] == "completed"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_task_is_cancelled_at_its_server(start: Start, kind: type[ScriptedMcp]) -> None:
    gate = Gate()
    async with slow(start, kind, gate) as (hub, _, agent):
        id = await handle(agent, gate)
        upstream = hub.hub.upstreams.get("s")
        await until(lambda: upstream.in_flight == 1, "the call runs")
        assert (await about(agent, "tasks/cancel", id)).result == {"resultType": "complete"}
        assert (await over(agent, id))["status"] == "cancelled"
        await until(lambda: upstream.in_flight == 0, "the call has ended")
        assert (await about(agent, "tasks/cancel", id)).result == {"resultType": "complete"}


@pytest.mark.parametrize("kind", [legacy_mcp, legacy_sse])
async def test_a_running_task_asks_and_is_answered(start: Start, kind: type[ScriptedMcp]) -> None:
    async def asks(exchange: Exchange) -> Any:
        answers = [(await exchange.ask("elicitation/create", FORM))["result"] for _ in range(2)]
        return {"content": [{"type": "text", "text": json.dumps(answers)}]}

    caps = {**TASKS, "elicitation": {}}
    gate = Gate(asks)
    async with slow(start, kind, gate) as (_, server, agent):
        id = await handle(agent, gate, caps)
        gate.open.set()
        for round in ("one", "two"):
            state = await polled(agent, id, caps, lambda state: state["status"] == "input_required")
            ((key, question),) = state["inputRequests"].items()
            assert question["method"] == "elicitation/create"
            said = {"action": "accept", "content": {"x": round}}
            ignored = {"never-asked": said}
            reply = await about(agent, "tasks/update", id, caps, inputResponses={key: said, **ignored})
            assert reply.result == {"resultType": "complete"}
        done = await over(agent, id, caps)
        text = json.loads(done["result"]["content"][0]["text"])
        assert [one["content"]["x"] for one in text] == ["one", "two"]
        assert len(server.hits("tools/call")) == 1


async def test_who_does_not_take_tasks_gets_a_plain_answer_with_progress(start: Start) -> None:
    gate = Gate()
    gate.open.set()
    async with slow(start, legacy_mcp, gate) as (_, _, agent):
        reply = await agent.modern("tools/call", {**CALL, "_meta": {"progressToken": 1}})
        assert [one.get("method") for one in reply.messages] == ["notifications/progress", None]
        assert reply.result["resultType"] == "complete"
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            refused = await about(agent, method, "x", {})
            assert (refused.status, refused.error["code"]) == (400, -32021)
            assert refused.error["data"] == {"requiredCapabilities": TASKS}


async def test_a_call_that_is_quick_is_no_task(start: Start) -> None:
    gate = Gate()
    gate.open.set()
    async with slow(start, modern_mcp, gate, as_task_after_s=30.0) as (_, _, agent):
        assert (await agent.modern("tools/call", CALL, caps=TASKS)).result["resultType"] == "complete"
    async with slow(start, modern_mcp, gate, as_task_after_s=None) as (_, _, agent):
        assert (await agent.modern("tools/call", CALL, caps=TASKS)).result["resultType"] == "complete"


async def test_an_agent_that_leaves_before_it_has_a_handle_cancels(start: Start) -> None:
    gate = Gate()
    async with slow(start, modern_mcp, gate, as_task_after_s=30.0) as (hub, _, agent):
        headers, body = modern_request("tools/call", {**CALL, "_meta": {"progressToken": 1}}, caps=TASKS)
        async with agent.stream("POST", None, body, headers):
            pass
        await until(lambda: hub.hub.upstreams.get("s").in_flight == 0, "the call was ended")


async def test_a_task_is_its_owners_alone(start: Start) -> None:
    """T5, T6: whoever else asks is told what is told of what does not exist."""
    gate = Gate()
    async with slow(start, modern_mcp, gate) as (hub, _, agent):
        id = await handle(agent, gate)
        tasks = hub.hub.gateway.tasks
        for other in (Principal("eve"), Principal(tenant="other"), Principal(agent="robot")):
            for refused in (tasks.get(id, other), tasks.cancel(id, other), tasks.update(id, other, {})):
                with pytest.raises(InvalidParams):
                    await refused
            assert await tasks.list(other) == []
        errors = [(await about(agent, "tasks/get", wrong)).error for wrong in ("x", id[:-4] + "AAAA", "", "A" * 100)]
        assert {error["code"] for error in errors} == {-32602}
        assert len({error["message"] for error in errors}) == 1
        gate.open.set()
        await over(agent, id)


async def test_tasks_are_counted_exactly_and_one_more_is_answered_plainly(start: Start) -> None:
    """R31: none is evicted."""
    gate = Gate()
    async with slow(start, modern_mcp, gate) as (hub, _, agent):
        hub.hub.gateway.tasks.per_owner_max = 2
        ids = [await handle(agent, gate) for _ in range(2)]
        headers, body = modern_request("tools/call", CALL, caps=TASKS, id=9)
        one_more = asyncio.ensure_future(agent.post(None, body, headers))  # noqa: TID251 - awaited below
        await until(lambda: gate.running == 3, "it runs all the same")
        gate.open.set()
        assert (await one_more).result["resultType"] == "complete"
        assert [(await over(agent, id))["status"] for id in ids] == ["completed"] * 2


async def test_tasks_survive_a_restart_and_what_ran_has_failed(tmp_path: Path) -> None:
    gate = Gate()
    async with ScriptedHttpServer(modern_mcp(on_call=gate)) as server:
        spec = Server("s", (UrlReplica(server.url),))
        configuration = Config(servers={"s": spec}, state_db=tmp_path / "state.db", as_task_after_s=0.0)

        @asynccontextmanager
        async def hub_and_agent() -> AsyncIterator[tuple[Running, RawAgent]]:
            hub = await Hub.create(configuration)
            running = Running(hub, await hub.listen(Address("127.0.0.1", 0)))
            try:
                await running.ready("s")
                async with RawAgent(running.mcp) as agent:
                    yield running, agent
            finally:
                await hub.close(drain_s=0)

        async with hub_and_agent() as (_, agent):
            done = await handle(agent, gate)
            gate.open.set()
            result = (await over(agent, done))["result"]
            gate.open.clear()
            lost = await handle(agent, gate)
        async with hub_and_agent() as (running, agent):
            assert (await about(agent, "tasks/get", done)).result["result"] == result
            state = (await about(agent, "tasks/get", lost)).result
            assert (state["status"], state["error"]["data"]["outcome"]) == ("failed", "unknown")
            assert len(server.hits("tools/call")) == 2
            wall = running.hub.gateway.wall
            running.hub.gateway.wall = lambda: wall() + 3 * 3600
            assert (await about(agent, "tasks/get", done)).error["code"] == -32602
            await running.hub.gateway.tasks.reap()
            assert await running.hub.store.items("tasks") == {}


async def test_a_stream_tells_of_the_hubs_tasks(start: Start) -> None:
    gate = Gate()
    async with slow(start, legacy_mcp, gate) as (_, _, agent):
        id = await handle(agent, gate)
        wanted = {"notifications": {"taskIds": [id, "nobodys"]}}
        headers, body = modern_request("subscriptions/listen", wanted, caps=TASKS, id=5)
        async with agent.stream("POST", None, body, headers) as stream:
            told = await stream.next_message()
            assert told["params"]["notifications"]["taskIds"] == [id]
            gate.open.set()
            change = await stream.next_message()
        assert change["method"] == "notifications/tasks"
        assert change["params"]["status"] == "completed"
        assert "hello" in change["params"]["result"]["content"][0]["text"]
        assert change["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 5}
        headers, body = modern_request("subscriptions/listen", wanted, id=6)
        assert (await agent.post(None, body, headers)).error["code"] == -32021


# -- servers' own tasks


def own_task(status: str, **more: Any) -> dict[str, Any]:
    times = {"createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z", "ttlMs": 60_000}
    return {"taskId": "mine-1", "status": status, **times, "pollIntervalMs": 50, **more}


class TaskServer:
    """Answers every call with a task of its own, which is over once `done` is set."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.cancelled = False

    async def call(self, exchange: Exchange) -> Any:
        return {"resultType": "task", **own_task("working")}

    async def get(self, exchange: Exchange) -> Any:
        if exchange.params["taskId"] != "mine-1":
            await exchange.error(-32602, "no such task", status=400)
            return None
        if self.cancelled or not self.done.is_set():
            return own_task("cancelled" if self.cancelled else "working")
        link = {"type": "resource_link", "uri": "file:///made", "name": "made"}
        return own_task("completed", result={"content": [link]})

    async def cancel(self, exchange: Exchange) -> Any:
        self.cancelled = True
        return {}

    def mcp(self) -> ScriptedMcp:
        return modern_mcp(on_call=self.call, on={"tasks/get": self.get, "tasks/cancel": self.cancel})


async def test_a_servers_own_task_passes_through_and_survives_a_restart(start: Start, tmp_path: Path) -> None:
    tasks = TaskServer()
    async with ScriptedHttpServer(tasks.mcp()) as server:
        configuration = config(at("s", server.url), at("other", server.url), state_db=tmp_path / "state.db")
        ids: list[str] = []
        for _ in range(2):
            hub = await Hub.create(configuration)
            running = Running(hub, await hub.listen(Address("127.0.0.1", 0)))
            try:
                await running.ready("s", "other")
                async with RawAgent(running.mcp) as agent:
                    if not ids:
                        made = (await agent.modern("tools/call", CALL, caps=TASKS)).result
                        assert made["resultType"] == "task"
                        ids.append(made["taskId"])
                        assert "mine-1" not in ids[0]
                        assert (await about(agent, "tasks/get", ids[0])).result["status"] == "working"
                    else:
                        tasks.done.set()
                        state = (await about(agent, "tasks/get", ids[0])).result
                        assert state["taskId"] == ids[0]
                        assert state["result"]["content"][0]["uri"] == "file://s!/made"
                        await about(agent, "tasks/cancel", ids[0])
                        assert tasks.cancelled
            finally:
                await hub.close(drain_s=0)


async def test_a_server_must_not_make_a_task_for_who_takes_none(start: Start) -> None:
    tasks = TaskServer()
    async with ScriptedHttpServer(tasks.mcp()) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await agent.modern("tools/call", CALL)).error["code"] == -31006


async def test_a_stream_tells_of_a_servers_own_tasks(start: Start) -> None:
    tasks = TaskServer()
    async with ScriptedHttpServer(tasks.mcp()) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            id = (await agent.modern("tools/call", CALL, caps=TASKS)).result["taskId"]
            wanted = {"notifications": {"taskIds": [id]}}
            headers, body = modern_request("subscriptions/listen", wanted, caps=TASKS, id=5)
            async with agent.stream("POST", None, body, headers) as stream:
                assert (await stream.next_message())["params"]["notifications"]["taskIds"] == [id]
                mcp = server.handler
                assert isinstance(mcp, ScriptedMcp)
                await until(
                    lambda: any("taskIds" in json.dumps(hit.message) for hit in server.hits("subscriptions/listen")),
                    "the server is listened to",
                )
                await mcp.push("notifications/tasks", own_task("working", statusMessage="on it"))
                told = (await stream.next_message())["params"]
        assert (told["taskId"], told["statusMessage"]) == (id, "on it")


# -- agents of 2025-11-25


async def session(agent: RawAgent, **options: Any) -> Any:
    """Sends requests in a session of its own."""
    headers, body = legacy_initialize(**options)
    hello = await agent.post(None, body, headers)
    id = hello.header("mcp-session-id")

    async def send(method: str, params: Any) -> RawReply:
        headers, body = legacy_request(method, params, id=3, session=id)
        return await agent.post(None, body, headers)

    return hello.result["capabilities"].get("tasks"), send


@pytest.mark.parametrize("kind", KINDS)
async def test_a_legacy_agent_asks_for_a_task_of_any_server(start: Start, kind: type[ScriptedMcp]) -> None:
    gate = Gate()
    async with slow(start, kind, gate) as (_, server, agent):
        offered, send = await session(agent)
        assert offered == {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
        made = (await send("tools/call", {**CALL, "task": {"ttl": 60_000}})).result["task"]
        assert (made["status"], "ttl" in made, "ttlMs" in made) == ("working", True, False)
        await until(lambda: gate.running == 1, "it runs")
        assert (await send("tasks/get", {"taskId": made["taskId"]})).result["status"] == "working"
        assert [one["taskId"] for one in (await send("tasks/list", {})).result["tasks"]] == [made["taskId"]]
        gate.open.set()
        outcome = (await send("tasks/result", {"taskId": made["taskId"]})).result
        assert "hello" in outcome["content"][0]["text"]
        assert outcome["_meta"]["io.modelcontextprotocol/related-task"] == {"taskId": made["taskId"]}
        assert "resultType" not in outcome
        assert (await send("tasks/cancel", {"taskId": made["taskId"]})).error["code"] == -32602
        assert len(server.hits("tools/call")) == 1


async def test_a_legacy_agents_task_that_fails_says_why(start: Start) -> None:
    gate = Gate(refuses)
    gate.open.set()
    async with slow(start, legacy_mcp, gate) as (_, _, agent):
        _, send = await session(agent)
        made = (await send("tools/call", {**CALL, "task": {}})).result["task"]
        error = (await send("tasks/result", {"taskId": made["taskId"]})).error
        assert (error["code"], error["message"]) == (-32000, "not today")


async def test_older_agents_have_no_tasks(start: Start) -> None:
    gate = Gate()
    gate.open.set()
    async with slow(start, modern_mcp, gate) as (_, _, agent):
        offered, send = await session(agent, version="2025-06-18")
        assert offered is None
        assert (await send("tasks/list", {})).error["code"] == -32601


async def test_a_tool_that_only_runs_as_a_task_is_called_like_any_other(start: Start) -> None:
    tool = {"name": "echo", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}}
    made = {"taskId": "t1", "status": "working", "createdAt": "2026-01-01T00:00:00Z", "ttl": None}

    async def call(exchange: Exchange) -> Any:
        if "task" not in exchange.params:
            await exchange.error(-32601, "as a task only")
            return None
        return {"task": made}

    async def outcome(exchange: Exchange) -> Any:
        assert exchange.params["taskId"] == "t1"
        return {"content": [{"type": "text", "text": "at last"}]}

    mcp = legacy_mcp(tools=[tool], on_call=call, on={"tasks/result": outcome})
    async with ScriptedHttpServer(mcp) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            reply = await agent.modern("tools/call", {"name": "s__echo", "arguments": {}})
            assert reply.result["content"][0]["text"] == "at last"


async def test_a_servers_own_task_is_asked_about_at_the_replica_that_made_it(start: Start) -> None:
    one, two = TaskServer(), TaskServer()
    async with ScriptedHttpServer(one.mcp()) as first, ScriptedHttpServer(two.mcp()) as second:
        hub = await start(config(at("s", first.url, second.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            id = (await agent.modern("tools/call", CALL, caps=TASKS)).result["taskId"]
            for _ in range(4):
                assert (await about(agent, "tasks/get", id)).result["status"] == "working"
        asked = [len(server.hits("tasks/get")) for server in (first, second)]
        assert sorted(asked) == [0, 4]
        assert [len(server.hits("tools/call")) for server in (first, second)] == [count // 4 for count in asked]


async def test_a_task_that_only_asks_for_patience_does_not_spin(start: Start) -> None:
    async def patience(exchange: Exchange) -> Any:
        if "requestState" not in exchange.params:
            return {"resultType": "input_required", "requestState": "later"}
        return await echo(exchange)

    gate = Gate(patience)
    async with slow(start, modern_mcp, gate) as (_, server, agent):
        id = await handle(agent, gate)
        gate.open.set()
        assert (await over(agent, id))["status"] == "completed"
        assert len(server.hits("tools/call")) == 2


async def test_no_room_for_a_task_leaves_the_servers_own_timeout(start: Start) -> None:
    gate = Gate()
    async with ScriptedHttpServer(modern_mcp(on_call=gate)) as server:
        hub = await start(config(at("s", server.url, timeout_s=0.3), as_task_after_s=0.0))
        await hub.ready("s")
        hub.hub.gateway.tasks.per_owner_max = 0
        async with RawAgent(hub.mcp) as agent:
            assert (await agent.modern("tools/call", CALL, caps=TASKS)).error["code"] == -31002


async def test_a_legacy_agent_gets_a_plain_answer_where_a_modern_server_has_tasks_only(start: Start) -> None:
    tasks = TaskServer()

    async def tasks_only(exchange: Exchange) -> Any:
        declared = exchange.meta["io.modelcontextprotocol/clientCapabilities"]
        if "extensions" not in declared:
            await exchange.error(-32021, "as a task only", {"requiredCapabilities": TASKS}, status=400)
            return None
        return await tasks.call(exchange)

    async with ScriptedHttpServer(modern_mcp(on_call=tasks_only, on={"tasks/get": tasks.get})) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            _, send = await session(agent)
            call = asyncio.ensure_future(send("tools/call", CALL))  # noqa: TID251 - awaited below
            await until(lambda: server.hits("tasks/get"), "the hub waits for the task")
            tasks.done.set()
            answer = await call
            assert answer.result["content"][0]["uri"] == "file://s!/made"
            assert "resultType" not in answer.result
            # who speaks the modern era is told what it has to declare
            refused = await agent.modern("tools/call", CALL)
            assert (refused.status, refused.error["code"]) == (400, -32021)
            # a task that is given up is no empty success: by the agent itself, which finds it in the list
            tasks.done.clear()
            call = asyncio.ensure_future(send("tools/call", CALL))  # noqa: TID251 - awaited below
            _, aside = await session(agent)
            listed: list[Any] = []
            async with asyncio.timeout(5):
                while not listed:
                    kept = (await aside("tasks/list", {})).result["tasks"]
                    listed = [one for one in kept if one["status"] == "working"]
            assert (await aside("tasks/cancel", {"taskId": listed[0]["taskId"]})).result["status"] == "cancelled"
            assert (await call).error["code"] == -32603
            # ... or by its server
            tasks.cancelled = True
            given_up = (await send("tools/call", CALL)).error
            assert given_up["code"] == -31006
            assert "cancelled the task" in given_up["message"]
