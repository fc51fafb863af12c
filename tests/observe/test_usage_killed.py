"""kill -9 at many steps of the work, and of recovering from it: no call counts twice, and none is missing unsaid.

Source: hardening R17; issue "Usage and billing".
"""

import asyncio
import os
import signal
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.observe import audit_kit
from tests.observe.test_usage import ended
from tests.observe.usage_killed import both
from tests.observe.usage_kit import calls, lost, opened, rows

ROOT = Path(__file__).parents[2]
STEPS = [
    *(("usage begun", 1), ("usage added", 2), ("usage committed", 2), ("committed", 3), ("executed", 30)),
    *(("metered", 1), ("metered", 33), ("counted", 20), ("taken", 40), ("before closing", 1), ("between closing", 1)),
]
COST = 2 * 10**12 + 407 * 10**7
"""Of one call, in `PARTS`: 0.002, and 407 bytes at 0.01 a million."""


def kill(folder: Path, mode: str, step: str, count: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.observe.usage_killed", str(folder), mode, step, str(count)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL, f"it never came to {step!r}: {ended.stderr}"


def numbered(folder: Path) -> int:
    """How many calls were given a number: told by the counter, which outlives the process."""
    return int(struct.unpack("<Q", (folder / "usage.db-count").read_bytes()[:8])[0])


def executed(folder: Path) -> list[str]:
    return (folder / "executed").read_text().split() if (folder / "executed").exists() else []


async def restarted(folder: Path, mode: str) -> int:
    """Start and stop once more; returns how many calls were recovered."""
    usage, log = await both(folder, mode, lambda step: None)
    await usage.close()
    await log.close()
    return usage.recovered


async def check(folder: Path, mode: str) -> None:
    """Nothing twice, nothing missing that is not said to be, and each at its price."""
    await restarted(folder, mode)
    given, found = numbered(folder), rows(folder / "usage.db")
    counted = Counter({row.key.tool: 0 for row in found})
    for row in found:
        counted[row.key.tool] += row.calls
    assert set(counted.values()) <= {1}
    assert {row.cost for row in found if row.key.outcome == "ok" and row.key.tool != "t1"} <= {COST}
    unended = sum(row.calls for row in found if row.key.outcome == "error")
    assert calls(folder / "usage.db") + lost(folder / "usage.db") == given + unended
    if mode == "strict":
        assert set(executed(folder)) <= set(counted)
        assert unended <= 2  # one call at a time, two kills
    else:
        assert unended == 0
    assert await restarted(folder, mode) == 0
    assert rows(folder / "usage.db") == found


@pytest.mark.parametrize(("step", "count"), STEPS, ids=[f"{step} {count}" for step, count in STEPS])
@pytest.mark.parametrize("mode", ["strict", "batched"])
async def test_killed_at_any_step_every_call_counts_once(tmp_path: Path, mode: str, step: str, count: int) -> None:
    kill(tmp_path, mode, step, count)
    await check(tmp_path, mode)


@pytest.mark.parametrize("step", ["usage begun", "usage added", "usage committed"])
@pytest.mark.parametrize("mode", ["strict", "batched"])
async def test_killed_again_while_it_recovers_every_call_counts_once(tmp_path: Path, mode: str, step: str) -> None:
    kill(tmp_path, mode, "taken", 25)
    kill(tmp_path, mode, step, 1)
    await check(tmp_path, mode)


async def test_a_lost_file_is_made_anew_from_the_audit_record(tmp_path: Path) -> None:
    usage, log = await both(tmp_path, "batched", lambda step: None)
    for number in range(6):
        record = ended(number)
        record.branches = [ended(7), ended(8)] if number == 5 else None
        usage(record)
        log(record)
    await usage.close()
    await log.close()
    before = rows(tmp_path / "usage.db")
    assert sum(row.calls for row in before) == 7
    for name in ("usage.db", "usage.db-wal", "usage.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    assert await restarted(tmp_path, "batched") == 6
    assert rows(tmp_path / "usage.db") == before
    assert lost(tmp_path / "usage.db") == 0


async def test_without_an_audit_record_what_a_kill_took_is_told(tmp_path: Path) -> None:
    kill(tmp_path, "batched", "metered", 30)
    for name in tmp_path.glob("audit.db*"):
        name.unlink()
    await restarted(tmp_path, "batched")
    assert lost(tmp_path / "usage.db") > 0
    assert calls(tmp_path / "usage.db") + lost(tmp_path / "usage.db") == 30


async def test_a_counter_that_a_power_cut_took_back_counts_nothing_twice(tmp_path: Path) -> None:
    kill(tmp_path, "batched", "taken", 30)
    (tmp_path / "usage.db-count").write_bytes(struct.pack("<Q", 2))
    await restarted(tmp_path, "batched")
    there = calls(tmp_path / "usage.db")
    assert 0 < there <= 30
    usage, log = await both(tmp_path, "batched", lambda step: None)
    record = ended()
    usage(record)
    log(record)
    await usage.close()
    await log.close()
    assert record.metered > there - 1
    assert calls(tmp_path / "usage.db") == there + 1


async def test_intents_of_before_there_was_usage_are_no_calls(tmp_path: Path) -> None:
    log = await audit_kit.opened(tmp_path / "audit.db", "strict")
    for number in range(3):
        intent = log.intent(audit_kit.call(number))
        assert intent is not None
        await intent
    await log.close()
    await restarted(tmp_path, "strict")
    kill(tmp_path, "strict", "executed", 2)
    await restarted(tmp_path, "strict")
    assert calls(tmp_path / "usage.db") == 2


async def test_a_call_that_went_to_one_server_after_another_when_it_was_killed_is_one_call(tmp_path: Path) -> None:
    usage, log = await both(tmp_path, "strict", lambda step: None)
    record = audit_kit.call(0)
    for server in ("a", "b", "c"):
        record.server = server
        intent = log.intent(record)
        assert intent is not None
        await intent
    await log.close()  # and usage is never closed
    await usage._tasks.close()
    await restarted(tmp_path, "strict")
    (row,) = rows(tmp_path / "usage.db")
    assert (row.key.server, row.calls, row.attempts, row.key.outcome, row.cost) == ("c", 1, 3, "error", 0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["call", "flush", "written again", "restart", "prices"]), max_size=25))
