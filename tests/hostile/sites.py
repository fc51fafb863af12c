"""Every place where the hub asks a URL that others chose. A new one is one more line of `SITES`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.hostile.outside import HOME, Outside

from concento.credentials.accounts import Account, Accounts
from concento.credentials.challenge import Challenge
from concento.credentials.connecting import Connecting, NotConnected
from concento.credentials.connecting import Site as ConnectSite
from concento.credentials.vault import Vault
from concento.front.identity.jwks import IssuerKeys
from concento.model.auth import Issuer
from concento.model.errors import CallError
from concento.model.outbound import PUBLIC
from concento.model.principal import Principal
from concento.model.showing import OAuthClient, UserOAuth
from concento.store.memory import MemoryStore
from concento.testing.clock import ManualClock
from concento.testing.http_server import Conn, Hit
from concento.transport.outbound import NotFetched, fetch

Handler = Callable[[Hit, Conn], Awaitable[None]]
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
    async with world.serves(issues(url)) as (origin, hits):
        keys = IssuerKeys(Issuer("company", origin), ManualClock())
        await keys.look()
        assert hits, "the metadata were asked for"
        return keys.problem


def issues(keys_url: str) -> Handler:
    """An issuer whose keys are said to be there."""

    async def metadata(hit: Hit, conn: Conn) -> None:
        await conn.json({"issuer": f"https://{hit.header('Host')}", "jwks_uri": keys_url})

    return metadata


async def by_challenge(url: str, world: Outside) -> str | None:
    """Where a server's protected-resource metadata are, by its challenge."""
    async with connecting(world, challenge=url) as at:
        return await at.told()


async def by_authorization_server(url: str, world: Outside) -> str | None:
    """Who gives tokens for a server, by its protected-resource metadata."""
    async with connecting(world, issuer=url) as at:
        return await at.told()


async def by_registration_endpoint(url: str, world: Outside) -> str | None:
    """Where the hub registers itself, by the metadata of an authorization server."""
    async with connecting(world, registration_endpoint=url) as at:
        return await at.told()


async def by_token_endpoint(url: str, world: Outside) -> str | None:
    """Where a code is exchanged for a token, by the same."""
    async with connecting(world, token_endpoint=url) as at:
        return await at.told()


async def by_refresh(url: str, world: Outside) -> str | None:
    """Where a token is refreshed, by what was kept of it."""
    async with connecting(world) as at:
        client = OAuthClient(url, "hub", "none")
        token = at.accounts.token("s", "s", at.user)
        await at.accounts.keep(token, Account("a", "r", 0.0, (), client, f"https://{HOME}", f"https://{HOME}"))
        try:
            await token.renewed(b"Authorization: Bearer a\r\n")
        except CallError as problem:
            return problem.message
        return None


async def by_revocation_endpoint(url: str, world: Outside) -> str | None:
    """Where a token is revoked, by the metadata of an authorization server."""
    async with connecting(world, revocation_endpoint=url) as at:
        assert await at.told() is None
        await at.accounts.disconnect(at.accounts.token("s", "s", at.user))
        return "; ".join(at.problems) or "it has no place to revoke at"


class Connection:
    """A user who connects an account at a server and goes on wherever that leads; and what is told of it."""

    user = Principal("ada")

    def __init__(self, origin: str) -> None:
        self.problems: list[str] = []
        clock = ManualClock()
        vault = Vault(MemoryStore(), self.problems.append)
        vault.use([bytes(range(32))])
        self.accounts = Accounts(vault, clock, lambda _: PUBLIC.near(origin))
        self._links = Connecting(self.accounts, self.problems.append)
        self._links.configure([ConnectSite("s", "s", f"{origin}/mcp", UserOAuth())], "http://127.0.0.1:7400")
        self.challenge = Challenge()

    async def told(self) -> str | None:
        """What goes wrong on the way to a token; None if it is had."""
        link = self._links.find(self._links.begin("s", self.user).rpartition("/")[2])
        assert link is not None
        link.token.challenge = self.challenge
        try:
            await self._links.start(link, "cookie")
            await self._links.finish({"state": link.state, "code": "code"}, "cookie")
        except NotConnected as problem:
            return "; ".join([*self.problems, str(problem)])
        return None


@asynccontextmanager
async def connecting(
    world: Outside, challenge: str | None = None, issuer: str | None = None, **places: str
) -> AsyncIterator[Connection]:
    """A server in public that is its own authorization server, but for the places that it says are elsewhere."""

    async def answers(hit: Hit, conn: Conn) -> None:
        origin = f"https://{hit.header('Host')}"
        if "protected-resource" in hit.path:
            await conn.json(
                {"resource": f"{origin}/mcp", "authorization_servers": [origin if issuer is None else issuer]}
            )
        elif "well-known" in hit.path:
            names = ("authorization", "token", "registration", "revocation")
            own = {f"{name}_endpoint": f"{origin}/{name}" for name in names}
            await conn.json({"issuer": origin, "code_challenge_methods_supported": ["S256"], **own, **places})
        elif hit.path == "/registration":
            await conn.json({"client_id": "hub"}, 201)
        else:
            await conn.json({"access_token": "a", "token_type": "Bearer", "refresh_token": "r"})

    async with world.serves(answers) as (origin, _):
        connection = Connection(origin)
        connection.challenge = Challenge(challenge)
        yield connection


SITES = [
    Site("fetch", by_fetch),
    Site("jwks_uri", by_jwks_uri),
    Site("challenge", by_challenge),
    Site("authorization_server", by_authorization_server),
    Site("registration_endpoint", by_registration_endpoint),
    Site("token_endpoint", by_token_endpoint),
    Site("refresh", by_refresh),
    Site("revocation_endpoint", by_revocation_endpoint),
]
