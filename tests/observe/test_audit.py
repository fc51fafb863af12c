"""The audit record: what is in it, that it shows what was done to it, and that it loses nothing it promised to keep.

Source: hardening T30, T31, R16, R18.
"""

import asyncio
import hashlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.observe.audit_kit import WHO, call, checked, entries, opened

from concento.model.auditing import Audit
from concento.model.errors import Overloaded, StartError
from concento.observe.audit.chain import Break
from concento.observe.audit.entry import REDACTED
from concento.testing.waiting import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit.db"


async def test_an_entry_has_the_facts_of_a_call_and_no_values(path: Path) -> None:
    log = await opened(path)
    log(call(7, b'{"card":"4711-0815"}', attempts=2, reply_bytes=99, duration_s=0.012, code=-32602))
    await log.close()
    (entry,) = entries(path, "call")
    assert (entry.tenant, entry.subject, entry.agent, entry.chain) == ("acme", "alice", "ci", ("outer",))
    assert (entry.proof, entry.credential, entry.address) == ("key", "key:k1", "1.2.3.4")
    assert (entry.method, entry.name, entry.server, entry.tool) == ("tools/call", "s__t7", "s", "t7")
    assert (entry.decision, entry.rule, entry.outcome, entry.code) == ("allow", "role dev", "ok", -32602)
    assert (entry.attempts, entry.bytes_in, entry.bytes_out, entry.ms) == (2, 20, 99, 12.0)
    assert entry.arguments == hashlib.sha256(b'{"card":"4711-0815"}').hexdigest()
    assert (
        b"4711-0815" not in path.read_bytes() + path.with_name(path.name + "-wal").read_bytes()
        if path.with_name(path.name + "-wal").exists()
        else True
    )
    assert [entry.kind for entry in entries(path)] == ["opened", "call", "closed"]
    assert checked(path).broken is None


async def test_full_arguments_are_without_what_is_secret_by_name_or_by_value(path: Path) -> None:
    secrets = frozenset({"hunter2-hunter2", 'qu"oted\nsecret'})
    log = await opened(path, arguments="full", redact=("iban",), secrets=secrets)
    given = {
        "user": "alice",
        "API-Key": "a",
        "nested": [{"Password": "b", "db_iban": "c", "ok": "d"}],
        "note": "it is hunter2-hunter2!",
        "other": 'qu"oted\nsecret',
    }
    log(call(1, json.dumps(given).encode()))
    log(call(2, b"x" * 100_000))
    log(call(3, b"{", tool="hunter2-hunter2"))
    await log.close()
    first, large, broken = entries(path, "call")
    assert first.arguments_full == {
        "user": "alice",
        "API-Key": REDACTED,
        "nested": [{"Password": REDACTED, "db_iban": REDACTED, "ok": "d"}],
        "note": f"it is {REDACTED}!",
        "other": REDACTED,
    }
    assert "100000 bytes" in str(large.arguments_full)
    assert broken.tool == REDACTED
    assert checked(path).broken is None
    for secret in ("hunter2-hunter2", 'qu\\"oted'):
        assert secret.encode() not in path.read_bytes()


async def test_what_was_written_is_there_within_a_moment_without_closing(path: Path) -> None:
    log = await opened(path)
    log(call())
    await until(lambda: len(entries(path, "call")) == 1, "the entry is on disk", wait_s=5)
    await log.close()


async def test_in_strict_mode_the_intent_is_on_disk_before_the_call_goes_on(path: Path) -> None:
    log = await opened(path, "strict")

    async def one(number: int) -> None:
        record = call(number)
        written = log.intent(record)
        assert written is not None
        await written
        assert f"s__t{number}" in [entry.name for entry in entries(path, "intent")]
        log(record)

    await asyncio.gather(*(one(number) for number in range(50)))
    await log.close()
    intents = {entry.number: entry.name for entry in entries(path, "intent")}
    assert len(intents) == 50
    assert {intents[entry.intent] for entry in entries(path, "call")} == set(intents.values())
    assert checked(path).broken is None


async def test_in_batched_mode_nobody_waits(path: Path) -> None:
    log = await opened(path)
    assert log.intent(call()) is None
    await log.close()


async def test_who_is_not_let_in_is_noted_and_a_flood_of_them_is_counted(path: Path) -> None:
    log = await opened(path)
    for number in range(10_000):
        log.refused("6.6.6.6", 401, "no key", "/mcp")
        log.refused(f"7.7.{number // 256 % 256}.{number % 256}", 401, "no key", "/mcp")
    await log.close()
    noted = entries(path, "refused")
    assert sum(entry.count for entry in noted) == 20_000
    assert len(noted) <= 1002
    assert next(entry for entry in noted if entry.address == "6.6.6.6").count == 10_000
    assert {entry.decision for entry in noted} == {"unauthenticated"}


# -- what was done to the chain shows


async def chain(path: Path, tmp_path: Path) -> Path:
    """A record of twelve entries, whose head is noted elsewhere."""
    log = await opened(path, anchor=tmp_path / "anchor")
    for number in range(10):
        log(call(number))
    await log.close()
    assert checked(path, tmp_path / "anchor").broken is None
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


