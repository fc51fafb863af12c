"""Asking an authorization server for tokens: one request, the client's proof with it, and what comes back checked.

Source: RFC 6749 2.3, 3.2 and 5; RFC 7523 2.2; OpenID Connect Core 9.
"""

import base64
import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from ..model.outbound import Reach
from ..model.showing import OAuthClient
from ..transport.outbound import NotFetched, fetch

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, RSAKey

ASSUMED_S: Final = 300.0
"""How long a token is used that does not say how long it is good."""
ASSERTION_S: Final = 120
_TOKEN_CHARS_MAX: Final = 16_384
_GONE_S: Final = 365 * 86_400.0
_ERRORS: Final = """
invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope invalid_target
server_error temporarily_unavailable
"""
_CODES: Final = frozenset(_ERRORS.split())
"""Of RFC 6749 and 8707. What else a server writes may be anything, even what it was sent."""

_TRANSIENT: Final = frozenset({"server_error", "temporarily_unavailable"})


class NoToken(Exception):
    """Why there is no token; `code` is the error that the authorization server named, if the standards have it.

    `final`: the authorization server has understood and will not, however often it is asked.
    """

    def __init__(self, why: str, code: str = "", *, final: bool = False) -> None:
        super().__init__(why)
        self.code = code
        self.final = final


class Granted(msgspec.Struct):
    """What a token endpoint gave."""

    access_token: str
    token_type: str = "Bearer"
    expires_in: float | str | None = None
    refresh_token: str | None = None
    scope: str | None = None
    issued_token_type: str = ""

    def __repr__(self) -> str:
        return f"Granted(scope={self.scope!r}, expires_in={self.expires_in!r})"

    @property
    def until_refused_s(self) -> float:
        """How long the token may be shown that only its user can renew: as it says, else until it is refused."""
        return _GONE_S if self.expires_in is None else self.lasts_s

    @property
    def lasts_s(self) -> float:
        """How long the token is good."""
        try:
            return min(_GONE_S, max(1.0, float(self.expires_in if self.expires_in is not None else ASSUMED_S)))
        except ValueError:
            return ASSUMED_S


class _Refused(msgspec.Struct):
    error: str = ""


async def ask_token(
    client: OAuthClient, form: Mapping[str, str], reach: Reach | None, *, is_bearer: bool = True
) -> Granted:
    """A token for a client. `reach` is None if the operator wrote the URL; without `is_bearer` it may be of any kind.

    Errors: NoToken.
    """
    said = await _post(client, client.token_url, form, reach)
    try:
        granted = msgspec.json.decode(said, type=Granted)
    except (ValueError, RecursionError):
        # Some tell an error with the status of success.
        raise NoToken("its answer holds no token", _code(said), final=_is_error(said)) from None
    if is_bearer and granted.token_type.lower() != "bearer":
        raise NoToken("its answer holds no bearer token")
    for token in (granted.access_token, granted.refresh_token):
        if token is not None and (not 0 < len(token) <= _TOKEN_CHARS_MAX or not _is_plain(token)):
            raise NoToken("its answer holds no bearer token")
    return granted


async def revoke(client: OAuthClient, url: str, token: str, kind: str, reach: Reach | None) -> None:
    """Have a token forgotten by whom it was got from. Errors: NoToken. Source: RFC 7009."""
    await _post(client, url, {"token": token, "token_type_hint": kind}, reach)


async def _post(client: OAuthClient, url: str, form: Mapping[str, str], reach: Reach | None) -> bytes:
    proof, headers = proved(client)
    try:
        # Many a server looks for `client_id` in the form whatever the method; RFC 6749 4.1.3 lets it be there.
        known = {"client_id": client.client_id}
        answer = await fetch(url, reach, method="POST", headers=headers, form={**known, **form, **proof})
    except NotFetched as problem:
        raise NoToken(str(problem)) from None
    if answer.status != 200:
        code = _code(answer.body)
        told = f"it answered with the status {answer.status}" + (f" ({code})" if code else "")
        raise NoToken(told, code, final=answer.status in (400, 401, 403) and code not in _TRANSIENT)
    return answer.body


def proved(client: OAuthClient) -> tuple[dict[str, str], dict[str, str]]:
    """What a client proves itself with: form fields and header fields."""
    form: dict[str, str] = {}
    headers = {"Accept": "application/json"}
    if client.method == "client_secret_basic":
        pair = f"{quote(client.client_id, safe='')}:{quote(client.secret, safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return form, headers
    form["client_id"] = client.client_id
    if client.method == "client_secret_post":
        form["client_secret"] = client.secret
    elif client.method == "private_key_jwt":
        form["client_assertion"] = _assertion(client)
        form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return form, headers


def _assertion(client: OAuthClient) -> str:
    from joserfc import jwt

    now_s = int(time.time())
    claims: dict[str, Any] = {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": client.issuer or client.token_url,
    }
    claims |= {"jti": secrets.token_urlsafe(16), "iat": now_s, "exp": now_s + ASSERTION_S}
    key, algorithm = signing_key(client.secret)
    return jwt.encode({"alg": algorithm}, claims, key, algorithms=[algorithm])


def signing_key(pem: str) -> "tuple[RSAKey | ECKey, str]":
    """A private key as PEM, with the algorithm that it signs by. Errors: ValueError, if it is none."""
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey

    for kind, algorithm in ((ECKey, "ES256"), (RSAKey, "RS256")):
        try:
            key = kind.import_key(pem)
        except (JoseError, ValueError, TypeError):
            continue
        if key.is_private and (not isinstance(key, ECKey) or key.curve_name == "P-256"):
            return key, algorithm
    raise ValueError("expected a private key in PEM: RSA, or EC on P-256")


def _code(said: bytes) -> str:
    """The error code of an answer, if it is one that the standards have."""
    try:
        error = msgspec.json.decode(said, type=_Refused).error
    except (ValueError, RecursionError):
        return ""
    return error if error in _CODES else ""


def _is_error(said: bytes) -> bool:
    try:
        return bool(msgspec.json.decode(said, type=_Refused).error)
    except (ValueError, RecursionError):
        return False


def _is_plain(token: str) -> bool:
    return all("!" <= letter <= "~" for letter in token)
