"""What a call adds where. It runs once a call on the event loop, in one to three microseconds, and waits for nothing.

Sums are kept by day and key; how many keys a tenant may have a day is bounded, and what is beyond counts as `other`:
first its subjects, then its tools. The price stays what it is, so that nothing is lost from any sum.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Raw

from ...model.prices import Price, Used
from ...model.usage import BYTES_PER_TOKEN, OTHER, Row, RowKey, arm_text
from ...policy.budgets import Budgets
from ...policy.limit_quotas import month_of
from ...policy.limit_rules import shortened
from ...policy.pricing import PriceList, Tariff
from ..record import Record

KEYS_MAX: Final = 10_000
"""Keys of one tenant and day that are told apart."""
DAY_US: Final = 86_400_000_000

_Key = tuple[int, str, str, str | None, str | None, tuple[str, str] | None, str, str, str]
TariffKey = tuple[str, int, str]
"""Tenant, month and price's id."""


class Line:
    """What was used under one key since it was last taken away."""

    __slots__ = ("attempts", "bytes_in", "bytes_out", "calls", "cost", "is_used", "key", "tariff", "tokens", "us")

    def __init__(self, key: RowKey, tariff: Tariff | None) -> None:
        self.key = key
        self.tariff = tariff
        self.is_used = False
        self.empty()

    def empty(self) -> None:
        """Begin anew."""
        self.calls = self.attempts = self.us = self.bytes_in = self.bytes_out = self.tokens = self.cost = 0


