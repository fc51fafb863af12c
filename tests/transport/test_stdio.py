"""Children spoken to in lines, with real processes: R1, R2, R23, R24, T22, T23."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.transport.processes import ACTOR, descriptors, gone, hub, running, zombies

from concento.model.config import ChildReplica
from concento.model.errors import Overloaded
from concento.model.limits import MIB, REPLY_BYTES_MAX, STDERR_LINE_BYTES_MAX, STDERR_RING_LINES
from concento.testing.waiting import until
from concento.transport import open_files, stdio
from concento.transport.program import SpawnError
from concento.transport.stdio import Child, ExitNotice, Ring
from concento.transport.watchdog import Watchdog


class Stage:
    """A child with what it said and how it ended."""

    def __init__(self) -> None:
        self.watchdog = Watchdog()
        self.children: list[Child] = []
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.notices: list[ExitNotice] = []

    async def start(self, *command: str, **fields: object) -> Child:
        child = await Child.start(
            ChildReplica(command=command, **fields),  # type: ignore[arg-type]
            watchdog=self.watchdog,
            on_line=self.lines.put_nowait,
            on_exit=self.notices.append,
        )
        self.children.append(child)
        return child

    async def act(self, verb: str, *arguments: str, **fields: object) -> Child:
        return await self.start(*ACTOR, verb, *arguments, **fields)

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.lines.get(), 15)

    async def notice(self) -> ExitNotice:
        await until(lambda: self.notices, "the end of the child")
        (notice,) = self.notices
        return notice

    async def close(self) -> None:
        for child in self.children:
            await child.close()
        self.watchdog.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "STEP_S", 0.2)


# -- lines


async def test_lines_go_both_ways_in_order(stage: Stage) -> None:
    child = await stage.act("echo")
    sent = [b'{"n":%d}' % n for n in range(500)]

    for line in sent:
        child.write(line)

    assert [await stage.line() for _ in sent] == sent


async def test_large_line_arrives_whole_and_blank_ones_are_skipped(stage: Stage) -> None:
    child = await stage.act("echo")
    large = b"x" * (3 * MIB)

    for line in (b"", b"   ", large, b"\r", b"last"):
        child.write(line)

    assert [await stage.line(), await stage.line()] == [large, b"last"]


async def test_line_without_end_ends_the_child_and_says_why(stage: Stage) -> None:
    await stage.act("endless_line")

    notice = await stage.notice()

    assert notice.signal == signal.SIGKILL
    assert notice.reason is not None
    assert "16 MiB" in str(notice)
    assert stage.lines.empty()


async def test_child_that_reads_nothing_is_overloaded_not_buffered_without_bound(stage: Stage) -> None:
    child = await stage.act("unread")
    await stage.line()
    child.write(b"x" * (REPLY_BYTES_MAX + MIB))

    with pytest.raises(Overloaded):
        child.write(b"more")


async def test_write_to_a_child_that_is_gone_goes_nowhere(stage: Stage) -> None:
    child = await stage.act("echo")
    os.killpg(child.pid, signal.SIGKILL)
    child.write(b"lost")
    await stage.notice()

    child.write(b"lost")


# -- starting


async def test_unknown_command_is_told_with_its_remedy(stage: Stage) -> None:
    with pytest.raises(SpawnError, match=r"'no-such-server' was not found on PATH; install it"):
        await stage.start("no-such-server")
    with pytest.raises(SpawnError, match="does not exist"):
        await stage.start("/no/such/server")


async def test_a_missing_launcher_is_told_with_what_brings_it(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(SpawnError, match=r"'uvx' was not found on PATH; install uv, .*concento\[uvx\]"):
        await stage.start("uvx", env={"PATH": str(tmp_path)})
    with pytest.raises(SpawnError, match=r"install Node\.js"):
        await stage.start("npx", env={"PATH": str(tmp_path)})


async def test_file_that_is_no_program_and_missing_folder_are_told(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "server").write_text("print()")
    with pytest.raises(SpawnError, match="not executable"):
        await stage.start(str(tmp_path / "server"))
    with pytest.raises(SpawnError, match="not executable"):
        await stage.start(str(tmp_path))
    with pytest.raises(SpawnError, match="set `cwd`"):
        await stage.start(sys.executable, cwd=tmp_path / "absent")


async def test_program_that_can_not_run_says_so_in_its_last_words(stage: Stage, tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_bytes(b"\x7fELF but not really")
    program.chmod(0o755)

    await stage.start(str(program))

    notice = await stage.notice()
    assert notice.code == 127
    assert str(program) in notice.stderr[-1]


async def test_nul_is_refused_before_it_cuts_an_argument(stage: Stage) -> None:
    with pytest.raises(SpawnError):
        await stage.act("told", "a\0b")
    with pytest.raises(SpawnError):
        await stage.act("told", env={"A=B": "c"})


async def test_program_is_found_relative_to_its_folder(stage: Stage, tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\npwd\n")
    program.chmod(0o755)

    await stage.start("./server", cwd=tmp_path)

    assert Path((await stage.line()).decode()).resolve() == tmp_path.resolve()


async def test_bare_program_is_found_though_the_child_has_no_path(stage: Stage) -> None:
    await stage.start("env", env={"ONLY": "this"}, env_inherit="none")

    await stage.notice()
    assert [await stage.line() for _ in range(stage.lines.qsize())] == [b"ONLY=this"]


async def test_child_may_open_as_many_files_as_the_hub_was_given(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub takes more for itself; a program on `select` fails with descriptors beyond 1,023."""
    monkeypatch.setattr(open_files, "GIVEN", 512)
    await stage.act("told")
    assert json.loads(await stage.line())["files_max"] == 512


