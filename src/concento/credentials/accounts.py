"""The accounts that users have connected at servers: one token each, refreshed before it ends, kept in the vault.

An account is a user's, whichever agent acts for them: it is found by tenant, server and subject. Where nobody has to
prove who they are, all callers share one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final, Literal
from weakref import WeakValueDictionary

import msgspec
from msgspec import Struct, structs

from ..model.clock import Clock
from ..model.errors import CallError, NeedsAccount
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
KIND: Final = "account"
_encode = msgspec.msgpack.Encoder().encode
Change = Literal["connected", "ended", "disconnected"]
"""What happened to an account: `ended` is the authorization server's word, `disconnected` the user's or operator's."""


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
        """The account as it is kept."""
        if self.account is None:
            kept = await self._accounts.vault.get(self.place)
            if kept is not None and self.account is None:
                with suppress(msgspec.DecodeError, msgspec.ValidationError):  # of another version of the hub
                    account = _decode(kept)
                    if self._accounts.is_for(self.place.server, account):
                        self.take(account)
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
        """The header field. Errors: NeedsAccount, Unavailable."""
        await self.load()
        return await super().field()

    def refused(self, status: int, header: str) -> CallError | None:
        """What it means that the server refused the token: the user has to grant more, or to connect again."""
        challenge = read_challenge(header)
        if status == 403 and challenge.error != "insufficient_scope":
            return None
        self.challenge = challenge
        self._accounts.heard(self.place, challenge)
        if status == 401:
            return self._needed("refuses the account that you connected; connect it again")
        return self._needed("wants more than you have granted", challenge.scopes)

    async def _ask(self) -> Granted:
        account = self.account
        if account is None or not account.access_token:
            raise NoToken("nobody is connected", "no_account")
        if account.refresh_token is None:
            raise NoToken("what was granted has ended", "invalid_grant")
        form = {"grant_type": "refresh_token", "refresh_token": account.refresh_token, "resource": account.resource}
        try:
            granted = await ask_token(account.client, form, self._accounts.reach(self.place.server))
        except NoToken as error:
            if error.code == "invalid_grant" and self.account is account:
                return await self._kept_elsewhere(account, error)
            raise
        if self.account is not account:  # connected anew, or disconnected, meanwhile
            raise NoToken("the account was changed meanwhile")
        await self._accounts.keep(self, renewed(account, granted, self._accounts.clock.wall()))
        return granted

    async def _kept_elsewhere(self, account: Account, error: NoToken) -> Granted:
        """Another hub with the same vault may have refreshed it meanwhile, which spends our refresh token."""
        self.account = None
        now = await self.load()
        if now is not None and now.access_token not in ("", account.access_token):
            return Granted(now.access_token, expires_in=now.until_s - self._accounts.clock.wall())
        await self._accounts.keep(self, structs.replace(account, access_token="", refresh_token=None))
        raise error

    def _problem(self, why: NoToken) -> CallError:
        if why.code == "no_account":
            return self._needed("wants to know who you are; connect your account there")
        if why.code == "invalid_grant":
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
        """The header field, or nothing. Errors: Unavailable."""
        for token in islice(self._accounts.connected(self._place.server), _TRIED_MAX):
            try:
                field = await token.field()
            except NeedsAccount:
                continue
            self._shown = token
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
        self._accounts.heard(self._place, challenge)
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

    def is_for(self, server: str, account: Account) -> bool:
        """Whether an account is for a server where it is now."""
        return covers(account.resource, self._urls.get(server, ""))

    async def load(self) -> None:
        """Find out who is connected where."""
        for place in await self.vault.places(KIND):
            self._holders.setdefault(place.server, {})[place] = None

    async def all(self) -> list[tuple[Place, Account]]:
        """Every account that can be opened, by server and holder."""
        places = sorted(await self.vault.places(KIND), key=lambda place: (place.server, place.tenant, place.holder))
        tokens = [(place, await self.at(place, place.server).load()) for place in places]
        return [(place, account) for place, account in tokens if account is not None]

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

    def connected(self, server: str) -> Iterable[UserToken]:
        """The accounts at a server, the latest first."""
        for place in reversed(list(self._holders.get(server, ()))):
            yield self.at(place, server)

    def heard(self, place: Place, challenge: Challenge) -> None:
        """A server said what it wants."""
        self._challenges[place.server] = challenge
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
        """Keep an account, and use it. `anew`: its user has just connected it."""
        was_connected = token.is_connected
        token.take(account)
        await self.vault.put(token.place, _encode(account))
        holders = self._holders.setdefault(token.place.server, {})
        holders.pop(token.place, None)
        is_first = not holders
        if token.is_connected:
            holders[token.place] = None
        if anew or token.is_connected != was_connected:
            change: Change = "connected" if token.is_connected else "ended"
            self.on_change(token.place, change, is_first or not token.is_connected)

    async def disconnect(self, token: UserToken) -> bool:
        """Forget an account, and have it forgotten by whom it was granted at. Returns whether there was one."""
        account = await token.load()
        if account is None:
            return False
        token.account, token.challenge = None, None
        token.drop()
        self._holders.get(token.place.server, {}).pop(token.place, None)
        await self.vault.delete(token.place)
        self.on_change(token.place, "disconnected", True)
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
        until_s=now_s + granted.lasts_s,
        scopes=account.scopes if granted.scope is None else tuple(granted.scope.split()),
    )
