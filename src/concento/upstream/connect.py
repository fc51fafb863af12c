"""Make a link to one replica: start or reach it, find its era, greet it.

The era is found as the specification says: the modern probe first, on any other answer the legacy handshake, over HTTP
at last the 2024-11-05 stream. A network failure is no verdict. A verdict is remembered per replica and tried first next
time; the answer to it decides again.
"""

import asyncio
import ssl
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from ..credentials.accounts import Accounts
from ..credentials.client_credentials import ClientCredentials
from ..credentials.exchange import ExchangedListing, Exchanges
from ..credentials.token import Token
from ..model.call import NO_ABILITIES, Profile
from ..model.config import ChildReplica, Replica, Server, UrlReplica
from ..model.errors import BadReply, CallError, Unavailable
from ..model.limits import PARKED_MAX
from ..model.principal import Principal
from ..model.showing import OAuthClient, ServerTls
from ..protocol.sse import Event
from ..protocol.versions import Era
from ..transport.http import HttpPool
from ..transport.sandbox import hint
from ..transport.stdio import Child, ExitNotice
from ..transport.watchdog import Watchdog
from .duplex import DuplexLink
from .http import Wire, status_error
from .legacy_http import LegacyLink
from .link import Link, Listener
from .modern_http import ModernLink
from .parking import Parking
from .tasks import Tasks

CHILD_WAIT_S: Final = 180.0
"""Time for a child to answer its first request: a launcher may have to download the server before."""

URL_WAIT_S: Final = 15.0
"""Time for a URL to answer the handshake."""

ENDPOINT_WAIT_S: Final = 5.0
"""Time for a 2024-11-05 server to say where to POST."""

_TARGET_CHARS: Final = "/?&=%:;,@!$'()*+~.-_"
"""What stands in a request target as it is."""

_STREAMS: Final = 8
"""Connections of a pool beyond the calls it may carry and those that are parked: listen streams, notifications."""


@dataclass(slots=True)
class Means:
    """What links are made with."""

    watchdog: Watchdog
    parking: Parking
    eras: MutableMapping[str, Era] = field(default_factory=dict)
    ssl_context: ssl.SSLContext | None = None
    grants: dict[OAuthClient, ClientCredentials] = field(default_factory=dict)
    """One for each client, whoever and how many use it."""
    accounts: Accounts | None = None
    """What users have connected."""
    exchanges: Exchanges | None = None
    """What callers' tokens were exchanged for."""

    def grant_of(self, server: Server, replica: UrlReplica) -> Callable[[Principal], Token] | None:
        """What each caller's own token is exchanged for, where a server takes that."""
        exchange, exchanges = server.exchange, self.exchanges
        if exchange is None or exchanges is None:
            return None
        return lambda caller: exchanges.token(server.key, server.alias, replica.url, exchange, caller)

    def grant(self, server: Server, replica: UrlReplica, owner: Principal | None) -> Token | None:
        """Where the tokens come from that a link shows: the hub's own, or of the user that it is made for.

        Errors: Unavailable, if the server is elsewhere by now: what was granted for one place is shown at no other.
        """
        if server.exchange is not None and self.exchanges is not None:
            if owner is not None:
                return self.exchanges.token(server.key, server.alias, replica.url, server.exchange, owner)
            return ExchangedListing(
                self.exchanges, server.key, server.exchange, server.alias, replica.url, self.exchanges.clock
            )
        if server.users is not None and self.accounts is not None:
            if not self.accounts.is_at(server.key, replica.url):
                raise Unavailable(f"The server {server.alias!r} is another by now", retry_after_s=1.0)
            if owner is None:
                return self.accounts.listing(server.key, server.alias, server.tenant)
            return self.accounts.token(server.key, server.alias, owner)
        client = replica.oauth
        if client is None:
            return None
        known = self.grants.get(client)
        if known is None:
            known = self.grants[client] = ClientCredentials(client, server.alias)
        return known


