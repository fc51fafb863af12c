"""After a thousand sessions of each kind there are as many descriptors, tasks and children as before.

Descriptors, children and memory are counted of `concento serve` as a process, tasks of a hub in this one. Memory is
printed under `pytest -s`, and only bounded: an allocator keeps what it likes. Source: hardening R23, R27, R29; S15.
"""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from tests.hostile.rig import HubProcess, wait_for
from tests.hostile.visits import VISITS, abandoned, visited, with_child
from tests.hub.conftest import at, config, running

from concento.front import session
from concento.model.limits import MIB
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import modern_mcp
from concento.testing.stdio_child import child_command
from concento.testing.waiting import until

SESSIONS = 1000
WARM_UP = 100
GROWTH_BYTES_MAX = 24 * MIB

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads a process's descriptors and children in /proc")


class Holdings:
    """What the hub's process holds, but for the connections to its server, which it keeps for the next calls."""

    def __init__(self, hub: HubProcess, server: ScriptedHttpServer | None) -> None:
        self._hub = hub
        self._server = server
        self._process = Path(f"/proc/{hub.pid}")

    def open(self) -> tuple[int, int]:
        """Descriptors, and children, zombies with them."""
        children = (self._process / "task" / str(self._hub.pid) / "children").read_text().split()
        kept = 0 if self._server is None else len(self._server.conns)
        return len(os.listdir(self._process / "fd")) - kept, len(children)

    def memory_bytes(self) -> int:
        """What is resident."""
        return 1024 * int(re.findall(r"VmRSS:\s+(\d+)", (self._process / "status").read_text())[0])

    def is_idle(self) -> bool:
        """Whether no agent is there; the one connection is that of asking."""
        gauges = ("concento_sessions", "concento_streams", "concento_connections", "concento_calls_in_flight")
        return not any(map(self._hub.gauge, gauges))


async def compare(
    hub: HubProcess, visit: str, count: int, at_once: int, server: ScriptedHttpServer | None = None
) -> None:
    holdings = Holdings(hub, server)
    visits = {**VISITS, "with_child": with_child}
    await visited(visits[visit], hub.address, min(WARM_UP, count // 2), at_once)
    await asyncio.to_thread(wait_for, holdings.is_idle, "the hub is idle after the warm-up")
    before, memory_bytes = holdings.open(), holdings.memory_bytes()
    await visited(visits[visit], hub.address, count, at_once)
    await asyncio.to_thread(wait_for, holdings.is_idle, "the hub is idle")
    # Less is no leak: the connection that asked for the gauges may have been closing when `before` was taken.
    await until(
        lambda: all(now <= then for now, then in zip(holdings.open(), before, strict=True)),
        "no more than before",
        lambda: (before, holdings.open()),
    )
    growth = holdings.memory_bytes() - memory_bytes
    print(f"{visit}: after {count} sessions {growth / MIB:+.2f} MiB, descriptors and children {before}")
    assert growth < GROWTH_BYTES_MAX
    assert server is None or len(server.conns) <= at_once + 1
    assert hub.complaints == []


@linux
@pytest.mark.parametrize("visit", [visit for visit in VISITS if visit != "abandoned"])
async def test_the_process_holds_after_a_thousand_sessions_what_it_held_before(tmp_path: Path, visit: str) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await asyncio.to_thread(HubProcess, tmp_path, f'servers: {{s: {{url: "{server.url}"}}}}')
        try:
            await asyncio.to_thread(wait_for, hub.is_ready, "the server is ready")
            await compare(hub, visit, SESSIONS, 40, server)
        finally:
            hub.end()


@linux
@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.long)])
async def test_sessions_with_children_of_their_own_leave_none(tmp_path: Path, count: int) -> None:
    command = child_command("legacy")
    hub = await asyncio.to_thread(HubProcess, tmp_path, f"servers: {{c: {{command: {command}, isolation: session}}}}")
    try:
        await asyncio.to_thread(wait_for, hub.is_ready, "the server is ready")
        await compare(hub, "with_child", count, 8)
    finally:
        hub.end()


@linux
@pytest.mark.long
@pytest.mark.parametrize("visit", ["legacy", "listening", "sse"])
async def test_ten_thousand_sessions_more_take_hardly_any_memory_more(tmp_path: Path, visit: str) -> None:
    """S15: of three times ten thousand, the last two are compared."""
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await asyncio.to_thread(HubProcess, tmp_path, f'servers: {{s: {{url: "{server.url}"}}}}')
        try:
            await asyncio.to_thread(wait_for, hub.is_ready, "the server is ready")
            holdings, held_bytes = Holdings(hub, server), []
            for _ in range(3):
                await visited(VISITS[visit], hub.address, 10 * SESSIONS)
                await asyncio.to_thread(wait_for, holdings.is_idle, "the hub is idle")
                held_bytes.append(holdings.memory_bytes())
        finally:
            hub.end()
    print(f"{visit}: {', '.join(f'{held / MIB:.2f}' for held in held_bytes)} MiB after each 10,000 sessions")
    assert held_bytes[2] - held_bytes[1] < 8 * MIB


@pytest.mark.parametrize("visit", VISITS)
async def test_as_many_tasks_run_after_a_thousand_sessions_as_before(
    visit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server, running(config(at("s", server.url))) as hub:
        await hub.ready("s")
        address = (hub.address.host, hub.address.port)
        listener = hub.hub.listener
        assert listener is not None

        async def settled() -> int:
            if VISITS[visit] is abandoned:
                monkeypatch.setattr(session, "SESSION_IDLE_S", -1.0)
                await hub.hub.sessions.reap()
                monkeypatch.undo()
            await until(lambda: not listener.connections and not len(hub.hub.sessions), "no agent is there")
            await until(lambda: not len(hub.hub.listening) and not listener.running, "nothing runs")
            return len(asyncio.all_tasks())

        await visited(VISITS[visit], address, WARM_UP)
        before = await settled()
        await visited(VISITS[visit], address, SESSIONS)
        after = await settled()
        await until(lambda: len(asyncio.all_tasks()) <= before, "no task more", lambda: (before, after))
