"""What a server that hangs takes from its neighbour: the same load on one, with and without the other hanging."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence

from concento.testing import RawAgent, ScriptedHttpServer, hang, modern_mcp

from ..bench import Bench
from ..candidates import Candidate, Server
from ..candidates.concento import Concento
from .access import Bare
from .calls import direct, turn

CONNECTIONS = 4
TOOLS = 20
HELD = 256
"""Calls that hang: as many as a server is given at a time."""
CALL = {"name": "hanging__echo", "arguments": {"text": "never answered"}}


def neighbour(bench: Bench) -> None:
    """Calls of one server while another holds all the calls that it may have."""
    hub = next((one for one in bench.candidates if isinstance(one, Concento)), None)
    if hub is None:
        return
    with Hanging() as hanging, contextlib.ExitStack() as stack:
        alone, beside = Bare(hub), Beside(hub, hanging.url)
        ways: list[Candidate] = [alone, beside]
        ready = [stack.enter_context(bench.ready(one, "modern", bench.many("modern", 1, TOOLS))) for one in ways]
        stack.enter_context(hanging.held(ready[1].route.url))
        turns = {one.candidate: turn(bench, one, direct(one), "echo", CONNECTIONS) for one in ready}
        bench.alternate("neighbour", f"a call, {CONNECTIONS} connections", turns)


class Beside(Bare):
    """The hub with another server that hangs, and has as many calls as it may."""

    about = f"the hub with {HELD} calls at another server that does not answer"

    def __init__(self, hub: Concento, url: str) -> None:
        super().__init__(hub)
        self.name = "beside one that hangs"
        self._hanging = Server("hanging", url, alone=False)

    def sources(self, servers: Sequence[Server]) -> Sequence[Server]:
        return [*servers, self._hanging]


class Hanging:
    """A server that takes calls and never answers, on a loop and a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server = ScriptedHttpServer(modern_mcp(on_call=hang))
        self.url = ""

    def __enter__(self) -> "Hanging":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.__aenter__(), self._loop).result(10)
        self.url = self._server.url
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._server.__aexit__(None, None, None), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @contextlib.contextmanager
    def held(self, endpoint: str) -> Iterator[None]:
        """Keep `HELD` calls waiting."""
        holding = asyncio.run_coroutine_threadsafe(self._hold(endpoint), self._loop)
        asyncio.run_coroutine_threadsafe(self._server.arrived("tools/call", count=HELD), self._loop).result(30)
        try:
            yield
        finally:
            holding.cancel()

    async def _hold(self, endpoint: str) -> None:
        async with RawAgent(endpoint, wait_s=3600) as agent, asyncio.TaskGroup() as group:
            for number in range(HELD):
                group.create_task(self._again(agent, number))

    async def _again(self, agent: RawAgent, number: int) -> None:
        while True:  # a call that runs out of time makes room for the next
            await agent.modern("tools/call", CALL, id=number)
