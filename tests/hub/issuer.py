"""An OAuth issuer in a test: keys of its own, metadata and a key set over real HTTP, and tokens of every kind."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from aiohttp import web
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

AUDIENCE = "api://concento"


class TestIssuer:
    """Signs what it is told to."""

    __test__ = False

    def __init__(self) -> None:
        self.keys: dict[str, RSAKey | ECKey] = {
            "k1": RSAKey.generate_key(2048, {"kid": "k1"}),
            "e1": ECKey.generate_key("P-256", {"kid": "e1"}),
        }
        self.url = ""
        self.asked: list[str] = []
        self.down = False
        self.oidc = False
        self.told_issuer: str | None = None

    def token(self, key: str = "k1", alg: str = "RS256", *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A signed token; a claim that is None is left out."""
        now = int(time.time())
        body = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 600, **claims}
        payload = json.dumps({name: value for name, value in body.items() if value is not None})
        protected = {"alg": alg, "kid": key, "typ": "at+jwt", **(header or {})}
        return jws.serialize_compact(protected, payload, self.keys[key], algorithms=[alg])

    def hs256(self, secret: bytes) -> str:
        """A token signed with a shared secret, as somebody would who takes a public key for one."""
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 600}
        signed = f"{_part({'alg': 'HS256', 'kid': 'k1'})}.{_part(claims)}"
        return f"{signed}.{_text(hmac.digest(secret, signed.encode(), hashlib.sha256))}"

    async def _serve(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.down:
            return web.Response(status=500)
        if request.path == "/keys":
            keys = [key.as_dict(private=False) for key in self.keys.values()]
            return web.json_response({"keys": [*keys, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "weird"}, 7]})
        is_oidc = request.path == "/.well-known/openid-configuration"
        if is_oidc if self.oidc else request.path == "/.well-known/oauth-authorization-server":
            return web.json_response({"issuer": self.told_issuer or self.url, "jwks_uri": f"{self.url}/keys"})
        return web.Response(status=404)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["TestIssuer"]:
        """Serve metadata and keys on a port of its own."""
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._serve)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{cast(Any, runner.addresses)[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


def _part(value: Any) -> str:
    return _text(json.dumps(value).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
