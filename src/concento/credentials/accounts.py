"""The accounts that users have connected at servers: one token each, refreshed before it ends, kept in the vault.

An account is a user's, whichever agent acts for them: it is found by tenant, server and subject. Where nobody has to
prove who they are, all callers share one.
"""

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final, Literal
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import msgspec
from msgspec import Struct, structs

from ..model.clock import Clock
from ..model.errors import CallError, NeedsAccount, NoGrant
from ..model.outbound import Reach
from ..model.principal import Principal
from ..model.showing import OAuthClient
from .challenge import NO_CHALLENGE, Challenge, read_challenge
from .discovery import covers
from .token import Token
from .token_endpoint import Granted, NoToken, ask_token, revoke
from .vault import Place, Vault

TOKENS_MAX: Final = 10_000
"""Accounts whose tokens are held in memory; others are read from the vault when they are needed."""
HEARD_WAIT_S: Final = 5.0
_TRIED_MAX: Final = 3
"""Accounts that lists are asked with in turn, where those before have ended."""
LOOK_S: Final = 5.0
KIND: Final = "account"
CLIENT_KIND: Final = "client"
_encode = msgspec.msgpack.Encoder().encode
Change = Literal["connected", "reconnected", "noticed", "ended", "disconnected"]
"""What happened to an account: `noticed` if another hub connected it; `ended` is the authorization server's word,
`disconnected` the user's or operator's."""


class Account(Struct, frozen=True):
    """What a user granted. Without `access_token` it is an account that was, whose scopes are asked for again."""

    access_token: str
    refresh_token: str | None
    until_s: float
    """Wall time until which the access token is good."""
    scopes: tuple[str, ...]
    client: OAuthClient
    """What the hub is known by, with the token endpoint that knows it."""
    issuer: str
    resource: str
    revoke_url: str | None = None
    since_s: float = 0.0
    """When the user connected it."""

    def __repr__(self) -> str:
        return f"Account(issuer={self.issuer!r}, scopes={self.scopes!r})"


_decode = msgspec.msgpack.Decoder(Account).decode


class UserToken(Token):
    """The token of one user at one server."""

    def __init__(self, accounts: "Accounts", place: Place, name: str) -> None:
        super().__init__(name, accounts.clock.monotonic)
        self._accounts = accounts
        self.place = place
        self.account: Account | None = None
        self.challenge: Challenge | None = None
        """What the server last asked for."""
        self.connected_s: list[float] = []
        """When the user last connected it."""
        self.ended = asyncio.Event()
        """Set when a try to connect it has ended."""
        self.problem: str | None = None
        """Why the last try did not work."""

    async def load(self) -> Account | None:
        """The account as it is kept. Errors: NoGrant, if that can't be found out."""
        if self.account is None:
            kept = await self._accounts.kept(self.place)
            if kept is not None and not self.is_connected and self._accounts.is_for(self.place.server, kept):
                self.take(kept)
                self._accounts.noticed(self)
        return self.account

    def take(self, account: Account) -> None:
        """Use an account from now on."""
        self.account = account
        if account.access_token:
            self.keep(account.access_token, account.until_s - self._accounts.clock.wall())
        else:
            self.drop()

    @property
    def is_connected(self) -> bool:
        """Whether there is something to show the server."""
        return self.account is not None and bool(self.account.access_token)

    async def field(self) -> bytes:
        """The header field. Errors: NeedsAccount, NoGrant."""
        await self.load()
        return await super().field()

    def refused(self, status: int, header: str) -> CallError | None:
        """What it means that the server refused the token: the user has to grant more, or to connect again."""
        challenge = read_challenge(header)
        if status == 403 and challenge.error != "insufficient_scope":
            return None
        self.challenge = challenge
        if status == 401:
            return self._needed("refuses the account that you connected; connect it again")
        return self._needed("wants more than you have granted", challenge.scopes)

    async def _ask(self) -> None:
        """Refresh. What is kept has the last word: another hub with the same vault may have been there first."""
        account = self.account
        kept = await self._accounts.kept(self.place)
        if kept != account:
            if kept is None:
                self.forget()
            else:
                self.take(kept)
                if self._now() < self._until_s:
                    return
        account = self.account
        if account is None or not account.access_token:
            raise NoToken("nobody is connected", "ended" if account is not None else "no_account")
        if account.refresh_token is None:
            await self._accounts.end(self, account)
            raise NoToken("what was granted has ended", "ended")
        form = {"grant_type": "refresh_token", "refresh_token": account.refresh_token, "resource": account.resource}
        try:
            granted = await ask_token(account.client, form, self._accounts.reach(self.place.server))
        except NoToken as error:
            if error.final and self.account is account:
                await self._accounts.end(self, account)
                raise NoToken(str(error), "ended") from None
            raise
        if self.account is account:  # and was neither connected anew nor disconnected meanwhile
            await self._accounts.keep(self, renewed(account, granted, self._accounts.clock.wall()))

    def forget(self) -> None:
        """Know nothing of an account any more."""
        self.account, self.challenge = None, None
        self.drop()

    def _problem(self, why: NoToken) -> CallError:
        if why.code == "no_account":
            return self._needed("wants to know who you are; connect your account there")
        if why.code == "ended":
            return self._needed("no longer takes the account that you connected; connect it again")
        return super()._problem(why)

    def _needed(self, what: str, scopes: tuple[str, ...] = ()) -> NeedsAccount:
        return NeedsAccount(f"The server {self._name!r} {what}", scopes)


