"""Tokens that the hub gets in its own name, each used until shortly before it ends and fetched by one for all who wait.

Source: RFC 6749 4.4 (client credentials), RFC 7523 (signed assertions), RFC 8707 (resource).
"""

import asyncio
import base64
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from ..model.errors import Unavailable
from ..model.showing import OAuthClient

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, RSAKey

WAIT_S: Final = 10.0
YOUNG_S: Final = 5.0
"""A token that is refused is renewed only if it is older: of a new one that is refused, another is as bad."""
EARLY_S: Final = 30.0
"""A token is renewed so long before it ends, or after half of its life if that is shorter."""
ASSUMED_S: Final = 300.0
"""How long a token is used that does not say how long it is good."""
RETRY_S: Final = 2.0
"""After a failure, nobody asks again for so long: a thousand calls must not ask a thousand times."""
ASSERTION_S: Final = 120
_BYTES_MAX: Final = 256 * 1024
_TOKEN_CHARS_MAX: Final = 16_384
_GONE_S: Final = 365 * 86_400.0


class _NoToken(Exception):
    """Why there is no token."""


class _Granted(msgspec.Struct):
    access_token: str
    token_type: str = "Bearer"
    expires_in: float | str | None = None


class _Refused(msgspec.Struct):
    error: str = ""


class ClientCredentials:
    """The token of one client. `name` is what errors call the server that it is for."""

    def __init__(self, client: OAuthClient, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._name = name
        self._now = now
        self._field = b""
        self._until_s = float("-inf")
        self._failed: str | None = None
        """Why the last fetch brought nothing."""
        self._fetched_s = float("-inf")
        self._failed_s = float("-inf")
        self._closed = False
        self._fetching: asyncio.Task[None] | None = None
        self.fetches = 0

    async def field(self) -> bytes:
        """The header field that shows the token. Errors: Unavailable; nothing was sent to the server then."""
        if self._now() >= self._until_s:
            await self._fetch_once()
        if not self._field:
            raise self._unavailable("it was not waited for")
        return self._field

    async def renewed(self, refused: bytes) -> bytes:
        """The field after a server refused one: new, unless somebody fetched it meanwhile. Errors: Unavailable."""
        if self._field == refused and self._now() - self._fetched_s >= YOUNG_S:
            self._until_s = float("-inf")
        return await self.field()

    async def close(self) -> None:
        """Stop fetching; whoever asks from now on is told so."""
        self._closed, self._field, self._until_s = True, b"", float("-inf")
        self._failed = "the hub is stopping"
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    async def _fetch_once(self) -> None:
        if self._failed is not None and (self._closed or self._now() - self._failed_s < RETRY_S):
            raise self._unavailable(self._failed)
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        await asyncio.wait([self._fetching])  # who stops waiting must not stop it for the others
        if self._failed is not None:
            raise self._unavailable(self._failed)

    async def _fetch(self) -> None:
        self.fetches += 1
        self._failed = None
        try:
            granted = await self._ask()
            lasts_s = _seconds(granted.expires_in)
            self._field = b"Authorization: Bearer %b\r\n" % granted.access_token.encode("ascii")
            self._fetched_s = self._now()
            self._until_s = self._fetched_s + max(lasts_s - EARLY_S, lasts_s / 2)
        except _NoToken as error:
            self._failed, self._failed_s = str(error), self._now()
        except Exception as error:  # the last edge: everybody waits for this, and must hear of whatever went wrong
            self._failed, self._failed_s = type(error).__name__, self._now()
        finally:
            self._fetching = None

    async def _ask(self) -> _Granted:
        import aiohttp  # here: a hub whose servers need no tokens starts without it

        form, headers = self._proof()
        asked = {"scope": self._client.scope, "resource": self._client.resource}
        form |= {name: value for name, value in asked.items() if value}
        try:
            async with (
                asyncio.timeout(WAIT_S),
                aiohttp.ClientSession() as session,
                session.post(self._client.token_url, data=form, headers=headers, allow_redirects=False) as answer,
            ):
                said = await answer.content.read(_BYTES_MAX)
                while not answer.content.at_eof() and len(said) < _BYTES_MAX:
                    said += await answer.content.read(_BYTES_MAX - len(said))
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise _NoToken("it can't be reached") from None
        if status != 200:
            raise _NoToken(f"it answered with the status {status}{_reason(said)}")
        try:
            granted = msgspec.json.decode(said, type=_Granted)
        except (msgspec.DecodeError, RecursionError):
            raise _NoToken("its answer holds no token") from None
        token = granted.access_token
        if granted.token_type.lower() != "bearer" or not 0 < len(token) <= _TOKEN_CHARS_MAX or not _is_plain(token):
            raise _NoToken("its answer holds no bearer token")
        return granted

    def _proof(self) -> tuple[dict[str, str], dict[str, str]]:
        """What the hub proves itself with: form fields and header fields."""
        client = self._client
        form, headers = {"grant_type": "client_credentials"}, {"Accept": "application/json"}
        if client.method == "client_secret_basic":
            pair = f"{quote(client.client_id, safe='')}:{quote(client.secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif client.method == "client_secret_post":
            form |= {"client_id": client.client_id, "client_secret": client.secret}
        else:
            form |= {"client_id": client.client_id, "client_assertion": self._assertion()}
            form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        return form, headers

    def _assertion(self) -> str:
        from joserfc import jwt

        client, now_s = self._client, int(time.time())
        claims: dict[str, Any] = {"iss": client.client_id, "sub": client.client_id, "aud": client.token_url}
        claims |= {"jti": secrets.token_urlsafe(16), "iat": now_s, "exp": now_s + ASSERTION_S}
        key, algorithm = signing_key(client.secret)
        return jwt.encode({"alg": algorithm}, claims, key, algorithms=[algorithm])

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(f"The authorization server of {self._name!r} gave no token: {why}", retry_after_s=RETRY_S)


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


def _seconds(expires_in: float | str | None) -> float:
    try:
        return min(_GONE_S, max(1.0, float(expires_in if expires_in is not None else ASSUMED_S)))
    except ValueError:
        return ASSUMED_S


_ERRORS: Final = """
invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope invalid_target
server_error temporarily_unavailable
"""
_CODES: Final = frozenset(_ERRORS.split())
"""Of RFC 6749 and 8707. What else a server writes may be anything, even what it was sent."""


def _reason(said: bytes) -> str:
    """The error code of an answer, if it is one that the standards have."""
    try:
        error = msgspec.json.decode(said, type=_Refused).error
    except (msgspec.DecodeError, RecursionError):
        return ""
    return f" ({error})" if error in _CODES else ""


def _is_plain(token: str) -> bool:
    return all("!" <= letter <= "~" for letter in token)
