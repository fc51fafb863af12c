"""kill -9 at twenty steps of the work of both modes: what was promised is there, and what is lost shows.

Source: hardening R17.
"""

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tests.observe.audit_kit import checked, entries, opened

ROOT = Path(__file__).parents[2]
STEPS = [
    *(("connected", 1), ("opened", 1), ("counted", 1), ("counted", 17), ("queued", 1), ("queued", 23)),
    *(("begun", 2), ("begun", 4), ("inserted", 2), ("inserted", 4), ("committed", 2), ("committed", 3)),
    *(("executed", 1), ("executed", 30), ("taken", 1), ("taken", 39), ("anchoring", 1)),
    *(("pruning", 1), ("pruned said", 1), ("pruned", 1), ("before closing", 1)),
]


def kill(folder: Path, mode: str, step: str, count: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.observe.killed", str(folder), mode, step, str(count)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL, f"it never came to {step!r}: {ended.stderr}"


def counted(folder: Path) -> int:
    """How many calls the killed process had taken in: told by its counter, which outlives it."""
    counter = folder / "audit.db-count"
    return int(struct.unpack("<Q", counter.read_bytes()[:8])[0]) if counter.exists() else 0


@pytest.mark.parametrize(("step", "count"), STEPS, ids=[f"{step} {count}" for step, count in STEPS])
@pytest.mark.parametrize("mode", ["strict", "batched"])
async def test_killed_at_any_step_the_record_keeps_its_promise(
    tmp_path: Path, mode: str, step: str, count: int
) -> None:
    kill(tmp_path, mode, step, count)
    path, taken = tmp_path / "audit.db", counted(tmp_path)
    log = await opened(path, mode)
    await log.close()
    assert checked(path, tmp_path / "anchor" if (tmp_path / "anchor").exists() else None).broken is None
    there = entries(path)
    assert [entry.kind for entry in there][-2:] == ["opened", "closed"]
    reopened = max(place for place, entry in enumerate(there) if entry.kind == "opened")
    if any(entry.kind in ("opened", "call", "intent") for entry in there[:reopened]):
        assert there[reopened].reason == "after an unclean end"
    if mode == "strict":
        executed = (tmp_path / "executed").read_text().split() if (tmp_path / "executed").exists() else []
        intents = [entry.name for entry in entries(path, "intent")]
        pruned = sum(entry.count for entry in entries(path, "pruned"))
        assert len(set(executed) - set(intents)) <= pruned  # nothing ran of which there was no intent
        assert pruned or set(executed) <= set(intents)
    numbers = {entry.number for entry in there if entry.number}
    lost = sum(entry.count for entry in entries(path, "gap"))
    pruned_upto = min(numbers, default=1) - 1 if entries(path, "pruned") else 0
    assert len(numbers) + lost + pruned_upto == taken  # exactly what is missing is said to be


async def test_a_power_cut_that_takes_the_counter_back_makes_no_nonsense(tmp_path: Path) -> None:
    kill(tmp_path, "strict", "taken", 20)
    (tmp_path / "audit.db-count").write_bytes(struct.pack("<Q", 3))
    log = await opened(tmp_path / "audit.db", "strict")
    await log.close()
    assert checked(tmp_path / "audit.db").broken is None
    assert not entries(tmp_path / "audit.db", "gap")
    (tmp_path / "audit.db-count").write_bytes(b"")
    log = await opened(tmp_path / "audit.db", "strict")
    await log.close()
    assert checked(tmp_path / "audit.db").lost == 0
