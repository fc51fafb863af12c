"""An issuer of the tests' own: keys, a small HTTP server that publishes them, and tokens of every kind."""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from concento.model.auth import Claims, Issuer
from concento.testing.http_server import Conn, Hit, ScriptedHttpServer

BASE_URL = "https://mcp.example.com"
RESOURCE = f"{BASE_URL}/mcp"

RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"}, private=True)
EC = ECKey.generate_key("P-256", {"kid": "ec-1"}, private=True)
ED = OKPKey.generate_key("Ed25519", {"kid": "ed-1"}, private=True)
NEXT = ECKey.generate_key("P-256", {"kid": "ec-2"}, private=True)
FOREIGN = ECKey.generate_key("P-256", {"kid": "ec-1"}, private=True)
"""A forger's, under an id of ours."""


class _Anything(JWSRegistry):
    """Signs whatever a test wants signed."""

    def __init__(self) -> None:
        super().__init__(strict_check_header=False)

    def check_header(self, header: Any) -> None:
        """All are right."""

    def get_alg(self, name: str) -> Any:
        """Any."""
        return self.algorithms[name]


def signed(claims: object, key: Key = EC, alg: str = "ES256", **header: object) -> str:
    """A signed token. A header field that is None is left out."""
    fields = {"alg": alg, "kid": key.kid, "typ": "at+jwt"} | header
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jws.serialize_compact(
        {name: value for name, value in fields.items() if value is not None}, payload, key, registry=_Anything()
    )


def part(value: object) -> str:
    """One part of a token, by hand."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def published(*keys: Key) -> list[dict[str, Any]]:
    """Keys as a set has them."""
    return [dict(key.as_dict(private=False)) for key in keys]


def mac(claims: object, secret: bytes) -> str:
    """What a forger makes who takes a public key for a secret."""
    signing = f"{part({'alg': 'HS256', 'kid': 'rsa-1', 'typ': 'at+jwt'})}.{part(claims)}"
    return f"{signing}.{part(hmac.digest(secret, signing.encode(), 'sha256'))}"


class OwnIssuer:
    """The issuer. What it publishes can be changed; what it was asked is counted."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = published(RSA, EC, ED)
        self.answers: dict[str, tuple[int, bytes, tuple[tuple[str, str], ...]]] = {}
        """Other answers than those of an issuer that is well, by path."""
        self.path = ""
        self.server = ScriptedHttpServer(self._answer)

    @property
    def url(self) -> str:
        """Its identifier."""
        return f"{self.server.origin}{self.path}"

    @property
    def jwks_url(self) -> str:
        """Where its keys are."""
        return f"{self.server.origin}/keys"

    @property
    def asked(self) -> list[str]:
        """The paths that it was asked for."""
        return [hit.path for hit in self.server.hits()]

    async def _answer(self, hit: Hit, conn: Conn) -> None:
        if hit.path in self.answers:
            status, body, headers = self.answers[hit.path]
            await conn.respond(status, body, headers=headers)
        elif hit.path == "/keys":
            await conn.json({"keys": self.keys})
        else:
            await conn.respond(404, b"{}")

    def issuer(self, **settings: Any) -> Issuer:
        """It, as configured."""
        given: dict[str, Any] = {"name": "company", "issuer": self.url, "jwks_url": self.jwks_url} | settings
        if isinstance(claims := given.get("claims"), dict):
            given["claims"] = Claims(**claims)
        return Issuer(**given)

    def claims(self, now_s: float, **changed: object) -> dict[str, object]:
        """What a good token says. A claim that is None is left out."""
        good: dict[str, object] = {
            "iss": self.url,
            "aud": RESOURCE,
            "sub": "ada",
            "client_id": "editor",
            "iat": now_s,
            "exp": now_s + 600,
            "scope": "tools:read tools:call",
        }
        return {name: value for name, value in (good | changed).items() if value is not None}

    def token(self, now_s: float, key: Key = EC, alg: str = "ES256", **changed: Any) -> str:
        """A good token, but for what is changed."""
        return signed(self.claims(now_s, **changed), key, alg)


@asynccontextmanager
async def own_issuer() -> AsyncIterator[OwnIssuer]:
    """An issuer that listens."""
    issuer = OwnIssuer()
    async with issuer.server:
        yield issuer
