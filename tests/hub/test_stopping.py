"""Stopping in order: what runs finishes, what listens ends, nobody is cut who could have been served."""

import asyncio

from tests.hub.conftest import Start, at, config

from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, echo, modern_mcp
from concento.testing.raw_agent import RawAgent, modern_request
from concento.testing.waiting import until

CALLS = 200


async def test_two_hundred_calls_in_flight_finish_and_streams_end(start: Start) -> None:
    """R16."""
    gate = asyncio.Event()

    async def held(exchange: Exchange):
        await gate.wait()
        return await echo(exchange)

    async with ScriptedHttpServer(modern_mcp(on_call=held)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        headers, body = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id=1)
        async with RawAgent(hub.mcp) as agent, agent.stream("POST", None, body, headers) as stream:
            await stream.next_message()
            calls = [
                asyncio.ensure_future(agent.modern("tools/call", {"name": "s__echo", "arguments": {"n": n}}))  # noqa: TID251
                for n in range(CALLS)
            ]
            await server.arrived("tools/call", count=CALLS)
            closing = asyncio.ensure_future(hub.hub.close(drain_s=20.0))  # noqa: TID251 - awaited below
            await until(lambda: not hub.hub.is_ready(), "readiness is withdrawn first")
            ended = await stream.next_message()
            assert ended["id"] == 1
            assert ended["result"]["resultType"] == "complete"
            gate.set()
            replies = await asyncio.gather(*calls)
            assert await closing == 0
        assert [reply.result["structuredContent"]["n"] for reply in replies] == list(range(CALLS))
        assert len(server.hits("tools/call")) == CALLS
