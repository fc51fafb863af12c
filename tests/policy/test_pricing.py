"""What calls cost: whole numbers that add up, however they are cut. Source: issue "Usage and billing"."""

import itertools
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concento.model.prices import BASES, PARTS, UNITS, Book, Charge, Price, Tier, Used, coins_text, rounded, text_of
from concento.policy.globs import compiled
from concento.policy.price_patterns import are_ascending, meet, specificity, ties
from concento.policy.pricing import PriceList, Tariff, priced, total

amounts = st.integers(0, 10**12)


@st.composite
def charges(draw: st.DrawFn, unit: str | None = None) -> Charge:
    bounds = sorted(draw(st.sets(st.integers(1, 10_000), max_size=4)))
    prices = draw(st.lists(amounts, min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    tiers = tuple(Tier(price, bound) for price, bound in zip(prices, [*bounds, None], strict=True))
    return Charge(draw(st.sampled_from(UNITS)), tiers, draw(st.sampled_from([0, 1, 7, 5000])))


@st.composite
def prices(draw: st.DrawFn) -> Price:
    made = {charge.unit: charge for charge in draw(st.lists(charges(), min_size=1, max_size=4))}
    return Price("p", "*", "EUR", tuple(made.values()))


calls = st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 9000), st.integers(0, 9000)), max_size=30)


def used(some: list[tuple[int, int, int]]) -> Used:
    return sum((Used(1, *one) for one in some), Used())


@settings(max_examples=150, deadline=None)
@given(prices(), calls)
def test_the_costs_of_all_calls_add_up_to_the_month(price: Price, some: list[tuple[int, int, int]]) -> None:
    tariff = Tariff(price)
    assert sum(tariff.charge(*call) for call in some) == total(price, used(some))


@settings(max_examples=150, deadline=None)
@given(prices(), calls, st.integers(0, 30))
def test_a_month_cut_anywhere_adds_up(price: Price, some: list[tuple[int, int, int]], cut: int) -> None:
    first = Tariff(price)
    before = sum(first.charge(*call) for call in some[:cut])
    second = Tariff(price, used(some[:cut]))  # after a restart, from what is kept
    assert before + sum(second.charge(*call) for call in some[cut:]) == total(price, used(some))


@settings(max_examples=150, deadline=None)
@given(prices(), calls)
def test_parts_hold_all_that_was_used_and_cost_what_the_whole_does(
    price: Price, some: list[tuple[int, int, int]]
) -> None:
    whole, parts = used(some), list(priced(price, used(some)))
    for charge in price.charges:
        assert sum(one.amount for one in parts if one.unit == charge.unit) == whole.of(charge.unit)
    assert sum(one.cost for one in parts) == total(price, whole)
    assert total(price, used([*some, (1, 1, 1)])) >= total(price, whole)  # more never costs less


@settings(max_examples=150, deadline=None)
@given(amounts, amounts, st.sampled_from(UNITS))
def test_a_cost_is_exact_to_the_last_part(price: int, amount: int, unit: str) -> None:
    charge = Charge(next(one for one in UNITS if one == unit), (Tier(price),))
    counted = Used(amount, amount, amount, amount)
    with localcontext(prec=60):
        exact = Decimal(price).scaleb(-9) * amount / BASES[charge.unit]
        assert Decimal(total(Price("p", "*", "EUR", (charge,)), counted)).scaleb(-15) == exact


def test_tiers_are_graduated_and_begin_behind_what_is_free() -> None:
    tiers = (Tier(10_000_000, 1000), Tier(8_000_000, 3000), Tier(5_000_000))
    price = Price("p", "*", "EUR", (Charge("call", tiers, free=100),))
    assert text_of(total(price, Used(100))) == "0"
    assert text_of(total(price, Used(101))) == "0.01"
    assert text_of(total(price, Used(1100))) == "10"
    assert text_of(total(price, Used(1101))) == "10.008"
    assert text_of(total(price, Used(5100))) == "36"
    assert [(one.amount, one.price) for one in priced(price, Used(4000))] == [
        *((100, 0), (1000, 10_000_000), (2000, 8_000_000), (900, 5_000_000))
    ]


@given(st.integers(0, 10**24), st.sampled_from([0, 2, 3]))
def test_a_line_is_rounded_half_to_even(parts: int, digits: int) -> None:
    with localcontext(prec=60):
        wanted = Decimal(parts).scaleb(-15).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
    assert coins_text(rounded(parts, digits), digits) == str(wanted)


def test_halves_go_to_the_even_neighbour() -> None:
    assert [rounded(half * PARTS // 1000, 2) for half in (5, 15, 25, 35)] == [0, 2, 2, 4]


# -- which price


def book(name: str, day: int, *patterns: str, tenants: tuple[str, ...] = ()) -> Book:
    made = tuple(Price(f"{name} {pattern}", pattern, "EUR", (Charge("call", (Tier(1),)),)) for pattern in patterns)
    return Book(name, day, "EUR", made, tenants=tenants)


@pytest.mark.parametrize(
    ("server", "tool", "pattern"),
    [
        ("search", "deep", "search.deep"),
        ("search", "deeper", "search.deep*"),
        ("search", "read", "search.*"),
        ("git", "read", "*.read"),
        ("git", "push", "*"),
        ("acme/search", "deep", "*"),
    ],
)
def test_the_most_specific_pattern_holds(server: str, tool: str, pattern: str) -> None:
    found = PriceList([book("b", 0, "*", "search.*", "*.read", "search.deep*", "search.deep")])
    price = found.price("acme", 5, server, tool)
    assert price is not None
    assert price.pattern == pattern


def test_the_latest_book_holds_and_one_for_the_tenant_comes_first() -> None:
    known = PriceList([book("a", 10, "*"), book("b", 20, "*"), book("own", 15, "git.*", tenants=("acme",))])

    def id(tenant: str, day: int) -> str | None:
        price = known.price(tenant, day, f"{tenant}/git", "push")
        return None if price is None else price.id

    assert [id("globex", day) for day in (9, 10, 19, 20)] == [None, "a *", "a *", "b *"]
    assert [id("acme", day) for day in (9, 14, 15, 20)] == [None, "a *", "own git.*", "own git.*"]
    assert known.price("acme", 20, "docs", "read") is None  # its own book has no price for that


globs = st.text("ab*?", min_size=1, max_size=5)


@settings(max_examples=300, deadline=None)
@given(globs, globs)
def test_globs_meet_exactly_if_a_text_matches_both(one: str, other: str) -> None:
    texts = ("".join(letters) for size in range(9) for letters in itertools.product("ab", repeat=size))
    found = any(compiled(one).match(text) and compiled(other).match(text) for text in texts)
    assert meet(one, other) == found


def test_ties_are_found_and_what_never_meets_is_none() -> None:
    assert list(ties(["a.x*", "a.*x"])) == [("a.*x", "a.x*")]
    assert list(ties(["a.x*", "a.y*", "a.x", "*", "*.x", "b.x"])) == []
    assert specificity("a.x") > specificity("a.x*") > specificity("a.*") > specificity("*.x") > specificity("*")


def test_tiers_that_do_not_rise_are_seen() -> None:
    assert are_ascending([None])
    assert are_ascending([1, 2, None])
    for wrong in ([1], [2, 1, None], [1, 1, None], [None, 1], [None, None]):
        assert not are_ascending(wrong)