class ListingToken(Token):
    """What lists are asked with, in nobody's name: some user's token, and none at all while nobody is connected."""

    def __init__(self, accounts: "Accounts", tenant: str, server: str, name: str) -> None:
        super().__init__(name, accounts.clock.monotonic)
        self._accounts = accounts
        self._place = Place(KIND, tenant, server, "")
        self._shown: UserToken | None = None
        """Whose was shown last."""

    async def field(self) -> bytes:
        """The header field, or nothing: of whom it was before, else of who connected last. Errors: NoGrant."""
        accounts, place = self._accounts, self._place
        before = [] if self._shown is None else [self._shown]
        if not before and not accounts.has(place):
            await accounts.look_again()
        for token in (*before, *islice(accounts.connected(place.server, place.tenant), _TRIED_MAX)):
            try:
                field = await token.field()
            except NeedsAccount:
                continue
            self._shown = token
            accounts.listed_with[place.server] = token.place
            return field
        self._shown = None
        return b""

    async def renewed(self, refused: bytes) -> bytes:
        """What to show after a token was refused: the same user's new one, else another user's, else nothing."""
        if self._shown is not None:
            with suppress(NeedsAccount):
                return await self._shown.renewed(refused)
        return await self.field()

    def refused(self, status: int, header: str) -> CallError | None:
        """That nobody has connected an account yet, or that whoever has may not see the lists."""
        if self._shown is not None:
            return self._shown.refused(status, header)
        challenge = read_challenge(header)
        self._accounts.heard(self._place.server, challenge)
        told = "its tools are listed once somebody has connected an account there"
        return NeedsAccount(f"The server {self._name!r} wants to know its users: {told}", challenge.scopes)


