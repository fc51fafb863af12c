"""What travels down the data path and what comes back.

These are `msgspec.Struct`s rather than dataclasses: made once or more per call, they cost a fifth.
JSON that nobody needs to read stays `Raw`: the bytes as received.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from msgspec import Raw, Struct

from .principal import ANONYMOUS, Principal

if TYPE_CHECKING:
    from .attempt import Attempt

RequestId = int | str

Notify = Callable[[str, Raw], None]
"""Takes one notification (method, params) that belongs to a running call; must not block.

An empty method is no notification: it says that the answer takes a while.
"""


class Endpoint(Struct, frozen=True):
    """Which part of the catalog a call is addressed to: all of it, one view, or one server untouched."""

    kind: Literal["all", "view", "server"] = "all"
    name: str = ""


ALL = Endpoint()


Ability = Literal["elicitation", "elicitation.url", "sampling", "sampling.tools", "sampling.context", "roots"]
"""One thing that a caller can be asked for. `elicitation` is the form, `elicitation.url` the page to open."""


class Profile(Struct, frozen=True):
    """What a caller declared that it can do: as it is said to a modern server, and what it can be asked for."""

    declared: Raw = Raw(b"{}")
    abilities: frozenset[Ability] = frozenset()
    tasks: bool = False
    """It takes a task in place of a result (the tasks extension)."""


NO_ABILITIES = Profile()


class Call(Struct, frozen=True):
    """One request after parsing: era-free and self-contained.

    `params` has no `_meta`; `meta` has what the caller put there except the envelope keys of its revision
    (protocol version, client info and capabilities, log level), which are fields here.
    `name` is the decoded tool name, prompt name or resource URI of the methods that carry one.
    A call that goes on after it was asked for input brings the `answers`, by the keys of the questions, and the `state`
    that came with them.
    """

    method: str
    params: Mapping[str, Raw]
    meta: Mapping[str, Raw]
    name: str | None
    endpoint: Endpoint
    principal: Principal
    profile: Profile
    log_level: str | None = None
    session: str | None = None
    """The agent's legacy session, for servers isolated by session."""
    mirrored: Mapping[str, str] | None = None
    """The `Mcp-Param-*` header fields the request came with; None where its transport or era mirrors nothing."""
    answers: "Mapping[str, Answer] | None" = None
    state: str | None = None
    patience: "Patience | None" = None
    """How long it may take, for a call that may become a task; others have their server's `timeout_s`."""
    address: str = ""
    """Where it came from; empty if not over a network."""
    id: bytes | None = None
    """The request's raw JSON-RPC id, for records."""
    revision: str = ""
    """The protocol revision that its agent speaks, for records."""
    link: str | None = None
    """The `traceparent` of its HTTP head, where `_meta` has another, which is the parent."""


class Patience:
    """The time of a call that may become a task: its server's `timeout_s`, until it is granted more."""

    __slots__ = ("granted_s", "on_grant")

    def __init__(self, granted_s: float | None = None) -> None:
        self.granted_s = granted_s
        self.on_grant: Callable[[float], None] | None = None

    def grant(self, seconds: float) -> None:
        """Let it take so long from now on."""
        self.granted_s = seconds
        if self.on_grant is not None:
            self.on_grant(seconds)


class Request(Struct, frozen=True):
    """What a server is asked, in its own names: a link stamps the revision's envelope on it and sends it.

    `params` has no `_meta`. `progress_token` is in `meta` only if the caller wants progress; the link mints its own.
    """

    method: str
    params: Mapping[str, Raw | str]
    meta: Mapping[str, Raw]
    name: str | None = None
    log_level: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Extra mirrored header fields (`Mcp-Param-*`) for HTTP servers of the modern era."""
    profile: Profile = NO_ABILITIES
    owner: Principal = ANONYMOUS
    """On whose behalf: what waits for input counts against them."""
    answers: "Mapping[str, Answer] | None" = None
    state: str | None = None
    """What the server gave with its questions, as it gave it."""
    task_only: bool = False
    """A legacy server runs this as a task only."""
    attempt: "Attempt | None" = None
    """The attempt that it is sent for, which its server is told as the parent of its own spans."""


class Result(Struct, frozen=True):
    """A result object as the server sent it. `kind` is its `resultType`; None if it had none, which means complete.

    `failed`: a tool that ran and says so (`isError`). `links`: content with a resource's URI may be in it; that is
    found out when the message comes, since to search a `Raw` is to copy it.
    """

    raw: Raw
    kind: str | None = None
    failed: bool = False
    links: bool = True


class Failure(Struct, frozen=True):
    """A JSON-RPC error that a server answered with: an outcome to relay, not a fault of ours."""

    code: int
    message: str
    data: Raw | None = None


Reply = Result | Failure

Answer = Raw | Failure
"""What a caller says to one question: a bare result object, or the error that a legacy agent answered with."""

INPUT_REQUIRED = "input_required"
"""The `resultType` of a result that asks for input."""
