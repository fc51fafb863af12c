"""An HTTP listener on a free port, with hands on its clock; no gateway behind it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from hypothesis import HealthCheck, settings

from concento.front.http import Admit, Connection, Exchange, HttpListener
from concento.front.identity.authenticator import Authenticator
from concento.front.identity.keys import ApiKeys
from concento.front.parser import HttpRequest
from concento.model.config import Address
from concento.model.principal import ANONYMOUS
from concento.store.memory import MemoryStore
from concento.testing.clock import ManualClock
from concento.testing.waiting import until

Serve = Callable[[HttpRequest, Exchange], Awaitable[None]]

WAIT_S = 10.0

settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


class Wire:
    """One raw connection. Reading waits at most `WAIT_S`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Write without waiting."""
        self.writer.write(data)

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        """One whole reply that has a length: status, fields, body."""
        async with asyncio.timeout(WAIT_S):
            status, fields = await self.head()
            body = await self.reader.readexactly(int(fields.get("content-length", "0")))
            return status, fields, body

    async def head(self) -> tuple[int, dict[str, str]]:
        """The head of a reply."""
        async with asyncio.timeout(WAIT_S):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [line.partition(": ") for line in lines[1:] if line]
        assert len(pairs) == len({name for name, _, _ in pairs}), "a field came twice"
        return int(lines[0].split(" ")[1]), {name: value for name, _, value in pairs}

    async def until(self, mark: bytes) -> bytes:
        """What comes up to a mark, and the mark."""
        async with asyncio.timeout(WAIT_S):
            return await self.reader.readuntil(mark)

    async def rest(self) -> bytes:
        """What comes until the connection is closed."""
        async with asyncio.timeout(WAIT_S):
            return await self.reader.read()

    def close(self) -> None:
        """Go away."""
        self.writer.close()


class Front:
    """A listener that listens, its clock, and connections to it that end with it."""

    def __init__(self, listener: HttpListener, address: Address, clock: ManualClock) -> None:
        self.listener = listener
        self.address = address
        self.clock = clock
        self.wires: list[Wire] = []

    async def connect(self, receive_bytes: int | None = None) -> Wire:
        """A new connection, known to the listener; `receive_bytes` bounds what its kernel takes unread."""
        before = self.listener.connections
        wire = await self.dial(receive_bytes)
        await until(lambda: self.listener.connections > before, "the connection was accepted")
        return wire

    async def dial(self, receive_bytes: int | None = None) -> Wire:
        """A new connection, whatever the listener does with it."""
        plug = socket.socket()
        if receive_bytes is not None:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        plug.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(plug, (self.address.host, self.address.port))
        except OSError:
            plug.close()
            raise
        wire = Wire(*await asyncio.open_connection(sock=plug, limit=receive_bytes or 2**20))
        self.wires.append(wire)
        return wire

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        wire = await self.dial()
        wire.send(data)
        reply = await wire.reply()
        wire.close()
        return reply

    @property
    def connection(self) -> Connection:
        """The listener's side of its only connection."""
        (connection,) = self.listener._connections
        return connection

    def advance(self, seconds: float) -> None:
        """Let time pass, a sweep a second."""
        while seconds > 0:
            step = min(1.0, seconds)
            seconds -= step
            self.clock.advance(step)
            if self.listener._sweeper is not None:
                self.listener._sweeper.cancel()
            self.listener._sweep()


@asynccontextmanager
async def listening(serve: Serve, admit: Admit | None = None) -> AsyncIterator[Front]:
    """A listener, drained at the end; then nothing of it may be left."""
    clock = ManualClock()
    listener = HttpListener(admit or (lambda head, peer: ANONYMOUS), serve, clock=clock)
    front = Front(listener, await listener.start(Address("127.0.0.1", 0)), clock)
    try:
        yield front
    finally:
        for wire in front.wires:
            wire.close()
        await listener.drain(1.0)
        await until(lambda: not listener.connections and not listener.running, "nothing is left")
        assert not listener._per_address


def open_to_all() -> Authenticator:
    """What stands at the door where nobody has to prove anything."""
    return Authenticator(ApiKeys(MemoryStore(), ManualClock()), ManualClock())
