"""`prices:`, `budgets:` and `usage:` of a configuration: what they are read as, and what is refused."""

from pathlib import Path

import pytest

from concento.control.config import read
from concento.model.config import Config
from concento.model.errors import ConfigError
from concento.model.prices import PARTS, Budget, Charge, Tier
from concento.model.usage import Metering

SERVERS = "servers: {search: {command: [x]}, git: {command: [x]}}\n"
TENANTS = "tenants: {acme: {servers: {notes: {command: [x]}}}, globex: {}}\n"


def built(text: str) -> Config:
    return read(f"{SERVERS}{TENANTS}{text}".encode(), Path("/etc/hub/concento.yaml"), {"HOME": "/root"})


def told(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        built(text)
    return [problem.removeprefix("/etc/hub/concento.yaml:") for problem in refused.value.problems]


def book(tools: str, **more: str) -> str:
    keys = {"currency": "EUR", "valid_from": "2026-11-01", "tools": tools, **more}
    return f"prices: {{b: {{{', '.join(f'{key}: {value}' for key, value in keys.items())}}}}}\n"


def test_a_book_with_everything() -> None:
    (found,) = built(
        """
prices:
  standard 2027:
    currency: EUR
    valid_from: 2027-01-01
    charge: all
    tenants: [acme, "glo*"]
    tools:
      "search.*": {call: 0.002, second: "0.000000001", tokens: {price: 1, free: 5}}
      notes.render:
        call: {free: 100, tiers: [{upto: 1000, price: 0.01}, {upto: 5000, price: 0.008}, {price: 0.005}]}
        mb: 0.10
"""
    ).prices
    assert (found.name, found.from_day, found.currency, found.charge) == ("standard 2027", 20_819, "EUR", "all")
    assert found.tenants == ("acme", "glo*")
    first, second = found.prices
    assert first.charges == (
        Charge("call", (Tier(2_000_000),)),
        Charge("second", (Tier(1),)),
        Charge("tokens", (Tier(10**9),), 5000),
    )
    tiers = (Tier(10_000_000, 1000), Tier(8_000_000, 5000), Tier(5_000_000))
    assert second.charges == (Charge("call", tiers, 100), Charge("mb", (Tier(100_000_000),)))
    assert first.id.startswith("standard 2027@2027-01-01 search.* #")


def test_a_price_is_the_same_as_long_as_nothing_of_it_changes() -> None:
    def ids(tools: str, **more: str) -> list[str]:
        return [price.id for price in built(book(tools, **more)).prices[0].prices]

    one = ids('{"search.*": {call: 0.002}, "git.*": {call: 1}}')
    assert ids('{"search.*": {call: 0.0020}, "git.*": {call: 2}}')[0] == one[0]
    assert ids('{"search.*": {call: 0.0020}, "git.*": {call: 2}}')[1] != one[1]
    assert ids('{"search.*": {call: 0.002}}', currency="USD") != one[:1]
    assert ids('{"search.*": {call: 0.002}}', valid_from="2026-12-01") != one[:1]


def test_budgets_and_usage() -> None:
    found = built(
        book('{"*": {call: 1}}')
        + """
budgets:
  each tenant: {amount: 50.00}
  ann: {per: user, amount: 0.5, currency: EUR, period: day, soft: 0.9, hard: false, tenants: [acme], subjects: [ann]}
usage: {path: u.db, keep_days: 400}
"""
    )
    assert found.budgets == (
        Budget("each tenant", 50 * PARTS, "EUR"),
        Budget("ann", PARTS // 2, "EUR", "user", "day", 0.9, False, ("acme",), ("ann",)),
    )
    assert found.usage == Metering("on", Path("/etc/hub/u.db"), 400)
    assert found.usage_path == Path("/etc/hub/u.db")


def test_what_is_left_out_is_kept_for_ever_and_costs_nothing() -> None:
    found = built("")
    assert (found.prices, found.budgets, found.usage) == ((), (), Metering())
    assert found.usage_path == found.audit_path.with_name("usage.db")  # type: ignore[union-attr]
    assert built("usage: off").usage_path is None
    assert built("state: off").usage_path is None


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (book('{"serch.*": {call: 1}}'), "3:61", "did you mean 'search'?"),
        (book('{"notes.*": {call: 1}}'), "3:61", "unknown server 'notes'"),
        (book("{web_search: {call: 1}}"), "3:61", "expected a pattern over server.tool"),
        (book('{"search.*": {cal: 1}}'), "3:74", "expected call, second, mb or tokens"),
        (book('{"search.*": {}}'), "3:61", "give it 'call', 'second', 'mb' or 'tokens'"),
        (book("{}"), "3:53", "at least one pattern"),
        (book('{"search.*": {call: 1e-3}}'), "3:80", "at most 9 decimals"),
        (book('{"search.*": {call: 0.0000000001}}'), "3:80", "at most 9 decimals"),
        (book('{"search.*": {call: -1}}'), "3:80", "expected an amount such as 0.002"),
        (book('{"search.*": {call: 1 EUR}}'), "3:80", "no currency"),
        (book('{"search.*": {call: .inf}}'), "3:80", "expected an amount"),
        (book('{"search.*": {call: true}}'), "3:80", "expected an amount"),
        (book('{"search.*": {call: {free: 1}}}'), "3:74", "'call' needs an amount"),
        (book('{"search.*": {call: {price: 1, tiers: [{price: 1}]}}}'), "3:81", "exclude each other"),
        (book('{"search.*": {call: {tiers: [{upto: 5, price: 1}]}}}'), "3:81", "only the last one has none"),
        (
            book('{"search.*": {call: {tiers: [{upto: 5, price: 1}, {upto: 5, price: 1}, {price: 1}]}}}'),
            *("3:81", "have to rise"),
        ),
        (book('{"search.x*": {call: 1}, "search.*x": {call: 1}}'), "3:61", "neither is more specific"),
        (book('{"*": {call: 1}}', valid_from="2026-13-01"), "3:41", "such as 2026-11-01"),
        (book('{"*": {call: 1}}', currency="euro"), "3:24", "such as EUR"),
        (book('{"*": {call: 1}}', tenants="[acmee]"), "3:88", "did you mean 'acme'?"),
        ("prices: {b: {currency: EUR, tools: {'*': {call: 1}}}}\n", "3:13", "needs the key 'valid_from'"),
        ("usage: off\n" + book('{"*": {call: 1}}'), "4:1", "remove 'usage: off'"),
        ("budgets: {b: {amount: 1}}\n", "3:11", "nothing costs anything without 'prices'"),
        (book('{"*": {call: 1}}') + "budgets: {b: {amount: 1, currency: USD}}\n", "4:26", "no price is in USD"),
        (book('{"*": {call: 1}}') + "budgets: {b: {}}\n", "4:14", "needs the key 'amount'"),
        (book('{"*": {call: 1}}') + "budgets: {b: {amount: 1, tenants: [acm]}}\n", "4:36", "did you mean 'acme'?"),
    ],
)
def test_what_can_not_be_is_refused_with_the_remedy(text: str, place: str, words: str) -> None:
    problems = told(text)
    assert any(problem.startswith(f"{place}: ") and words in problem for problem in problems), problems


