"""A gateway that somebody else has started before our server: `--gateway NAME=URL@PID`."""

import contextlib
import json
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..process import Program
from ..refused import Refused
from ..route import Era, Route, fields, messages, post, request
from .candidate import Candidate, Server

SET_UP_FOR = ("/mcp", "/legacy")


class Other(Candidate):
    about = "named on the command line"
    starts = False

    def __init__(self, name: str, url: str, pid: int) -> None:
        self.name, self._url, self._pid = name, url, pid
        self._public: dict[Era, str] = {}

    @classmethod
    def parse(cls, text: str) -> "Other":
        """Read `NAME=URL@PID`. Errors: ValueError, with what is wrong."""
        name, equals, rest = text.partition("=")
        url, at, pid = rest.rpartition("@")
        if not (name and equals and at and pid.isdecimal()):
            raise ValueError(f"{text!r} is not NAME=URL@PID, as in other=http://127.0.0.1:8000/mcp@4711")
        host = urllib.parse.urlsplit(url)
        if host.scheme != "http" or host.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError(f"{url!r} is not an http URL on this machine: a process elsewhere can't be measured here")
        return cls(name, url, int(pid))

    def prepare(self) -> None:
        if not Path(f"/proc/{self._pid}").exists():
            raise Refused(f"there is no process {self._pid}")

    def version(self) -> str:
        return "as it was started"

    def lacks(self, era: Era, servers: Sequence[Server]) -> str | None:
        if len(servers) > 1 or servers[0].command or urllib.parse.urlsplit(servers[0].url).path not in SET_UP_FOR:
            return "a gateway from outside is measured before the one server that it was set up for"
        try:
            self._public[era] = _name_of_echo(self._url, era)
        except Refused as why:
            return f"it offers no tool whose name ends in `echo` to {era} agents: {why}"
        return None

    @contextlib.contextmanager
    def up(self, room: Path, servers: Sequence[Server]) -> Iterator[Program]:
        yield Program(self._pid, self._url)

    def url(self, program: Program, server: Server) -> str:
        return self._url

    def route(self, program: Program, server: Server, era: Era) -> Route:
        name = self._public[era]
        return Route(self._url, era, lambda tool: name.removesuffix("echo") + tool)

    def configuration(self) -> list[tuple[str, str]]:
        return [("option", "--gateway NAME=URL@PID")]


def _name_of_echo(url: str, era: Era) -> str:
    session = Route(url, era).session
    answer = post(url, request("tools/list", {}, era), fields("tools/list", era, session=session))
    listed = messages(*answer)[-1]
    try:
        return next(str(tool["name"]) for tool in listed["result"]["tools"] if tool["name"].endswith("echo"))
    except (KeyError, TypeError, StopIteration):
        raise Refused(json.dumps(listed)[:200]) from None
