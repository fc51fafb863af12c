"""Gauges of servers: whether each replica is given calls, what waits, which connections and processes there are."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from ..model.clock import Clock
from ..upstream.circuit import Standing, standing
from ..upstream.pool import Upstreams
from .metrics import Reading

STATES: Final[tuple[Standing, ...]] = ("closed", "half_open", "open")
DESCENDANTS_MAX: Final = 64
"""Processes that are looked at of one child."""


def server_readings(upstreams: Upstreams, clock: Clock) -> Iterator[Reading]:
    """Of each server and replica at this moment."""
    now_s = clock.monotonic()
    for upstream in upstreams:
        server = {"server": upstream.server.key}
        yield (
            "concento_server_breaker_open",
            "Whether a replica of a server gets no calls",
            server,
            float(upstream.is_ejected),
        )
        yield "concento_server_in_flight", "Calls at a server now", server, upstream.in_flight
        yield "concento_server_waiting", "Calls that wait for a place at a server now", server, upstream.waiting
        yield (
            "concento_server_places",
            "Calls that a server is given at a time",
            server,
            upstream.server.concurrency_max,
        )
        ejected = float(upstream.is_ejected)
        yield "concento_server_breaker_open", "Whether a replica of a server gets no calls", server, ejected
        for number, replica in enumerate(upstream.replicas):
            labels = {**server, "replica": str(number)}
            yield "concento_replica_up", "Whether a replica is connected", labels, float(replica.state == "ready")
            yield "concento_replica_in_flight", "Calls at a replica now", labels, replica.in_flight
            yield (
                *("concento_replica_connects_total", "Times that a replica's main link was made", labels),
                replica.connects,
            )
            now = standing(replica.circuit, now_s)
            for state in STATES:
                told = {**labels, "state": state}
                yield (
                    *("concento_breaker_state", "Whether a replica's breaker is so: open, it is given no calls", told),
                    float(state == now),
                )
            pools = [connected.pool for connected in replica.connected() if connected.pool is not None]
            if not replica.is_child:
                counts = {"busy": sum(pool.busy for pool in pools), "idle": sum(pool.idle for pool in pools)}
                for use, count in counts.items():
                    yield "concento_pool_connections", "Connections to a replica", {**labels, "state": use}, count
                yield (
                    *("concento_pool_waiting", "Requests that wait for a connection to a replica", labels),
                    sum(pool.waiting for pool in pools),
                )


class Children:
    """What the child processes of servers use, as Linux tells it: nothing elsewhere.

    A launcher's own children count as it. Processor time of one that ended stays counted.
    """

    def __init__(self, upstreams: Upstreams, proc: Path = Path("/proc")) -> None:
        self._upstreams = upstreams
        self._proc = proc
        self._used_s: dict[int, float] = {}
        self._total_s: dict[tuple[str, str], float] = {}

    def readings(self) -> Iterator[Reading]:
        """Of each replica that is a child process. It takes system calls: not for the event loop."""
        alive: dict[int, float] = {}
        for server, process, pids in list(self._processes()):
            labels = {"server": server, "process": process}
            found = [pid for one in pids for pid in self._family(one)]
            usage = [(pid, *used) for pid in found if (used := self._usage(pid)) is not None]
            total_s = self._total_s.get((server, process), 0.0)
            for pid, _, cpu_s in usage:
                total_s += max(0.0, cpu_s - self._used_s.get(pid, 0.0))
                alive[pid] = cpu_s
            self._total_s[server, process] = total_s
            yield "concento_child_processes", "Processes of a child that run now", labels, len(usage)
            rss = sum(one[1] for one in usage)
            yield "concento_child_resident_bytes", "Memory of a child's processes", labels, rss
            yield "concento_child_cpu_seconds_total", "Processor time that a child has used", labels, total_s
        self._used_s = alive

    def _processes(self) -> Iterator[tuple[str, str, list[int]]]:
        for upstream in self._upstreams:
            for number, replica in enumerate(upstream.replicas):
                pids = [connected.pid for connected in replica.connected() if connected.pid is not None]
                if replica.is_child:
                    yield upstream.server.key, str(number), pids
            if upstream.beside_pid is not None:
                yield upstream.server.key, "beside", [upstream.beside_pid]

    def _family(self, pid: int) -> Iterable[int]:
        """A process and those it started."""
        found = [pid]
        for one in found:
            try:
                text = (self._proc / str(one) / "task" / str(one) / "children").read_text()
            except OSError:
                continue
            found += [int(child) for child in text.split()][: DESCENDANTS_MAX - len(found)]
        return found

    def _usage(self, pid: int) -> tuple[int, float] | None:
        """Resident bytes and seconds of processor time; None if it is gone."""
        try:
            pages = int((self._proc / str(pid) / "statm").read_text().split()[1])
            fields = (self._proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except (OSError, IndexError, ValueError):
            return None
        return pages * _PAGE_BYTES, (int(fields[11]) + int(fields[12])) / _TICKS


_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")

Later = Callable[[float, Callable[[], None]], object]
"""Runs something on the event loop after so many seconds."""


class LoopLag:
    """How late the event loop is: the most of the last half minute, seen by a callback that looks twice a second."""

    EVERY_S: Final = 0.5
    WINDOW_S: Final = 15.0

    def __init__(self, later: Later, now: Callable[[], float]) -> None:
        self._later = later
        self._now = now
        self._windows = [0.0, 0.0]
        self._turned_s = self._asked_s = now()
        self._ends = False

    def start(self) -> None:
        """Begin to look."""
        if not self._ends:
            self._asked_s = self._now()
            self._later(self.EVERY_S, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._ends = True

    def _look(self) -> None:
        now_s = self._now()
        if now_s - self._turned_s >= self.WINDOW_S:
            self._windows, self._turned_s = [0.0, self._windows[0]], now_s
        self._windows[0] = max(self._windows[0], now_s - self._asked_s - self.EVERY_S)
        self.start()

    def readings(self) -> Iterator[Reading]:
        """For metrics."""
        help = "How late the event loop was at most in the last half minute"
        yield "concento_event_loop_lag_seconds", help, {}, max(self._windows)
