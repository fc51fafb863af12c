"""The accounts that users have connected, for operators: whose they are and what they may, never the tokens."""

from datetime import UTC, datetime
from typing import Any

from ..credentials.accounts import KIND
from ..credentials.vault import Place
from ..model.principal import ANONYMOUS, Principal
from .describe import Hub
from .trials import NoSuchThing


async def accounts(hub: Hub) -> dict[str, Any]:
    """`{"accounts": [{server, tenant, user, connected, scopes, issuer, since, until}, ...]}`.

    Not `connected`: what the user granted has ended, and they are asked again with their next call.
    """
    found = await hub.connecting.accounts.all()
    return {
        "accounts": [
            {
                "server": place.server,
                "tenant": place.tenant,
                "user": place.holder,
                "connected": bool(account.access_token),
                "scopes": list(account.scopes),
                "issuer": account.issuer,
                "since": _time(account.since_s),
                "until": None if account.refresh_token is not None else _time(account.until_s),
            }
            for place, account in found
        ]
    }


async def connect(hub: Hub, server: str, by: Principal) -> dict[str, Any]:
    """`{"url": ...}`: a page at which whoever runs the hub for themselves connects an account. Errors: NoSuchThing."""
    if hub.connecting.site(server) is None:
        raise NoSuchThing(f"no users connect accounts at a server {server[:64]!r}")
    if hub.identity.is_on:
        raise NoSuchThing("each user connects their own account, by their own agent: it asks them when it is needed")
    return {"url": hub.connecting.begin(server, ANONYMOUS)}


async def disconnect(hub: Hub, server: str, user: str, tenant: str, by: Principal) -> dict[str, Any]:
    """Forget an account, and have it revoked where it was granted. Errors: NoSuchThing."""
    held = hub.connecting.accounts
    place = Place(KIND, tenant, server, user)
    if not await held.disconnect(held.at(place, server)):
        raise NoSuchThing(f"{user[:128]!r} has no account at a server {server[:64]!r}")
    hub.changed(by, "accounts/disconnect", server, f"of {user}")
    return {"server": server, "tenant": tenant, "user": user}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