REST = "time, body, hash"
CHANGES: list[tuple[str, Break, tuple[str, ...]]] = [
    ("a text", "altered", ("UPDATE entries SET body = replace(body, 'alice', 'mallo') WHERE seq = 5",)),
    ("a time", "altered", ("UPDATE entries SET time = time + 1 WHERE seq = 5",)),
    ("a digest", "altered", ("UPDATE entries SET hash = x'00' WHERE seq = 5",)),
    ("a text that is none", "altered", ("UPDATE entries SET body = x'00ff' WHERE seq = 5",)),
    ("one taken out", "missing", ("DELETE FROM entries WHERE seq = 5",)),
    ("the first ones taken out", "missing", ("DELETE FROM entries WHERE seq < 5",)),
    (
        "one taken out and the rest moved up",
        "reordered",
        ("DELETE FROM entries WHERE seq = 5", "UPDATE entries SET seq = seq - 1 WHERE seq > 5"),
    ),
    (
        "two exchanged",
        "reordered",
        (
            "UPDATE entries SET seq = 1000 WHERE seq = 5",
            "UPDATE entries SET seq = 5 WHERE seq = 6",
            "UPDATE entries SET seq = 6 WHERE seq = 1000",
        ),
    ),
    ("one repeated", "reordered", (f"INSERT INTO entries SELECT 13, {REST} FROM entries WHERE seq = 5",)),
    ("the end cut off", "truncated", ("DELETE FROM entries WHERE seq > 8",)),
]


@pytest.mark.parametrize(("what", "broken", "statements"), CHANGES, ids=[what for what, _, _ in CHANGES])
async def test_what_was_changed_is_found_and_named(
    path: Path, tmp_path: Path, what: str, broken: Break, statements: tuple[str, ...]
) -> None:
    """T31."""
    written = await chain(path, tmp_path)
    change(written, *statements)
    finding = checked(written, tmp_path / "anchor")
    assert finding.broken == broken, finding.why
    assert finding.place in (1, 5, 9, 13) or "first" in what


async def test_a_chain_that_was_made_anew_is_found_by_what_was_noted_elsewhere(path: Path, tmp_path: Path) -> None:
    await chain(path, tmp_path)
    for part in path.parent.iterdir():
        part.unlink()
    log = await opened(path)
    for number in range(20):
        log(call(number, who=WHO))
    await log.close()
    assert checked(path).broken is None
    assert checked(path, tmp_path / "anchor").broken == "altered"


async def test_old_entries_go_and_the_chain_goes_on_from_what_is_noted_of_them(path: Path) -> None:
    log = await opened(path)
    for number in range(100):
        log(call(number, wall_s=time.time() - 2 * 86_400))
    await log.close()
    log = await opened(path, keep_days=1.0)
    await until(lambda: bool(entries(path, "pruned")), "old entries are pruned", wait_s=10)
    log(call(500))
    await log.close()
    (noted,) = entries(path, "pruned")[:1]
    assert noted.count > 90
    finding = checked(path)
    assert finding.broken is None
    assert finding.first == noted.upto + 1
    change(path, f"DELETE FROM entries WHERE seq = {finding.first}")
    assert checked(path).broken == "missing"


async def test_a_record_that_grew_too_large_loses_its_oldest_tenth(path: Path) -> None:
    log = await opened(path, keep_days=None, size_max_mb=1)
    for number in range(4000):
        log(call(number))
    await log.close()
    log = await opened(path, keep_days=None, size_max_mb=1)
    await until(lambda: bool(entries(path, "pruned")), "the oldest entries are pruned", wait_s=10)
    await log.close()
    assert checked(path).broken is None


@pytest.mark.parametrize("damage", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_damaged_file_is_moved_aside_and_said_so(path: Path, tmp_path: Path, damage: bytes) -> None:
    written = await chain(path, tmp_path)
    for suffix in ("-wal", "-shm"):
        written.with_name(written.name + suffix).unlink(missing_ok=True)
    written.write_bytes(damage)
    log = await opened(written)
    log(call(1))
    await log.close()
    assert "moved aside" in entries(written, "opened")[0].reason
    assert checked(written).broken is None
    (kept,) = written.parent.glob("audit.db.corrupt-*")
    assert kept.read_bytes()[:20] == damage[:20]


async def test_an_end_that_was_tampered_with_is_not_gone_on_with(path: Path, tmp_path: Path) -> None:
    written = await chain(path, tmp_path)
    change(written, "UPDATE entries SET body = replace(body, 'alice', 'mallo') WHERE seq = 9")
    log = await opened(written)
    await log.close()
    assert "moved aside" in entries(written, "opened")[0].reason
    assert len(list(written.parent.glob("audit.db.corrupt-*"))) >= 1


async def test_a_place_that_can_not_be_written_is_named_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StartError, match="audit record"):
        await opened(tmp_path / "file" / "audit.db")


# -- a disk that takes no more


