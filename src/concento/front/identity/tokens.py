"""Signed tokens of OAuth and OIDC issuers: whose they are, for whom, and since when until when.

Nothing in a token is believed before its signature holds under a key that its issuer publishes, with an algorithm that
the configuration lists and that fits the key. A token that was verified is kept until it expires.
Source: RFC 7519, 7515, 8693, 9068; hardening T1, T2.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from msgspec import Struct

from ...model.auth import Issuer
from ...model.clock import Clock
from ...model.principal import Principal
from .jwks import IssuerKeys

CHARS_MAX: Final = 16_384
CHAIN_MAX: Final = 8
NAME_CHARS_MAX: Final = 256
_KNOWN_MAX: Final = 20_000
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,256}")
_FITS: Final[Mapping[str, type]] = {
    **{alg: RSAKey for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    **{alg: ECKey for alg in ("ES256", "ES384", "ES512")},
    **{alg: OKPKey for alg in ("EdDSA", "Ed25519")},
}
_object = msgspec.json.Decoder(dict[str, Any])


class TokenProblem(Struct, frozen=True):
    """Why a token is not taken. Callers are told little of it."""

    reason: str


class _Verified(Struct, frozen=True):
    principal: Principal
    audiences: frozenset[str]
    anywhere: bool
    """It names an audience that is taken at every endpoint."""


class Tokens:
    """The tokens of some issuers."""

    def __init__(self, issuers: Iterable[Issuer], clock: Clock) -> None:
        self._issuers = {issuer.issuer: (issuer, IssuerKeys(issuer, clock)) for issuer in issuers}
        self._verified: dict[str, _Verified] = {}

    @property
    def keys(self) -> list[IssuerKeys]:
        """The key sets of the issuers."""
        return [keys for _, keys in self._issuers.values()]

    def find(self, token: str, resource: str, now_s: float) -> Principal | TokenProblem | IssuerKeys:
        """Who shows a token at a resource; the issuer's keys, if it is signed with one that has to be looked for."""
        verified = self._verified.get(token)
        if verified is None:
            found = self._verify(token, now_s)
            if not isinstance(found, _Verified):
                return found
            if len(self._verified) >= _KNOWN_MAX:
                self._verified.clear()
            verified = self._verified[token] = found
        principal = verified.principal
        if principal.until_s is None or now_s >= principal.until_s:
            self._verified.pop(token, None)
            return TokenProblem("it has expired")
        if not verified.anywhere and resource not in verified.audiences:
            return TokenProblem("it is for another resource")
        return principal

    def _verify(self, token: str, now_s: float) -> _Verified | TokenProblem | IssuerKeys:
        if len(token) > CHARS_MAX or _FORM.fullmatch(token) is None:
            return TokenProblem("it is no signed token")
        head, body, _ = token.split(".")
        header, unproved = _json(head), _json(body)
        if header is None or unproved is None:
            return TokenProblem("it is no signed token")
        named = unproved.get("iss")
        known = self._issuers.get(named) if isinstance(named, str) else None
        if known is None:
            return TokenProblem("it is of an issuer that is not taken")
        issuer, keys = known
        alg, kid = header.get("alg"), header.get("kid")
        if not isinstance(alg, str) or alg not in issuer.algorithms or alg not in _FITS:
            return TokenProblem("its algorithm is not taken")
        if "crit" in header or not isinstance(kid, str | None):
            return TokenProblem("its header asks for what is not known here")
        if str(header.get("typ", "JWT")).lower() not in ("jwt", "at+jwt", "application/at+jwt"):
            return TokenProblem("it is no access token")
        key = keys.find(kid)
        if key is None:
            return keys
        if not isinstance(key, _FITS[alg]):
            return TokenProblem("its algorithm does not fit its key")
        try:
            payload = jws.deserialize_compact(token, key, algorithms=[alg]).payload
        except (JoseError, ValueError, TypeError):
            return TokenProblem("its signature is wrong")
        claims = _object.decode(payload)
        return self._read(issuer, claims, token, now_s)

    def _read(self, issuer: Issuer, claims: dict[str, Any], token: str, now_s: float) -> _Verified | TokenProblem:
        """What a token says whose signature holds."""
        if not _is_time(claims.get("exp")):
            return TokenProblem("it never expires")
        expires_s, skew_s = float(claims["exp"]), issuer.skew_s
        if now_s >= expires_s + skew_s:
            return TokenProblem("it has expired")
        for name in ("nbf", "iat"):
            if name in claims and not (_is_time(claims[name]) and claims[name] <= now_s + skew_s):
                return TokenProblem("it is of the future")
        audience = claims.get("aud")
        audiences = frozenset(
            one for one in (audience if isinstance(audience, list) else [audience]) if isinstance(one, str)
        )
        anywhere = not audiences.isdisjoint(issuer.audiences)
        if issuer.audiences and not anywhere:
            return TokenProblem("it is for another audience")
        who = _principal(issuer, claims)
        if isinstance(who, TokenProblem):
            return who
        digest = hashlib.sha256(token.encode()).hexdigest()[:16]
        principal = msgspec.structs.replace(who, credential=f"jwt:{issuer.name}:{digest}", until_s=expires_s + skew_s)
        return _Verified(principal, audiences, anywhere)


def _principal(issuer: Issuer, claims: dict[str, Any]) -> Principal | TokenProblem:
    names = issuer.claims
    subject = _name(_claim(claims, names.subject))
    if subject is None:
        return TokenProblem(f"its claim {names.subject} names nobody")
    agent = _name(_claim(claims, names.agent)) or _name(claims.get("azp"))
    chain: list[str] = []
    acting = claims.get("act")
    while isinstance(acting, dict):
        actor = _name(acting.get("sub"))
        if actor is None or len(chain) >= CHAIN_MAX:
            return TokenProblem("its chain of actors can't be read")
        chain.append(actor)
        acting = acting.get("act")
    if chain:
        behind = chain[1:] if agent is None or agent == chain[0] else [*chain[1:], agent]
        agent, chain = chain[0], behind
    tenant = issuer.tenant
    if names.tenant is not None:
        value = _claim(claims, names.tenant)
        found = issuer.tenants.get(str(value)) if issuer.tenants else _name(value)
        if found is None:
            return TokenProblem("its tenant is not known here")
        tenant = found
    roles = _words(_claim(claims, names.roles)) if names.roles is not None else []
    if issuer.roles:
        roles = [mapped for role in roles for mapped in issuer.roles.get(role, ())]
    scopes = _claim(claims, names.scopes)
    return Principal(
        subject,
        agent,
        tenant,
        "jwt",
        frozenset(roles),
        frozenset(_words(claims.get("scp") if scopes is None else scopes)),
        tuple(chain),
    )


def _json(part: str) -> dict[str, Any] | None:
    try:
        return _object.decode(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11


def _claim(claims: Any, path: str) -> Any:
    """The value of a claim. One whose very name has dots in it (`https://x/roles`) is found before any path."""
    if isinstance(claims, dict) and path in claims:
        return claims[path]
    for name in path.split("."):
        claims = claims.get(name) if isinstance(claims, dict) else None
    return claims


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


def _words(value: Any) -> list[str]:
    """Words: a list of them, or one text with blanks between."""
    words = value.split(" ") if isinstance(value, str) else value if isinstance(value, list) else []
    return [word for word in words[:1000] if isinstance(word, str) and word]
