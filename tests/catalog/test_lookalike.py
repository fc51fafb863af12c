"""Names that are taken for one another. Source: hardening T17."""

import pytest

from concento.catalog.lookalike import lookalikes


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("send_mail", "send_mai1", True),
        ("login", "1ogin", True),
        ("post_invoice", "p0st_invoice", True),
        ("list_modems", "list_rnodems", True),
        ("fooBar", "foobar", False),
        ("read-file", "read_file", False),
        ("send_mail", "send_male", False),
        ("get", "9et", False),
    ],
)
def test_names_that_look_alike_are_told_and_names_that_are_alike_are_not(one: str, other: str, alike: bool) -> None:
    assert bool(list(lookalikes([("a", one), ("b", other)]))) is alike
    assert not list(lookalikes([("a", one), ("a", other)])), "a server may call its own tools as it likes"
