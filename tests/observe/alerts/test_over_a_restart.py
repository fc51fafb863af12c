"""A firing arrives at a real receiver once, whatever dies in between."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.observe.alerts.kit import DOWN, Bench, Received, alerting, receiver

from concento.model.alerting import AlertRule, Channel, WebhookChannel
from concento.model.signing import signature
from concento.observe.alerts.channels import DELIVERY, Channels
from concento.observe.alerts.notify import Delivery
from concento.store.sqlite import SqliteStore


async def test_a_server_that_is_down_reaches_a_signed_webhook_after_a_restart_and_only_once(tmp_path: Path) -> None:
    async with receiver() as hook:
        config = alerting(DOWN, channels={"ops": WebhookChannel("ops", hook.url, secret="0123456789abcdef")})
        bench = Bench(config, await SqliteStore.open(tmp_path / "state.db"))
        bench.received = Channels(bench.clock.wall)
        await bench.restart()
        bench.up = {"time": 0.0}
        hook.statuses = [503]
        await bench.pass_s(120 + 20)
        assert len(hook.got) == 1, "it was tried, and the receiver was not well"
        await bench.store.close()

        bench.store = await SqliteStore.open(tmp_path / "state.db")
        await bench.restart()
        await bench.pass_s(60)
        await bench.restart()
        await bench.pass_s(600)
        await bench.store.close()

    (refused, first), (headers, body) = hook.got
    assert refused[DELIVERY] == headers[DELIVERY], "the same message has the same id, so that a receiver can tell"
    assert body == first
    told = json.loads(body)
    assert (told["id"], told["what"], told["severity"]) == (headers[DELIVERY], "firing", "critical")
    assert told["alerts"][0]["labels"] == {"server": "time"}
    at_s = int(headers["Concento-Signature"].partition(",")[0].removeprefix("t="))
    assert headers["Concento-Signature"] == signature("0123456789abcdef", at_s, body)


async def test_a_hub_that_is_killed_at_any_write_loses_and_doubles_nothing() -> None:
    """Every write of the state is a place to die at: just before it, or just after."""
    writes = await _writes(None, after=False)
    assert writes > 5
    for number in range(writes):
        for after in (False, True):
            await _writes(number, after=after)


class _Killed(BaseException):
    pass


async def _writes(killed_at: int | None, *, after: bool) -> int:
    """Run through a firing, a step and its end, killed once at a write. Returns how many writes there were."""
    from concento.model.alerting import Step
    from concento.store.memory import MemoryStore

    count = 0

    class Deadly(MemoryStore):
        async def put(self, space: str, key: str, value: bytes) -> None:
            nonlocal count
            count += 1
            if count - 1 == killed_at and not after:
                raise _Killed
            await super().put(space, key, value)
            if count - 1 == killed_at:
                raise _Killed

    bench = Bench(alerting(DOWN, steps=(Step(("ops",)), Step(("phone",), 300.0))), Deadly())
    await bench.begin()
    for up, seconds in ((0.0, 600.0), (1.0, 120.0)):
        bench.up = {"time": up}
        end_s = bench.clock.monotonic() + seconds
        while bench.clock.monotonic() < end_s:
            bench.clock.advance(5.0)
            try:
                await bench.tick()
            except _Killed:
                await bench.restart()
    assert not bench.alerts.alerts
    ids = {one.id: one for one in bench.received.got}
    told = sorted((one.channel, one.what, one.step) for one in ids.values())
    assert told == [("ops", "firing", 0), ("ops", "over", -1), ("phone", "firing", 1), ("phone", "over", -1)]
    doubled = len(bench.received.got) - len(ids)
    assert doubled <= (killed_at is not None), (
        "one that was killed between sending and noting it comes again, with its id"
    )
    return count


async def test_a_hub_that_stops_lets_what_is_being_sent_arrive() -> None:
    class Slow(Received):
        answered = asyncio.Event()

        async def carry(self, channel: Channel, delivery: Delivery, rules: Mapping[str, AlertRule]) -> str:
            await self.answered.wait()
            return await super().carry(channel, delivery, rules)

    bench = await Bench(alerting(DOWN), carrier=Slow()).begin()
    bench.up = {"time": 0.0}
    for _ in range(40):
        bench.clock.advance(5.0)
        await bench.alerts.tick()
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.alerts.close())
        await asyncio.sleep(0)
        Slow.answered.set()
    await bench.restart()
    await bench.pass_s(60)
    assert bench.received.told() == [("ops", "firing", 0, ["time"])]


@pytest.mark.parametrize("kept", [b"", b"\x00", b"not what was kept", b"\x81\xa6alerts\x01"])
async def test_state_that_can_not_be_read_is_begun_anew(kept: bytes) -> None:
    bench = Bench(alerting(DOWN))
    await bench.store.put("alerts", "state", kept)
    await bench.begin()
    bench.up = {"time": 0.0}
    await bench.pass_s(150)
    assert bench.received.told() == [("ops", "firing", 0, ["time"])]
