"""Guards on content, as configured: what a result may be, what is redacted, who else is asked, what a user confirms.

`control.config` makes them, `policy` compiles them, `gateway` holds calls to them. Patterns match `server.name`, as in
policies.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from .policy import ALL_KINDS, ANY, Conditions, ItemKind

Side = Literal["arguments", "result"]
"""What goes to a server, or what comes from it."""

Action = Literal["redact", "refuse", "note"]
"""What happens to what detectors find: it is taken out, the call ends there, or it is only noted."""

Confirm = Literal["destructive", "always"]
"""Of which calls a user is asked: those of tools that may destroy something, by what counts of their hints; or all."""

ContentType = Literal["text", "image", "audio", "resource", "resource_link", "blob", "structured"]
CONTENT_TYPES: Final[tuple[ContentType, ...]] = (
    *("text", "image", "audio", "resource", "resource_link", "blob", "structured"),
)
"""What results are made of: the types of content; `blob`: a resource that was read and is no text; `structured`."""


@dataclass(frozen=True, slots=True)
class ResultLimits:
    """How large a result may be, as JSON, and of which types its content; None: any."""

    bytes_max: int | None = None
    types: tuple[ContentType, ...] | None = None


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is searched for, by the names of detectors, where, and what happens then.

    `patterns`: expressions of the operator's own, each with what it finds is called.
    """

    detectors: tuple[str, ...] = ()
    on: tuple[Side, ...] = ("result",)
    action: Action = "redact"
    patterns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Webhook:
    """Somebody else who is asked over HTTP, before a server is and after it answered.

    `on_failure`: what happens to a call about which it can't be asked.
    """

    url: str = field(repr=False)
    before: bool = True
    after: bool = True
    timeout_s: float = 2.0
    on_failure: Literal["refuse", "pass"] = "refuse"
    bearer: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    """What the body is signed with."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard: what it is about, when it holds, and what it does, in this order."""

    name: str
    patterns: tuple[str, ...] = ("*",)
    kinds: tuple[ItemKind, ...] = ALL_KINDS
    when: Conditions = ANY
    unless: Conditions | None = None
    confirm: Confirm | None = None
    result: ResultLimits | None = None
    redaction: Redaction | None = None
    webhook: Webhook | None = None
    place: str = field(default="", compare=False)
