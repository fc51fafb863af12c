"""What it costs that one tool stands for those of several servers: beside the same call of one server's own tool."""

import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from ..answers import served_as_counted
from ..bench import Bench, Figures, Started
from ..candidates import Candidate, Server
from ..candidates.concento import Concento
from ..load import load
from ..process import cpu_ns, gateway_pids, spent_ns
from ..route import Route
from .access import Bare
from .calls import direct, turn

CONNECTIONS = 4
TOOLS = 20
BRANCHES = 10
DEAD = "http://127.0.0.1:9/mcp"
"""Nobody listens there."""


def routing(bench: Bench) -> None:
    """A call of one server's tool; of a logical tool with 3, with 100, and with one that is down; of ten at once."""
    hub = next((one for one in bench.candidates if isinstance(one, Concento)), None)
    if hub is None:
        return
    case = f"a call, {CONNECTIONS} connections"
    ways: list[Candidate] = [one for one in bench.candidates if one.is_reference]
    plain = Bare(hub)
    plain.name = "own tool"
    ways += [
        plain,
        Logical(hub, "of 3", 3),
        Logical(hub, "of 100", 100),
        Logical(hub, "of 3, first down", 3, dead=True),
    ]
    with contextlib.ExitStack() as stack:
        ready = [stack.enter_context(bench.ready(one, "modern", _servers(bench, one))) for one in ways]
        turns = {one.candidate: turn(bench, one, direct(one), "echo", CONNECTIONS) for one in ready}
        bench.alternate("routing", case, turns)
    one = Logical(hub, f"{BRANCHES} at once", BRANCHES, strategy="fanout")
    with bench.ready(one, "modern", _servers(bench, one)) as started:
        bench.alternate("routing", f"{BRANCHES} at once, 1 connection", {one: _fanned_out(bench, started)})


class Logical(Concento):
    """The hub with a logical tool over so many servers."""

    def __init__(self, hub: Concento, name: str, count: int, *, dead: bool = False, strategy: str = "failover") -> None:
        super().__init__(hub.command)
        self.name, self.count = name, count
        self.about = f"the hub with a tool that stands for those of {count} servers"
        bind = [*(["down.echo"] if dead else []), *(f"s{number}.echo" for number in range(count - dead))]
        tool: dict[str, Any] = {"bind": bind, "strategy": strategy}
        self.more = f"audit: off\nvalidate: off\ntools: {json.dumps({'say': tool})}\n"
        self._dead = [Server("down", DEAD, alone=False)] if dead else []

    def sources(self, servers: Sequence[Server]) -> Sequence[Server]:
        return [*servers, *self._dead]

    def public(self, server: Server, tool: str) -> str:
        return "say" if tool == "echo" else f"{server.name}__{tool}"


def _servers(bench: Bench, candidate: Candidate) -> list[Server]:
    return bench.many("modern", candidate.count if isinstance(candidate, Logical) else 1, TOOLS)


def _fanned_out(bench: Bench, started: Started) -> Callable[[], Figures]:
    pid, route = started.program.pid, started.route
    server = Route(started.servers[0].url, "modern")

    def measure() -> Figures:
        served = server.served()
        before = cpu_ns(gateway_pids(pid))
        done = load(route, "echo", 1, bench.seconds)
        spent = spent_ns(before, cpu_ns(gateway_pids(pid)))
        served_as_counted(done.calls * BRANCHES, server.served() - served, BRANCHES)
        figures = {"cpu_us": spent / done.calls / 1000, "calls_per_s": done.calls_per_s}
        return {**figures, "p50_ms": done.p50_ms, "p99_ms": done.p99_ms}

    return measure
