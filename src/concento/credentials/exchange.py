"""A caller's own token, exchanged for one that a server takes: the server never sees the first.

The caller's token goes to the one authorization server that the operator named, which knows the hub and judges for whom
it gives what. With `at`, what it gives is an assertion about the user (an ID-JAG), for which the server's own
authorization server gives the token.
Source: RFC 8693; RFC 7523 2.1; the extension enterprise-managed-authorization (ID-JAG).
"""

from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from ..model.clock import Clock
from ..model.errors import CallError, Forbidden, NeedsAccount
from ..model.outbound import Reach
from ..model.principal import Principal
from ..model.showing import OAuthClient, TokenExchange
from .challenge import NO_CHALLENGE, Challenge, read_challenge
from .discovery import NotDiscovered, discover_issuer, discover_resource
from .token import Token
from .token_endpoint import Granted, NoToken, ask_token

TOKENS_MAX: Final = 10_000
"""Callers whose tokens are held, over all servers."""
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TYPE: Final = "urn:ietf:params:oauth:token-type:"


class ExchangedToken(Token):
    """What one token of a caller's is exchanged for at one server."""

    def __init__(
        self,
        exchange: TokenExchange,
        name: str,
        url: str,
        caller: Principal,
        challenge: Callable[[], Challenge],
        clock: Clock,
        reach: Callable[[], Reach],
    ) -> None:
        super().__init__(name, clock.monotonic)
        self._exchange = exchange
        self._url = url
        self._caller = caller
        self._challenge = challenge
        self._clock = clock
        self._reach = reach

    def is_of(self, exchange: TokenExchange, url: str) -> bool:
        """Whether it is exchanged as configured now, for a server that is where it was."""
        return (self._exchange, self._url) == (exchange, url)

    @property
    def is_good(self) -> bool:
        """Whether the caller's token still is."""
        return self._caller.until_s is None or self._clock.wall() < self._caller.until_s

    def refused(self, status: int, header: str) -> CallError | None:
        """That the server does not take what the authorization server gave."""
        return Forbidden(f"The server {self._name!r} refuses what your token was exchanged for", outcome="failed")

    async def _ask(self) -> Granted:
        token = self._caller.token
        if token is None or not self.is_good:
            raise NoToken("", "no_token")
        exchange, client = self._exchange, self._exchange.client
        form = {"grant_type": EXCHANGE, "subject_token": token.reveal()}
        form["subject_token_type"] = f"{_TYPE}{exchange.subject}"
        asked = {"audience": exchange.audience, "resource": client.resource, "scope": client.scope}
        if exchange.at is None:
            form["requested_token_type"] = f"{_TYPE}access_token"
            return await ask_token(client, form | {name: text for name, text in asked.items() if text}, None)
        there, issuer, resource = await self._server(exchange.at)
        form["requested_token_type"] = f"{_TYPE}id-jag"
        asked |= {"audience": exchange.audience or issuer, "resource": client.resource or resource}
        form |= {name: text for name, text in asked.items() if text}
        assertion = await ask_token(client, form, None, is_bearer=False)
        if assertion.issued_token_type != f"{_TYPE}id-jag":
            raise NoToken("it gave something else than an ID-JAG")
        form = {"grant_type": BEARER, "assertion": assertion.access_token}
        if client.scope:
            form["scope"] = client.scope
        return await ask_token(there, form, self._reach())

    async def _server(self, at: OAuthClient) -> tuple[OAuthClient, str, str]:
        """The hub as a client of the server's authorization server; whose that is, and the resource it speaks for."""
        try:
            found = await discover_resource(self._url, self._challenge(), self._reach())
            server = await discover_issuer(found.issuers[0], self._reach(), has_pages=False)
        except NotDiscovered as problem:
            raise NoToken(str(problem)) from None
        return (
            OAuthClient(server.token_url, at.client_id, at.method, at.secret, issuer=server.issuer),
            server.issuer,
            found.resource,
        )

    def _problem(self, why: NoToken) -> CallError:
        if why.code == "no_token":
            told = "it is called with what your token is exchanged for, and you showed none"
            return Forbidden(f"The server {self._name!r} wants to know its users: {told}", outcome="not_sent")
        if why.code in ("invalid_grant", "invalid_target", "invalid_scope", "invalid_request"):
            told = f"your token was not exchanged: {why}"
            return Forbidden(f"The server {self._name!r} can't be called for you: {told}", outcome="not_sent")
        return super()._problem(why)


class ExchangedListing(Token):
    """What lists are asked with: what the last caller's token is exchanged for, or nothing before there was one."""

    def __init__(
        self, exchanges: "Exchanges", server: str, exchange: TokenExchange, name: str, url: str, clock: Clock
    ) -> None:
        super().__init__(name, clock.monotonic)
        self._exchanges = exchanges
        self._server = server
        self._exchange = exchange
        self._url = url
        self._shown: ExchangedToken | None = None

    async def field(self) -> bytes:
        """The header field, or nothing. Errors: NoGrant."""
        last = self._exchanges.last(self._server)
        self._shown = last if last is not None and last.is_of(self._exchange, self._url) and last.is_good else None
        with suppress(Forbidden):
            return b"" if self._shown is None else await self._shown.field()
        return b""

    async def renewed(self, refused: bytes) -> bytes:
        """Another, if there is one."""
        with suppress(Forbidden):
            return b"" if self._shown is None else await self._shown.renewed(refused)
        return b""

    def refused(self, status: int, header: str) -> CallError | None:
        """That nobody has called yet whose token could be exchanged."""
        self._exchanges.heard(self._server, read_challenge(header))
        told = "its tools are listed for the first whose token is exchanged"
        return NeedsAccount(f"The server {self._name!r} wants to know its users: {told}")


class Exchanges:
    """All exchanged tokens, by server, caller and what they showed: a weaker token gets nothing of a stronger one."""

    def __init__(self, clock: Clock, reach: Callable[[str], Reach]) -> None:
        self.clock = clock
        self._reach = reach
        self._tokens: OrderedDict[tuple[str, str, str], ExchangedToken] = OrderedDict()
        self._last: dict[str, ExchangedToken] = {}
        self._challenges: dict[str, Challenge] = {}

    def token(self, server: str, name: str, url: str, exchange: TokenExchange, caller: Principal) -> ExchangedToken:
        """What the token that a caller shows is exchanged for at a server."""
        key = (server, caller.owner_key, caller.credential)
        token = self._tokens.get(key)
        if token is None or not token.is_of(exchange, url):
            token = ExchangedToken(
                *(exchange, name, url, caller, lambda: self._challenges.get(server, NO_CHALLENGE)),
                *(self.clock, lambda: self._reach(server)),
            )
            self._tokens[key] = token
            if len(self._tokens) > TOKENS_MAX:
                self._tokens.popitem(last=False)
        self._tokens.move_to_end(key)
        return token

    def offer(self, server: str, token: ExchangedToken) -> None:
        """Let lists be asked with a caller's, too."""
        self._last[server] = token

    def last(self, server: str) -> ExchangedToken | None:
        """That of whoever called a server last."""
        return self._last.get(server)

    def heard(self, server: str, challenge: Challenge) -> None:
        """A server said where its metadata is."""
        self._challenges[server] = challenge

    def forget(self, servers: Collection[str]) -> None:
        """Keep nothing of servers that are not these."""
        for known in (self._last, self._challenges):
            for server in [one for one in known if one not in servers]:
                del known[server]
        for key in [key for key in self._tokens if key[0] not in servers]:
            del self._tokens[key]
