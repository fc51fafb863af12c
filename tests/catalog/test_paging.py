"""Lists in pages: every item once, and cursors that serve nobody else and no other list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.catalog.offers import offering, resource, slice_of, tool

from concento.catalog.paging import page
from concento.catalog.view import TenantView
from concento.model.call import ALL, Endpoint
from concento.model.errors import InvalidParams
from concento.model.inventory import Kind, Listing
from concento.model.principal import ANONYMOUS, Principal
from concento.model.seal import Seal

SEAL = Seal(b"k" * 32)


def view_of(*names: str, endpoint: Endpoint = ALL) -> TenantView:
    return TenantView((slice_of("a", *map(tool, names)),), endpoint)


def cursor_of(view: TenantView, kind: Kind = "tools", principal: Principal = ANONYMOUS) -> str:
    cursor = page(view, kind, None, items_max=1, seal=SEAL, principal=principal).next_cursor
    assert cursor is not None
    return cursor


def shown(view: TenantView, kind: Kind, items_max: int) -> list[bytes]:
    items: list[bytes] = []
    cursor = None
    while True:
        found = page(view, kind, cursor, items_max=items_max, seal=SEAL, principal=ANONYMOUS)
        items.extend(found.items)
        if (cursor := found.next_cursor) is None:
            return items


@given(st.integers(0, 12), st.integers(1, 5))
def test_the_pages_together_are_the_list(count: int, items_max: int) -> None:
    view = view_of(*(f"t{index}" for index in range(count)))
    assert shown(view, "tools", items_max) == [entry.raw for entry in view.items("tools")]


def test_a_cursor_goes_on_after_its_item_in_a_list_that_changed() -> None:
    cursor = cursor_of(view_of("x", "y", "z"))
    changed = view_of("new", "x", "also_new", "z")
    found = page(changed, "tools", cursor, items_max=9, seal=SEAL, principal=ANONYMOUS)
    assert found.items == tuple(entry.raw for entry in changed.items("tools")[2:])


def test_a_cursor_whose_item_is_gone_is_refused() -> None:
    cursor = cursor_of(view_of("x", "y"))
    with pytest.raises(InvalidParams):
        page(view_of("y"), "tools", cursor, items_max=1, seal=SEAL, principal=ANONYMOUS)


def test_long_uris_are_paged_by_short_cursors() -> None:
    uris = [f"data:,{index}" + "é" * 20_000 for index in range(3)]
    view = TenantView((offering("a", resources=Listing(tuple(map(resource, uris)))),), ALL)
    assert len(shown(view, "resources", 1)) == 3
    assert len(cursor_of(view, "resources")) < 200


@given(st.text() | st.binary(max_size=60).map(lambda garbage: garbage.hex()))
def test_what_never_was_a_cursor_is_refused(garbage: str) -> None:
    with pytest.raises(InvalidParams):
        page(view_of("x", "y"), "tools", garbage, items_max=1, seal=SEAL, principal=ANONYMOUS)


def test_a_cursor_serves_only_its_list_endpoint_and_caller() -> None:
    view = view_of("x", "y")
    cursor = cursor_of(view)
    altered = cursor[:20] + ("A" if cursor[20] != "A" else "B") + cursor[21:]
    joined = Principal("b", tenant="a\0")
    foreign = cursor_of(view, principal=Principal("\0b", tenant="a"))
    for wrong, kind, shown_at, caller, seal in [
        ("", "tools", view, ANONYMOUS, SEAL),
        (altered, "tools", view, ANONYMOUS, SEAL),
        (cursor, "prompts", view, ANONYMOUS, SEAL),
        (cursor, "tools", view_of("x", "y", endpoint=Endpoint("view", "v")), ANONYMOUS, SEAL),
        (cursor, "tools", view, Principal("someone"), SEAL),
        (cursor, "tools", view, Principal(tenant="other"), SEAL),
        (cursor, "tools", view, ANONYMOUS, Seal(b"o" * 32)),
        (foreign, "tools", view, joined, SEAL),
    ]:
        with pytest.raises(InvalidParams):
            page(shown_at, kind, wrong, items_max=1, seal=seal, principal=caller)  # type: ignore[arg-type]
    assert page(view, "tools", cursor, items_max=1, seal=SEAL, principal=ANONYMOUS).items


def test_sealed_text_hides_what_it_holds_and_never_repeats() -> None:
    first, second = SEAL.close(b"secret", b""), SEAL.close(b"secret", b"")
    assert first != second
    assert "secret" not in first
    assert SEAL.open(first, b"") == b"secret"
    assert SEAL.open(first, b"other") is None
    assert SEAL.open("x" * 1_000_000, b"") is None