async def test_child_sees_neither_secrets_nor_descriptors(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """T23."""
    monkeypatch.setenv("HUB_TOKEN", "canary")
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)  # as a launcher of the hub may have left open
    try:
        await stage.act("told")
        told = json.loads(await stage.line())
        await stage.start("env", env={"MINE": "1"})
        await until(lambda: stage.notices, "the environment")
    finally:
        os.close(read_end)
        os.close(write_end)

    seen = dict(line.decode().split("=", 1) for line in [await stage.line() for _ in range(stage.lines.qsize())])
    assert told["descriptors"] == []
    assert seen["MINE"] == "1"
    assert seen["PATH"].startswith(f"{Path(sys.executable).parent}:")
    assert "canary" not in seen.values()
    assert not {name for name in seen if name.startswith("PYTHON")}


async def test_child_leads_a_group_and_gets_its_signals_back(stage: Stage) -> None:
    child = await stage.act("told")
    assert json.loads(await stage.line())["group"] == child.pid != os.getpgrp()

    await stage.start("/bin/sh", "-c", "kill -PIPE $$; echo it was ignored")

    assert (await stage.notice()).signal == signal.SIGPIPE


async def test_arguments_meet_no_shell(stage: Stage, tmp_path: Path) -> None:
    """T22."""
    canary = tmp_path / "canary"
    touch = f"touch {canary}"
    shapes = ["$({})", "`{}`", "; {}", "& {}", "&& {}", "| {}", "|| {}", "\n{}\n", "'; {}; '", '"; {}; "', "%0a{}"]
    payloads = [shape.format(touch) for shape in shapes for shape in (shape, f"x{shape}", f"{shape} #", f"--a={shape}")]
    payloads += ["$IFS", "*", "~", "${HOME}", "-c", "--", ">canary"]

    await stage.act("told", *payloads, env={"ARG": f"$({touch})"}, cwd=tmp_path)

    assert len(payloads) > 50
    assert json.loads(await stage.line())["arguments"] == payloads
    assert list(tmp_path.iterdir()) == []


# -- how it ends


async def test_child_that_fails_at_once_is_told_with_all_it_said(stage: Stage) -> None:
    await stage.act("last_words")

    notice = await stage.notice()

    assert (notice.code, notice.signal, notice.reason) == (3, None, None)
    assert notice.stderr == ("no token given",)
    assert str(notice).startswith("exited with code 3 after ")
    assert str(notice).endswith("no token given")
    assert stage.lines.qsize() == 5000


async def test_killed_child_is_told_within_a_second(stage: Stage) -> None:
    """R1."""
    child = await stage.act("family")
    pids = json.loads(await stage.line())

    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: stage.notices, "the notice", wait_s=1)

    assert stage.notices[0].signal == signal.SIGKILL
    await gone(*pids)


async def test_child_that_closes_its_output_is_told_and_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "LINGER_S", 0.05)
    monkeypatch.setattr(stdio, "STEP_S", 0.4)
    child = await stage.act("deaf")
    await stage.line()

    await until(lambda: stage.notices, "the notice", wait_s=1)

    assert (stage.notices[0].code, stage.notices[0].signal) == (None, None)
    await gone(child.pid)
    await child.close()
    assert len(stage.notices) == 1


async def test_close_ends_a_child_by_the_end_of_its_input(stage: Stage) -> None:
    child = await stage.act("echo")
    child.write(b"hello")
    await stage.line()

    await child.close()
    await child.close()

    assert [notice.code for notice in stage.notices] == [0]


