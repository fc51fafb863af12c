"""How a user connects an account: from the link that the agent shows, over the authorization server, back to a token.

The link says nothing and is good for one user, one server and a few minutes. Whoever opens it sees for whom it is, and
goes on by a click; from then on it belongs to that browser, by a cookie. What comes back from the authorization server
counts only in the same browser, with the state that was made for it and from the issuer that was asked.
Source: RFC 6749, 7636 (PKCE), 8707 (resource), 9207 (iss); hardening T21.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from ..model.errors import Overloaded, Unavailable
from ..model.outbound import Reach
from ..model.principal import Principal
from ..model.showing import OAuthClient, UserOAuth
from .accounts import Account, Accounts, UserToken
from .discovery import AuthorizationServer, NotDiscovered, Resource, discover_issuer, discover_resource
from .registration import CALLBACK_PATH, known_as
from .token_endpoint import NoToken, ask_token

LINK_S: Final = 600.0
"""How long a link is good."""
LINKS_MAX: Final = 10_000
LINKS_PER_ACCOUNT_MAX: Final = 5
CONNECTED_MAX: Final = 3
"""How often an account may be connected within `LINK_S`: a server that still refuses it will go on to."""
CONNECT_PATH: Final = "/connect/"
_OFFLINE: Final = "offline_access"


@dataclass(frozen=True, slots=True)
class Site:
    """A server at which users connect accounts."""

    key: str
    alias: str
    url: str
    user: UserOAuth


class NotConnected(Exception):
    """Why an account was not connected, for the person in front of the browser."""


class Link:
    """One try to connect an account, and what has been found out for it so far."""

    def __init__(self, site: Site, token: UserToken, who: Principal, until_s: float) -> None:
        self.ticket = secrets.token_urlsafe(32)
        self.site = site
        self.token = token
        self.who = who
        self.until_s = until_s
        self.state = ""
        self.browser = b""
        """Digest of the cookie of the browser that went on with it."""
        self.verifier = ""
        self.resource: Resource | None = None
        self.server: AuthorizationServer | None = None
        self.client: OAuthClient | None = None
        self.scopes: tuple[str, ...] = ()
        self.looking = asyncio.Lock()


class Connecting:
    """All links, and what they become."""

    def __init__(self, accounts: Accounts, tell: Callable[[str], None] = lambda problem: None) -> None:
        self.accounts = accounts
        self._tell = tell
        self._now = accounts.clock.monotonic
        self._secret = secrets.token_bytes(32)
        self._sites: dict[str, Site] = {}
        self.base_url = ""
        self._links: dict[str, Link] = {}
        self._started: dict[str, Link] = {}
        """By the state that the authorization server gets."""
        self._doubted: set[tuple[str, str, str]] = set()
        """Tenants, servers and issuers at which nobody came back from signing in."""

    def configure(self, sites: Iterable[Site], base_url: str) -> None:
        """Take a configuration. Links to what is no longer there, or is another now, are good for nothing."""
        self._sites = {site.key: site for site in sites}
        self.base_url = base_url
        self.accounts.configure({site.key: site.url for site in self._sites.values()})
        for link in list(self._links.values()):
            if self._sites.get(link.site.key) != link.site:
                self._drop(link)

    def site(self, server: str) -> Site | None:
        """A server at which users connect accounts."""
        return self._sites.get(server)

    # -- what calls ask

    def begin(self, server: str, principal: Principal) -> str:
        """A page at which the caller's user connects an account. Errors: Unavailable, Overloaded."""
        site = self._sites[server]
        token = self.accounts.token(server, site.alias, principal)
        now_s = self._now()
        self._forget_old(now_s)
        if sum(now_s - then_s < LINK_S for then_s in token.connected_s) >= CONNECTED_MAX:
            told = f"The server {site.alias!r} refuses the account, though it was connected {CONNECTED_MAX} times"
            raise Unavailable(told, retry_after_s=LINK_S)
        own = [link for link in self._links.values() if link.token is token]
        unused = next((link for link in own if not link.browser and link.who.owner == principal.owner), None)
        if unused is None:
            if len(own) >= LINKS_PER_ACCOUNT_MAX:
                self._give_up(own[0])
            if len(self._links) >= LINKS_MAX:
                raise Overloaded(f"{LINKS_MAX} accounts are being connected already", retry_after_s=60.0)
            unused = Link(site, token, principal, now_s + LINK_S)
            self._links[unused.ticket] = unused
        token.problem = None
        token.ended.clear()
        return f"{self.base_url}{CONNECT_PATH}{unused.ticket}"

    async def wait(self, server: str, principal: Principal, wait_s: float) -> str | None:
        """Wait until the user is done with a page, at most so long. Returns why it did not work, if it did not."""
        token = self.accounts.token(server, self._sites[server].alias, principal)
        if any(link.token is token for link in self._links.values()):
            try:
                await asyncio.wait_for(token.ended.wait(), wait_s)
            except TimeoutError:
                return None
        return token.problem

    # -- what the browser does

    def find(self, ticket: str) -> Link | None:
        """The link of a page; None if there is none any more."""
        link = self._links.get(ticket)
        return link if link is not None and self._now() < link.until_s else None

    def proof(self, link: Link, cookie: str) -> str:
        """What the page's form brings along: nobody makes a browser send it that has not shown the page."""
        return hmac.new(self._secret, f"{link.ticket} {cookie}".encode(), "sha256").hexdigest()

    async def look(self, link: Link) -> AuthorizationServer:
        """Find out where the user will be sent, and for what. Errors: NotConnected."""
        async with link.looking:  # however often the page is loaded
            return await self._look(link) if link.server is None else link.server

    async def _look(self, link: Link) -> AuthorizationServer:
        site, reach = link.site, self._reach(link)
        challenge = await self.accounts.challenge(link.token)
        try:
            resource = await discover_resource(site.url, challenge, reach)
            issuer = site.user.issuer or resource.issuers[0]
            if issuer not in resource.issuers:
                raise NotDiscovered(f"it does not name {issuer!r} as an authorization server of its")
            server = await discover_issuer(issuer, reach)
        except NotDiscovered as problem:
            self._tell(f"{site.key}: accounts can't be connected: {problem}")
            raise self._failed(link, f"{site.alias} can't be connected: {problem}") from None
        account = await link.token.load()
        wanted = (
            *(() if account is None else account.scopes),
            *(tuple(site.user.scope.split()) or challenge.scopes or resource.scopes),
            *challenge.scopes,
            *([_OFFLINE] if _OFFLINE in server.scopes else []),
        )
        link.scopes = tuple(dict.fromkeys(wanted))
        link.resource, link.server = resource, server
        return server

    async def start(self, link: Link, cookie: str) -> str:
        """The page of the authorization server to go to, in this browser alone. Errors: NotConnected."""
        server = await self.look(link)
        assert link.resource is not None
        if link.browser and link.browser != _digest(cookie):
            raise NotConnected("This link was opened in another browser already. Ask your agent for a new one.")
        accounts, place = self.accounts, link.token.place
        if (doubted := (place.tenant, place.server, server.issuer)) in self._doubted:
            self._doubted.discard(doubted)
            await accounts.forget_client(place, server.issuer)
        try:
            scopes = tuple(dict.fromkeys((*link.scopes, *link.resource.scopes)))
            link.client = await known_as(
                link.site.user, server, scopes, link.token.place, self.base_url, accounts.vault, self._reach(link)
            )
        except NotDiscovered as problem:
            self._tell(f"{link.site.key}: accounts can't be connected: {problem}")
            raise self._failed(link, f"{link.site.alias} can't be connected: {problem}") from None
        self._started.pop(link.state, None)
        link.browser, link.state, link.verifier = _digest(cookie), secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        self._started[link.state] = link
        asked = {
            "response_type": "code",
            "client_id": link.client.client_id,
            "redirect_uri": self.base_url + CALLBACK_PATH,
            "scope": " ".join(link.scopes),
            "state": link.state,
            "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(link.verifier.encode()).digest()).decode()[:43],
            "code_challenge_method": "S256",
            "resource": link.resource.resource,
        }
        query = urlencode({name: value for name, value in asked.items() if value})
        return f"{server.authorize_url}{'&' if '?' in server.authorize_url else '?'}{query}"

    async def finish(self, told: dict[str, str], cookie: str) -> Link:
        """Take what came back from an authorization server, and get the token. Errors: NotConnected."""
        link = self._started.get(told.get("state", ""))
        if link is None or self._now() >= link.until_s:
            raise NotConnected("This answer belongs to no request of ours, or came too late. Ask your agent again.")
        if not hmac.compare_digest(link.browser, _digest(cookie)):
            raise NotConnected("This answer belongs to another browser. Open the link from your agent in this one.")
        del self._started[link.state]
        server, client, resource = link.server, link.client, link.resource
        if server is None or client is None or resource is None:
            raise AssertionError("a state is given out once all of these are known")
        issuer, alias = told.get("iss"), link.site.alias
        if issuer != server.issuer and (issuer is not None or server.tells_issuer):
            raise self._failed(link, f"The answer did not come from the authorization server of {alias}.")
        if told.get("error") or not told.get("code"):
            declined = told.get("error") == "access_denied"
            why = "you declined" if declined else "its authorization server refused"
            raise self._failed(link, f"{alias} was not connected: {why}.")
        form = {
            "grant_type": "authorization_code",
            "code": told["code"],
            "redirect_uri": self.base_url + CALLBACK_PATH,
            "code_verifier": link.verifier,
            "resource": resource.resource,
        }
        try:
            granted = await ask_token(client, form, self._reach(link))
        except NoToken as problem:
            if problem.final:  # it may have forgotten the hub
                await self.accounts.forget_client(link.token.place, server.issuer)
            self._tell(
                f"{link.site.key}: an account could not be connected: the token endpoint gave no token: {problem}"
            )
            raise self._failed(link, f"{alias} was not connected: its authorization server gave no token.") from None
        now_s = self.accounts.clock.wall()
        scopes = link.scopes if granted.scope is None else tuple(granted.scope.split())
        account = Account(
            granted.access_token,
            granted.refresh_token,
            until_s=now_s + granted.until_refused_s,
            scopes=scopes,
            client=client,
            issuer=server.issuer,
            resource=resource.resource,
            revoke_url=server.revoke_url,
            since_s=now_s,
        )
        token = link.token
        token.connected_s = [*token.connected_s, self._now()][-CONNECTED_MAX:]
        token.challenge = None
        await self.accounts.keep(token, account, anew=True)
        self._end(link, None)
        return link

    # -- the life of a link

    def _reach(self, link: Link) -> Reach:
        return self.accounts.reach(link.site.key)

    def _failed(self, link: Link, why: str) -> NotConnected:
        self._end(link, why)
        return NotConnected(why)

    def _end(self, link: Link, problem: str | None) -> None:
        self._drop(link)
        link.token.problem = problem
        link.token.ended.set()

    def _drop(self, link: Link) -> None:
        self._links.pop(link.ticket, None)
        self._started.pop(link.state, None)

    def _forget_old(self, now_s: float) -> None:
        while self._links and (link := next(iter(self._links.values()))).until_s <= now_s:
            self._give_up(link)

    def _give_up(self, link: Link) -> None:
        """Nobody has come back: where people were sent to, the hub may be known no more."""
        if link.client is not None and link.server is not None and len(self._doubted) < LINKS_MAX:
            self._doubted.add((link.token.place.tenant, link.token.place.server, link.server.issuer))
        self._drop(link)


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