class Accounts:
    """All accounts. `reach` says where the authorization servers of a server may be."""

    def __init__(self, vault: Vault, clock: Clock, reach: Callable[[str], Reach]) -> None:
        self.vault = vault
        self.clock = clock
        self.reach = reach
        self.on_change: Callable[[Place, Change, bool], None] = lambda place, change, relist: None
        """Called when an account changed, with whether lists have to be asked otherwise now."""
        self._tokens: WeakValueDictionary[Place, UserToken] = WeakValueDictionary()
        """Every one that somebody holds: there are never two of one account, which would spoil each other's refresh."""
        self._recent: OrderedDict[Place, UserToken] = OrderedDict()
        self._holders: dict[str, dict[Place, None]] = {}
        """Of each server: whose accounts are connected, the latest last."""
        self._urls: Mapping[str, str] = {}
        self.listed_with: dict[str, Place] = {}
        """Of each server: with whose account its lists were asked last."""
        self._looked_s = float("-inf")
        self._heard = asyncio.Event()
        self._challenges: dict[str, Challenge] = {}
        """Of each server: what it last asked for of whoever showed nothing."""

    def configure(self, urls: Mapping[str, str]) -> None:
        """Take the URLs of servers. At one that is elsewhere now, what was granted for the other place is not shown."""
        for place in [place for place in self._tokens if urls.get(place.server) != self._urls.get(place.server)]:
            self._recent.pop(place, None)
            self._tokens.pop(place, None)
        for server in [server for server in self._challenges if urls.get(server) != self._urls.get(server)]:
            del self._challenges[server]
        self._urls = dict(urls)

    def is_at(self, server: str, url: str) -> bool:
        """Whether a server is at the origin of a URL now."""
        here, there = urlsplit(self._urls.get(server, "")), urlsplit(url)
        return (here.scheme, here.netloc) == (there.scheme, there.netloc)

    def is_for(self, server: str, account: Account) -> bool:
        """Whether an account is for a server where it is now."""
        return covers(account.resource, self._urls.get(server, ""))

    async def load(self) -> None:
        """Find out who is connected where."""
        self._looked_s = self.clock.monotonic()
        for place in await self.vault.places(KIND):
            self._holders.setdefault(place.server, {}).setdefault(place, None)

    async def look_again(self) -> None:
        """Find out who has connected by another hub with the same state, now and then."""
        if self.clock.monotonic() - self._looked_s >= LOOK_S:
            with suppress(OSError, sqlite3.Error):
                await self.load()

    async def kept(self, place: Place) -> Account | None:
        """What the vault has of an account. Errors: NoGrant."""
        try:
            kept = await self.vault.get(place)
        except (OSError, sqlite3.Error):
            raise NoGrant("What users have connected can't be read now", retry_after_s=5.0) from None
        if kept is not None:
            with suppress(msgspec.DecodeError, msgspec.ValidationError):  # of another version of the hub
                return _decode(kept)
        return None

    async def all(self) -> list[tuple[Place, Account]]:
        """Every account that can be opened, by server and holder."""
        places = sorted(await self.vault.places(KIND), key=lambda place: (place.server, place.tenant, place.holder))
        found = [(place, await self.kept(place)) for place in places]
        return [(place, account) for place, account in found if account is not None]

    def token(self, server: str, name: str, principal: Principal) -> UserToken:
        """The token of a user at a server."""
        return self.at(Place(KIND, principal.tenant, server, principal.subject), name)

    def at(self, place: Place, name: str) -> UserToken:
        """The token of an account, by its place."""
        token = self._tokens.get(place)
        if token is None:
            token = self._tokens[place] = UserToken(self, place, name)
        self._recent[place] = token
        self._recent.move_to_end(place)
        if len(self._recent) > TOKENS_MAX:
            self._recent.popitem(last=False)
        return token

    def listing(self, server: str, name: str, tenant: str) -> ListingToken:
        """What the lists of a server are asked with."""
        return ListingToken(self, tenant, server, name)

    def connected(self, server: str, tenant: str) -> Iterator[UserToken]:
        """The accounts of a tenant's at a server, the latest first."""
        for place in reversed(list(self._holders.get(server, ()))):
            if place.tenant == tenant:
                yield self.at(place, server)

    def has(self, place: Place) -> bool:
        """Whether anybody of its tenant has an account at its server."""
        return any(one.tenant == place.tenant for one in self._holders.get(place.server, ()))

    def noticed(self, token: UserToken) -> None:
        """An account was found that another hub with the same state has connected."""
        if token.is_connected and token.place not in self._holders.get(token.place.server, {}):
            self._holders.setdefault(token.place.server, {})[token.place] = None
            self.on_change(token.place, "noticed", False)

    def heard(self, server: str, challenge: Challenge) -> None:
        """A server said what it wants of whoever showed nothing."""
        self._challenges[server] = challenge
        self._heard.set()
        self._heard = asyncio.Event()

    async def challenge(self, token: UserToken) -> Challenge:
        """What a server wants of a user. Where it was not asked anything yet, that is waited for a little."""
        if token.challenge is not None:
            return token.challenge
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARD_WAIT_S):
                while token.place.server not in self._challenges:
                    await self._heard.wait()
        return self._challenges.get(token.place.server, NO_CHALLENGE)

    async def keep(self, token: UserToken, account: Account, *, anew: bool = False) -> None:
        """Use an account, and keep it. `anew`: its user has just connected it."""
        was_connected = token.is_connected
        token.take(account)
        try:
            await self.vault.put(token.place, _encode(account))
        except (OSError, sqlite3.Error) as error:
            told = f"an account could not be kept ({error}); after a restart it has to be connected again"
            self.vault.tell(f"{token.place.server}: {told}")
        holders = self._holders.setdefault(token.place.server, {})
        is_first = not holders
        if anew or not token.is_connected:
            holders.pop(token.place, None)
        if token.is_connected:
            holders.setdefault(token.place, None)
        if anew or token.is_connected != was_connected:
            was_shown = self.listed_with.get(token.place.server) == token.place
            change: Change = "ended"
            if token.is_connected:
                change = "reconnected" if was_connected else "connected"
            self.on_change(token.place, change, was_shown if was_connected else is_first)

    async def end(self, token: UserToken, account: Account) -> None:
        """An account is one no more, by its server's or authorization server's word: its user connects it again.

        Another hub's word counts more, if there is a newer one. What the hub is known by there may be forgotten, too.
        """
        kept = await self.kept(token.place)
        if kept is not None and kept != account:
            return token.take(kept)
        await self.keep(token, structs.replace(account, access_token="", refresh_token=None))
        await self.forget_client(token.place, account.issuer)

    async def forget_client(self, place: Place, issuer: str) -> None:
        """Register anew with the next account: what the hub is known by at an authorization server may be no more."""
        with suppress(OSError, sqlite3.Error):
            for one in await self.vault.places(CLIENT_KIND):
                if (one.tenant, one.server) == (place.tenant, place.server) and one.holder.startswith(f"{issuer} "):
                    await self.vault.delete(one)

    async def close(self, wait_s: float) -> None:
        """Let refreshes end that have begun: each spends the token that the next start would need."""
        await asyncio.gather(*(token.finish(wait_s) for token in list(self._tokens.values())))

    async def disconnect(self, token: UserToken) -> bool:
        """Forget an account, and have it forgotten by whom it was granted at. Returns whether there was one."""
        account = await self.kept(token.place)
        token.forget()
        token.connected_s = []
        self._holders.get(token.place.server, {}).pop(token.place, None)
        if account is None:
            return False
        await self.vault.delete(token.place)
        await self.forget_client(token.place, account.issuer)
        self.on_change(token.place, "disconnected", self.listed_with.get(token.place.server) == token.place)
        await self._revoke(account, token.place)
        return True

    async def _revoke(self, account: Account, place: Place) -> None:
        """Have an account forgotten where it was granted, if that can be done there. Here it is gone already."""
        if account.revoke_url is None:
            return
        for text, kind in ((account.refresh_token, "refresh_token"), (account.access_token, "access_token")):
            if text:
                try:
                    await revoke(account.client, account.revoke_url, text, kind, self.reach(place.server))
                except NoToken as problem:
                    self.vault.tell(f"{place.server}: what a user granted could not be revoked there: {problem}")


def renewed(account: Account, granted: Granted, now_s: float) -> Account:
    """The account after a refresh: what was not said anew stays."""
    return structs.replace(
        account,
        access_token=granted.access_token,
        refresh_token=granted.refresh_token or account.refresh_token,
        until_s=now_s + granted.until_refused_s,
        scopes=account.scopes if granted.scope is None else tuple(granted.scope.split()),
    )
