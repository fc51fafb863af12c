"""How the cost of a call grows: with the servers behind a gateway, with the tools of a server, with connections."""

from ..bench import Bench
from .calls import direct, turn

SERVERS = (1, 5, 20, 50)
TOOLS = (20, 250, 1000, 4000)
CONNECTIONS = (8, 64, 512)
BASE_TOOLS = 20


def growth(bench: Bench) -> None:
    """One thing grows at a time. nginx forwards to one server throughout."""
    for servers in (1, 20) if bench.quick else SERVERS:
        _point(bench, f"{servers} server{'s' * (servers > 1)} × {BASE_TOOLS} tools", servers, BASE_TOOLS, 4)
    for tools in (1000,) if bench.quick else TOOLS[1:]:
        _point(bench, f"1 server × {tools} tools", 1, tools, 4)
    for connections in (512,) if bench.quick else CONNECTIONS:
        _point(bench, f"{connections} connections", 1, BASE_TOOLS, connections)


def _point(bench: Bench, case: str, servers: int, tools: int, connections: int) -> None:
    with bench.started("growth", [case], lambda candidate: bench.any_many(candidate, servers, tools)) as ready:
        able = [one for one in ready if connections <= one.candidate.connections_max]
        turns = {one.candidate: turn(bench, one, direct(one), "echo", connections) for one in able}
        bench.alternate("growth", case, turns)
