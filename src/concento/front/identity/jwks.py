"""An issuer's keys: found, fetched, kept, and fetched again when they turn over.

Nobody on a call's path waits for them but a caller whose token names a key that is not known yet, and that at most once
in `REFETCH_S`. The tokens of an issuer that is down are checked with the keys it had, for a day.
Source: RFC 8414, RFC 7517, OpenID Connect Discovery; hardening T1, R19.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from ...model.auth import Issuer
from ...model.clock import Clock
from ...model.outbound import PUBLIC, Reach
from ...transport.outbound import NotFetched, fetch
from .proof import REFETCH_S

KEYS_MAX: Final = 100
WAIT_S: Final = 5.0
"""For one look: the metadata and the keys together."""
REFRESH_S: Final = 600.0
"""Keys are fetched again after this, unless their `Cache-Control: max-age` says another time between the next two."""
REFRESH_MIN_S: Final = 60.0
REFRESH_MAX_S: Final = 3600.0
KEPT_S: Final = 86_400.0
RSA_BITS_MIN: Final = 2048
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})", re.IGNORECASE)

PublicKey = RSAKey | ECKey | OKPKey


class KeysUnavailable(Exception):
    """An issuer's keys can't be had."""


class IssuerKeys:
    """The key set of one issuer."""

    def __init__(self, issuer: Issuer, clock: Clock) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: dict[tuple[str | None, str], PublicKey] = {}
        """By id and algorithm; without an id those that no other key of the set could be meant instead of."""
        self._ids: frozenset[str] = frozenset()
        self._url = issuer.jwks_url
        self._fresh_s = REFRESH_S
        self._fetched_s: float | None = None
        self._tried_s: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self.reach: Reach = PUBLIC
        """Where others may send the hub."""
        self.on_withdrawn: Callable[[], None] = _nothing
        """Called when the issuer no longer publishes a key that it had: what was signed with it proves nothing."""
        self.problem: str | None = None
        """Why the last look failed."""
        self.fetches = 0
        """Looks so far, failed ones too."""

    # -- what is known

    def find(self, kid: str | None, alg: str) -> PublicKey | None:
        """The key with which a token of that header must be signed; one without an id takes the only one that fits."""
        return self._keys.get((kid, alg)) if self.has_keys else None

    def knows(self, kid: str | None) -> bool:
        """Whether there is a key of that id, whatever its algorithm."""
        return self.has_keys and kid in self._ids

    @property
    def has_keys(self) -> bool:
        """Whether there are keys that may still be used."""
        return self._since(self._fetched_s) <= KEPT_S

    # -- looking for more

    @property
    def is_due(self) -> bool:
        """Whether the keys are old enough to look for new ones."""
        return self._since(self._fetched_s) >= self._fresh_s and self.can_look

    @property
    def can_look(self) -> bool:
        """Whether waiting in `look` could bring anything."""
        return self._fetching is not None or self._since(self._tried_s) >= REFETCH_S

    async def look(self) -> None:
        """Fetch the keys, unless that was tried just now; many who want them wait for one fetch. Never raises."""
        if not self.can_look:
            return
        if self._fetching is None:
            self._tried_s = self._clock.monotonic()
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        await asyncio.wait([self._fetching])  # not awaited itself: who stops waiting must not stop it for the others

    async def close(self) -> None:
        """Stop fetching."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _since(self, then_s: float | None) -> float:
        return float("inf") if then_s is None else self._clock.monotonic() - then_s

    async def _fetch(self) -> None:
        self.fetches += 1
        try:
            async with asyncio.timeout(WAIT_S):
                url = self._url or await self._discover()
                told, fresh_s = await _get(url, self._reach())
            keys = usable(told, self._issuer.algorithms)
        except (TimeoutError, ValueError, KeysUnavailable) as error:
            self._url = self._issuer.jwks_url  # they may have moved
            why = str(error) or f"no answer within {WAIT_S:g} s"
            self.problem = f"the keys of the issuer {self._issuer.name!r} can't be had: {why}"
            return
        finally:
            self._fetching = None
        is_withdrawn = not _prints(self._keys) <= _prints(keys)
        self._keys, self._ids = keys, frozenset(kid for kid, _ in keys if kid is not None)
        self._url, self._fresh_s, self._fetched_s = url, fresh_s, self._clock.monotonic()
        self.problem = None
        if is_withdrawn:
            self.on_withdrawn()

    def _reach(self) -> Reach | None:
        """Where its keys may be, if not the operator but its metadata say it: beside it, and what `reach` allows."""
        return self.reach.near(self._issuer.issuer) if self._issuer.jwks_url is None else None

    async def _discover(self) -> str:
        """Where the keys are, by the issuer's metadata: of OAuth (its path inserted) or OIDC (appended)."""
        parts = urlsplit(self._issuer.issuer)
        origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        problem = "it has no metadata"
        for url in (
            f"{origin}/.well-known/oauth-authorization-server{path}",
            f"{origin}{path}/.well-known/openid-configuration",
        ):
            try:
                told, _ = await _get(url, None)
            except KeysUnavailable as error:
                problem = str(error)
                continue
            if told.get("issuer") != self._issuer.issuer:
                raise KeysUnavailable(f"its metadata at {url} is of another issuer; 'issuer' must be written as there")
            where = told.get("jwks_uri")
            if isinstance(where, str) and is_safe_url(where):
                return where
            problem = f"its metadata at {url} has no jwks_uri with https"
        raise KeysUnavailable(f"{problem}; if it publishes none, give 'jwks_url'")


