"""Where a server's tokens come from: its protected-resource metadata, and the metadata of its authorization server.

All of it is on somebody else's word: each URL is asked with care (`transport/outbound.py`), names have to be exactly
what was asked for, and pages that people are sent to have to be https or on this machine.
Source: RFC 9728, RFC 8414, OpenID Connect Discovery; specification 2026-07-28, basic/authorization.
"""

from typing import Any, Final, TypeGuard
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct

from ..model.outbound import Reach, is_loopback
from ..transport.outbound import NotFetched, fetch
from .challenge import Challenge, scopes_in

_LIST_MAX: Final = 1000
_URL_CHARS_MAX: Final = 2048
_PRM: Final = "/.well-known/oauth-protected-resource"
_OAUTH: Final = "/.well-known/oauth-authorization-server"
_OIDC: Final = "/.well-known/openid-configuration"


class NotDiscovered(Exception):
    """Why nobody can be sent for a token."""


class Resource(Struct, frozen=True):
    """A server as it describes itself: what tokens are for, who gives them, and which scopes there are."""

    resource: str
    issuers: tuple[str, ...]
    scopes: tuple[str, ...] = ()


class AuthorizationServer(Struct, frozen=True):
    """An authorization server as it describes itself."""

    issuer: str
    authorize_url: str
    token_url: str
    register_url: str | None = None
    revoke_url: str | None = None
    scopes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    """How clients may prove themselves at the token endpoint; empty if it does not say."""
    takes_client_urls: bool = False
    """Whether a client may be known by the URL of its metadata."""
    tells_issuer: bool = False
    """Whether each of its answers says whose it is: one that does not is a forgery then."""


async def discover_resource(url: str, challenge: Challenge, reach: Reach) -> Resource:
    """What a server at a URL says of itself. Errors: NotDiscovered."""
    parts = _split(url)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    places = [f"{origin}{_PRM}{path}", f"{origin}{_PRM}"] if path else [f"{origin}{_PRM}"]
    if challenge.metadata_url is not None:
        places = [challenge.metadata_url]
    problem = ""
    for place in places:
        try:
            told = await _get(place, reach)
        except NotDiscovered as error:
            problem = problem or str(error)
            continue
        resource = told.get("resource")
        if not isinstance(resource, str) or not covers(resource, url):
            raise NotDiscovered("its protected-resource metadata is of another resource")
        issuers = _texts(told.get("authorization_servers"))
        if not issuers:
            raise NotDiscovered("its protected-resource metadata names no authorization server")
        return Resource(resource, issuers, _scopes(told))
    if challenge.metadata_url is None:  # before 2025-06-18 a server's own origin was its authorization server
        return Resource(url, (origin,))
    raise NotDiscovered(f"its protected-resource metadata can't be had: {problem}")


async def discover_issuer(issuer: str, reach: Reach, *, has_pages: bool = True) -> AuthorizationServer:
    """What an authorization server says of itself; `has_pages`: people are sent there. Errors: NotDiscovered."""
    parts = _split(issuer)
    if parts.query or parts.fragment or len(issuer) > _URL_CHARS_MAX:
        raise NotDiscovered("its authorization server has no proper name")
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    places = [f"{origin}{_OAUTH}{path}", f"{origin}{_OIDC}{path}"]
    if path:
        places.append(f"{origin}{path}{_OIDC}")
    problem = ""
    for place in places:
        try:
            told = await _get(place, reach)
        except NotDiscovered as error:
            problem = problem or str(error)
            continue
        return _described(issuer, told, has_pages=has_pages)
    raise NotDiscovered(f"the metadata of its authorization server can't be had: {problem}")


def _described(issuer: str, told: dict[str, Any], *, has_pages: bool) -> AuthorizationServer:
    if told.get("issuer") != issuer:
        raise NotDiscovered("the metadata of its authorization server is of another issuer")
    if has_pages and "S256" not in _texts(told.get("code_challenge_methods_supported")):
        raise NotDiscovered("its authorization server does not say that it takes PKCE with S256")
    authorize_url, token_url = told.get("authorization_endpoint"), told.get("token_endpoint")
    if not is_safe_page(token_url) or (has_pages and not is_safe_page(authorize_url)):
        raise NotDiscovered("its authorization server names no endpoints with https")
    register_url, revoke_url = told.get("registration_endpoint"), told.get("revocation_endpoint")
    return AuthorizationServer(
        issuer,
        authorize_url if is_safe_page(authorize_url) else "",
        token_url,
        register_url if is_safe_page(register_url) else None,
        revoke_url if is_safe_page(revoke_url) else None,
        _scopes(told),
        _texts(told.get("token_endpoint_auth_methods_supported")),
        told.get("client_id_metadata_document_supported") is True,
        told.get("authorization_response_iss_parameter_supported") is True,
    )


def covers(resource: str, url: str) -> bool:
    """Whether a token for a resource may be shown at a URL: the same, or a part of it."""
    try:
        wide, narrow = _split(resource), _split(url)
    except NotDiscovered:
        return False
    if wide.fragment or wide.query not in ("", narrow.query):
        return False
    if (wide.scheme.lower(), wide.netloc.lower()) != (narrow.scheme.lower(), narrow.netloc.lower()):
        return False
    return f"{narrow.path}/".startswith(f"{wide.path.rstrip('/')}/")


def is_safe_page(url: Any) -> TypeGuard[str]:
    """Whether people and tokens may be sent to a URL: https, or this machine; nothing that a shell could take up."""
    if not isinstance(url, str) or len(url) > _URL_CHARS_MAX or not url.isascii() or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if " " in url or "@" in parts.netloc or "\\" in url or parts.fragment or not host:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise NotDiscovered("what it names is no URL") from None


async def _get(url: str, reach: Reach) -> dict[str, Any]:
    try:
        answer = await fetch(url, reach, headers={"Accept": "application/json"})
    except NotFetched as problem:
        raise NotDiscovered(str(problem)) from None
    if answer.status != 200:
        raise NotDiscovered(f"it answered with the status {answer.status}")
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise NotDiscovered("it did not answer with a JSON object") from None


def _texts(value: Any) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else []
    return tuple(one for one in listed[:_LIST_MAX] if isinstance(one, str) and 0 < len(one) <= _URL_CHARS_MAX)


def _scopes(told: dict[str, Any]) -> tuple[str, ...]:
    return scopes_in(" ".join(_texts(told.get("scopes_supported"))))
