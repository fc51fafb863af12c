"""A hub started from a real file, with its state, its audit record and its admin listener, in the test's own loop."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from concento.admin.listener import AdminListener
from concento.app import Hub
from concento.control.config import load
from concento.model.config import Address
from concento.model.inventory import Health
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import modern_mcp
from concento.testing.raw_agent import RawAgent
from concento.testing.waiting import WAIT_S, until

TOKEN = "concento_local_of-a-test"


class Told(NamedTuple):
    """What came back."""

    status: int
    value: Any
    headers: Mapping[str, str]

    @property
    def tag(self) -> str:
        """Its `ETag`."""
        return self.headers["ETag"]


class Desk:
    """A hub, and whoever runs it by the admin API."""

    def __init__(self, hub: Hub, mcp: str, admin: str, session: aiohttp.ClientSession) -> None:
        self.hub = hub
        self.mcp = mcp
        self.admin = admin
        self._session = session

    async def ask(self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Told:
        """One request. Names of header fields with `_` for `-`."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            fields["Authorization"] = f"Bearer {key}"
        sent = {} if body is None else {"json": body}
        async with self._session.request(method, self.admin + path, headers=fields, **sent) as reply:
            told = await reply.json() if "json" in reply.content_type else await reply.text()
            return Told(reply.status, told, reply.headers)

    async def get(self, path: str, **headers: str) -> Any:
        """What is there."""
        told = await self.ask("GET", path, **headers)
        assert told.status == 200, told
        return told.value

    async def put(self, path: str, body: Any, **headers: str) -> Told:
        """Put an object in place, whatever was there."""
        before = await self.ask("GET", path)
        if before.status == 200:
            headers.setdefault("If_Match", before.tag)
        return await self.ask("PUT", path, body, **headers)

    async def recorded(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many changes are in the audit record; the newest first."""
        async with asyncio.timeout(WAIT_S):
            while len(found := (await self.get("/api/v1/audit?kind=changed"))["entries"]) < count:
                pass
        assert len(found) == count, found
        return list(found)

    async def tools(self) -> list[str]:
        """The names that an agent is shown."""
        async with RawAgent(self.mcp) as agent:
            listed = await agent.modern("tools/list")
            return [tool["name"] for tool in listed.result["tools"]]

    async def listed(self, *names: str) -> None:
        """Wait until these tools are in the catalog, and no others."""

        def now() -> list[str]:
            slices = self.hub.current.snapshot.slices.values()
            return sorted(entry.public for slice in slices for entry in slice.tools)

        await until(lambda: now() == sorted(names), f"the tools are {names}", now)

    async def state(self, server: str, state: str) -> None:
        """Wait until a server is in a state."""

        def health() -> Health:
            return self.hub.current.snapshot.slices[server].health

        await until(lambda: health().state == state, f"{server} is {state}", health)


@asynccontextmanager
async def desk(path: Path, env: Mapping[str, str] = os.environ, token: str | None = TOKEN) -> AsyncIterator[Desk]:
    """A hub for a file, until the end of the block."""
    async with AsyncExitStack() as stack:
        hub = await Hub.create(load(path, env), audit=True)
        stack.push_async_callback(hub.close, 2.0)
        address = await hub.listen(Address("127.0.0.1", 0))
        listener = AdminListener(hub, token)
        admin = await listener.start(Address("127.0.0.1", 0))
        stack.push_async_callback(listener.close)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
        yield Desk(hub, f"http://{address}/mcp", f"http://{admin}", session)


def written(folder: Path, text: str) -> Path:
    """A configuration file with its state beside it."""
    path = folder / "concento.yaml"
    path.write_text(f"state: sqlite:///state.db\noutbound: {{allow: [127.0.0.0/8]}}\n{text}")
    return path


@pytest.fixture
async def server() -> AsyncIterator[ScriptedHttpServer]:
    async with ScriptedHttpServer(modern_mcp()) as running:
        yield running
