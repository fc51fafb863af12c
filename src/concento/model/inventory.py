"""What one server offers, as it said so itself: raw definitions under the server's own names."""

from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["tools", "prompts", "resources", "templates"]
KINDS: tuple[Kind, ...] = ("tools", "prompts", "resources", "templates")


@dataclass(frozen=True, slots=True)
class Item:
    """One definition. `key` is the tool or prompt name, the URI or URI template; `raw` the whole object."""

    key: str
    raw: bytes
    cleaned: bool = False
    """Whether hidden characters were taken out of it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One complete list of a server (all pages), in the server's order.

    `ttl_s` is how long it may be used unasked (None: the server did not say, as legacy servers never do);
    `public` is False where the list may only be shown to the credential it was fetched with.
    """

    items: tuple[Item, ...] = ()
    ttl_s: float | None = None
    public: bool = False
    fetched_at: float = 0.0
    """Unix time, so that a list kept over a restart still knows its age."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """All lists of one server, with what it said of itself.

    `capabilities` and `info` are the raw objects (`{}` if absent).
    """

    tools: Listing = Listing()
    prompts: Listing = Listing()
    resources: Listing = Listing()
    templates: Listing = Listing()
    capabilities: bytes = b"{}"
    info: bytes = b"{}"
    instructions: str | None = None

    def listing(self, kind: Kind) -> Listing:
        """The list of that kind."""
        return getattr(self, kind)  # type: ignore[no-any-return]

    def with_listing(self, kind: Kind, listing: Listing) -> "Inventory":
        """The same with another list of that kind."""
        return replace(self, **{kind: listing})  # type: ignore[arg-type]


EMPTY = Inventory()

ServerState = Literal["starting", "ready", "asleep", "waiting", "failing", "draining", "drained", "stopped"]
"""`asleep`: no child runs because nothing needs one; the next call starts it. `waiting`: it lists nothing until a user
has connected an account; calls are made with users' own. `draining`: an operator has it take no new calls, and some run
yet; `drained`: none does, and nothing of it runs."""

WELL: frozenset[ServerState] = frozenset(("ready", "asleep", "waiting"))
"""States in which nothing is wrong: the inventory that is known holds."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of a server's condition right now. `error` is one safe sentence naming thing and remedy."""

    state: ServerState = "starting"
    error: str | None = None
    stale: bool = False
    """The inventory shown was fetched before the present failure or restart."""
    era: str | None = None
    revision: str | None = None
    stderr: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of one replica at the moment a call is planned."""

    usable: bool = True
    in_flight: int = 0
    latency_s: float = 0.0
    """How long its replies took lately; it fades while none comes."""
    warmth: float = 1.0
    """Which part of its share of calls it gets: less for a while after it failed."""
