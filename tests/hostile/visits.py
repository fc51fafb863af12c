"""Agents that come, do what agents of their kind do, and leave: each visit is one session.

`VISITS` has them by name. All go over sockets of their own, and all check that they were served.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from concento.testing.raw_agent import legacy_initialize, legacy_request, modern_request

Address = tuple[str, int]
Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CALL = {"name": "s__echo", "arguments": {"text": "x"}}
CHILD_CALL = {"name": "c__echo", "arguments": {"text": "x"}}
AT_ONCE = 40
"""Visits at a time."""


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[Wire]:
    """A connection; it is dropped at the end, whatever is on it."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def head(wire: Wire) -> dict[str, str]:
    lines = (await wire[0].readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return {**fields, ":status": lines[0].split(" ")[1]}


async def ask(
    wire: Wire, headers: dict[str, str], body: bytes, method: str = "POST", path: str = "/mcp"
) -> tuple[dict[str, str], Any]:
    """One request with a whole reply: its fields and its JSON."""
    send(wire, headers, body, method, path)
    fields = await head(wire)
    if "transfer-encoding" in fields:
        text = await last_event(wire)
    else:
        text = await wire[0].readexactly(int(fields.get("content-length", "0")))
    return fields, json.loads(text) if text else None


async def last_event(wire: Wire) -> bytes:
    """What the last event of a stream says, in which a reply that takes longer comes."""
    said = b""
    while size := int(await wire[0].readuntil(b"\r\n"), 16):
        said += (await wire[0].readexactly(size + 2))[:-2]
    await wire[0].readuntil(b"\r\n")
    return [line.removeprefix(b"data: ") for line in said.splitlines() if line.startswith(b"data: ")][-1]


def send(wire: Wire, headers: dict[str, str], body: bytes = b"", method: str = "POST", path: str = "/mcp") -> None:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    wire[1].write("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)


async def begin(wire: Wire) -> str:
    """A legacy session's id."""
    fields, _ = await ask(wire, *legacy_initialize())
    id = fields["mcp-session-id"]
    told, _ = await ask(wire, *legacy_request("notifications/initialized", id=None, session=id))
    assert told[":status"] == "202"
    return id


async def in_session(wire: Wire, id: str, call: dict[str, Any]) -> None:
    _, listed = await ask(wire, *legacy_request("tools/list", session=id))
    assert listed["result"]["tools"]
    _, called = await ask(wire, *legacy_request("tools/call", call, session=id))
    assert called["result"]["content"]


async def leave(wire: Wire, id: str) -> None:
    fields, _ = await ask(wire, {"Mcp-Session-Id": id}, b"", "DELETE")
    assert fields[":status"] == "204"


# -- the visits


async def modern(address: Address) -> None:
    """A call, the connection with it."""
    async with connected(address) as wire:
        _, reply = await ask(wire, *modern_request("tools/call", CALL))
        assert reply["result"]["content"]


async def listening(address: Address) -> None:
    """A listen stream that is dropped once it is acknowledged."""
    async with connected(address) as wire:
        send(wire, *modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}))
        await wire[0].readuntil(b"acknowledged")


async def legacy(address: Address) -> None:
    """A session from its first request to its DELETE."""
    async with connected(address) as wire:
        id = await begin(wire)
        await in_session(wire, id, CALL)
        await leave(wire, id)


async def legacy_listening(address: Address) -> None:
    """A session whose stream is open and dropped before the session ends."""
    async with connected(address) as wire:
        id = await begin(wire)
        async with connected(address) as stream:
            send(stream, {"Mcp-Session-Id": id, "Accept": "text/event-stream"}, method="GET")
            assert (await head(stream))[":status"] == "200"
        await leave(wire, id)


async def abandoned(address: Address) -> None:
    """A session that nobody ends."""
    async with connected(address) as wire:
        await in_session(wire, await begin(wire), CALL)


async def sse(address: Address) -> None:
    """A session on the transport of 2024-11-05, which ends with its stream."""
    async with connected(address) as stream, connected(address) as wire:
        send(stream, {"Accept": "text/event-stream"}, method="GET", path="/sse")
        await head(stream)
        told = await stream[0].readuntil(b"\n\n")
        path = told.partition(b"data: ")[2].strip().decode()
        for headers, body in (legacy_initialize("2024-11-05"), legacy_request("tools/call", CALL)):
            fields, _ = await ask(wire, headers, body, path=path)
            assert fields[":status"] == "202"
            assert b'"result"' in await stream[0].readuntil(b"\n\n")


async def with_child(address: Address) -> None:
    """A session with a server that runs as a child for each session."""
    async with connected(address) as wire:
        id = await begin(wire)
        await in_session(wire, id, CHILD_CALL)
        await leave(wire, id)


Visit = Callable[[Address], Awaitable[None]]
VISITS: dict[str, Visit] = {
    visit.__name__: visit for visit in (modern, listening, legacy, legacy_listening, abandoned, sse)
}


async def visited(visit: Visit, address: Address, count: int, at_once: int = AT_ONCE) -> None:
    """So many visits, some at a time."""
    left = iter(range(count))

    async def some() -> None:
        for _ in left:
            await visit(address)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, count)):
            group.create_task(some())
