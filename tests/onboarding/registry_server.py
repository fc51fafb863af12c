"""A registry with the API of the official one, for as long as a context is open."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PAGE = 2
"""Fewer on a page than any client asks for, so that all of them have to turn pages."""


@contextmanager
def registry(servers: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Serve these `server.json`s; yields the registry's URL."""
    official = "io.modelcontextprotocol.registry/official"
    entries = [{"server": one, "_meta": {official: {"status": one.get("status", "active")}}} for one in servers]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            path = [unquote(part) for part in parts.path.split("/")]
            if parts.path == "/v0.1/servers":
                fit = [one for one in entries if query.get("search", "") in one["server"]["name"]]
                start = int(query.get("cursor", "0"))
                metadata: dict[str, Any] = {"count": len(fit[start : start + PAGE])}
                if start + PAGE < len(fit):
                    metadata["nextCursor"] = str(start + PAGE)
                self._answer(200, {"servers": fit[start : start + PAGE], "metadata": metadata})
            elif path[:3] == ["", "v0.1", "servers"] and path[4:] == ["versions", "latest"]:
                fit = [one for one in entries if one["server"]["name"] == path[3]]
                self._answer(200 if fit else 404, fit[0] if fit else {"error": "Server not found"})
            else:
                self._answer(404, {"error": "no such path"})

        def _answer(self, status: int, value: Any) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
