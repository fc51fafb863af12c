"""Signed tokens of OAuth and OIDC issuers: whose they are, for whom, and since when until when.

Nothing in a token is believed before its signature holds under a key that its issuer publishes, with an algorithm that
the configuration lists and that fits the key. A token that was verified is kept, by its digest, until it expires.
Source: RFC 7519, 7515, 8693, 8725, 9068; hardening T1, T2.
"""

import base64
import hashlib
import re
from collections.abc import Collection, Iterable
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry
from msgspec import Struct, structs

from ...model.auth import ALGORITHMS, Issuer
from ...model.clock import Clock
from ...model.outbound import PUBLIC, Reach
from ...model.principal import Principal
from ...model.secret import Secret
from ...model.tenant import DEFAULT_TENANT
from .jwks import IssuerKeys
from .proof import Proved, TokenProblem, terms

CHARS_MAX: Final = 16_384
"""Longest token that is looked at."""
CHAIN_MAX: Final = 8
"""Longest chain of actors in one."""
KNOWN_MAX: Final = 20_000
"""Verified tokens kept: so many that were just used, and as many before."""
_WORDS_MAX: Final = 1000
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,256}")
_object = msgspec.json.Decoder(dict[str, Any])


class _Verified(Struct, frozen=True):
    principal: Proved
    until_s: float
    audiences: frozenset[str]
    anywhere: bool
    """It names an audience that is taken at every endpoint."""


class _Taken:
    """An issuer whose tokens are taken, and what they are checked with."""

    def __init__(self, issuer: Issuer, clock: Clock) -> None:
        self.issuer = issuer
        self.keys = IssuerKeys(issuer, clock)
        self.registry = _Algorithms(issuer.algorithms)
        self.term = next(terms)


class Tokens:
    """The tokens of some issuers. An issuer that `before` took just so keeps its keys, and what it proved holds on.

    `reach`: where issuers may say that their keys are. With `keeps`, whoever is found has the token that they showed.
    """

    def __init__(
        self,
        issuers: Iterable[Issuer],
        clock: Clock,
        before: "Tokens | None" = None,
        reach: Reach = PUBLIC,
        *,
        keeps: bool = False,
    ) -> None:
        self._keeps = keeps
        kept = {} if before is None else before._issuers
        self._issuers: dict[str, _Taken] = {}
        for issuer in issuers:
            taken = kept.get(issuer.issuer)
            if taken is None or taken.issuer != issuer:
                taken = _Taken(issuer, clock)
            taken.keys.on_withdrawn, taken.keys.reach = self._forget, reach
            self._issuers[issuer.issuer] = taken
        self._terms = frozenset(taken.term for taken in self._issuers.values())
        self._verified: dict[bytes, _Verified] = {}
        self._older: dict[bytes, _Verified] = {}

    @property
    def keys(self) -> list[IssuerKeys]:
        """The key sets of the issuers."""
        return [taken.keys for taken in self._issuers.values()]

    def holds(self, principal: Principal) -> bool:
        """Whether the issuer of somebody's token is still taken as it was when it was shown."""
        return isinstance(principal, Proved) and principal.term in self._terms

    def find(self, token: str, resource: str, now_s: float) -> Principal | TokenProblem | IssuerKeys:
        """Who shows a token at a resource; the issuer's keys, if it is signed with one that has to be looked for.

        A token that was verified before costs its digest and two look-ups.
        """
        if len(token) > CHARS_MAX:
            return TokenProblem(f"it is longer than {CHARS_MAX} characters")
        digest = hashlib.sha256(token.encode()).digest()
        verified = self._verified.get(digest)
        if verified is None:
            found = self._older.get(digest) or self._verify(token, digest, now_s)
            if not isinstance(found, _Verified):
                return found
            if len(self._verified) >= KNOWN_MAX:
                self._verified, self._older = {}, self._verified
            verified = self._verified[digest] = found
        if now_s >= verified.until_s:
            del self._verified[digest]
            self._older.pop(digest, None)
            return TokenProblem("it has expired")
        if verified.anywhere or resource in verified.audiences:
            return verified.principal
        return TokenProblem("it is for another resource")

    def _forget(self) -> None:
        self._verified, self._older = {}, {}

    def _verify(self, token: str, digest: bytes, now_s: float) -> _Verified | TokenProblem | IssuerKeys:
        if _FORM.fullmatch(token) is None:
            return TokenProblem("it is no signed token")
        head, body, _ = token.split(".")
        header, unproved = _json(head), _json(body)
        if header is None or unproved is None:
            return TokenProblem("it is no signed token")
        named = unproved.get("iss")
        taken = self._issuers.get(named) if isinstance(named, str) else None
        if taken is None:
            return TokenProblem("its issuer is not taken")
        alg, kid = header.get("alg"), header.get("kid")
        if not isinstance(alg, str) or alg not in taken.issuer.algorithms or alg not in ALGORITHMS:
            return TokenProblem("its algorithm is not taken")
        if "crit" in header or "b64" in header or not isinstance(kid, str | None):
            return TokenProblem("its header asks for what is not known here")
        if str(header.get("typ", "JWT")).lower() not in _TYPES:
            return TokenProblem("it is no access token")
        keys = taken.keys
        key = keys.find(kid, alg)
        if key is None:
            if keys.knows(kid):
                return TokenProblem("its algorithm does not fit its key")
            return keys if keys.can_look else _unknown_key(keys)
        try:
            payload = jws.deserialize_compact(token, key, registry=taken.registry).payload
            claims = _object.decode(payload)
        except (JoseError, ValueError, TypeError, RecursionError):
            # A key without an id may have been exchanged for another.
            return keys if kid is None and keys.can_look else TokenProblem("its signature is wrong")
        found = _read(taken, claims, digest, now_s)
        if self._keeps and isinstance(found, _Verified):
            return structs.replace(found, principal=structs.replace(found.principal, token=Secret(token)))
        return found


