"""The accounts that users have connected at servers, without their tokens."""

from typing import Any, Final

from msgspec import Struct

from .. import accounts
from ..operations import Asked, Operation
from .paging import Paged, page


class AccountShown(Struct, frozen=True):
    """One account. Not `connected`: what its user granted has ended."""

    server: str
    tenant: str
    user: str
    connected: bool
    scopes: list[str]
    issuer: str
    since: str
    until: str | None


class AccountsShown(Struct, frozen=True):
    """All of them."""

    accounts: list[AccountShown]
    next: str | None


class OfServer(Struct, frozen=True, forbid_unknown_fields=True):
    """At which server."""

    server: str


class Page(Struct, frozen=True):
    """A page to open in a browser."""

    url: str


class Account(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose account, where."""

    server: str
    user: str
    tenant: str


async def all_of_them(asked: Asked) -> dict[str, Any]:
    """Whose accounts are connected."""
    rows = (await accounts.accounts(asked.hub))["accounts"]
    shown, following = page(
        rows,
        lambda row: f"{row['tenant']}\0{row['server']}\0{row['user']}",
        *(asked.query.limit, asked.query.cursor),
    )
    return {"accounts": shown, "next": following}


async def connect(asked: Asked) -> dict[str, Any]:
    """A page at which whoever runs the hub for themselves connects an account."""
    return await accounts.connect(asked.hub, asked.body.server, asked.caller)


async def disconnect(asked: Asked) -> dict[str, Any]:
    """Forget an account."""
    given: Account = asked.body
    return await accounts.disconnect(asked.hub, given.server, given.user, given.tenant, asked.caller)


OPERATIONS: Final = (
    Operation(
        *("GET", "/api/v1/accounts", "Users' accounts at servers, without their tokens", "viewer"),
        *(all_of_them, AccountsShown, Paged),
    ),
    Operation(
        *("POST", "/api/v1/accounts/connect", "A page at which to connect an account", "operator", connect, Page),
        body=OfServer,
        statuses=(404,),
    ),
    Operation(
        *("POST", "/api/v1/accounts/disconnect", "Forget an account, and have it revoked", "operator"),
        *(disconnect, Account),
        body=Account,
        statuses=(404,),
    ),
)
