"""What a call costs. Pure: values in, whole numbers out; nothing here knows a clock or a file.

The cost of a call is what the month costs with it, less what it costs without it. So the costs of all calls add up to
the month's exactly, whatever tiers and allowances there are, and however the month is cut.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ..model.prices import BASES, UNITS, Book, Charge, Price, Unit, Used
from .globs import compiled, matches
from .price_patterns import halves, specificity

NOTHING: Final = Used()


class Priced(NamedTuple):
    """A part of what was used that has one price. `amount`: calls, microseconds, bytes or tokens."""

    unit: Unit
    amount: int
    price: int
    cost: int


def priced(price: Price, used: Used) -> Iterator[Priced]:
    """What a month's use costs, by unit and tier; what is free comes first, at a price of nothing."""
    for charge in price.charges:
        each = 10**6 // BASES[charge.unit]
        for amount, nano in _steps(charge, used.of(charge.unit)):
            yield Priced(charge.unit, amount, nano, amount * nano * each)


def _steps(charge: Charge, amount: int) -> Iterator[tuple[int, int]]:
    """How much lies in which tier. Tiers begin where the allowance ends."""
    free = min(amount, charge.free)
    if free:
        yield free, 0
    left, begin = amount - free, 0
    for tier in charge.tiers:
        width = left if tier.upto is None else min(left, tier.upto - begin)
        if width > 0:
            yield width, tier.price
        left -= max(width, 0)
        begin = begin if tier.upto is None else tier.upto


def total(price: Price, used: Used) -> int:
    """What a month's use costs, in `PARTS`."""
    return sum(one.cost for one in priced(price, used))


class Tariff:
    """What one tenant used of one price in one month so far, so that the next call's cost is known at once."""

    __slots__ = ("_amounts", "_charges", "price", "spent")

    def __init__(self, price: Price, used: Used = NOTHING) -> None:
        self.price = price
        self.spent = total(price, used)
        """What all of it costs, in `PARTS`."""
        self._charges = [(charge, 10**6 // BASES[charge.unit], UNITS.index(charge.unit)) for charge in price.charges]
        self._amounts = [used.of(charge.unit) for charge in price.charges]

    def charge(self, us: int, size: int, tokens: int) -> int:
        """Add a call; returns what it costs, in `PARTS`."""
        more, cost = (1, us, size, tokens), 0
        for place, (charge, each, unit) in enumerate(self._charges):
            before = self._amounts[place]
            after = self._amounts[place] = before + more[unit]
            cost += (_cost(charge, after) - _cost(charge, before)) * each
        self.spent += cost
        return cost


def _cost(charge: Charge, amount: int) -> int:
    """What so much costs, before the unit is looked at: as `_steps` says, at once."""
    left, begin, cost = amount - charge.free, 0, 0
    for tier in charge.tiers:
        if left <= 0:
            break
        width = left if tier.upto is None or left < tier.upto - begin else tier.upto - begin
        cost += width * tier.price
        left -= width
        begin = tier.upto or begin
    return cost


class PriceList:
    """All books, to find what a call is charged at."""

    def __init__(self, books: Sequence[Book] = ()) -> None:
        self.books = tuple(books)
        self._found: dict[tuple[str, int], Book | None] = {}

    def book(self, tenant: str, day: int) -> Book | None:
        """The book that holds for a tenant on a day: one that names it comes before those for all, then the latest."""
        known = (tenant, day)
        if known not in self._found:
            if len(self._found) > 10_000:
                self._found.clear()
            valid = [book for book in self.books if book.from_day <= day]
            own = [book for book in valid if book.tenants and matches(book.tenants, tenant)]
            found = own or [book for book in valid if not book.tenants]
            self._found[known] = max(found, key=lambda book: book.from_day, default=None)
        return self._found[known]

    def price(self, tenant: str, day: int, server: str, tool: str) -> Price | None:
        """What a tool's calls are charged at, by the most specific pattern. `server`: its key."""
        book = self.book(tenant, day)
        if book is None:
            return None
        # A book for certain tenants names their own servers as they do.
        alias = server.removeprefix(f"{tenant}/") if book.tenants else server
        fitting = (price for price in book.prices if is_about(price.pattern, alias, tool))
        return max(fitting, key=lambda price: specificity(price.pattern), default=None)


def is_about(pattern: str, alias: str, tool: str) -> bool:
    """Whether a pattern matches a tool."""
    of_server, of_tool = halves(pattern)
    return compiled(of_server).match(alias) is not None and compiled(of_tool).match(tool) is not None
