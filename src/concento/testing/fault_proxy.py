"""A TCP proxy in this process, before any server at all: what goes wrong on the way, to whichever byte.

    async with FaultProxy(target_url) as proxy:
        ...  # agents or a hub at proxy.url
        proxy.stall()      # nothing passes any more, in either direction; connections stay open
        proxy.cut()        # all connections end now, with a reset
        proxy.refuse()     # new ones are reset at once
        proxy.heal()       # as if nothing had been

For faults of what a server says, rather than of the way there, use the hooks of `mcp_server.py` and `faults.py`.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

_CHUNK: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)


class FaultProxy:
    """Passes bytes on, until it is told not to. `url` is the target's with the proxy's own address."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        self._target = (parts.hostname, parts.port or 80)
        self._parts = parts
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._cuts = 0
        self._spared: int | None = None
        self.delay_s = 0.0
        """How long each chunk waits, in either direction."""
        self.url = target
        self.connections = 0
        """Taken so far, refused ones too."""
        self.up_bytes = 0
        """Passed on to the target."""
        self.down_bytes = 0
        """Passed back."""
        self._open: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = self._parts._replace(netloc=f"127.0.0.1:{port}").geturl()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.heal()
        self._refusing = True
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what goes wrong

    def stall(self) -> None:
        """Pass nothing on, and keep every connection open: the worst that a network does."""
        self._flowing.clear()

    def cut(self) -> None:
        """End all connections now, with a reset on both sides."""
        self._cuts += 1
        for writer in [*self._open, *self._open.values()]:
            _reset(writer)

    def cut_after(self, count: int) -> None:
        """Reset every connection once so many more bytes came back from the target: in the middle of a reply."""
        self._spared = self.down_bytes + count

    def refuse(self) -> None:
        """Reset what connects from now on. What is connected goes on."""
        self._refusing = True

    def heal(self) -> None:
        """Take back every fault that was set."""
        self._refusing, self._spared, self.delay_s = False, None, 0.0
        self._flowing.set()

    # -- passing on

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        cuts = self._cuts
        if self._refusing:
            _reset(writer)
            return
        try:
            there, to_there = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        if self._cuts != cuts:  # it was cut while it was being made
            _reset(writer)
            _reset(to_there)
            return
        self._open[writer] = to_there
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, to_there, is_up=True))
                group.create_task(self._pass(there, writer, is_up=False))
        except* (ConnectionError, TimeoutError, RuntimeError):  # uvloop's word for a transport that is closed
            pass
        finally:
            self._open.pop(writer, None)
            for one in (writer, to_there):
                one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool) -> None:
        while chunk := await reader.read(_CHUNK):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await self._flowing.wait()
            if is_up:
                self.up_bytes += len(chunk)
            elif self._spared is not None and self.down_bytes + len(chunk) > self._spared:
                writer.write(chunk[: max(0, self._spared - self.down_bytes)])
                await writer.drain()
                self.down_bytes = max(self.down_bytes, self._spared)
                self.cut()
                raise ConnectionResetError("as was asked for")
            else:
                self.down_bytes += len(chunk)
            writer.write(chunk)
            await writer.drain()
        with suppress(OSError, NotImplementedError):
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset, so that nobody takes it for a proper end."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError, ValueError):  # it may have ended by itself
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
