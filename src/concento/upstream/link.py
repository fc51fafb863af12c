"""One connection to a server, of whatever transport and era: the contract, and what all of them share."""

import asyncio
from typing import Final, Protocol

import msgspec
from msgspec import Raw

from ..model import meta
from ..model.call import Notify, Reply, Request
from ..model.errors import CallError
from ..protocol.jsonrpc import Push, read_object, read_string
from ..protocol.modern import LOG_LEVELS
from ..protocol.versions import Era

_encode = msgspec.json.Encoder().encode

CHANGES = {
    "notifications/tools/list_changed": "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
}
"""Notifications that say a list changed, and which."""

UPDATED = "notifications/resources/updated"
TASK_CHANGED = "notifications/tasks"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


class Welcome(msgspec.Struct, frozen=True):
    """What a server said of itself when the link was made."""

    era: Era
    revision: str
    capabilities: Raw
    info: Raw
    instructions: str | None = None

    def offers(self, capability: str, part: str | None = None) -> bool:
        """Whether a capability was declared, and within it a part (`listChanged`, `subscribe`) set to true."""
        declared = (read_object(self.capabilities) or {}).get(capability)
        if declared is None or part is None:
            return declared is not None
        return (read_object(declared) or {}).get(part, Raw(b"false")) == Raw(b"true")


class Listener(Protocol):
    """Who wants to know what a server sends outside of any call. Never blocks."""

    def changed(self, kind: str) -> None:
        """One of its lists changed: `tools`, `prompts` or `resources`."""

    def updated(self, uri: str) -> None:
        """A subscribed resource changed."""


class _Deaf:
    """Listens for links that serve one caller: the main link hears the same."""

    def changed(self, kind: str) -> None:
        pass

    def updated(self, uri: str) -> None:
        pass


DEAF: Final = _Deaf()


class Link(Protocol):
    """A live connection. Its `lost` future ends with the reason once it can't be used any more."""

    welcome: Welcome
    lost: asyncio.Future[CallError]

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way or parked."""
        ...

    @property
    def asks_blindly(self) -> bool:
        """Whether the server asked something here, where nothing says which call a question is for."""
        ...

    async def request(self, request: Request, notify: Notify | None = None) -> Reply:
        """Ask, and hand on what belongs to the call meanwhile. Cancelling the task cancels at the server.

        Errors: Unavailable (nothing was sent), BadReply (outcome unknown), Overloaded.
        """
        ...

    async def subscribe(self, uris: frozenset[str]) -> None:
        """Have `Listener.updated` called for exactly these resources from now on; returns once the server agreed."""
        ...

    async def close(self) -> None:
        """End it; calls in flight fail."""
        ...


class Ear:
    """Hears what a server sends while one call runs, and hands on what its caller asked for.

    Progress is given the caller's own token again; log messages below the wanted level are dropped.
    """

    __slots__ = ("_level", "_notify", "_token")

    def __init__(self, request: Request, notify: Notify | None) -> None:
        self._notify = notify
        self._token = request.meta.get(meta.PROGRESS_TOKEN)
        self._level = LOG_LEVELS.index(request.log_level) if request.log_level else None

    @property
    def wants_logs(self) -> bool:
        """Whether the caller asked for log messages at all."""
        return self._notify is not None and self._level is not None

    def hear(self, push: Push) -> None:
        """Hand on one notification of the call's own stream."""
        if self._notify is None:
            return
        if push.method == TASK_CHANGED:
            self._notify(push.method, push.params)
        elif push.method == "notifications/progress":
            if self._token is not None:
                params = read_object(push.params) or {}
                params[meta.PROGRESS_TOKEN] = self._token
                self._notify(push.method, Raw(_encode(params)))
        elif push.method == "notifications/message" and self._level is not None:
            level = read_string((read_object(push.params) or {}).get("level"))
            if level in LOG_LEVELS and LOG_LEVELS.index(level) >= self._level:
                self._notify(push.method, push.params)


def tell(listener: Listener, push: Push) -> bool:
    """Pass a change notification to the listener; False if it is none."""
    if (kind := CHANGES.get(push.method)) is not None:
        listener.changed(kind)
        return True
    if push.method == UPDATED:
        uri = read_string((read_object(push.params) or {}).get("uri"))
        if uri is not None:
            listener.updated(uri)
        return True
    return False


class Levels:
    """The log level a legacy session was last set to: only ever lowered, since the session is shared."""

    def __init__(self) -> None:
        self._current = LOG_LEVELS.index("info")

    def to_set(self, request: Request, welcome: Welcome) -> str | None:
        """The level the server must be told before this request, if any."""
        if request.log_level is None or LOG_LEVELS.index(request.log_level) >= self._current:
            return None
        if not welcome.offers("logging"):
            return None
        self._current = LOG_LEVELS.index(request.log_level)
        return request.log_level
