"""Several live instances of one server: who of them gets a call. Through a whole hub."""

from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from typing import Any

from tests.hub.conftest import Running, Start, config

from concento.model.config import Server, UrlReplica
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import modern_mcp
from concento.testing.raw_agent import RawAgent


async def replicated(
    start: Start, stack: AsyncExitStack, weights: tuple[int, ...], **options: Any
) -> tuple[Running, list[ScriptedHttpServer]]:
    servers = [await stack.enter_async_context(ScriptedHttpServer(modern_mcp())) for _ in weights]
    replicas = tuple(UrlReplica(server.url, weight=one) for server, one in zip(servers, weights, strict=True))
    hub = await start(config(Server("s", replicas, **options)))
    await hub.ready("s")
    return hub, servers


async def test_calls_go_round_by_weight(start: Start) -> None:
    async with AsyncExitStack() as stack:
        hub, servers = await replicated(start, stack, (3, 1), balance="weighted")
        async with RawAgent(hub.mcp) as agent:
            for _ in range(8):
                await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": "x"}})
        assert [len(server.hits("tools/call")) for server in servers] == [6, 2]


async def test_calls_with_the_same_argument_stay_together_and_move_when_their_replica_goes(start: Start) -> None:
    async with AsyncExitStack() as stack:
        hub, servers = await replicated(start, stack, (1, 1, 1), balance="hash", hash_by="arguments.text")
        texts = [f"text {number}" for number in range(20)]
        async with RawAgent(hub.mcp) as agent:
            for text in texts * 2:
                await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": text}})
            homes: defaultdict[str, set[int]] = defaultdict(set)
            for place, server in enumerate(servers):
                for hit in server.hits("tools/call"):
                    homes[hit.message["params"]["arguments"]["text"]].add(place)
            assert all(len(places) == 1 for places in homes.values())
            assert len(Counter(next(iter(places)) for places in homes.values())) == 3
            (gone,) = homes[texts[0]]
            await servers[gone].stop()
            for text in texts:
                reply = await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": text}})
                assert reply.result["structuredContent"] == {"text": text}


async def test_the_slow_one_of_two_gets_the_fewer_calls(start: Start) -> None:
    async with AsyncExitStack() as stack:
        hub, servers = await replicated(start, stack, (1, 1), balance="least_busy")
        upstream = hub.hub.upstreams.get("s")
        upstream.replicas[0].latency.note(60.0, upstream.clock.monotonic())
        async with RawAgent(hub.mcp) as agent:
            for _ in range(6):
                await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": "x"}})
        assert [len(server.hits("tools/call")) for server in servers] == [0, 6]
