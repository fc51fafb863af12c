"""Invoices: what a tenant's month costs, as lines that add up, made of rows and prices alone. Pure.

The same rows make the same invoice, to the cent and to the byte: a row knows the price it was metered at, and prices
are never forgotten. Each line is rounded once, half to even, and the total is the sum of the lines.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from ..model.prices import BASES, Price, Unit, Used, coins_text, minor_digits, rounded, text_of
from ..model.usage import Row
from .pricing import priced, total

NOUNS: Final[dict[Unit, str]] = {"call": "calls", "second": "seconds", "mb": "MB", "tokens": "1,000 tokens"}


class InvoiceLine(Struct, frozen=True):
    """One line: so much of a unit, at a price, makes an amount. Numbers are texts, as exact as they were counted."""

    price: str
    """The price's id: book, day it is valid from, pattern, digest."""
    pattern: str
    unit: Unit
    quantity: str
    each: str
    amount: str


class Invoice(Struct, frozen=True):
    """What a tenant owes for a month in UTC. `digest`: SHA-256 of the rows and prices that it rests on."""

    tenant: str
    month: str
    currency: str
    lines: tuple[InvoiceLine, ...]
    total: str
    calls: int
    """Those that are billed."""
    rows: int
    exact: str
    """The same before lines are rounded."""
    told: str
    """What callers were told that their calls cost, added up: the same, unless a clock was months off."""
    digest: str
    final: bool
    """Whether the month is over."""


def invoices(
    tenant: str, month: str, rows: Sequence[Row], prices: Mapping[str, Price], *, final: bool
) -> tuple[Invoice, ...]:
    """The invoices of a tenant's month, one for each currency; none if nothing was billed."""
    billed = sorted(row for row in rows if row.key.price and row.key.tenant == tenant)
    currencies = sorted({prices[row.key.price].currency for row in billed})
    return tuple(
        _invoice(
            tenant,
            month,
            currency,
            [row for row in billed if prices[row.key.price].currency == currency],
            prices,
            final,
        )
        for currency in currencies
    )


def _invoice(
    tenant: str, month: str, currency: str, rows: Sequence[Row], prices: Mapping[str, Price], final: bool
) -> Invoice:
    digits = minor_digits(currency)
    lines: list[InvoiceLine] = []
    coins = exact = told = 0
    for id, (used, cost) in sorted(_sums(rows).items()):
        price = prices[id]
        exact, told = exact + total(price, used), told + cost
        for one in priced(price, used):
            amount = rounded(one.cost, digits)
            coins += amount
            quantity, each = decimal(one.amount, BASES[one.unit]), decimal(one.price, 10**9)
            lines.append(InvoiceLine(id, price.pattern, one.unit, quantity, each, coins_text(amount, digits)))
    return Invoice(
        tenant,
        month,
        currency,
        tuple(lines),
        coins_text(coins, digits),
        sum(row.calls for row in rows),
        len(rows),
        text_of(exact),
        text_of(told),
        _digest(rows, prices),
        final,
    )


def _sums(rows: Iterable[Row]) -> dict[str, tuple[Used, int]]:
    """What was used at each price, and what it was said to cost."""
    sums: dict[str, tuple[Used, int]] = {}
    for row in rows:
        used, cost = sums.get(row.key.price, (Used(), 0))
        more = Used(row.calls, row.us, row.bytes_in + row.bytes_out, row.tokens)
        sums[row.key.price] = (used + more, cost + row.cost)
    return sums


def _digest(rows: Sequence[Row], prices: Mapping[str, Price]) -> str:
    used = [prices[id] for id in sorted({row.key.price for row in rows})]
    return hashlib.sha256(msgspec.json.encode([rows, used])).hexdigest()


def decimal(number: int, base: int) -> str:
    """A number of `base`-ths as a decimal number, without zeros at its end. `base` is a power of ten."""
    whole, rest = divmod(number, base)
    digits = len(str(base)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".") if rest else str(whole)
