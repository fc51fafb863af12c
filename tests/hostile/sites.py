"""Every place where the hub asks a URL that others chose. A new one is one more line of `SITES`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.hostile.outside import HOME, Outside

from concento.front.identity.jwks import IssuerKeys
from concento.model.auth import Issuer
from concento.model.outbound import PUBLIC
from concento.testing.clock import ManualClock
from concento.testing.http_server import Conn, Hit
from concento.transport.outbound import NotFetched, fetch

Ask = Callable[[str, Outside], Awaitable[str | None]]
"""Makes the hub ask a URL on the word of a server at `https://home.test`, and returns what it then complains of."""


@dataclass(frozen=True, slots=True)
class Site:
    """One place."""

    name: str
    ask: Ask


async def by_fetch(url: str, world: Outside) -> str | None:
    """The bare tool that all places use."""
    try:
        await fetch(url, PUBLIC.near(f"https://{HOME}"))
    except NotFetched as error:
        return str(error)
    return None


async def by_jwks_uri(url: str, world: Outside) -> str | None:
    """Where the keys of an issuer are, by its metadata."""

    async def metadata(hit: Hit, conn: Conn) -> None:
        await conn.json({"issuer": f"https://{hit.header('Host')}", "jwks_uri": url})

    async with world.serves(metadata) as (origin, hits):
        keys = IssuerKeys(Issuer("company", origin), ManualClock())
        await keys.look()
        assert hits, "the metadata were asked for"
        return keys.problem


SITES = [
    Site("fetch", by_fetch),
    Site("jwks_uri", by_jwks_uri),
]
