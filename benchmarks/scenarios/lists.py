"""A whole `tools/list` over 20 servers: every page, every name looked at."""

import contextlib
import http.client
import statistics
import time
import urllib.parse
from collections.abc import Callable, Sequence

from ..answers import whole_list
from ..bench import READY_S, Bench, Figures, Started
from ..process import cpu_ns, gateway_pids, resident_mib, spent_ns
from ..refused import Refused
from ..route import ANSWER_S, Json, Route, fields, messages, request
from ..upstream import tool_names

SERVERS = 20
LISTS_MIN = 3
PAGES_MAX = 1000


def lists(bench: Bench) -> None:
    """Each candidate in the newest era it speaks; nginx forwards one server's list with as many tools."""
    for tools in (50,) if bench.quick else (50, 250):
        _compare(bench, f"{SERVERS} servers × {tools} tools", SERVERS, tools)


def _compare(bench: Bench, case: str, servers: int, tools: int) -> None:
    with bench.started("lists", [case], lambda candidate: bench.any_many(candidate, servers, tools)) as ready:
        bench.alternate("lists", case, {one.candidate: _turn(bench, one, servers, tools) for one in ready})


def _turn(bench: Bench, started: Started, servers: int, tools: int) -> Callable[[], Figures]:
    """Listings of all tools, one after the other on a connection that is kept."""
    candidate, pid = started.candidate, started.program.pid
    names = tool_names(tools * servers // len(started.servers))
    expected = {candidate.public(server, name) for server in started.servers for name in names}

    def measure() -> Figures:
        with contextlib.closing(Listing(started.route)) as listing:
            return measure_on(listing)

    def measure_on(listing: Listing) -> Figures:
        _settle(listing, expected)
        before = cpu_ns(gateway_pids(pid))
        took_ms: list[float] = []
        deadline_s = time.monotonic() + bench.seconds
        while len(took_ms) < LISTS_MIN or time.monotonic() < deadline_s:
            names = listing.fetch()
            took_ms.append(listing.took_s * 1000)
            whole_list(names, expected)
        cpu_us = spent_ns(before, cpu_ns(gateway_pids(pid))) / len(took_ms) / 1000
        return {"cpu_us": cpu_us, **listing.figures(took_ms), "rss_mib": resident_mib(pid)}

    return measure


def _settle(listing: "Listing", expected: set[str]) -> None:
    """Wait until a gateway has the lists of all its servers. Errors: Refused, if that takes too long."""
    deadline_s = time.monotonic() + READY_S
    while True:
        try:
            return whole_list(listing.fetch(), expected)
        except Refused:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


class Listing:
    """Fetches a whole list, page by page. `took_s`: until the last byte; `pages` and `size` of the last listing.

    `token`: what the next one is asked with.
    """

    def __init__(self, route: Route) -> None:
        host = urllib.parse.urlsplit(route.url)
        self._connection = http.client.HTTPConnection(host.netloc, timeout=ANSWER_S)
        self._path = host.path
        self._route = route
        self.token = route.token
        self.took_s = 0.0
        self.pages = self.size = 0

    def figures(self, took_ms: Sequence[float]) -> Figures:
        """What is told of some listings, beside what they cost."""
        times = {"p50_ms": statistics.median(took_ms), "max_ms": max(took_ms)}
        return {**times, "pages": self.pages, "kb": self.size / 1000}

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def fetch(self) -> list[str]:
        """The names of all tools. Errors: Refused."""
        names: list[str] = []
        cursor: str | None = ""
        self.took_s, self.pages, self.size = 0.0, 0, 0
        while cursor is not None:
            if self.pages == PAGES_MAX:
                raise Refused(f"a list of more than {PAGES_MAX} pages")
            page = self._page({"cursor": cursor} if cursor else {})
            names += [str(tool["name"]) for tool in page["tools"]]
            cursor = page.get("nextCursor")
        return names

    def _page(self, params: Json) -> Json:
        era = self._route.era
        body = request("tools/list", params, era)
        head = fields("tools/list", era, session=self._route.session)
        if self.token:
            head["Authorization"] = f"Bearer {self.token}"
        started_s = time.monotonic()
        try:
            self._connection.request("POST", self._path, body, head)
            reply = self._connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Refused(f"a list did not come: {error!r}") from None
        self.took_s += time.monotonic() - started_s
        self.pages += 1
        self.size += len(text)
        told = messages(text, reply.headers.get_content_type())[-1]
        if reply.status != 200 or "tools" not in told.get("result", {}):
            raise Refused(f"a list is answered with {reply.status} {text[:300]!r}")
        result: Json = told["result"]
        return result