def _unknown_key(keys: IssuerKeys) -> TokenProblem:
    if keys.problem is not None:
        return TokenProblem(f"{keys.problem}, and it is signed with one that is not known", is_down=True)
    return TokenProblem("its issuer has no such key")


class _Algorithms(JWSRegistry):
    """The algorithms of one issuer. Header fields that are not known are passed over, as RFC 7515 asks."""

    max_header_length = CHARS_MAX

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(strict_check_header=False)
        self._names = frozenset(names) & frozenset(ALGORITHMS)

    def get_alg(self, name: str) -> Any:
        """An algorithm that is taken; without the library's warning that Ed25519 has a newer name than EdDSA."""
        if name not in self._names:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


# -- what a token says whose signature holds


def _read(taken: _Taken, claims: dict[str, Any], digest: bytes, now_s: float) -> _Verified | TokenProblem:
    issuer = taken.issuer
    if not _is_time(claims.get("exp")):
        return TokenProblem("it does not say when it expires")
    until_s = float(claims["exp"]) + issuer.skew_s
    if now_s >= until_s:
        return TokenProblem("it has expired")
    for name in ("nbf", "iat"):
        if name in claims and not (_is_time(claims[name]) and claims[name] <= now_s + issuer.skew_s):
            return TokenProblem(f"it is of the future by its {name}")
    audience = claims.get("aud")
    audiences = frozenset(
        one for one in (audience if isinstance(audience, list) else [audience]) if isinstance(one, str)
    )
    anywhere = not audiences.isdisjoint(issuer.audiences)
    if issuer.audiences and not anywhere:
        return TokenProblem("it is for another audience")
    credential = f"jwt:{issuer.name}:{digest.hex()[:16]}"
    principal = _principal(issuer, claims, credential, until_s, taken.term)
    return principal if isinstance(principal, TokenProblem) else _Verified(principal, until_s, audiences, anywhere)


def _principal(
    issuer: Issuer, claims: dict[str, Any], credential: str, until_s: float, term: int
) -> Proved | TokenProblem:
    names = issuer.claims
    subject = _name(_claim(claims, names.subject))
    if subject is None:
        return TokenProblem(f"its claim {names.subject!r} names nobody")
    actors = _actors(claims)
    if actors is None:
        return TokenProblem(f"its chain of actors can't be read, or is longer than {CHAIN_MAX}")
    client = _name(_claim(claims, names.agent)) or _name(claims.get("azp"))
    if client is not None and client not in actors:
        actors.append(client)
    tenant = _tenant(issuer, claims)
    if tenant is None:
        return TokenProblem(f"its claim {names.tenant!r} stands for no tenant")
    roles = _words(_claim(claims, names.roles)) if names.roles is not None else []
    if issuer.roles:
        roles = [meant for role in roles for meant in issuer.roles.get(role, ())]
    scopes = _claim(claims, names.scopes)
    return Proved(
        subject,
        agent=actors[0] if actors else None,
        tenant=tenant,
        proof="jwt",
        roles=frozenset(roles),
        scopes=frozenset(_words(claims.get("scp") if scopes is None else scopes)),
        chain=tuple(actors[1:]),
        credential=credential,
        until_s=until_s,
        term=term,
    )


def _actors(claims: dict[str, Any]) -> list[str] | None:
    """Who acts, by the `act` claim: the one that acts now first, then those behind it. None if that can't be read."""
    actors: list[str] = []
    acting = claims.get("act")
    while acting is not None:
        actor = _name(acting.get("sub")) if isinstance(acting, dict) else None
        if actor is None or len(actors) >= CHAIN_MAX:
            return None
        actors.append(actor)
        acting = acting.get("act")
    return actors


def _tenant(issuer: Issuer, claims: dict[str, Any]) -> str | None:
    """Whose the caller is. A claim alone makes nobody one of the operator's own: that takes an entry in `tenants`."""
    if issuer.claims.tenant is None:
        return issuer.tenant
    value = _claim(claims, issuer.claims.tenant)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    name = _name(value)
    if issuer.tenants:
        return None if name is None else issuer.tenants.get(name)
    return None if name == DEFAULT_TENANT else name


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
    return [word for word in words[:_WORDS_MAX] if isinstance(word, str) and word]