def books(first: str, second: str) -> str:
    same = "currency: EUR, tools: {'*': {call: 1}}"
    return f"prices:\n  one: {{{same}, {first}}}\n  two: {{{same}, {second}}}\n"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("valid_from: 2026-11-01", "valid_from: 2026-11-01"),
        ("valid_from: 2026-11-01, tenants: [acme]", "valid_from: 2026-11-01, tenants: ['*']"),
    ],
)
def test_two_books_for_the_same_tenants_and_day_are_refused(first: str, second: str) -> None:
    (problem,) = told(books(first, second))
    assert problem.startswith("5:")
    assert "'one' and 'two' are for the same tenants from 2026-11-01 on" in problem


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("valid_from: 2026-11-01", "valid_from: 2026-12-01"),
        ("valid_from: 2026-11-01", "valid_from: 2026-11-01, tenants: [acme]"),
        ("valid_from: 2026-11-01, tenants: [globex]", "valid_from: 2026-11-01, tenants: [acme]"),
    ],
)
def test_two_books_that_never_meet_are_taken(first: str, second: str) -> None:
    assert len(built(books(first, second)).prices) == 2


def test_a_budget_says_its_currency_where_prices_have_several() -> None:
    two = books("valid_from: 2026-11-01", "valid_from: 2026-12-01").replace("EUR", "USD", 1)
    (problem,) = told(f"{two}budgets: {{b: {{amount: 1}}}}\n")
    assert "prices are in EUR, USD: say in 'currency'" in problem
    assert built(f"{two}budgets: {{b: {{amount: 1, currency: USD}}}}\n").budgets[0].currency == "USD"
