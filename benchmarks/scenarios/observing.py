"""What watching calls costs: traces kept and not, metrics, usage, alerts; and an admin listener that is asked a lot."""

import contextlib
import http.client
import itertools
import threading
from collections.abc import Iterator

from ..bench import Bench
from ..candidates import Candidate
from ..candidates.concento import Concento
from ..refused import Refused
from .access import Bare
from .calls import direct, turn

CONNECTIONS = 4
TOOLS = 200
ASKED_EACH_S = 0.1
PATHS = (
    "/api/v1/servers",
    "/api/v1/tools?limit=100",
    "/metrics",
    "/api/v1/objects",
    "/api/v1/alerts",
    "/api/v1/traces?limit=50",
    "/api/v1/usage",
    "/api/v1/experiments",
)
"""What a console and a scraper ask for."""


def observing(bench: Bench) -> None:
    """The hub that watches nothing beside the hub that does; and one whose admin listener is asked all the while."""
    hub = next((one for one in bench.candidates if isinstance(one, Concento)), None)
    if hub is None:
        return
    watching: list[Candidate] = [one for one in bench.candidates if one.is_reference]
    watching += [
        Watching(hub, "nothing", ", traces: off", "usage: off\nalerts: off\n"),
        Watching(hub, "traces not kept", ", traces: {sample: 0, few_a_second: 0}", "usage: off\nalerts: off\n"),
        Watching(hub, "all, not kept", ", traces: {sample: 0, few_a_second: 0}"),
        Watching(hub, "all, kept", ", traces: {sample: 1}"),
    ]
    with contextlib.ExitStack() as stack:
        ready = [stack.enter_context(bench.ready(one, "modern", bench.one("modern"))) for one in watching]
        turns = {one.candidate: turn(bench, one, direct(one), "echo", CONNECTIONS) for one in ready}
        bench.alternate("observing", f"a call, {CONNECTIONS} connections", turns)
    alone, asked = Watching(hub, "admin not asked"), Watching(hub, "admin asked")
    with contextlib.ExitStack() as stack:
        servers = bench.many("modern", 1, TOOLS)
        ready = [stack.enter_context(bench.ready(one, "modern", servers)) for one in (alone, asked)]
        # It is asked also while the other is measured: what asking takes of the machine is the same for both.
        stack.enter_context(asking(asked.admin_port))
        turns = {one.candidate: turn(bench, one, direct(one), "echo", CONNECTIONS) for one in ready}
        bench.alternate("observing", "beside admin requests", turns)


class Watching(Bare):
    """The hub as it is by default, without the audit record and the check of arguments."""

    about = "the hub, watching calls"

    def __init__(self, hub: Concento, name: str, traces: str = "", more: str = "") -> None:
        super().__init__(hub)
        self.name, self.traces = name, traces
        self.more = Bare.more + more


@contextlib.contextmanager
def asking(port: int) -> Iterator[None]:
    """Ask an admin listener, ten times a second. Errors: Refused, if it did not answer."""
    enough, problems = threading.Event(), list[str]()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for path in itertools.cycle(PATHS):
            if enough.wait(ASKED_EACH_S):
                connection.close()
                return
            connection.request("GET", path)
            reply = connection.getresponse()
            if reply.status != 200 or not reply.read():
                problems.append(f"{path} was answered with {reply.status}")

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield
    finally:
        enough.set()
        asker.join()
    if problems:
        raise Refused(problems[0])
