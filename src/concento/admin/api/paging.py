"""Long lists, a page at a time: a cursor names the last item that was seen, so that what comes and goes shifts none."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Final, TypeVar

from msgspec import Meta, Struct

from ..problems import Problem

T = TypeVar("T")
LIMIT: Final = 1000

Limit = Annotated[int, Meta(ge=1, le=LIMIT, description="Most items on a page.")]
Cursor = Annotated[str, Meta(max_length=1400, description="`next` of the page before.")]


class Paged(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page."""

    limit: Limit = LIMIT
    cursor: Cursor | None = None


def page(
    items: Sequence[T], name: Callable[[T], str], limit: int, cursor: str | None
) -> tuple[Sequence[T], str | None]:
    """The items of one page, and the cursor of the next. Errors: Problem, for a cursor that leads nowhere."""
    start = 0
    if cursor is not None:
        after = _opened(cursor)
        start = next((at + 1 for at, item in enumerate(items) if name(item) == after), 0)
        if not start:
            raise Problem(422, "the cursor leads nowhere any more: begin anew", [("/cursor", "leads nowhere")])
    shown = items[start : start + limit]
    return shown, _closed(name(shown[-1])) if start + limit < len(items) else None


def _closed(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _opened(cursor: str) -> str | None:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        return None
