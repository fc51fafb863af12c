"""Lists in pages. A cursor is sealed, bound to who asked for what where, and survives a catalog that changes meanwhile:
it names the last item shown, and the next page goes on after it."""

import hashlib
from typing import Final

import msgspec
from msgspec import Struct

from ..model.errors import InvalidParams
from ..model.inventory import Kind
from ..model.principal import Principal
from ..model.seal import Seal
from .view import TenantView

_NAME_BYTES_MAX: Final = 512
"""A longer name (a URI) is carried as its digest, so that every cursor is short."""
_WHOLE, _DIGEST = b"=", b"#"


class Page(Struct, frozen=True):
    """Items as they are listed, and how to ask for what follows."""

    items: tuple[bytes, ...]
    next_cursor: str | None = None


def page(view: TenantView, kind: Kind, cursor: str | None, *, items_max: int, seal: Seal, principal: Principal) -> Page:
    """One page of a list. Errors: InvalidParams, for a cursor that is not this caller's, or whose item is gone."""
    items, names = view.listed(kind), view.names(kind)
    start = 0 if cursor is None else _start(view, kind, cursor, seal, principal)
    end = start + items_max
    following = None
    if end < len(items):
        following = seal.close(_mark(names[end - 1]), _context(view, kind, principal))
    return Page(items[start:end], following)


def _start(view: TenantView, kind: Kind, cursor: str, seal: Seal, principal: Principal) -> int:
    last = seal.open(cursor, _context(view, kind, principal))
    if last is None:
        raise InvalidParams("The cursor is not valid here; begin the list again")
    names = view.names(kind)
    try:
        if last.startswith(_WHOLE):
            return names.index(last.removeprefix(_WHOLE).decode()) + 1
        return [_mark(name) for name in names].index(last) + 1
    except ValueError:
        raise InvalidParams("The cursor is no longer valid: the list changed; begin it again") from None


def _mark(name: str) -> bytes:
    encoded = name.encode()
    return _WHOLE + encoded if len(encoded) <= _NAME_BYTES_MAX else _DIGEST + hashlib.sha256(encoded).digest()


def _context(view: TenantView, kind: Kind, principal: Principal) -> bytes:
    endpoint = view.endpoint
    return msgspec.json.encode(("cursor", kind, endpoint.kind, endpoint.name, principal.tenant, principal.subject))
