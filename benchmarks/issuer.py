"""An OAuth issuer for the length of a measurement: one key, its key set over HTTP, and tokens for whoever is named."""

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator

from joserfc import jws
from joserfc.jwk import ECKey

AUDIENCE = "api://bench"
LIFE_S = 3600
PATHS = ("/.well-known/oauth-authorization-server", "/keys")


class Issuer:
    """Signs that somebody is who they say. `url`: its name, and where its keys are."""

    def __init__(self, url: str, key: ECKey) -> None:
        self.url = url
        self._key = key

    def token(self, subject: str, scope: str = "") -> str:
        """A token for one user, good for an hour."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + LIFE_S, "scope": scope}
        header = {"alg": "ES256", "kid": "bench", "typ": "at+jwt"}
        return jws.serialize_compact(header, json.dumps(claims), self._key, algorithms=["ES256"])


@contextlib.contextmanager
def issuer() -> Iterator[Issuer]:
    """An issuer that answers while the context is open."""
    key = ECKey.generate_key("P-256", {"kid": "bench"})

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            about = {"issuer": url, "jwks_uri": f"{url}/keys"}
            told = json.dumps({"keys": [key.as_dict(private=False)]} if self.path == "/keys" else about).encode()
            self.send_response(200 if self.path in PATHS else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            """Nothing: a benchmark prints figures."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Issuer(url, key)
        server.shutdown()