class Connected:
    """A greeted link, and how to see its child's last words. `pid`: its process; `pool`: its connections."""

    def __init__(
        self,
        link: Link,
        stderr: Callable[[], tuple[str, ...]],
        profile: Profile,
        pid: int | None = None,
        pool: HttpPool | None = None,
    ) -> None:
        self.link = link
        self.stderr = stderr
        self.pid = pid
        self.pool = pool
        self._profile = profile
        self._is_modern = link.welcome.era == "modern"

    def suits(self, profile: Profile) -> bool:
        """Whether calls with this profile may use it: a modern server is told it with each request, a legacy one was
        told it once."""
        return self._is_modern or profile.abilities == self._profile.abilities


def replica_key(replica: Replica) -> str:
    """Names a replica across restarts, without its secrets."""
    return replica.url if isinstance(replica, UrlReplica) else "\0".join(replica.command)


async def connect(
    server: Server,
    replica: Replica,
    means: Means,
    listener: Listener,
    profile: Profile = NO_ABILITIES,
    owner: Principal | None = None,
) -> Connected:
    """Make a link for callers with this profile; where users have accounts, for the one whose it is.

    Errors: Unavailable (not there, or refuses), BadReply (there, but no MCP server we can use), NeedsAccount.
    """
    if isinstance(replica, ChildReplica):
        return await _connect_child(server, replica, means, listener, profile)
    return await _connect_url(server, replica, means, listener, profile, owner)


async def _connect_child(
    server: Server, replica: ChildReplica, means: Means, listener: Listener, profile: Profile
) -> Connected:
    link: DuplexLink | None = None
    early: list[bytes] = []
    greeted = False

    def on_line(line: bytes) -> None:
        if link is None:
            early.append(line)
        else:
            link.mux.feed(line)

    def on_exit(notice: ExitNotice) -> None:
        if link is not None:
            early_end = hint(replica.sandbox) if not greeted and notice.reason is None else ""
            error = Unavailable(f"The server {server.alias!r} {notice.how}{early_end}")
            error.last_words = notice.stderr
            link.fail(error)

    child = await Child.start(replica, watchdog=means.watchdog, on_line=on_line, on_exit=on_exit)
    link = DuplexLink(server.alias, child.write, listener, child.close, parking=means.parking, profile=profile)
    for line in early:
        link.mux.feed(line)
    key = replica_key(replica)
    try:
        async with asyncio.timeout(CHILD_WAIT_S):
            welcome = await link.greet(means.eras.get(key))
        greeted = True
    except BaseException as error:
        means.eras.pop(key, None)
        lost = link.lost.result() if link.lost.done() else None
        await asyncio.shield(link.close())
        if isinstance(error, TimeoutError):
            raise Unavailable(
                f"The server {server.alias!r} started but answered nothing for {CHILD_WAIT_S:g} s; "
                "is it an MCP server over stdio?"
            ) from None
        if lost is not None and isinstance(error, CallError):
            raise lost from None
        raise
    means.eras[key] = welcome.era
    return Connected(link, child.stderr_tail, profile, child.pid)


async def _connect_url(
    server: Server, replica: UrlReplica, means: Means, listener: Listener, profile: Profile, owner: Principal | None
) -> Connected:
    parts = urlsplit(replica.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    pool = HttpPool(
        replica.url,
        name=server.alias,
        ssl_context=means.ssl_context if replica.tls is None else _tls(replica.tls, server.alias),
        connections_max=server.concurrency_max + PARKED_MAX + _STREAMS,
        reach=replica.reach,
    )
    grant, grant_of = means.grant(server, replica, owner), means.grant_of(server, replica)
    wire = Wire(pool, target, dict(replica.headers), server.alias, grant, grant_of)
    try:
        async with asyncio.timeout(URL_WAIT_S):
            link = await _negotiate(server, replica, wire, means, listener, profile)
    except TimeoutError:
        await pool.close(abort=True)
        raise Unavailable(f"The server {server.alias!r} did not finish the handshake within {URL_WAIT_S:g} s") from None
    except BaseException:
        await pool.close(abort=True)
        raise
    means.eras[replica_key(replica)] = link.welcome.era
    return Connected(link, tuple, profile, pool=pool)


def _tls(tls: ServerTls, alias: str) -> ssl.SSLContext:
    """How the server is judged and what it is shown, read anew for each connection pool. Errors: Unavailable."""
    try:
        context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key, password=lambda: b"")
    except (OSError, ssl.SSLError, ValueError) as error:
        told = getattr(error, "strerror", None) or getattr(error, "reason", None) or "no certificate and key that fit"
        raise Unavailable(f"The certificates for the server {alias!r} can't be used: {told}") from None
    return context


