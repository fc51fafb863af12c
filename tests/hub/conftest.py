"""A real hub in the test's own event loop, on a free port, with memory for a state store."""

import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from concento.app import Hub
from concento.model.config import Address, ChildReplica, Config, Server, UrlReplica, View
from concento.testing.waiting import WAIT_S, until

DEMO = Path(__file__).parent.parent / "servers" / "sdk_server.py"


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def child(alias: str, *command: str, **options: object) -> Server:
    """A server as a child process of this interpreter."""
    return Server(alias, (ChildReplica((sys.executable, *command)),), **options)  # type: ignore[arg-type]


def at(alias: str, *urls: str, **options: object) -> Server:
    """A server at one or several URLs."""
    return Server(alias, tuple(UrlReplica(url) for url in urls), **options)  # type: ignore[arg-type]


def config(*servers: Server, views: tuple[View, ...] = (), **options: object) -> Config:
    """A configuration of these servers."""
    by_alias = MappingProxyType({server.alias: server for server in servers})
    by_name = MappingProxyType({view.name: view for view in views})
    return Config(servers=by_alias, views=by_name, **options)  # type: ignore[arg-type]


class Running:
    """A hub that listens: its base URL, and waiting for its servers."""

    def __init__(self, hub: Hub, address: Address) -> None:
        self.hub = hub
        self.address = address
        self.url = f"http://{address}"
        self.mcp = f"{self.url}/mcp"

    async def ready(self, *aliases: str, wait_s: float = WAIT_S) -> None:
        """Wait until these servers' lists are in the catalog."""
        for alias in aliases:
            await until(self._listed(alias), f"server {alias} ready", self._told(alias), wait_s=wait_s)

    def _listed(self, alias: str) -> Callable[[], bool]:
        def listed() -> bool:
            slice = self.hub.current.snapshot.slices.get(alias)
            return slice is not None and slice.inventory is not None and slice.health.state == "ready"

        return listed

    def _told(self, alias: str) -> Callable[[], object]:
        return lambda: self.hub.current.snapshot.slices[alias].health


Start = Callable[[Config], Awaitable[Running]]


@asynccontextmanager
async def running(configuration: Config) -> AsyncIterator[Running]:
    """A hub for a configuration, stopped at the end."""
    hub = await Hub.create(configuration, keep=False)
    try:
        yield Running(hub, await hub.listen(Address("127.0.0.1", 0)))
    finally:
        await hub.close(drain_s=2.0)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts hubs that end with the test."""
    async with AsyncExitStack() as stack:

        async def begin(configuration: Config) -> Running:
            return await stack.enter_async_context(running(configuration))

        yield begin


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened
