"""Which hosts the hub answers for: judged on the request's head, before any body is read.

Host and Origin are checked on every route, so that a web page can't reach the hub through a name it controls.
Source: hardening T20.
"""

import re
from collections.abc import Iterable

from ..parser import HttpHead, Refusal

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:@]+)(?::[0-9]{0,5})?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")

_PASSED_MAX = 256


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
        host, origin = head.fields.get("host"), head.fields.get("origin")
        if host is None and head.chunks:
            return Refusal(400, "An HTTP/1.1 request needs a Host header")
        if origin is None and host in self._passed:
            return None
        origins = [] if origin is None else [origin] * (2 if "origin" in head.repeated else 1)
        problem = self.problem([] if host is None else [host], origins)
        if problem is not None:
            return Refusal(403, problem)
        if host is not None and len(self._passed) < _PASSED_MAX:
            self._passed.add(host)
        return None

    def problem(self, hosts: list[str], origins: list[str]) -> str | None:
        """What is wrong with the Host and Origin fields of a request."""
        if len(hosts) > 1 or any(_name(host) not in self._allowed for host in hosts):
            return "The Host header names no host this hub answers for; add it to `hosts`"
        if len(origins) > 1:
            return "The Origin header came more than once"
        for origin in origins:
            scheme = _SCHEME.match(origin.lower())
            if scheme is None or _name(origin[scheme.end() :]) not in self._allowed:
                return "Pages of this origin may not call the hub; add its host to `hosts`"
        return None


def _name(host: str) -> str:
    """A Host header without its port; empty if it is malformed."""
    match = _HOST.fullmatch(host.lower())
    return "" if match is None else match[1]
