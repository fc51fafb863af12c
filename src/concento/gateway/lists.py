"""Answers from the catalog: `server/discover` and the four lists."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw

from .. import __version__
from ..catalog.paging import page
from ..catalog.view import TenantView
from ..model import meta
from ..model.call import Call, Reply, Result
from ..model.errors import InvalidParams
from ..model.inventory import Kind
from ..model.seal import Seal
from ..protocol.jsonrpc import read_string
from ..protocol.versions import LEGACY, MODERN

if TYPE_CHECKING:
    from .call import Gateway

__all__ = ["INFO", "Seal", "describe", "discover", "page_of"]

_encode = msgspec.json.Encoder().encode

INFO: Final = {"name": "concento", "title": "Concento", "version": __version__}
_MEMBER: Final[dict[Kind, bytes]] = {
    "tools": b"tools",
    "prompts": b"prompts",
    "resources": b"resources",
    "templates": b"resourceTemplates",
}


def describe(view: TenantView) -> dict[str, Any]:
    """Who answers at an endpoint, what it can do and how to use it, for `server/discover` and `initialize` alike."""
    described: dict[str, Any] = {"capabilities": view.capabilities, "serverInfo": view.info or INFO}
    if view.instructions:
        described["instructions"] = view.instructions
    return described


async def discover(gateway: "Gateway", view: TenantView, call: Call) -> Reply:
    """Answer `server/discover`."""
    described = describe(view)
    info = described.pop("serverInfo")
    result = {
        "resultType": "complete",
        "supportedVersions": [*MODERN, *LEGACY],
        **described,
        "ttlMs": view.ttl_ms("tools", gateway.wall()),
        "cacheScope": "public" if view.public("tools") else "private",
        "_meta": {meta.SERVER_INFO: info},
    }
    return Result(Raw(_encode(result)), "complete")


def page_of(kind: Kind) -> "Callable[[Gateway, TenantView, Call], Awaitable[Reply]]":
    """The answer to one of the list methods."""
    member = _MEMBER[kind]

    async def answer(gateway: "Gateway", view: TenantView, call: Call) -> Reply:
        await gateway.freshness.refresh(view, kind, call.principal)
        fresh = gateway.current.snapshot.view(call.endpoint, call.principal) or view
        raw_cursor = call.params.get("cursor")
        cursor = read_string(raw_cursor)
        if raw_cursor is not None and cursor is None:
            raise InvalidParams("The cursor must be a string")
        found = page(
            fresh,
            kind,
            cursor,
            items_max=gateway.current.snapshot.config.page_items_max,
            seal=gateway.seal,
            principal=call.principal,
        )
        told: dict[str, Any] = {"ttlMs": fresh.ttl_ms(kind, gateway.wall())}
        told["cacheScope"] = "public" if fresh.public(kind) else "private"
        told["resultType"] = "complete"
        if found.next_cursor is not None:
            told["nextCursor"] = found.next_cursor
        notes: dict[str, Any] = {meta.SERVER_INFO: fresh.info or INFO}
        if troubles := fresh.troubles():
            notes[meta.SERVERS] = troubles
        told["_meta"] = notes
        items = b",".join(found.items)
        return Result(Raw(b'{"%b":[%b],%b' % (member, items, _encode(told)[1:])), "complete")

    return answer
