"""Read the lists of one server, all pages of each, tolerantly but bounded."""

import asyncio
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from ..catalog.clean import clean_text, cleaned
from ..model.call import Failure, Request
from ..model.errors import BadReply
from ..model.inventory import Inventory, Item, Kind, Listing
from ..model.limits import LIST_ITEMS_MAX, LIST_PAGES_MAX
from ..protocol.jsonrpc import raw, read_object, read_string
from ..upstream.link import Welcome
from ..upstream.server import Upstream

METHOD: Final[dict[Kind, str]] = {
    "tools": "tools/list",
    "prompts": "prompts/list",
    "resources": "resources/list",
    "templates": "resources/templates/list",
}
_KEY: Final[dict[Kind, str]] = {"tools": "name", "prompts": "name", "resources": "uri", "templates": "uriTemplate"}
_CAPABILITY: Final[dict[Kind, str]] = {
    "tools": "tools",
    "prompts": "prompts",
    "resources": "resources",
    "templates": "resources",
}
_UNKNOWN_METHOD: Final = -32601


class _Page(Struct):
    tools: list[Raw] = []
    prompts: list[Raw] = []
    resources: list[Raw] = []
    resourceTemplates: list[Raw] = []
    nextCursor: str | UnsetType | None = UNSET
    ttlMs: float | None = None
    cacheScope: str | None = None


_page = msgspec.json.Decoder(_Page)


async def fetch_inventory(upstream: Upstream, replica: int, welcome: Welcome, now: float) -> Inventory:
    """All lists of a server, side by side. Errors: any `CallError` of the first list that failed."""
    kinds: tuple[Kind, ...] = ("tools", "prompts", "resources", "templates")
    tools, prompts, resources, templates = await asyncio.gather(
        *(fetch_listing(upstream, replica, welcome, kind, now) for kind in kinds)
    )
    return Inventory(
        tools=tools,
        prompts=prompts,
        resources=resources,
        templates=templates,
        capabilities=cleaned(bytes(welcome.capabilities), key=""),
        info=cleaned(bytes(welcome.info), key=""),
        instructions=None if welcome.instructions is None else clean_text(welcome.instructions),
    )


async def fetch_listing(upstream: Upstream, replica: int, welcome: Welcome, kind: Kind, now: float) -> Listing:
    """One list of a server; empty if the server has no such capability."""
    if not welcome.offers(_CAPABILITY[kind]) or (kind == "resources" and upstream.server.knows_callers):
        return Listing(fetched_at=now)  # resources of one user are no other's business
    items: list[Item] = []
    ttl_s: float | None = None
    public = True
    cursor: str | None = None
    for _ in range(LIST_PAGES_MAX):
        page = await _fetch_page(upstream, replica, kind, cursor)
        if page is None:
            return Listing(fetched_at=now)
        for raw_item in (page.tools, page.prompts, page.resources, page.resourceTemplates)[
            ("tools", "prompts", "resources", "templates").index(kind)
        ]:
            items.append(_item(kind, raw_item))
        if page.ttlMs is not None:
            ttl_s = min(page.ttlMs / 1000, ttl_s if ttl_s is not None else float("inf"))
        public = public and page.cacheScope == "public"
        if page.nextCursor is UNSET or page.nextCursor is None or page.nextCursor == cursor:
            return Listing(tuple(items), ttl_s, public, now)
        cursor = page.nextCursor
        if len(items) > LIST_ITEMS_MAX:
            break
    limits = f"{LIST_ITEMS_MAX} {kind}, or more than {LIST_PAGES_MAX} pages"
    raise BadReply(f"The server {upstream.server.alias!r} lists more than {limits}")


async def _fetch_page(upstream: Upstream, replica: int, kind: Kind, cursor: str | None) -> _Page | None:
    request = Request(METHOD[kind], {} if cursor is None else {"cursor": raw(cursor)}, {})
    reply = await upstream.request(replica, "", request)
    if isinstance(reply, Failure):
        if reply.code == _UNKNOWN_METHOD:
            return None
        told = f"{reply.message[:200]} ({reply.code})"
        raise BadReply(f"The server {upstream.server.alias!r} can't list its {kind}: {told}")
    try:
        return _page.decode(reply.raw)
    except msgspec.DecodeError as error:
        raise BadReply(f"The server {upstream.server.alias!r} sent a malformed list of {kind}: {error}") from None


def _item(kind: Kind, raw_item: Raw) -> Item:
    said = bytes(raw_item)
    clean = cleaned(said, _KEY[kind])
    known_by = read_string((read_object(clean) or {}).get(_KEY[kind])) or ""
    return Item(known_by, clean, clean is not said)
