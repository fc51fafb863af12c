"""What an agent is told that may not yet come in: where to get a token, and for what.

One canonical resource URI an endpoint. Source: RFC 9728, RFC 6750; specification, basic/authorization.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from ...model.auth import Auth

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
_ENDPOINT: Final = re.compile(r"/mcp|/(views|servers)/[a-z][a-z0-9-]{0,19}/mcp")
_encode = msgspec.json.Encoder().encode
_UNQUOTABLE: Final = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


def resource_path(path: str) -> str:
    """The endpoint that a path belongs to; those of 2024-11-05 are other doors to the whole catalog."""
    return path if _ENDPOINT.fullmatch(path) else "/mcp"


def document(auth: Auth, base_url: str, path: str) -> bytes | None:
    """The metadata of the endpoint that a well-known path names; None if it names none, or no issuer is known.

    Whether there is such a view or server is not told: this is for those who have not come in.
    """
    endpoint = path.removeprefix(WELL_KNOWN) or "/mcp"
    if not auth.issuers or not _ENDPOINT.fullmatch(endpoint):
        return None
    told: dict[str, object] = {
        "resource": base_url + endpoint,
        "authorization_servers": [issuer.issuer for issuer in auth.issuers],
        "bearer_methods_supported": ["header"],
        "resource_name": "Concento",
    }
    if scopes := _supported(auth):
        told["scopes_supported"] = scopes
    return _encode(told)


def challenge(
    auth: Auth,
    base_url: str,
    path: str,
    error: str | None = None,
    scopes: Sequence[str] = (),
    description: str | None = None,
) -> tuple[tuple[str, str], ...]:
    """The header that goes with a 401 or 403. Keys alone need no metadata: there is nowhere to get them from."""
    parts = ['realm="concento"']
    if auth.issuers:
        parts = [f'resource_metadata="{_plain(base_url)}{WELL_KNOWN}{resource_path(path)}"']
    if error is not None:
        parts.append(f'error="{_plain(error)}"')
    if wanted := scopes or _supported(auth):
        parts.append(f'scope="{_plain(" ".join(wanted))}"')
    if description is not None:
        parts.append(f'error_description="{_plain(description)}"')
    return (("www-authenticate", f"Bearer {', '.join(parts)}"),)


def _supported(auth: Auth) -> list[str]:
    """Every scope that agents are told to ask for, once."""
    return list(dict.fromkeys(scope for issuer in auth.issuers for scope in issuer.scopes_supported))


def _plain(text: str) -> str:
    """What may stand between quotes."""
    return _UNQUOTABLE.sub(" ", text)
