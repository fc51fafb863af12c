"""Try one server before anybody depends on it: does it start, which era does it speak, what does it offer?

The trial is a whole hub in this process with this one server and no listener, so it meets exactly what `serve` would
meet. It keeps nothing, and leaves no process behind.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import msgspec

from ..app import Hub
from ..catalog.slices import Entry, Slice
from ..model.config import Config, Server
from ..snapshot import Current, Snapshot
from ..upstream.http import WANTS_USERS

TRIAL_WAIT_S: Final = 180.0
"""Time for a server to answer: a launcher may have to download it first."""

LAST_WORDS_MAX: Final = 20
"""Lines shown of what a failing server wrote to standard error."""

REDACTED: Final = "[secret]"


@dataclass(frozen=True, slots=True)
class ToolFound:
    """One tool: the public name agents will see, the server's own name, and what it does in the server's words."""

    name: str
    own_name: str
    description: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial found. `error` is None if the server can be used; every text is free of the secrets given."""

    alias: str
    error: str | None
    took_s: float
    era: str | None = None
    revision: str | None = None
    server_name: str | None = None
    server_version: str | None = None
    tools: tuple[ToolFound, ...] = ()
    prompts: int = 0
    resources: int = 0
    notes: tuple[str, ...] = ()
    last_words: tuple[str, ...] = ()

    @property
    def wants_users(self) -> bool:
        """Whether it could not be used since it takes tokens of its users."""
        return self.error is not None and WANTS_USERS in self.error

    @property
    def works(self) -> bool:
        """Whether the server answered and could be listed."""
        return self.error is None


async def try_server(
    server: Server,
    *,
    secrets: Collection[str] = (),
    wait_s: float = TRIAL_WAIT_S,
    on_wait: Callable[[float], None] = lambda waited_s: None,
) -> Trial:
    """Start or reach one server and list what it offers.

    `on_wait` is told about once a second how long it has taken. Errors: none; what fails is in the trial.
    """
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    hub = await Hub.create(Config(servers=MappingProxyType({server.alias: server.awake()}), admin=None), keep=False)
    try:
        settled = _settled(hub.current, server.alias)
        while True:
            waited_s = loop.time() - started_s
            done, _ = await asyncio.wait([settled], timeout=max(0.0, min(1.0, wait_s - waited_s)))
            if done or loop.time() - started_s >= wait_s:
                break
            on_wait(loop.time() - started_s)
        settled.cancel()
        return _found(hub, server.alias, loop.time() - started_s, frozenset(secrets), wait_s)
    finally:
        await hub.close(drain_s=0.0)


def _settled(current: Current, alias: str) -> asyncio.Future[None]:
    """Done once the server has answered or has failed."""
    settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def look(_: Snapshot | None, snapshot: Snapshot) -> None:
        if snapshot.slices[alias].health.state in ("ready", "waiting", "failing") and not settled.done():
            settled.set_result(None)

    current.watch(look)
    look(None, current.snapshot)
    return settled


def _found(hub: Hub, alias: str, took_s: float, secrets: frozenset[str], wait_s: float) -> Trial:
    slice = hub.current.snapshot.slices[alias]
    error = slice.health.error
    if slice.health.state != "ready" and error is None:
        error = f"The server {alias!r} did not answer within {wait_s:g} s"
    waits = [error] if slice.health.state == "waiting" and error is not None else []
    if waits:
        error = None
    words = _live_words(hub, alias) or slice.health.stderr
    name, version = _info(slice)
    return Trial(
        alias,
        None if error is None else redact(error, secrets),
        took_s,
        era=slice.health.era,
        revision=slice.health.revision,
        server_name=name,
        server_version=version,
        tools=tuple(_tool(entry) for entry in slice.tools),
        prompts=len(slice.prompts),
        resources=len(slice.resources) + len(slice.templates),
        notes=tuple(redact(note, secrets) for note in (*slice.notes, *waits)),
        last_words=() if error is None else tuple(redact(line, secrets) for line in words[-LAST_WORDS_MAX:]),
    )


def _live_words(hub: Hub, alias: str) -> tuple[str, ...]:
    """The child's standard error as it is now: a slow child has told nobody of its health yet."""
    return next((upstream.health().stderr for upstream in hub.upstreams if upstream.server.alias == alias), ())


def _info(slice: Slice) -> tuple[str | None, str | None]:
    """Name and version as the server gives them."""
    try:
        info = msgspec.json.decode(slice.inventory.info) if slice.inventory is not None else {}
    except msgspec.DecodeError:
        return None, None
    told = [info.get(key) if isinstance(info, dict) else None for key in ("name", "version")]
    name, version = (printable(text) if isinstance(text, str) else None for text in told)
    return name, version


def _tool(entry: Entry) -> ToolFound:
    description = msgspec.json.decode(entry.raw).get("description")
    return ToolFound(entry.public, entry.own, description if isinstance(description, str) else "")


def redact(text: str, secrets: Collection[str]) -> str:
    """The text without the secrets, and without what would steer a terminal."""
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, REDACTED)
    return printable(text)


def printable(text: str) -> str:
    """The text on one line, without what would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text).strip()
