"""Find servers by name: in the official MCP registry or another one with its API, and in the copy shipped with us.

The API is frozen as v0.1: `GET /v0.1/servers?search=…&version=latest` and `/v0.1/servers/{name}/versions/latest`. What
a registry says is somebody's text: it is read in bounds, never run, and printed without what would steer a terminal.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from ..model.errors import ConcentoError

OFFICIAL: Final = "https://registry.modelcontextprotocol.io"
SHIPPED: Final = "shipped"
"""The source that is no URL: the copy in this package."""

WAIT_S: Final = 10.0
REPLY_BYTES_MAX: Final = 8 * 1024 * 1024
PAGES_MAX: Final = 5
PAGE_ITEMS: Final = 100
_OFFICIAL_META: Final = "io.modelcontextprotocol.registry/official"


class NotReached(ConcentoError):
    """A registry can't be asked; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One server of a registry; `content` is its `server.json`."""

    name: str
    description: str
    version: str
    content: Mapping[str, Any] = field(repr=False)
    is_active: bool = True

    @property
    def short(self) -> str:
        """The name without its owner, and without what every server is called."""
        return short_name(self.name)


def short_name(name: str) -> str:
    """What a person would call it: `github` for `io.github.github/github-mcp-server`."""
    last = name.rpartition("/")[2].lower()
    for affix in ("mcp-server-", "server-", "mcp-"):
        last = last.removeprefix(affix)
    for affix in ("-mcp-server", "-server", "-mcp"):
        last = last.removesuffix(affix)
    return last or name


def shipped() -> list[Listing]:
    """The copy in this package."""
    text = files(__package__).joinpath("registry.json").read_text(encoding="utf-8")
    return _listings(json.loads(text))


async def find(name: str, source: str) -> list[Listing]:
    """Servers that fit a name, best first. A full name (`owner/server`) finds just that one. Errors: NotReached."""
    if source == SHIPPED:
        return best(name, shipped())
    if "/" in name:
        return await _get(source, f"/v0.1/servers/{quote(name, safe='')}/versions/latest", {})
    found: list[Listing] = []
    parameters = {"search": name, "version": "latest", "limit": str(PAGE_ITEMS)}
    async for page in _pages(source, parameters):
        found += page
    return best(name, found)


def best(name: str, listings: Iterable[Listing]) -> list[Listing]:
    """Those that fit a name, best first: called so, then having it in their name, then in their description."""
    wanted = name.lower()
    ranked: list[tuple[int, str, Listing]] = []
    for one in listings:
        if one.name.lower() == wanted:
            return [one]
        rank = _rank(wanted, one)
        if rank is not None and one.is_active:
            ranked.append((rank, one.name, one))
    return [one for _, _, one in sorted(ranked, key=lambda entry: entry[:2])]


def nearest_names(name: str, listings: Sequence[Listing]) -> list[str]:
    """The short names most like one that nothing fits."""
    return get_close_matches(name.lower(), [one.short for one in listings], 5, 0.5)


def _rank(wanted: str, one: Listing) -> int | None:
    if one.short == wanted or one.name.lower().rpartition("/")[2] == wanted:
        return 0
    if wanted in one.name.lower().removeprefix("io.github."):  # most names begin so
        return 1
    return 2 if wanted in one.description.lower().split() else None


# -- asking


async def _get(source: str, path: str, parameters: Mapping[str, str]) -> list[Listing]:
    value = await _json(source, path, parameters)
    return [] if value is None else _listings({"servers": [value]})


async def _pages(source: str, parameters: Mapping[str, str]) -> Any:
    cursor: str | None = None
    for _ in range(PAGES_MAX):
        more = {} if cursor is None else {"cursor": cursor}
        value = await _json(source, "/v0.1/servers", {**parameters, **more})
        if not isinstance(value, dict):
            return
        yield _listings(value)
        metadata = value.get("metadata")
        cursor = metadata.get("nextCursor") if isinstance(metadata, dict) else None
        if not isinstance(cursor, str) or not cursor:
            return


async def _json(source: str, path: str, parameters: Mapping[str, str]) -> Any:
    """The answer; None for 404."""
    import aiohttp
    from yarl import URL

    url = URL(source.rstrip("/") + path, encoded=True).with_query(parameters)
    timeout = aiohttp.ClientTimeout(total=WAIT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(url, headers={"Accept": "application/json"}) as reply,
        ):
            if reply.status == 404:
                return None
            if reply.status != 200:
                raise NotReached(f"the registry at {source} answered {reply.status}")
            content = await reply.content.read(REPLY_BYTES_MAX + 1)
            while len(content) <= REPLY_BYTES_MAX and (more := await reply.content.read(REPLY_BYTES_MAX)):
                content += more
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        said = "it did not answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise NotReached(f"the registry at {source} can't be reached: {said[:200]}") from None
    if len(content) > REPLY_BYTES_MAX:
        raise NotReached(f"the registry at {source} answered with more than {REPLY_BYTES_MAX // 1024 // 1024} MiB")
    try:
        return json.loads(content)
    except ValueError:
        raise NotReached(f"the registry at {source} did not answer with JSON; is this a registry?") from None


def _listings(value: Any) -> list[Listing]:
    servers = value.get("servers") if isinstance(value, dict) else None
    return [one for entry in servers or () if isinstance(servers, list) and (one := _listing(entry)) is not None]


def _listing(entry: Any) -> Listing | None:
    content = entry.get("server") if isinstance(entry, dict) else None
    if not isinstance(content, dict) or not isinstance(name := content.get("name"), str):
        return None
    meta = entry.get("_meta")
    official = meta.get(_OFFICIAL_META) if isinstance(meta, dict) else None
    status = official.get("status") if isinstance(official, dict) else None
    description, version = content.get("description"), content.get("version")
    return Listing(
        name,
        description if isinstance(description, str) else "",
        version if isinstance(version, str) else "",
        content,
        status not in ("deleted", "deprecated"),
    )
