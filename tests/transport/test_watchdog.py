"""No child outlives the hub: R23, with real processes and SIGKILL."""

import asyncio
import json
import os
import signal
import sys
import uuid

import pytest
from tests.transport.processes import ACTOR, gone, hub, marked, running

from concento.model.config import ChildReplica
from concento.testing.waiting import until
from concento.transport import watchdog as module
from concento.transport.stdio import Child
from concento.transport.watchdog import Watchdog


def ignore(_: object) -> None:
    pass


async def start(watchdog: Watchdog, verb: str = "echo") -> Child:
    """A child that runs, past its gate."""
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    replica = ChildReplica(command=(*ACTOR, verb))
    child = await Child.start(replica, watchdog=watchdog, on_line=lines.put_nowait, on_exit=ignore)
    child.write(b"hello")
    await asyncio.wait_for(lines.get(), 15)
    return child


async def test_killed_hub_leaves_neither_leader_nor_grandchildren() -> None:
    with hub("hold", "family") as process:
        assert process.stdout is not None
        pids = json.loads(process.stdout.readline())
        assert sorted(running(*pids)) == sorted(pids)

        process.kill()

        await gone(*pids)


async def test_killed_hub_ends_a_child_that_ignores_eof_and_sigterm() -> None:
    with hub("hold", "stubborn") as process:
        assert process.stdout is not None
        pid = json.loads(process.stdout.readline())

        process.kill()

        await gone(pid)


@pytest.mark.parametrize("rounds", [20, pytest.param(300, marks=pytest.mark.long)])
async def test_hub_killed_at_any_moment_of_a_start_leaves_nothing(rounds: int) -> None:
    mark = f"mark-{uuid.uuid4()}"
    with hub("race", mark, str(rounds)) as process:
        process.communicate()
    assert process.returncode == 0

    await until(lambda: not marked(mark), "the end of all children", lambda: marked(mark))


async def test_watchdog_that_dies_is_replaced_and_knows_the_living(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEADY_S", 0.0)
    watchdog = Watchdog()
    child = await start(watchdog, "stubborn")
    first = watchdog.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)
    await until(lambda: watchdog.pid not in (None, first), "another watchdog")
    assert running(child.pid)

    watchdog.close()  # as if the hub had died: the new one ends what it was told of
    await gone(child.pid)
    await child.close()


async def test_watchdog_that_can_not_live_is_started_anew_only_with_the_next_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watchdog = Watchdog()
    child = await start(watchdog)
    monkeypatch.setattr(module, "STEADY_S", 3600.0)
    os.kill(watchdog.pid or 0, signal.SIGKILL)
    await until(lambda: watchdog.pid is None, "its end is noticed")

    other = await start(watchdog)

    assert watchdog.pid is not None
    for each in (child, other):
        await each.close()
    watchdog.close()


async def test_ended_group_is_forgotten() -> None:
    watchdog = Watchdog()
    child = await start(watchdog)
    await child.close()
    elsewhere = Watchdog()
    stranger = await start(elsewhere, "stubborn")  # as if it had got the number anew

    watchdog.add(stranger.pid)
    watchdog.remove(stranger.pid)
    watchdog.close()

    assert running(stranger.pid)
    elsewhere.close()
    await stranger.close()


async def test_gate_starts_nothing_once_the_watchdog_is_gone() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.set_inheritable(write_end, True)
    canary = f"print({uuid.uuid4().int})"
    argv = [*module._GUARD, "gate", str(write_end), "256", "PATH", sys.executable, "-c", canary]

    pid = os.posix_spawn(argv[0], argv, {}, file_actions=[(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])
    os.close(write_end)
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 126


async def test_watchdog_ignores_sigterm_while_it_starts() -> None:
    watchdog = Watchdog()
    watchdog.gate(["/bin/true"], [])
    pid = watchdog.pid or 0
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        os.kill(pid, number)
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())

    child = await start(watchdog)
    await child.close()

    assert watchdog.pid == pid
    watchdog.close()
    assert not running(pid)


async def test_watchdog_ignores_sigterm_and_ends_with_its_hub() -> None:
    watchdog = Watchdog()
    child = await start(watchdog)
    pid = watchdog.pid or 0
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGTERM)
    await child.close()
    assert watchdog.pid == pid
    assert running(pid)

    watchdog.close()

    assert not running(pid)
