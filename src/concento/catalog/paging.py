"""Lists in pages. A cursor is sealed, bound to who asked for what where, and survives a catalog that changes meanwhile:
it names the last item shown, and the next page goes on after it."""

import hashlib
from typing import Final

import msgspec
from msgspec import Struct

from ..model.call import Principal
from ..model.errors import InvalidParams
from ..model.inventory import Kind
from ..model.seal import Seal
from .view import TenantView

_NAME_BYTES_MAX: Final = 512
"""A longer name (a URI) is carried as its digest, so that every cursor is short."""


class Page(Struct, frozen=True):
    """Items as they are listed, and how to ask for what follows."""

    items: tuple[bytes, ...]
    next_cursor: str | None = None


def page(view: TenantView, kind: Kind, cursor: str | None, *, items_max: int, seal: Seal, principal: Principal) -> Page:
    """One page of a list. Errors: InvalidParams, for a cursor that is not this caller's, or whose item is gone."""
    entries = view.items(kind)
    start = 0
    if cursor is not None:
        start = _start(view, kind, cursor, seal, principal)
    shown = entries[start : start + items_max]
    following = None
    if start + items_max < len(entries):
        following = seal.close(_mark(view.name(shown[-1])), _context(view, kind, principal))
    return Page(tuple([view.raw(entry) for entry in shown]), following)


def _start(view: TenantView, kind: Kind, cursor: str, seal: Seal, principal: Principal) -> int:
    last = seal.open(cursor, _context(view, kind, principal))
    if last is None:
        raise InvalidParams("The cursor is not valid here; begin the list again")
    for index, name in enumerate(view.names(kind)):
        if _mark(name) == last:
            return index + 1
    raise InvalidParams("The cursor is no longer valid: the list changed; begin it again")


def _mark(name: str) -> bytes:
    encoded = name.encode()
    return b"=" + encoded if len(encoded) <= _NAME_BYTES_MAX else b"#" + hashlib.sha256(encoded).digest()


def _context(view: TenantView, kind: Kind, principal: Principal) -> bytes:
    endpoint = view.endpoint
    return msgspec.json.encode(("cursor", kind, endpoint.kind, endpoint.name, principal.tenant, principal.subject))