def test_whatever_happens_between_calls_they_add_up(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    asyncio.run(_played(tmp_path_factory.mktemp("usage") / "usage.db", steps))


async def _played(path: Path, steps: list[str]) -> None:
    made = told = 0
    usage = await opened(path)
    for step in steps:
        if step == "call":
            record = ended(made % 3)
            usage(record)
            made, told = made + 1, told + record.cost
        elif step == "flush":
            await usage.flush()
        elif step == "written again":
            usage._ledger.add(rows(path), usage._ledger.mark().number)
        elif step == "restart":
            await usage.close()
            usage = await opened(path)
        else:
            await usage.configure(usage._settings, usage._meter.prices.books, ())
    await usage.close()
    assert calls(path) == made
    assert sum(row.cost for row in rows(path)) == told


async def test_in_strict_mode_sums_are_written_once_the_audit_record_has_their_calls(tmp_path: Path) -> None:
    """Else an intent without an end would look like a call that nobody counted, and count twice."""
    gate = asyncio.Event()

    async def audited() -> None:
        await gate.wait()

    usage = await opened(tmp_path / "usage.db", audited=audited)
    usage(ended())
    async with asyncio.TaskGroup() as group:
        group.create_task(usage.flush())
        await asyncio.sleep(0)
        assert calls(tmp_path / "usage.db") == 0
        gate.set()
    assert calls(tmp_path / "usage.db") == 1
    await usage.close()


async def test_who_waits_for_the_audit_record_finds_in_it_what_was_taken(tmp_path: Path) -> None:
    log = await audit_kit.opened(tmp_path / "audit.db")
    await log.written()
    for number in range(3):
        log(audit_kit.call(number))
    await log.written()
    assert len(audit_kit.entries(tmp_path / "audit.db", "call")) == 3
    await log.close()
    await log.written()
