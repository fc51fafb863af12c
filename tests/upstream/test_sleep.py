"""A child sleeps until it is needed, and when it is idle: real children, time by hand. Source: decisions/0006."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.transport.processes import gone, marked, running

from concento.model.call import Request, Result
from concento.model.config import ChildReplica, Server
from concento.model.errors import CallError, Unavailable
from concento.protocol.jsonrpc import raw
from concento.testing.clock import ManualClock
from concento.testing.stdio_child import child_command, recorded
from concento.testing.waiting import until
from concento.transport.watchdog import Watchdog
from concento.upstream.connect import Means
from concento.upstream.link import Welcome
from concento.upstream.parking import Parking
from concento.upstream.server import Upstream

CALL = Request("tools/call", {"name": raw("echo"), "arguments": raw({"text": "x"})}, {}, "echo")
LIST = Request("tools/list", {}, {})
HOUR_S = 3600.0


class House:
    """One server with its clock, and what it said of its health."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.watchdog = Watchdog()
        self.record = folder / "record"
        self.states: list[str] = []
        self.readied = 0
        self.upstream: Upstream

    def begin(self, behaviour: str = "plain", *, replicas: int = 1, **options: Any) -> Upstream:
        command = tuple(child_command(behaviour, record=self.record))
        specs = tuple(ChildReplica(command) for _ in range(replicas))
        server = Server("s", specs, **{"idle_stop_s": 60.0, **options})
        self.upstream = Upstream(server, Means(self.watchdog, Parking(self.clock.monotonic)), self, self.clock, 2.0)
        self.upstream.start()
        return self.upstream

    @property
    def starts(self) -> int:
        """How many children were started, from what they wrote down themselves."""
        return len(recorded(self.record, "server/discover"))

    @property
    def children(self) -> list[int]:
        return marked(f"--record={self.record}")

    @property
    def state(self) -> str:
        return self.upstream.health().state

    async def pass_s(self, seconds: float) -> None:
        """Let time pass, and the hub look at what is idle."""
        self.clock.advance(seconds)
        await self.upstream.reap()

    # -- what the server reports

    def ready(self, alias: str, welcome: Welcome) -> None:
        self.readied += 1

    def health(self, alias: str) -> None:
        self.states.append(self.state)

    def changed(self, alias: str, kind: str) -> None:
        pass

    def updated(self, alias: str, uri: str) -> None:
        pass


async def answered(upstream: Upstream) -> None:
    reply = await upstream.request(0, "", CALL)
    assert isinstance(reply, Result)
    assert b"content" in bytes(reply.raw)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    await house.upstream.close()
    await until(lambda: not house.children, "the end of all children", lambda: house.children)
    house.watchdog.close()


async def test_lazy_server_sleeps_until_the_first_call_and_answers_it(house: House) -> None:
    upstream = house.begin(start="lazy")
    await house.pass_s(HOUR_S)
    assert (house.state, house.children, house.states) == ("asleep", [], [])

    await answered(upstream)

    assert house.states == ["starting", "ready"]


async def test_calls_that_come_first_at_once_start_it_once(house: House) -> None:
    upstream = house.begin(start="lazy")

    await asyncio.gather(*(upstream.request(0, "", CALL) for _ in range(50)))

    assert (house.starts, house.readied, len(house.children)) == (1, 1, 1)


async def test_idle_child_is_stopped_on_time_and_the_next_call_starts_another(house: House) -> None:
    upstream = house.begin()
    await upstream.request(0, "", CALL)
    (first,) = house.children
    await house.pass_s(59.0)
    assert running(first)

    await house.pass_s(1.0)

    assert house.state == "asleep"
    await gone(first)
    await upstream.request(0, "", CALL)
    assert house.starts == 2
    assert house.states[-3:] == ["asleep", "starting", "ready"]


async def test_each_call_begins_the_time_anew_and_the_hubs_own_lists_do_not(house: House) -> None:
    upstream = house.begin()
    for _ in range(3):
        await upstream.request(0, "", CALL)
        await house.pass_s(59.0)
    assert house.state == "ready"

    await upstream.request(0, "", LIST)
    await house.pass_s(1.0)

    assert house.state == "asleep"


async def test_child_with_a_call_in_flight_is_never_stopped(house: House) -> None:
    upstream = house.begin("hang_on:tools/call")
    call = asyncio.ensure_future(upstream.request(0, "", CALL))  # noqa: TID251 - awaited below
    await until(lambda: recorded(house.record, "tools/call"), "the call is at the child")

    await house.pass_s(HOUR_S)

    assert (house.state, len(house.children)) == ("ready", 1)
    call.cancel()
    await asyncio.wait([call])
    await house.pass_s(59.0)
    assert house.state == "ready", "the time counts from the end of the call"
    await house.pass_s(1.0)
    assert house.state == "asleep"


