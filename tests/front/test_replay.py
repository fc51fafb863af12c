"""A legacy agent whose stream broke goes on with it; batches of 2025-03-26 are split and joined. Real sockets."""

import asyncio
import json
from typing import Any

import pytest
from tests.hub.conftest import Start, at, config, start

from concento.front.replay import EventStore
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, asks, echo, legacy_mcp, modern_mcp
from concento.testing.raw_agent import RawAgent, RawStream, legacy_request
from concento.testing.waiting import until

__all__ = ["start"]

CALL = {"name": "s__echo", "arguments": {"text": "hello"}, "_meta": {"progressToken": "p"}}


def get(session: str, last_id: str | None = None) -> dict[str, str]:
    """The header fields of a GET."""
    fields = {"Accept": "text/event-stream", "Mcp-Session-Id": session}
    return fields if last_id is None else {**fields, "Last-Event-ID": last_id}


class Steps:
    """A tool that reports progress, one step each time it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Semaphore(0)

    async def __call__(self, exchange: Exchange) -> Any:
        for step in range(1, 4):
            await exchange.progress(step, 3)
            await self.go.acquire()
        return await echo(exchange)


async def progress(stream: RawStream) -> tuple[str | None, int]:
    """The next event's id, and which step it tells of."""
    event = await anext(stream)
    while not event.data:
        event = await anext(stream)
    return event.id, json.loads(event.data)["params"]["progress"]


async def test_a_stream_that_broke_is_taken_up_where_it_was_left(start: Start) -> None:
    steps = Steps()
    async with ScriptedHttpServer(modern_mcp(on_call=steps)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            session = await agent.begin()
            headers, body = legacy_request("tools/call", CALL, id=7, session=session)
            async with agent.stream("POST", None, body, headers) as stream:
                primer = await anext(stream)
                assert (primer.data, primer.retry_ms) == (b"", 1000)
                assert primer.id
                id, step = await progress(stream)
                assert step == 1
            for _ in range(3):
                steps.go.release()  # the rest happens while nobody reads
            await until(lambda: hub.hub.records.in_flight == 0, "the call has ended")
            back = await agent.get(headers=get(session, id))
            assert [one["params"]["progress"] for one in back.messages[:-1]] == [2, 3]
            assert back.message["id"] == 7
            assert "hello" in back.result["content"][0]["text"]
            whole = await agent.get(headers=get(session, primer.id))
            assert len(whole.messages) == 4
        assert len(server.hits("tools/call")) == 1


async def test_who_comes_back_in_time_reads_on_live(start: Start) -> None:
    steps = Steps()
    async with ScriptedHttpServer(modern_mcp(on_call=steps)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            session = await agent.begin()
            headers, body = legacy_request("tools/call", CALL, id=7, session=session)
            async with agent.stream("POST", None, body, headers) as stream:
                id, _ = await progress(stream)
            async with agent.stream("GET", None, b"", get(session, id)) as stream:
                for step in (2, 3):
                    steps.go.release()
                    assert (await progress(stream))[1] == step
                steps.go.release()
                assert (await stream.next_message())["id"] == 7
                with pytest.raises(StopAsyncIteration):
                    await anext(stream)


async def test_a_question_that_was_lost_is_asked_again_on_the_new_stream(start: Start) -> None:
    form = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {}}}
    async with ScriptedHttpServer(legacy_mcp(on_call=asks("elicitation/create", form), streamed=True)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            session = await agent.begin(caps={"elicitation": {}})
            headers, body = legacy_request("tools/call", CALL, id=7, session=session)
            async with agent.stream("POST", None, body, headers) as stream:
                primer = await anext(stream)
            async with agent.stream("GET", None, b"", get(session, primer.id)) as stream:
                question = await stream.next_message()
                answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}
                headers, _ = legacy_request("x", session=session)
                await agent.post(None, answer, headers)
                assert "decline" in (await stream.next_message())["result"]["content"][0]["text"]


async def test_changes_told_while_the_standing_stream_was_broken_are_told_later(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            session = await agent.begin()
            async with agent.stream("GET", None, b"", get(session)) as stream:
                primer = await anext(stream)
            await until(lambda: not any(one.has_stream for one in hub.hub.sessions), "the hub has noticed")
            mcp = server.handler
            assert isinstance(mcp, modern_mcp)
            await mcp.streaming()
            await mcp.change_tools([])
            async with agent.stream("GET", None, b"", get(session, primer.id)) as stream:
                assert (await stream.next_message())["method"] == "notifications/tools/list_changed"


@pytest.mark.parametrize("last_id", ["", "x", "999-1", "1", "1-", "1-x", "1-99999999999999", "٣-1"])
async def test_an_event_that_nobody_sent_is_not_found(start: Start, last_id: str) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url)))
        async with RawAgent(hub.mcp) as agent:
            headers = {**get(await agent.begin()), "Last-Event-ID": last_id.encode().decode("latin-1")}
            assert (await agent.get(headers=headers)).status == 404