class Disk:
    """Fails as a full or broken disk does, as long as it is told to."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = None
        self._error = error

    def __call__(self, step: str) -> None:
        if self.error is not None and step in ("inserted", "begun"):
            raise self.error

    def breaks(self) -> None:
        self.error = self._error

    def heals(self) -> None:
        self.error = None


FAULTS = [sqlite3.OperationalError("database or disk is full"), OSError(5, "Input/output error")]


@pytest.mark.parametrize("fault", FAULTS, ids=["full", "broken"])
async def test_while_the_disk_is_full_a_strict_record_lets_no_call_through(path: Path, fault: Exception) -> None:
    """R18."""
    disk = Disk(fault)
    log = await opened(path, "strict", hook=disk)
    disk.breaks()
    for number in range(5):
        with pytest.raises(Overloaded) as refused:
            await (log.intent(call(number)) or asyncio.sleep(0))
        assert refused.value.outcome == "not_sent"
    assert dict((name, value) for name, _, _, value in log.readings())["concento_audit_failing"] == 1.0
    disk.heals()
    await until(lambda: log.problem is None, "the record recovers unaided", wait_s=10)
    await (log.intent(call(99)) or asyncio.sleep(0))
    await log.close()
    assert [entry.name for entry in entries(path, "intent")] == ["s__t99"]
    assert checked(path).broken is None


@pytest.mark.parametrize("fault", FAULTS, ids=["full", "broken"])
async def test_while_the_disk_is_full_a_batched_record_keeps_what_it_can_and_counts_the_rest(
    path: Path, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R18."""
    monkeypatch.setattr("concento.observe.audit.log.ITEMS_MAX", 100)
    disk = Disk(fault)
    log = await opened(path, hook=disk)
    disk.breaks()
    log(call(0))
    await until(lambda: log.problem is not None, "the disk is full", wait_s=5)
    for number in range(1, 501):
        log(call(number))
    assert log.dropped > 0
    disk.heals()
    await until(lambda: log.problem is None and not log._items, "the record recovers unaided", wait_s=10)
    log(call(999))
    await log.close()
    finding = checked(path)
    assert finding.broken is None
    assert finding.lost == log.dropped
    assert len(entries(path, "call")) + finding.lost == 502


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real, full file system of four megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    if sys.platform != "linux":
        pytest.skip("a file system is made this way on Linux only")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if made.returncode != 0:
        pytest.skip(f"only root can make a file system: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("mode", ["strict", "batched"])
async def test_a_real_disk_that_runs_full_and_is_freed(small_disk: Path, mode: Any) -> None:
    """R18: no shim, a file system of its own."""
    path = small_disk / "audit.db"
    log = await opened(path, mode)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    refused = 0
    for number in range(1000):
        written = log.intent(call(number))
        try:
            if written is not None:
                await written
            log(call(number))
        except Overloaded:
            refused += 1
            if refused > 3:
                break
    if mode == "strict":
        assert refused > 3
    else:
        await until(lambda: log.problem is not None, "the disk is full", wait_s=10)
    filler.unlink()
    await until(lambda: log.problem is None, "the record recovers unaided", wait_s=15)
    await log.close()
    finding = checked(path)
    assert finding.broken is None
    assert entries(path)[-1].kind == "closed"


# -- elsewhere


async def test_entries_also_go_to_a_file_that_may_be_rotated(path: Path, tmp_path: Path) -> None:
    stream = tmp_path / "audit.jsonl"
    log = await opened(path, stream=f"file:{stream}")
    log(call(1))
    await until(lambda: stream.exists() and b"s__t1" in stream.read_bytes(), "the first line is there", wait_s=5)
    stream.rename(tmp_path / "rotated")
    log(call(2))
    await until(lambda: stream.exists() and b"s__t2" in stream.read_bytes(), "the second line is there", wait_s=5)
    await log.close()
    assert [json.loads(line)["name"] for line in stream.read_text().splitlines()] == ["s__t2"]


async def test_entries_also_go_to_syslog(path: Path) -> None:
    heard: list[bytes] = []

    class Syslog(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            heard.append(data)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Syslog, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    log = await opened(path, stream=f"syslog:127.0.0.1:{port}")
    log(call(1))
    await until(lambda: bool(heard), "a datagram came", wait_s=5)
    await log.close()
    transport.close()
    head, _, body = heard[0].partition(b"{")
    assert head.startswith(b"<110>1 - ")
    assert json.loads(b"{" + body)["name"] == "s__t1"


async def test_where_nobody_listens_nothing_waits(path: Path) -> None:
    log = await opened(path, stream="syslog:/nowhere/log")
    log(call(1))
    await log.close()
    assert len(entries(path, "call")) == 1


async def test_what_can_be_changed_while_it_runs_is(path: Path, tmp_path: Path) -> None:
    log = await opened(path)
    log.configure(Audit(arguments="full", stream=f"file:{tmp_path}/s", anchor=tmp_path / "a"))
    log(call(1))
    await log.close()
    assert entries(path, "call")[0].arguments_full == {"x": 1}
    assert (tmp_path / "s").exists()
    assert checked(path, tmp_path / "a").anchors >= 1