async def test_close_asks_by_sigterm_before_it_kills(stage: Stage, hasty: None) -> None:
    child = await stage.act("polite")
    await stage.line()

    await child.close()

    assert stage.notices[0].code == 7


async def test_close_kills_what_ignores_eof_and_sigterm(stage: Stage, hasty: None) -> None:
    child = await stage.act("stubborn")
    await stage.line()

    await child.close()

    assert stage.notices[0].signal == signal.SIGKILL
    assert not running(child.pid)


async def test_close_ends_grandchildren_that_outlive_the_leader(stage: Stage) -> None:
    child = await stage.act("family")
    pids = json.loads(await stage.line())

    await child.close()

    assert stage.notices[0].code == 0
    await gone(*pids)


async def test_close_that_is_cancelled_goes_on(stage: Stage, hasty: None) -> None:
    child = await stage.act("stubborn")
    await stage.line()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(child.close(), 0.01)

    await stage.notice()
    assert not running(child.pid)


async def test_start_that_is_cancelled_leaves_nothing_and_spares_the_hub(stage: Stage) -> None:
    """A signal to group 0 would end this very process."""
    warm = await stage.act("echo")
    await warm.close()
    stage.notices.clear()
    before = descriptors()

    for turns in range(6):
        starting = asyncio.ensure_future(stage.act("stubborn"))  # noqa: TID251 - awaited right below
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])

    for child in stage.children:  # those that were quicker than their cancellation
        await child.close()
    await until(lambda: descriptors() == before and not zombies(), "nothing is left", zombies)


@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.long)])
async def test_many_starts_and_stops_leave_no_descriptor_and_no_zombie(stage: Stage, count: int) -> None:
    """R23."""
    await (await stage.act("echo")).close()
    before = descriptors()

    for _ in range(count // 10):
        children = [await stage.act("echo") for _ in range(10)]
        await asyncio.gather(*(child.close() for child in children))

    await until(lambda: descriptors() == before, "no descriptor more than before", lambda: descriptors() ^ before)
    assert not zombies()
    assert not running(*(child.pid for child in stage.children))
    assert len(stage.notices) == count + 1


def test_stock_event_loop_serves_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pipes close in another order than those of uvloop, and must not be closed twice."""
    monkeypatch.setattr(stdio, "STEP_S", 0.2)
    problems: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        stage = Stage()
        child = await stage.act("echo")
        child.write(b"hello")
        assert await stage.line() == b"hello"
        unread = await stage.act("unread")
        await stage.line()
        unread.write(b"x" * MIB)
        before = descriptors()
        failing = await stage.act("last_words")
        await until(lambda: stage.notices, "its end")
        assert (stage.notices[0].code, stage.lines.qsize()) == (3, 5000)
        await failing.close()
        await until(lambda: descriptors() == before, "no descriptor more than before")
        await stage.close()

    asyncio.run(main())

    assert problems == []


# -- floods


@pytest.mark.parametrize("size", [64 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.long)])
async def test_flood_of_standard_error_is_drained_within_bounds(size: int) -> None:
    """R24: the child answers after it, and the hub grew by less than 32 MB."""
    with hub("flood", "stderr_flood", str(size)) as process:
        told = json.loads(process.communicate()[0])

    assert told["grown_bytes"] < 32_000_000
    assert told["lines"] == STDERR_RING_LINES


async def test_flood_without_newline_is_ended_within_bounds() -> None:
    """R24."""
    with hub("flood", "endless_line") as process:
        told = json.loads(process.communicate()[0])

    assert told["grown_bytes"] < 32_000_000
    assert "16 MiB" in told["reason"]


def test_ring_keeps_the_last_lines_cut_and_clean() -> None:
    ring = Ring()
    for n in range(STDERR_RING_LINES):
        ring.feed(b"line %d\n" % n)
    ring.feed(b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07bell\x07\r\n" + b"x" * 5000)
    ring.feed(b"y" * 5000 + b"\nun")
    ring.feed(b"finished \xff")

    lines = ring.lines()

    assert len(lines) == STDERR_RING_LINES
    assert lines[0] == "line 3"
    assert lines[-3:] == ("red bell", "x" * STDERR_LINE_BYTES_MAX, "unfinished \ufffd")


def test_ring_takes_more_lines_at_once_than_it_keeps() -> None:
    ring = Ring()
    ring.feed(b"".join(b"%d\n" % n for n in range(1000)))

    assert ring.lines() == tuple(str(n) for n in range(1000 - STDERR_RING_LINES, 1000))