async def test_another_sessions_events_are_not_found(start: Start) -> None:
    """T7."""
    steps = Steps()
    async with ScriptedHttpServer(modern_mcp(on_call=steps)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            session, other = await agent.begin(), await agent.begin()
            headers, body = legacy_request("tools/call", CALL, id=7, session=session)
            async with agent.stream("POST", None, body, headers) as stream:
                id, _ = await progress(stream)
                assert (await agent.get(headers=get(other, id))).status == 404
                for _ in range(3):
                    steps.go.release()


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18"])
async def test_older_agents_get_ids_but_no_empty_event(start: Start, version: str) -> None:
    steps = Steps()
    for _ in range(3):
        steps.go.release()
    async with ScriptedHttpServer(modern_mcp(on_call=steps)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            headers, body = legacy_request("tools/call", CALL, session=await agent.begin(version), version=version)
            reply = await agent.post(None, body, headers)
        assert all(event.data and event.id for event in reply.events)


def test_what_is_kept_is_bounded_over_all_streams() -> None:
    store = EventStore()
    store.bytes_max, store.events_max = 1000, 5

    class Log:
        def __init__(self) -> None:
            self.sizes: list[int] = []

        def add(self, size: int) -> None:
            self.sizes.append(size)
            store.kept(self, size)  # type: ignore[arg-type]

        def forget_oldest(self) -> int:
            return self.sizes.pop(0)

    one, two = Log(), Log()
    for size in (300, 300, 300):
        one.add(size)
    two.add(400)
    assert (one.sizes, two.sizes) == ([300, 300], [400])
    for _ in range(5):
        two.add(1)
    assert (one.sizes, two.sizes) == ([], [1] * 5)


async def test_the_hub_takes_up_a_stream_that_its_server_ended(start: Start) -> None:
    """The other side of it: a server that lets go of the connection in the middle of a call."""
    answer: list[bytes] = []

    async def lets_go(exchange: Exchange) -> None:
        answer.append(json.dumps(exchange.answer(await echo(exchange))).encode())
        await exchange.conn.start_events()
        await exchange.conn.chunk(b"id: e1\nretry: 10\ndata: \n\n")
        await exchange.conn.end_events()

    class Resuming(legacy_mcp):
        async def __call__(self, hit: Any, conn: Any) -> None:
            if hit.method == "GET" and hit.header("Last-Event-ID") == "e1":
                await conn.start_events()
                await conn.event(answer[0])
                await conn.end_events()
                return
            await super().__call__(hit, conn)

    async with ScriptedHttpServer(Resuming(on_call=lets_go)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert "hello" in (await agent.modern("tools/call", CALL)).result["content"][0]["text"]


# -- batches


def batch(*messages: tuple[str, dict[str, Any] | None, int | None]) -> list[dict[str, Any]]:
    return [
        {"jsonrpc": "2.0", "method": method, **({"params": params} if params else {}), **({"id": id} if id else {})}
        for method, params, id in messages
    ]


async def test_a_batch_is_answered_as_one(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        call = {"name": "s__echo", "arguments": {"text": "b"}}
        note = ("notifications/x", None, None)
        async with RawAgent(hub.mcp) as agent:
            headers, _ = legacy_request("x", session=await agent.begin("2025-03-26"), version="2025-03-26")
            mixed = batch(
                ("tools/call", call, 1), ("ping", None, 2), ("notifications/x", None, None), ("nope", None, 3)
            )
            reply = await agent.post(None, mixed, headers)
            by_id = {one["id"]: one for one in reply.json()}
            assert by_id.keys() == {1, 2, 3}
            assert "b" in by_id[1]["result"]["content"][0]["text"]
            assert by_id[2]["result"] == {}
            assert by_id[3]["error"]["code"] == -32601
            silent = await agent.post(None, batch(note), headers)
            assert (silent.status, silent.body) == (202, b"")
            again = await agent.post(None, batch(("initialize", {}, 1)), headers)
            assert again.json()[0]["error"]["code"] == -32600


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18"])
async def test_a_batch_of_any_other_revision_is_refused(start: Start, version: str) -> None:
    """T11."""
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            headers, _ = legacy_request("x", session=await agent.begin(version), version=version)
            reply = await agent.post(None, batch(("tools/call", CALL, 1)), headers)
            assert (reply.status, reply.error["code"]) == (400, -32600)
        assert not server.hits("tools/call")


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_has_a_bound(start: Start, count: int) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url)))
        async with RawAgent(hub.mcp) as agent:
            headers, _ = legacy_request("x", session=await agent.begin("2025-03-26"), version="2025-03-26")
            assert (await agent.post(None, batch(*[("ping", None, 1)] * count), headers)).status == 400


async def test_events_that_are_no_longer_kept_are_told_of_rather_than_left_out(start: Start) -> None:
    steps = Steps()
    async with ScriptedHttpServer(modern_mcp(on_call=steps)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            session = await agent.begin()
            (kept,) = hub.hub.sessions
            kept.logs.store.events_max = 2
            headers, body = legacy_request("tools/call", CALL, id=7, session=session)
            for _ in range(3):
                steps.go.release()
            whole = await agent.post(None, body, headers)
            ids = [event.id for event in whole.events]
            assert (await agent.get(headers=get(session, ids[0]))).status == 404
            assert (await agent.get(headers=get(session, ids[-2]))).message["id"] == 7


async def test_standing_streams_that_are_taken_up_again_leave_no_task(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            session = await agent.begin()
            async with agent.stream("GET", None, b"", get(session)) as stream:
                primer = await anext(stream)
                assert hub.hub.listener is not None
                for _ in range(5):
                    async with agent.stream("GET", None, b"", get(session, primer.id)):
                        pass
                await until(lambda: not hub.hub.listener.running, "all have ended")  # type: ignore[union-attr]
            async with agent.stream("GET", None, b"", get(session, primer.id)) as stream:
                await agent.request("DELETE", None, b"", {"Mcp-Session-Id": session})
                with pytest.raises(StopAsyncIteration):
                    await stream.next_message()