async def test_subscription_wakes_a_child_and_keeps_it_awake_while_it_lasts(house: House) -> None:
    upstream = house.begin(start="lazy")

    await upstream.subscribe(frozenset({"test://a"}))

    assert house.state == "ready"
    await house.pass_s(HOUR_S)
    assert house.state == "ready"
    await upstream.subscribe(frozenset())
    await house.pass_s(0.0)
    assert house.state == "ready", "the time counts from the end of the subscription"
    await house.pass_s(60.0)
    assert house.state == "asleep"


async def test_isolated_children_sleep_each_on_its_own_then_the_main_one(house: House) -> None:
    upstream = house.begin(start="lazy", isolation="principal")
    await upstream.request(0, "t/ada/", CALL)
    await house.pass_s(30.0)
    await upstream.request(0, "t/alan/", CALL)
    assert len(house.children) == 3

    await house.pass_s(30.0)
    assert set(upstream.replicas[0].isolated) == {"t/alan/"}
    assert house.state == "ready"
    await house.pass_s(30.0)

    assert house.state == "asleep"
    await until(lambda: not house.children, "the end of all children", lambda: house.children)
    await upstream.request(0, "t/ada/", CALL)


async def test_child_of_a_session_lives_as_long_as_the_session(house: House) -> None:
    upstream = house.begin(isolation="session")
    await upstream.request(0, "t/ada//one", CALL)

    await house.pass_s(300.0)

    assert (house.state, len(house.children)) == ("ready", 2)
    await upstream.forget("one")
    await house.pass_s(60.0)
    assert house.state == "asleep"


async def test_isolated_child_with_a_call_in_flight_is_never_stopped(house: House) -> None:
    upstream = house.begin("hang_on:tools/call", isolation="principal")
    call = asyncio.ensure_future(upstream.request(0, "t/ada/", CALL))  # noqa: TID251 - cancelled below
    await until(lambda: recorded(house.record, "tools/call"), "the call is at the child")

    await house.pass_s(HOUR_S)

    assert (house.state, len(house.children)) == ("ready", 2)
    call.cancel()
    await asyncio.wait([call])


async def test_replicas_sleep_and_wake_each_on_its_own(house: House) -> None:
    upstream = house.begin(start="lazy", replicas=2)
    await upstream.request(1, "", CALL)
    assert [replica.state for replica in upstream.replicas] == ["asleep", "ready"]
    assert house.state == "ready"
    await house.pass_s(30.0)
    await upstream.request(0, "", CALL)
    await house.pass_s(30.0)
    assert [replica.state for replica in upstream.replicas] == ["ready", "asleep"]


async def test_child_that_can_not_start_is_told_to_the_call_that_woke_it(house: House) -> None:
    upstream = house.begin("exit_at_once", start="lazy")

    with pytest.raises(Unavailable, match="exited with code 1") as caught:
        await upstream.request(0, "", CALL)

    assert (caught.value.outcome, caught.value.retryable, house.state) == ("not_sent", True, "failing")


async def test_call_that_outwaits_a_slow_start_is_not_sent_and_may_be_repeated(house: House) -> None:
    upstream = house.begin("hang_on:server/discover", start="lazy", timeout_s=0.01)
    upstream.replicas[0]._start_wait_s = 0.01

    with pytest.raises(Unavailable, match="still starting") as caught:
        await upstream.request(0, "", CALL)

    assert (caught.value.outcome, caught.value.retryable) == ("not_sent", True)


async def test_child_that_dies_in_its_sleep_of_calls_is_started_anew_then_sleeps(house: House) -> None:
    upstream = house.begin("crash_on_call", start="lazy")
    with pytest.raises(CallError):
        await upstream.request(0, "", CALL)
    await until(lambda: house.states[-1] == "ready", "it is back, unasked: a failure is not slept over")
    await house.pass_s(60.0)
    assert house.state == "asleep"


@pytest.mark.parametrize("rounds", [100, pytest.param(2000, marks=pytest.mark.long)])
async def test_no_call_is_lost_to_a_stop_however_the_two_meet(house: House, rounds: int) -> None:
    """Calls and stops race, each a few turns of the event loop early or late: every call is answered."""
    upstream = house.begin(start="lazy")
    dice = random.Random(rounds)

    async def call(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await answered(upstream)

    async def stop(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await house.pass_s(60.0)

    for _ in range(rounds):
        calls = [call(dice.randrange(12)) for _ in range(dice.randrange(1, 4))]
        stops = [stop(dice.randrange(12)) for _ in range(2)]
        await asyncio.gather(*calls, *stops)
    assert rounds / 4 < house.states.count("asleep") < 2 * rounds
    assert house.starts == house.readied == house.states.count("ready")
