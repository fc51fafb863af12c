"""Who is calling, and whether they may at all: judged on the request's head, before any body is read.

Without `auth:` the hub serves loopback only, and every caller is the same anonymous principal. Host and Origin are
checked on every route, so that a web page can't reach the hub through a name it controls. Source: hardening T20.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from .parser import HttpHead, Refusal


class Hosts:
    """The host names under which the hub may be addressed, and whose pages may address it."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed: frozenset[str] = frozenset()
        self._passed: set[str] = set()
        self.allow(allowed)

    def allow(self, hosts: Iterable[str]) -> None:
        """Make these the host names."""
        self._allowed = frozenset(host.lower() for host in hosts)
        self._passed = set()

    def refusal(self, head: HttpHead) -> Refusal | None:
        """Why this request is not for us; None if it is."""
        host = head.fields.get("host")
        if host is None and head.chunks:
            return Refusal(400, "An HTTP/1.1 request needs a Host header")
        if host not in self._passed:
            if host is not None and _name(host) not in self._allowed:
                return Refusal(403, "The Host header names no host this hub answers for; add it to `hosts`")
            if host is not None and len(self._passed) < 256:
                self._passed.add(host)
        origin = head.fields.get("origin")
        if origin is not None:
            if "origin" in head.repeated:
                return Refusal(403, "The Origin header came more than once")
            try:
                name = (urlsplit(origin).hostname or "").lower()
            except ValueError:
                name = ""
            if name not in self._allowed and f"[{name}]" not in self._allowed:
                return Refusal(403, "Pages of this origin may not call the hub; add its host to `hosts`")
        return None


def _name(host: str) -> str:
    """A Host header without its port."""
    host = host.lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
