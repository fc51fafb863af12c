"""How the cost of a call grows: with the servers behind a gateway, with the tools of a server, with connections."""

import dataclasses

from ..bench import Bench
from .calls import direct, turn

SERVERS = (1, 20, 50)
TOOLS = (1000, 4000)
BASE_TOOLS = 20
CONNECTIONS = 512
ROUNDS_MAX = 3
"""Each point starts all candidates anew, and what is looked for is no small difference."""


def growth(bench: Bench) -> None:
    """One thing grows at a time. nginx forwards to one server throughout."""
    bench = dataclasses.replace(bench, rounds=min(bench.rounds, ROUNDS_MAX))
    for servers in (20,) if bench.quick else SERVERS:
        _point(bench, f"{servers} server{'s' * (servers > 1)} × {BASE_TOOLS} tools", servers, BASE_TOOLS, 4)
    for tools in (1000,) if bench.quick else TOOLS:
        _point(bench, f"1 server × {tools} tools", 1, tools, 4)
    _point(bench, f"{CONNECTIONS} connections", 1, BASE_TOOLS, CONNECTIONS)


def _point(bench: Bench, case: str, servers: int, tools: int, connections: int) -> None:
    with bench.started("growth", [case], lambda candidate: bench.any_many(candidate, servers, tools)) as ready:
        able = [one for one in ready if one.program.pid and connections <= one.candidate.connections_max]
        turns = {one.candidate: turn(bench, one, direct(one), "echo", connections) for one in able}
        bench.alternate("growth", case, turns)
