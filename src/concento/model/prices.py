"""What calls cost and what may be spent, as configured. Money is whole numbers here, never floats.

Prices have at most nine decimals, so that every cost is a whole number of `PARTS`: of calls, microseconds, bytes or
tokens, nothing is left over that would have to be rounded. Rounding happens once, on the line of an invoice.
"""

from dataclasses import dataclass
from typing import Final, Literal

Unit = Literal["call", "second", "mb", "tokens"]
"""What a price is for: a call; a second of it; a million bytes of arguments and result; a thousand tokens of result."""

UNITS: Final[tuple[Unit, ...]] = ("call", "second", "mb", "tokens")

BASES: Final[dict[Unit, int]] = {"call": 1, "second": 1_000_000, "mb": 1_000_000, "tokens": 1_000}
"""How many of what is counted (calls, microseconds, bytes, tokens) one unit has."""

DECIMALS: Final = 9
"""Of a price."""
PARTS: Final = 10**15
"""Of one euro, dollar and so on, in which costs are counted."""

_MINOR: Final = {"BHD": 3, "JOD": 3, "KWD": 3, "OMR": 3, "TND": 3, "CLP": 0, "ISK": 0, "JPY": 0, "KRW": 0, "VND": 0}


@dataclass(frozen=True, slots=True)
class Tier:
    """One price, up to so much a month. `price`: billionths of the currency a unit; `upto`: in what is counted."""

    price: int
    upto: int | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """What one unit costs. Tiers are graduated: each holds for what lies in it. `free` a month comes before them."""

    unit: Unit
    tiers: tuple[Tier, ...]
    free: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """What the calls of a pattern over `server.tool` cost a tenant. `id` tells it apart from all prices ever."""

    id: str
    pattern: str
    currency: str
    charges: tuple[Charge, ...]


@dataclass(frozen=True, slots=True)
class Book:
    """The prices of some tenants from a day on. `from_day`: days since 1970 in UTC; `tenants`: none named: all."""

    name: str
    from_day: int
    currency: str
    prices: tuple[Price, ...]
    charge: Literal["ok", "all"] = "ok"
    """Whether calls that end in an error cost, too, if a server saw them."""
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Used:
    """What is priced: calls, microseconds, bytes, tokens."""

    calls: int = 0
    us: int = 0
    size: int = 0
    tokens: int = 0

    def __add__(self, other: "Used") -> "Used":
        return Used(self.calls + other.calls, self.us + other.us, self.size + other.size, self.tokens + other.tokens)

    def of(self, unit: Unit) -> int:
        """How much of what a unit counts."""
        return {"call": self.calls, "second": self.us, "mb": self.size, "tokens": self.tokens}[unit]


BudgetPer = Literal["tenant", "user", "global"]
BudgetPeriod = Literal["day", "month"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What each tenant, each user or all together may spend in a UTC day or month. `amount` is in `PARTS`.

    From `soft` of it on, callers are told. A `hard` one refuses calls that cost once it is spent.
    """

    name: str
    amount: int
    currency: str
    per: BudgetPer = "tenant"
    period: BudgetPeriod = "month"
    soft: float = 0.8
    hard: bool = True
    tenants: tuple[str, ...] = ("*",)
    subjects: tuple[str, ...] = ("*",)


def minor_digits(currency: str) -> int:
    """How many decimals amounts of a currency have: two, but for a few."""
    return _MINOR.get(currency, 2)


def text_of(parts: int) -> str:
    """A cost in full, such as `0.002`."""
    whole, rest = divmod(parts, PARTS)
    return f"{whole}.{rest:015d}".rstrip("0").rstrip(".")


def rounded(parts: int, digits: int) -> int:
    """A cost in the smallest coin, half to even."""
    coin = PARTS // int(10**digits)
    coins, rest = divmod(parts, coin)
    return coins + 1 if 2 * rest > coin or (2 * rest == coin and coins % 2) else coins


def coins_text(coins: int, digits: int) -> str:
    """An amount of the smallest coin, such as `12.30`."""
    whole, rest = divmod(coins, 10**digits)
    return f"{whole}.{rest:0{digits}d}" if digits else str(whole)
