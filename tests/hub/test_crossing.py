"""Nothing of one caller's reaches another. Source: hardening T6, R31."""

import asyncio
import random
from typing import Any

import pytest
from tests.hub.conftest import Start, at, config

from concento.model.call import Notify, Reply, Request
from concento.model.errors import Overloaded
from concento.model.principal import ANONYMOUS, Owner, Principal
from concento.testing.clock import ManualClock
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, ScriptedMcp, legacy_mcp, modern_mcp
from concento.testing.raw_agent import RawAgent, legacy_request
from concento.upstream.parking import Parking

CALLERS = 200
ROUNDS = 50


class Barrier:
    """Answers nobody until everybody has called, and then in any order."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._random = random.Random(seed)
        self._waiting: list[asyncio.Future[None]] = []

    async def __call__(self, exchange: Exchange) -> Any:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if len(self._waiting) == self._count:
            released, self._waiting = self._waiting, []
            self._random.shuffle(released)
            for one in released:
                one.set_result(None)
        await turn
        nonce = exchange.arguments["nonce"]
        return {"content": [{"type": "text", "text": nonce}], "_meta": {"example.com/nonce": nonce}}


@pytest.mark.parametrize("kind", [modern_mcp, legacy_mcp])
async def test_no_caller_gets_anothers_answer(start: Start, kind: type[ScriptedMcp]) -> None:
    """T6: callers of both eras use the same request ids at the same time; all replies are released at once."""
    async with ScriptedHttpServer(kind(on_call=Barrier(CALLERS, seed=1))) as server:
        hub = await start(config(at("s", server.url, concurrency_max=CALLERS)))
        await hub.ready("s")

        async def caller(number: int) -> int:
            foreign = 0
            async with RawAgent(hub.mcp, wait_s=60) as agent:
                session = None
                if number % 2:
                    session = await agent.begin()
                for round in range(ROUNDS):
                    nonce = f"{number}-{round}"
                    call = {"name": "s__echo", "arguments": {"nonce": nonce}}
                    if session is None:
                        result = (await agent.modern("tools/call", call, id=1)).result
                    else:
                        headers, body = legacy_request("tools/call", call, id=1, session=session)
                        result = (await agent.post(None, body, headers)).result
                    foreign += result["content"][0]["text"] != nonce
                    foreign += result["_meta"]["example.com/nonce"] != nonce
            return foreign

        assert sum(await asyncio.gather(*(caller(number) for number in range(CALLERS)))) == 0
        assert len(server.hits("tools/call")) == CALLERS * ROUNDS


class Call:
    """A parked call that only counts."""

    def __init__(self, principal: Principal) -> None:
        self.owner: Owner = principal.owner
        self.given_up = 0

    async def resume(self, request: Request, notify: Notify | None) -> Reply:
        raise NotImplementedError

    def give_up(self) -> None:
        self.given_up += 1


async def test_ten_thousand_calls_that_want_to_be_parked() -> None:
    """R31: exact caps, nobody is evicted, and all are given up when their time is up."""
    clock = ManualClock()
    parking = Parking(clock.monotonic)
    calls = [Call(Principal(f"user-{number % 50}")) for number in range(10_000)]
    tokens: dict[str, Call] = {}
    refused = 0
    for call in calls:
        try:
            tokens[parking.park(call)] = call
        except Overloaded:
            refused += 1
    assert (len(parking), len(tokens), refused) == (1000, 1000, 9000)
    assert not any(call.given_up for call in calls)
    token, first = next(iter(tokens.items()))
    assert parking.take(token) is first
    assert parking.take(token) is None
    assert parking.park(Call(ANONYMOUS))
    clock.advance(599)
    parking.sweep()
    assert len(parking) == 1000
    clock.advance(2)
    parking.sweep()
    assert len(parking) == 0
    assert [call.given_up for call in list(tokens.values())[1:]] == [1] * 999
    parking.close()


async def test_one_caller_takes_no_more_than_its_share() -> None:
    parking = Parking(ManualClock().monotonic)
    greedy = Principal("greedy")
    for _ in range(100):
        parking.park(Call(greedy))
    with pytest.raises(Overloaded):
        parking.park(Call(greedy))
    assert parking.park(Call(ANONYMOUS))
    parking.close()
