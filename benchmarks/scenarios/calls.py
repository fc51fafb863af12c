"""A `tools/call` through one server: over HTTP in both eras, to a child process, with events, with a large result."""

import time
from collections.abc import Callable, Sequence

from ..answers import same_answers, served_as_counted
from ..bench import ERAS, Bench, Figures, Started
from ..load import load
from ..process import cpu_ns, family, gateway_pids, resident_mib, spent_ns
from ..route import Era, Route

CONNECTIONS = (1, 4, 32, 128)
FEW = 4
"""Connections for what takes milliseconds a call."""
CALLS_WANTED, LONGEST_S = 20, 10


def calls(bench: Bench) -> None:
    """Small calls over HTTP on both sides, agent and server of the same era."""
    for era in ERAS:
        _compare(bench, "calls", era, "echo", (4, 32) if bench.quick else CONNECTIONS)


def stdio(bench: Bench) -> None:
    """The same with a child process behind the gateway, whose own CPU is left out as any server's is."""
    for era in ERAS:
        _compare(bench, "stdio", era, "echo", (4,) if bench.quick else (4, 32), child=True)


def events(bench: Bench) -> None:
    """A call that reports progress 100 times, each step an event on its own, before it answers."""
    for era in ERAS[:1] if bench.quick else ERAS:
        _compare(bench, "events", era, "events", (4,))


def large(bench: Bench) -> None:
    """A call that returns 1 MB."""
    for era in ERAS[:1] if bench.quick else ERAS:
        _compare(bench, "large", era, "big", (4,))


def _compare(
    bench: Bench, scenario: str, era: Era, tool: str, connections: Sequence[int], *, child: bool = False
) -> None:
    cases = {f"{era}, {count} connection{'s' * (count > 1)}": count for count in connections}
    few = [case for case, count in cases.items() if count <= FEW]
    with bench.started(scenario, few, lambda _: [(era, bench.one(era, child=child))]) as ready:
        for case, count in cases.items():
            able = [one for one in ready if count <= one.candidate.connections_max]
            turns = {one.candidate: turn(bench, one, direct(one), tool, count) for one in able}
            bench.alternate(scenario, case, turns)


def direct(started: Started) -> Route:
    """The way to the server itself, whose answers are the right ones."""
    return Route(started.servers[0].url, started.route.era)


def turn(bench: Bench, started: Started, server: Route, tool: str, connections: int) -> Callable[[], Figures]:
    """One round of load on a gateway, longer for slow ones."""

    def measure() -> Figures:
        """Errors: Refused, if any answer was wrong or did not come from the server."""
        pid, route = started.program.pid, started.route
        same_answers(route, server, tool)
        seconds = _seconds(bench, started, tool)
        served = route.served()
        gateway_before, server_before = _cpu(bench, pid)
        done = load(route, tool, connections, seconds)
        gateway_after, server_after = _cpu(bench, pid)
        served = route.served() - served
        same_answers(route, server, tool)
        served_as_counted(done.calls, served, connections)
        figures = {
            "calls_per_s": done.calls_per_s,
            "p50_ms": done.p50_ms,
            "p99_ms": done.p99_ms,
            "server_us": spent_ns(server_before, server_after) / done.calls / 1000,
        }
        if not pid:
            return figures
        cpu_us = spent_ns(gateway_before, gateway_after) / done.calls / 1000
        return {"cpu_us": cpu_us, **figures, "rss_mib": resident_mib(pid)}

    return measure


def _seconds(bench: Bench, started: Started, tool: str) -> int:
    """How long a round must be so that the calls in flight at its end hardly count."""
    if started.candidate.connections_max > FEW:
        return bench.seconds
    asked_s = time.monotonic()
    started.route.ask(tool)
    return round(min(LONGEST_S, max(2 * bench.seconds, CALLS_WANTED * (time.monotonic() - asked_s))))


def _cpu(bench: Bench, pid: int) -> tuple[dict[str, int], dict[str, int]]:
    """CPU time so far of a gateway, and of the servers, its own children among them."""
    gateway = gateway_pids(pid) if pid else []
    children = set(family(pid)) - set(gateway) if pid else set()
    return cpu_ns(gateway), cpu_ns({bench.server.pid, *children})
