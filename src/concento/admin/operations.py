"""The table that the admin API is: each operation once, with who may use it, what it takes, and what it answers.

From it follow the routes and their checks (`router.py`), the description (`openapi.py`), the reference in the
documentation, and the test of every role against every route. To add a resource, write a module in `api/` with its
types, its handlers and its `OPERATIONS`, and name it in `api/__init__.py`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ..control.config.kinds import Schema
from ..model.principal import Principal
from .access import Role
from .describe import Hub

Method = Literal["GET", "PUT", "POST", "DELETE"]
JSON: Final = "application/json"
REASON: Final = "Concento-Reason"
"""The header field in which whoever changes something may say why: it is recorded."""
FIELDS: Final[Mapping[str, tuple[str, str]]] = {
    REASON: (r"[\x20-\x7e]{1,256}", "Why something is changed; it is recorded."),
    "If-Match": (r'\*|"[!#-~]{1,64}"', "The `ETag` of the object as it was seen."),
    "If-None-Match": (r'\*|"[!#-~]{1,64}"', "`*`: only if there is none."),
}
"""Header fields of requests that change something: what each has to look like, and what it says."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that was let in and checked: `query` and `body` are of the operation's types."""

    hub: Hub
    caller: Principal
    path: Mapping[str, str]
    query: Any
    body: Any
    headers: Mapping[str, str]
    """By lower-case name."""

    @property
    def reason(self) -> str:
        """Why something is changed, as whoever changes it says."""
        return self.headers.get(REASON.lower(), "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, where it is more than a value with the operation's status."""

    value: Any
    status: int | None = None
    headers: Mapping[str, str] | None = None


Handler = Callable[[Asked], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `answer`, `query` and `body` are types that msgspec knows, or the JSON Schema of a value.

    `role`: what whoever uses it has to be; None: anybody. `own`: the admin of a tenant may, too; where its path has a
    `{tenant}`, for their own.
    """

    method: Method
    path: str
    summary: str
    role: Role | None
    handler: Handler
    answer: Any
    query: type | None = None
    body: Any = None
    own: bool = False
    status: int = 200
    media: str = JSON
    statuses: tuple[int, ...] = ()
    """What else it may answer with, beside what follows from its shape."""
    also: Mapping[int, str] | None = None
    """Other ways in which it succeeds."""
    conditional: bool = False
    """Whether `If-Match` and `If-None-Match` say which object is meant."""
    tagged: bool = False
    """Whether its answer has an `ETag`."""
    body_bytes_max: int = 65_536

    @property
    def name(self) -> str:
        """Its `operationId`."""
        steps = [step.strip("{}").partition(":")[0] for step in self.path.removeprefix("/api/v1").split("/") if step]
        return "-".join([self.method.lower(), *(step.replace(".", "-") for step in steps)]) or "get-index"

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in its path."""
        steps = (step for step in self.path.split("/") if step.startswith("{"))
        return tuple(step.strip("{}").partition(":")[0] for step in steps)

    @property
    def fields(self) -> tuple[str, ...]:
        """The header fields that it takes."""
        said = (REASON,) if self.method != "GET" else ()
        return (*said, "If-Match", "If-None-Match") if self.conditional else said

    @property
    def schema(self) -> Schema | None:
        """The JSON Schema of its body, where that is no type."""
        return self.body if isinstance(self.body, dict) else None
