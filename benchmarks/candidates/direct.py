"""No hub: the agent speaks to the server. What is left of the figures is the server's and the load generator's own."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..process import Program
from ..route import Era
from .candidate import Candidate, Server


class Direct(Candidate):
    name = "no hub"
    about = "the agent speaks to the server itself"
    own = True
    starts = False

    def version(self) -> str:
        return ""

    def lacks(self, era: Era, servers: Sequence[Server]) -> str | None:
        if len(servers) > 1:
            return "several servers need something that puts their lists together"
        return "an agent over HTTP can't speak to a child process" if servers[0].command else None

    @contextlib.contextmanager
    def up(self, room: Path, servers: Sequence[Server]) -> Iterator[Program]:
        yield Program(0, "")

    def url(self, program: Program, server: Server) -> str:
        return server.url
