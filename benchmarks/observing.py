"""What watching one call costs: its record opened and closed, one attempt, metrics, and a trace or none.

    python -m benchmarks.observing

The least of several rounds, since neighbours on the machine only add. It is no more than a hint: `make bench` measures
calls as a whole.
"""

import time
from typing import Final

from msgspec import Raw, structs

from concento.model.call import ALL, NO_ABILITIES, Call, Request, Result
from concento.model.config import Server, UrlReplica
from concento.model.principal import ANONYMOUS
from concento.model.tracing import Traces
from concento.observe.metrics import Metrics
from concento.observe.record import Records
from concento.observe.traces import Tracing

CALLS: Final = 10_000
ROUNDS: Final = 15
CASES: Final = {
    "no traces": None,
    "a trace, not kept": Traces(sample=0.0, few_a_second=0),
    "a trace, kept": Traces(sample=1.0),
}


def measured(traces: Traces | None) -> float:
    """Microseconds a call."""
    tracing = Tracing(time.monotonic, print, {})
    tracing.configure(traces)
    records = Records([Metrics(), tracing], None, tracing)
    call = Call(
        *("tools/call", {"name": Raw(b'"s__echo"')}, {}, "s__echo", ALL, ANONYMOUS, NO_ABILITIES),
        address="127.0.0.1",
        id=b"1",
        revision="2026-07-28",
    )
    server = Server("s", (UrlReplica("http://127.0.0.1:9000/mcp"),))
    request, reply = Request("tools/call", {}, {}, "echo"), Result(Raw(b"{}"))

    def one() -> None:
        record = records.open(call)
        record.server, record.tool = "s", "echo"
        attempt = record.attempt(server, 0, records.now())
        structs.replace(request, attempt=attempt)
        attempt.replied(reply, records.now())
        record.replied(reply)
        records.close(record)

    rounds = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        for _ in range(CALLS):
            one()
        rounds.append((time.perf_counter() - began_s) / CALLS * 1e6)
    return min(rounds)


if __name__ == "__main__":
    for name, traces in CASES.items():
        print(f"{name:20} {measured(traces):5.2f} µs")