class Meter:
    """Counts closed records. It is a sink, to be asked before the audit record, which notes number and cost."""

    def __init__(
        self,
        budgets: Budgets,
        on_number: Callable[[int], None] = lambda number: None,
        on_use: Callable[[], None] = lambda: None,
    ) -> None:
        self.number = 0
        """Of the last call that was counted."""
        self.prices = PriceList()
        self._budgets = budgets
        self._on_number = on_number
        self._on_use = on_use
        """Told when there is something to take away again."""
        self._lines: dict[_Key | tuple[RowKey, str], Line] = {}
        self._used: list[Line] = []
        self._keys: dict[tuple[int, str], set[RowKey]] = {}
        """Of each day and tenant, whatever they were charged at."""
        self._tariffs: dict[TariffKey, Tariff] = {}
        self._day = 0

    # -- a call

    def __call__(self, record: Record) -> None:
        """Count a closed record, unless it was refused, answered from what is kept, or counted already."""
        if record.metered or record.is_refused or record.part == "kept":
            return
        self.number = number = self.number + 1
        self._on_number(number)
        record.metered = number
        branches = record.branches and [one for one in record.branches if not one.is_refused]
        if not branches:
            self._count(record, record)
            return
        for branch in branches:
            self._count(branch, record)
            record.cost += branch.cost
            record.price = record.price or branch.price

    def _count(self, record: Record, whole: Record) -> None:
        call = record.call
        arguments = call.params.get("arguments")
        bytes_in = 0 if arguments is None else _size(arguments)
        bytes_out = record.reply_bytes
        us = int(record.duration_s * 1_000_000)
        principal = call.principal
        day = int(whole.wall_s * 1_000_000 + us) // DAY_US
        key = (
            day,
            principal.tenant,
            principal.subject,
            record.server,
            record.tool,
            record.arm,
            call.method,
            record.end,
            record.part,
        )
        line = self._lines.get(key)
        if line is None:
            line = self._line(key, self._price(key))
        record.cost = self.add(line, record.attempts, us, bytes_in, bytes_out)
        if line.tariff is not None:
            record.price = line.tariff.price

    def add(self, line: Line, attempts: int, us: int, bytes_in: int, bytes_out: int) -> int:
        """Add a call to a line; returns what it costs, in `PARTS`."""
        tokens = (bytes_out + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN
        line.calls += 1
        line.attempts += attempts
        line.us += us
        line.bytes_in += bytes_in
        line.bytes_out += bytes_out
        line.tokens += tokens
        if not line.is_used:
            line.is_used = True
            self._used.append(line)
            if len(self._used) == 1:
                self._on_use()
        if line.tariff is None:
            return 0
        cost = line.tariff.charge(us, bytes_in + bytes_out, tokens)
        line.cost += cost
        if self._budgets.is_on:
            key = line.key
            self._budgets.spend(key.tenant, key.subject, line.tariff.price.currency, cost)
        return cost

    # -- lines and prices

    def line(self, key: RowKey, price: Price | None) -> Line:
        """The line of a row that is counted again, at the price that it had."""
        return self._lines.get((key, key.price)) or self._made((key, key.price), key, price)

    def _line(self, key: _Key, price: Price | None) -> Line:
        day, tenant, subject, server, tool, arm, method, end, part = key
        told = arm_text(arm)
        row = RowKey(
            *(day, tenant, shortened(subject), server or "", shortened(tool or "")),
            *(told, method, end, part, price.id if price is not None else ""),
        )
        return self._made(key, row, price)

    def _made(self, name: _Key | tuple[RowKey, str], row: RowKey, price: Price | None) -> Line:
        """A new line; beyond the bound, the one that all others share."""
        whose = (row.day, row.tenant)
        known = self._keys.setdefault(whose, set())
        if len(known) >= KEYS_MAX and row._replace(price="") not in known:
            row = row._replace(subject=OTHER, arm="")
            if len(known) >= 2 * KEYS_MAX:
                row = row._replace(tool=OTHER if row.tool else "")
            name = (row, row.price)
            if name in self._lines:
                return self._lines[name]
        known.add(row._replace(price=""))
        line = self._lines[name] = Line(row, self._tariff(row, price))
        return line

    def _price(self, key: _Key) -> Price | None:
        """What such calls are charged at: tools' calls, at a server that saw them, made for their caller."""
        day, tenant, _, server, tool, _, method, end, part = key
        if method != "tools/call" or server is None or part:
            return None
        book = self.prices.book(tenant, day)
        if book is None or (book.charge == "ok" and end != "ok"):
            return None
        return self.prices.price(tenant, day, server, tool or "")

    def _tariff(self, row: RowKey, price: Price | None) -> Tariff | None:
        if price is None:
            return None
        name = (row.tenant, month_of(row.day), price.id)
        tariff = self._tariffs.get(name)
        if tariff is None:
            tariff = self._tariffs[name] = Tariff(price)
        return tariff

    # -- beside calls

    def configure(self, prices: PriceList) -> None:
        """Charge what follows at these prices. What was used before keeps its own."""
        self.prices = prices
        for line in self._lines.values():
            if line.is_used:
                raise AssertionError("take away what was used before prices change")
        self._lines.clear()

    def begin(
        self, number: int, keys: Iterable[RowKey], before: Mapping[TariffKey, Used], prices: Mapping[str, Price]
    ) -> None:
        """Go on from what is kept. `keys`: those of the days that are not over; `before`: what months used so far."""
        self.number = number
        for (tenant, of, id), used in before.items():
            if id in prices:
                self._tariffs[tenant, of, id] = Tariff(prices[id], used)
        for key in keys:
            whose = (key.day, key.tenant)
            self._keys.setdefault(whose, set()).add(key._replace(price=""))

    def used(self) -> list[Row]:
        """What was used since it was last taken."""
        return [
            Row(line.key, line.calls, line.attempts, line.us, line.bytes_in, line.bytes_out, line.tokens, line.cost)
            for line in self._used
        ]

    def take(self) -> list[Row]:
        """The same, which is counted from nothing afterwards."""
        rows = self.used()
        for line in self._used:
            line.is_used = False
            line.empty()
        self._used.clear()
        self._forget(max((row.key.day for row in rows), default=0))
        return rows

    def _forget(self, day: int) -> None:
        """Let go of days that are over: the one before may still get a call or two."""
        if day <= self._day:
            return
        self._day = day
        self._lines = {name: line for name, line in self._lines.items() if line.key.day >= day - 1}
        self._keys = {whose: known for whose, known in self._keys.items() if whose[0] >= day - 1}
        month = month_of(day) - 1  # a clock that is set back finds its month again
        self._tariffs = {name: tariff for name, tariff in self._tariffs.items() if name[1] >= month}

    def spent(self, month: int) -> dict[tuple[str, str], int]:
        """What each tenant's calls of a month cost, by tenant and currency, in `PARTS`."""
        spent: dict[tuple[str, str], int] = {}
        for (tenant, of, _), tariff in self._tariffs.items():
            if of == month:
                name = (tenant, tariff.price.currency)
                spent[name] = spent.get(name, 0) + tariff.spent
        return spent

    @property
    def waiting(self) -> int:
        """How many of them have something to be taken."""
        return len(self._used)

    @property
    def keys(self) -> int:
        """How many keys are counted now."""
        return len(self._lines)


def _size(text: Raw) -> int:
    return memoryview(text).nbytes
