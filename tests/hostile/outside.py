"""What lies outside of the hub, all on this machine: names, public addresses, a network, and what must not be asked.

A public address leads to a server that a test put there, else to one that takes all who come and counts them. What is
asked of any other address is noted, and goes on only if it is this machine's own.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import trustme

from concento.testing.http_server import Conn, Hit, ScriptedHttpServer
from concento.testing.waiting import until

PUBLIC_AT = "93.184.216.34"
HOME = "home.test"
"""Whose word it is on which the hub asks: a public place over https."""
NAMES: Mapping[str, tuple[str, ...]] = {
    HOME: (PUBLIC_AT,),
    "elsewhere.test": (PUBLIC_AT,),
    "here.test": ("127.0.0.1",),
    "here6.test": ("::1",),
    "mapped.test": ("::ffff:127.0.0.1",),
    "mixed.test": (PUBLIC_AT, "127.0.0.1"),
    "mixed6.test": ("::1", PUBLIC_AT),
    "nat64.test": ("64:ff9b::a9fe:a9fe",),
    "intranet": ("10.0.0.5",),
    "metadata.google.internal": ("169.254.169.254",),
    "xn--bcher-kva.test": ("127.0.0.1",),
}


class Listener(asyncio.Protocol):
    """Counts who connects, and hangs up on them as soon as they speak."""

    def __init__(self) -> None:
        self.port = 0
        self._probes = 0
        self._callers: list[int] = []
        self._open: list[asyncio.BaseTransport] = []

    async def connects(self) -> int:
        """How many have come by now: a last one is sent after them, for they are taken in their order."""
        taken = len(self._callers)
        with socket.create_connection(("127.0.0.1", self.port)) as probe:
            self._probes += 1
            await until(lambda: probe.getsockname()[1] in self._callers[taken:], "the last one is taken")
        return len(self._callers) - self._probes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._callers.append(transport.get_extra_info("peername")[1])
        self._open.append(transport)

    def data_received(self, data: bytes) -> None:
        self._hang_up()

    def _hang_up(self) -> None:
        while self._open:
            self._open.pop().close()

    @asynccontextmanager
    async def listening(self) -> "AsyncIterator[Listener]":
        """It, on every address of this machine."""
        dual = socket.has_dualstack_ipv6()
        bound = socket.create_server(
            ("", 0), family=socket.AF_INET6 if dual else socket.AF_INET, dualstack_ipv6=dual, backlog=1000
        )
        self.port = bound.getsockname()[1]
        server = await asyncio.get_running_loop().create_server(lambda: self, sock=bound)
        try:
            yield self
        finally:
            server.close()
            self._hang_up()


@dataclass
class Outside:
    """One test's outside."""

    canary: Listener
    public: Listener
    names: dict[str, tuple[str, ...] | list[tuple[str, ...]]] = field(default_factory=lambda: dict(NAMES))
    """The addresses of names. Of a list, each question takes the next answer, and all after the last that one."""
    resolved: list[str] = field(default_factory=list)
    """The names that were looked up."""
    asked: list[tuple[str, int]] = field(default_factory=list)
    """The addresses that a connection to was begun, but for those of a test's own servers."""
    own: set[int] = field(default_factory=set)
    """The ports of those."""

    @asynccontextmanager
    async def serves(self, handler: Any, host: str = HOME) -> AsyncIterator[tuple[str, list[Hit]]]:
        """A server in public, over https: its origin, and what it was asked."""
        server = ScriptedHttpServer(handler, tls=_certified(host))
        async with server:
            self.own.add(server.port)
            yield f"https://{host}:{server.port}", server._hits

    async def answers(self, host: Any, port: Any, **options: Any) -> list[Any]:
        """In the place of `loop.getaddrinfo`. No question leaves this machine."""
        name = host.decode() if isinstance(host, bytes) else str(host)
        if not _is_address(name):
            self.resolved.append(name)
            known = self.names.get(name)
            if known is None:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            found = known if isinstance(known, tuple) else known.pop(0) if len(known) > 1 else known[0]
        else:
            found = (name,)
        numeric = {**options, "type": socket.SOCK_STREAM}
        return [one for address in found for one in socket.getaddrinfo(address, port, **numeric)]

    def leads(self, address: tuple[Any, ...]) -> tuple[Any, ...]:
        """Where a connection to an address goes. Errors: OSError."""
        host, port = str(address[0]), int(address[1])
        if host == PUBLIC_AT and port in self.own:
            return "127.0.0.1", port
        self.asked.append((host, port))
        if host == PUBLIC_AT:
            return "127.0.0.1", self.public.port
        if not ipaddress.ip_address(host.partition("%")[0]).is_loopback and host not in ("0.0.0.0", "::"):
            raise OSError("nothing leaves this machine")
        return address


@asynccontextmanager
async def outside(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outside]:
    """The outside in the place of the real one, for all that is asked through the event loop."""
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect
    async with Listener().listening() as canary, Listener().listening() as public:
        world = Outside(canary, public)

        async def sock_connect(sock: socket.socket, address: tuple[Any, ...]) -> None:
            await connect(sock, world.leads(address))

        with monkeypatch.context() as patched:
            patched.setattr(loop, "getaddrinfo", world.answers)
            patched.setattr(loop, "sock_connect", sock_connect)
            patched.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", _trusting())
            yield world


def redirects(status: int, to: str) -> Any:
    """A handler that answers so whatever it is asked."""

    async def handler(hit: Hit, conn: Conn) -> None:
        await conn.respond(status, headers=[("Location", to)])

    return handler


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@cache
def _certified(host: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _authority().issue_cert(host).configure_cert(context)
    return context


@cache
def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    _authority().configure_trust(context)
    return context


def _is_address(name: str) -> bool:
    """Whether a resolver takes a name for an address, in whatever notation, or for this machine."""
    if ":" in name or name == "localhost":
        return True
    try:
        socket.inet_aton(name)
    except OSError:
        return False
    return True
