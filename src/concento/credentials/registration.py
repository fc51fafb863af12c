"""What the hub is known by at an authorization server: as the operator says, by the URL of its metadata, or registered.

A registration is kept with the vault, for one authorization server, one server and one address of the hub: what one
authorization server gave is never shown to another.
Source: RFC 7591; specification 2026-07-28, basic/authorization (client registration).
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ..model.outbound import Reach, is_loopback
from ..model.showing import ClientMethod, OAuthClient, UserOAuth
from ..transport.outbound import NotFetched, fetch
from .accounts import CLIENT_KIND
from .discovery import AuthorizationServer, NotDiscovered, is_safe_page
from .vault import Place, Vault

CALLBACK_PATH: Final = "/oauth/callback"
METADATA_PATH: Final = "/oauth/client.json"
_PREFERRED: Final[tuple[ClientMethod, ...]] = ("client_secret_post", "client_secret_basic", "none")
"""In the form first: servers on the official SDK take no header field where tokens are revoked."""
_BY_DEFAULT: Final = ("client_secret_basic",)
"""What an authorization server takes that does not say. Source: RFC 8414 2."""
_ID_CHARS_MAX: Final = 4096
_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_client = msgspec.msgpack.Decoder(OAuthClient).decode


class _Registered(msgspec.Struct):
    client_id: str
    client_secret: str | None = None
    client_secret_expires_at: float = 0
    token_endpoint_auth_method: str | None = None


def client_metadata(base_url: str) -> dict[str, Any]:
    """What the hub says of itself as a client, whoever asks. Source: RFC 7591 2, OpenID Connect Registration 2."""
    host = base_url.partition("://")[2].partition("/")[0].rpartition(":")[0] or base_url.partition("://")[2]
    return {
        "client_name": "Concento",
        "redirect_uris": [base_url + CALLBACK_PATH],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "application_type": "native" if is_loopback(host) else "web",
        "token_endpoint_auth_method": "none",
    }


def metadata_document(base_url: str) -> bytes:
    """The document at the URL that is the hub's client id."""
    return _encode({"client_id": base_url + METADATA_PATH, "client_uri": base_url, **client_metadata(base_url)})


async def known_as(
    user: UserOAuth,
    server: AuthorizationServer,
    scopes: Iterable[str],
    place: Place,
    base_url: str,
    vault: Vault,
    reach: Reach,
) -> OAuthClient:
    """The client that the hub is at an authorization server, and that may ask for some scopes there.

    `place` is the account's. Errors: NotDiscovered.
    """
    if user.client_id:
        return OAuthClient(server.token_url, user.client_id, _method(user, server), user.secret)
    if server.takes_client_urls and base_url.startswith("https://"):
        return OAuthClient(server.token_url, base_url + METADATA_PATH, "none")
    where = place_of(place, server.issuer, base_url)
    kept = await vault.get(where)
    if kept is not None:
        client = _client(kept)
        if client.token_url == server.token_url and not set(scopes) - set(client.scope.split()):
            return client
    if server.register_url is None:
        raise NotDiscovered(
            "its authorization server lets no client register itself; register the hub there by hand, with the "
            f"redirect URI {base_url + CALLBACK_PATH}, and give 'client_id' and 'client_secret'"
        )
    client, is_for_good = await _register(server, server.register_url, " ".join(scopes), base_url, reach)
    if is_for_good:
        await vault.put(where, _pack(client))
    return client


def place_of(account: Place, issuer: str, base_url: str) -> Place:
    """Where a registration is kept."""
    return Place(CLIENT_KIND, account.tenant, account.server, f"{issuer} {base_url}")


async def _register(
    server: AuthorizationServer, url: str, scope: str, base_url: str, reach: Reach
) -> tuple[OAuthClient, bool]:
    """A new client, and whether its secret is good for good."""
    method = next((one for one in _PREFERRED if one in (server.methods or _BY_DEFAULT)), "none")
    known = {"token_endpoint_auth_method": method, **({"scope": scope} if scope else {})}
    asked = _encode({**client_metadata(base_url), **known})
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    try:
        answer = await fetch(url, reach, method="POST", headers=headers, body=asked)
    except NotFetched as problem:
        raise NotDiscovered(f"the hub can't register itself at its authorization server: {problem}") from None
    if answer.status not in (200, 201):
        raise NotDiscovered(f"its authorization server refuses to register the hub (status {answer.status})")
    try:
        told = msgspec.json.decode(answer.body, type=_Registered)
    except (ValueError, RecursionError):
        raise NotDiscovered("its authorization server did not say as what it registered the hub") from None
    given = told.token_endpoint_auth_method or method
    secret = told.client_secret or ""
    if not 0 < len(told.client_id) <= _ID_CHARS_MAX or len(secret) > _ID_CHARS_MAX:
        raise NotDiscovered("its authorization server did not say as what it registered the hub")
    found = next((one for one in _PREFERRED if one == given), None)
    if found is None:
        raise NotDiscovered(f"its authorization server wants the hub to prove itself by {given[:64]!r}")
    client = OAuthClient(server.token_url, told.client_id, found if secret else "none", secret, scope)
    return client, not (secret and told.client_secret_expires_at)


def _method(user: UserOAuth, server: AuthorizationServer) -> ClientMethod:
    """How a client that the operator registered proves itself."""
    if user.method is not None:
        return user.method
    if not user.secret:
        return "none"
    return next((one for one in _PREFERRED[:2] if one in server.methods), "client_secret_basic")


def is_client_url(client_id: str) -> bool:
    """Whether a client id is the URL of a metadata document."""
    return client_id.startswith("https://") and is_safe_page(client_id)