async def _get(url: str, reach: Reach | None) -> tuple[dict[str, Any], float]:
    """A JSON object, and how long it stays fresh."""
    try:
        answer = await fetch(url, reach, headers={"Accept": "application/json"})
    except NotFetched as error:
        raise KeysUnavailable(f"{url} gave nothing: {error}") from None
    if answer.status != 200:
        raise KeysUnavailable(f"{url} answered with status {answer.status}")
    max_age = _MAX_AGE.search(answer.headers.get("cache-control", ""))
    fresh_s = REFRESH_S if max_age is None else min(max(float(max_age[1]), REFRESH_MIN_S), REFRESH_MAX_S)
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any]), fresh_s
    except (ValueError, RecursionError):
        raise KeysUnavailable(f"{url} did not answer with a JSON object") from None


def usable(told: dict[str, Any], algorithms: Iterable[str]) -> dict[tuple[str | None, str], PublicKey]:
    """The keys of a set that tokens may be signed with, by id and algorithm; others are passed over.

    Without an id those are listed that alone fit their algorithm. Errors: KeysUnavailable, if there is none.
    """
    listed = told.get("keys")
    keys: dict[tuple[str | None, str], PublicKey] = {}
    fitting: dict[str, list[PublicKey]] = {}
    for one in (listed if isinstance(listed, list) else [])[:KEYS_MAX]:
        key = _public(one)
        for alg in algorithms:
            if key is not None and _fits(key, alg):
                fitting.setdefault(alg, []).append(key)
                if isinstance(kid := one.get("kid"), str):
                    keys.setdefault((kid, alg), key)
    for alg, those in fitting.items():
        if len(those) == 1:
            keys[None, alg] = those[0]
    if not keys:
        raise KeysUnavailable(f"its key set has no key for {', '.join(algorithms)}")
    return keys


def _public(jwk: Any) -> PublicKey | None:
    """One key of a set, without what may be private in it."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or jwk.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    if len(str(jwk.get("n", ""))) * 6 < RSA_BITS_MIN and jwk["kty"] == "RSA":
        return None  # before the library warns of it
    members = ("kty", "n", "e", "crv", "x", "y", "alg", "key_ops")
    try:
        key = JWKRegistry.import_key({name: jwk[name] for name in members if name in jwk})
        key.check_key_op("verify")
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if isinstance(key, RSAKey) and key.public_key.key_size < RSA_BITS_MIN:
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None


def _fits(key: PublicKey, alg: str) -> bool:
    try:
        JWSRegistry.algorithms[alg].check_key(key)
    except (JoseError, KeyError):
        return False
    return alg != "EdDSA" or (isinstance(key, OKPKey) and key.curve_name == "Ed25519")


def _prints(keys: Mapping[tuple[str | None, str], PublicKey]) -> set[str]:
    return {key.thumbprint() for key in keys.values()}


def is_safe_url(url: str) -> bool:
    """Whether what comes from a URL can be trusted to, and the URL be told: https or this machine, no password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_told = url.isprintable() and "@" not in parts.netloc  # in what is said of failures
    is_here = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    return is_told and (parts.scheme == "https" or is_here)


def _nothing() -> None:
    pass
