"""What a measurement needs of a gateway: how to start it before some servers, how to find their tools there."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ..process import Program
from ..route import Era, Route


@dataclass(frozen=True)
class Server:
    """A server to stand behind a gateway: at a URL, unless it has a command, which starts it as a child process.

    `alone`: no other stands there, so that a gateway which can may leave its tools' names as they are.
    """

    name: str
    url: str
    command: tuple[str, ...] = ()
    alone: bool = True


class Candidate:
    """One way from an agent to servers.

    `own`: what goes wrong with it ends the run; what goes wrong with another's is told in place of its figure.
    `is_reference`: ratios are to it. It forwards to one server, also where the others stand before many or a child.
    `connections_max`: with how many connections it is asked; few for what takes milliseconds a call.
    `keeps_servers`: its servers are made known to it once, in its room, and not at each start.
    `starts`: `up` starts it, so that its start and its fresh memory can be measured.
    """

    name: str
    about: str
    own = False
    is_reference = False
    keeps_servers = False
    starts = True
    connections_max = 1024

    def prepare(self) -> None:
        """Bring what it needs. Errors: Refused."""

    def version(self) -> str:
        """Which one exactly this is; after `prepare`."""
        raise NotImplementedError

    def fitted(self, scenario: str) -> "Candidate":
        """The same, set up as a scenario needs it where the usual set-up would leave something out."""
        return self

    def lacks(self, era: Era, servers: Sequence[Server]) -> str | None:
        """Why it can't serve agents of an era from these servers; None if it can."""
        return None

    def up(self, room: Path, servers: Sequence[Server]) -> AbstractContextManager[Program]:
        """The gateway, ready before these servers. `room` is a folder of its own. Errors: Refused."""
        raise NotImplementedError

    def url(self, program: Program, server: Server) -> str:
        """Where an agent finds a server's tools."""
        return program.url("/mcp")

    def public(self, server: Server, tool: str) -> str:
        """What a server's tool is called there."""
        return tool

    def route(self, program: Program, server: Server, era: Era) -> Route:
        """An agent's way to a server's tools."""
        return Route(self.url(program, server), era, lambda tool: self.public(server, tool))

    def configuration(self) -> list[tuple[str, str]]:
        """How it is started and configured, for the report: titles and texts, with example ports and folders."""
        return []