async def _negotiate(
    server: Server, replica: UrlReplica, wire: Wire, means: Means, listener: Listener, profile: Profile
) -> Link:
    known = means.eras.get(replica_key(replica))
    if replica.transport != "sse":
        if known != "legacy" and (link := await _modern(wire, listener)) is not None:
            return link
        legacy = LegacyLink(wire, listener, means.parking, profile)
        status = await legacy.greet()
        if status == 200:
            return legacy
        if known == "legacy" and (link := await _modern(wire, listener)) is not None:
            return link
        if replica.transport == "http":
            raise BadReply(
                f"The server {server.alias!r} takes no MCP requests at its URL (HTTP {status})", outcome="failed"
            )
    return await _connect_sse(wire, replica.url, listener, means.parking, profile)


async def _modern(wire: Wire, listener: Listener) -> ModernLink | None:
    link = ModernLink(wire, listener)
    return None if await link.greet() is None else link


async def _connect_sse(wire: Wire, url: str, listener: Listener, parking: Parking, profile: Profile) -> Link:
    """A 2024-11-05 server: a stream whose first event names the URL to POST to; every reply comes on the stream."""
    endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    tasks = Tasks(wire.alias)

    def send(body: bytes) -> None:
        tasks.start(_post(body))

    async def _post(body: bytes) -> None:
        try:
            response = await wire.post([], body, target=endpoint.result())
            if response.status >= 400:
                link.fail(status_error(wire.alias, response))
        except CallError as error:
            link.fail(error)

    async def end() -> None:
        await tasks.close()
        await wire.pool.close(abort=True)

    def hear(event: Event) -> None:
        if event.event == "endpoint":
            if not endpoint.done():
                endpoint.set_result(event.data.decode(errors="replace"))
        elif event.data:
            link.mux.feed(event.data)

    async def listen() -> None:
        error: CallError = BadReply(f"The server {wire.alias!r} closed its event stream")
        try:
            response = await wire.get([], hear)
            if response.status != 200:
                error = status_error(wire.alias, response)
        except CallError as problem:
            error = problem
        if not endpoint.done():
            endpoint.set_exception(error)
        link.fail(error)

    link = DuplexLink(wire.alias, send, listener, end, parking=parking, profile=profile)
    tasks.start(listen())
    try:
        place = await asyncio.wait_for(asyncio.shield(endpoint), ENDPOINT_WAIT_S)
        target = _same_origin(url, place, wire.alias)
        endpoint = asyncio.get_running_loop().create_future()
        endpoint.set_result(target)
        await link.greet("legacy")
    except BaseException as error:
        await asyncio.shield(link.close())
        if isinstance(error, TimeoutError):
            raise BadReply(
                f"The server {wire.alias!r} answers at its URL, but speaks no MCP transport there", outcome="failed"
            ) from None
        raise
    return link


def _same_origin(url: str, place: str, alias: str) -> str:
    """The path to POST to; a server must not send the hub, and its credentials, elsewhere."""
    here, there = urlsplit(url), urlsplit(urljoin(url, place))
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        raise BadReply(f"The server {alias!r} names an endpoint on another origin", outcome="failed")
    return quote((there.path or "/") + (f"?{there.query}" if there.query else ""), safe=_TARGET_CHARS)
