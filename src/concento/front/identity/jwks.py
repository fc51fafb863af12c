"""An issuer's keys: found, fetched, kept, and fetched again when they turn over.

Nobody on a call's path waits for them but a caller whose token names a key that is not known yet. The tokens of an
issuer that is down are checked with the keys it had, for a day.
Source: RFC 8414, OpenID Connect Discovery; hardening T1, R19.
"""

import asyncio
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from ...model.auth import Issuer
from ...model.clock import Clock

BYTES_MAX: Final = 256 * 1024
KEYS_MAX: Final = 100
WAIT_S: Final = 5.0
REFRESH_S: Final = 600.0
REFETCH_S: Final = 30.0
"""A key that is not known is looked for at most this often: tokens can name any number."""
KEPT_S: Final = 86_400.0

PublicKey = RSAKey | ECKey | OKPKey


class KeysUnavailable(Exception):
    """An issuer's keys can't be had."""


class IssuerKeys:
    """The key set of one issuer."""

    def __init__(self, issuer: Issuer, clock: Clock) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: dict[str | None, PublicKey] = {}
        self._url = issuer.jwks_url
        self._fetched_s: float | None = None
        self._tried_s: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self.problem: str | None = None
        """Why the last fetch failed."""
        self.fetches = 0

    def find(self, kid: str | None) -> PublicKey | None:
        """A key, if it is known. A token that names none takes the only one."""
        if self._fetched_s is None or self._clock.monotonic() - self._fetched_s > KEPT_S:
            return None
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    @property
    def is_due(self) -> bool:
        """Whether the keys are old enough to look for new ones."""
        return self._since(self._fetched_s) >= REFRESH_S and self._may_try

    async def look(self) -> None:
        """Fetch the keys, unless that was tried just now; many who want them wait for one fetch. Never raises."""
        if self._fetching is None:
            if not self._may_try:
                return
            self._tried_s = self._clock.monotonic()
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        await asyncio.shield(self._fetching)

    async def close(self) -> None:
        """Stop fetching."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    @property
    def _may_try(self) -> bool:
        return self._since(self._tried_s) >= REFETCH_S

    def _since(self, then_s: float | None) -> float:
        return float("inf") if then_s is None else self._clock.monotonic() - then_s

    async def _fetch(self) -> None:
        self.fetches += 1
        try:
            timeout = aiohttp.ClientTimeout(total=WAIT_S)
            async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
                url = self._url or await self._discover(session)
                self._keys = _keys(await _get(session, url), self._issuer)
                self._url = url
            self._fetched_s = self._clock.monotonic()
            self.problem = None
        except (aiohttp.ClientError, TimeoutError, OSError, KeysUnavailable) as error:
            self.problem = (
                f"the keys of the issuer {self._issuer.name!r} can't be had: {str(error) or 'no answer in time'}"
            )
        finally:
            self._fetching = None

    async def _discover(self, session: aiohttp.ClientSession) -> str:
        """Where the keys are, by the issuer's metadata: of OAuth (its path inserted) or OIDC (appended)."""
        parts = urlsplit(self._issuer.issuer)
        origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        problem = "it has no metadata"
        for url in (
            f"{origin}/.well-known/oauth-authorization-server{path}",
            f"{origin}{path}/.well-known/openid-configuration",
            f"{origin}/.well-known/openid-configuration{path}",
        ):
            try:
                told = await _get(session, url)
            except KeysUnavailable as error:
                problem = str(error)
                continue
            if told.get("issuer") != self._issuer.issuer:
                raise KeysUnavailable(f"its metadata at {url} is of another issuer")
            where = told.get("jwks_uri")
            if isinstance(where, str) and is_safe_url(where):
                return where
            problem = f"its metadata at {url} has no jwks_uri with https"
        raise KeysUnavailable(problem)


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as reply:
        if reply.status != 200:
            raise KeysUnavailable(f"{url} answered with status {reply.status}")
        body = await reply.content.read(BYTES_MAX + 1)
        while len(body) <= BYTES_MAX and (more := await reply.content.read(BYTES_MAX + 1 - len(body))):
            body += more
    if len(body) > BYTES_MAX:
        raise KeysUnavailable(f"{url} answered with more than {BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise KeysUnavailable(f"{url} did not answer with a JSON object") from None


def _keys(told: dict[str, Any], issuer: Issuer) -> dict[str | None, PublicKey]:
    """The keys of a set that a token may be signed with, by their ids; others are passed over."""
    listed = told.get("keys")
    keys: dict[str | None, PublicKey] = {}
    for one in (listed if isinstance(listed, list) else [])[:KEYS_MAX]:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig" or one.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        public = {name: value for name, value in one.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
        try:
            key = next(iter(KeySet.import_key_set({"keys": [public]}).keys))
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            continue
        kid = one.get("kid")
        if isinstance(key, RSAKey | ECKey | OKPKey):
            keys[kid if isinstance(kid, str) else None] = key
    if not keys:
        raise KeysUnavailable("its key set has no key that tokens could be signed with")
    return keys


def is_safe_url(url: str) -> bool:
    """Whether what comes from a URL can be trusted to: https, or this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1"))
