"""Prices, budgets and usage: what may stand in `prices:`, `budgets:` and `usage:`, and the values it is read as.

Money is read from the text as it is written: a number of YAML would be a float.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from fnmatch import fnmatchcase
from hashlib import sha256
from itertools import combinations
from typing import Final, Literal

from ...model.prices import BASES, DECIMALS, PARTS, UNITS, Book, Budget, BudgetPer, BudgetPeriod, Charge, Price, Tier
from ...model.usage import Metering
from ...policy.price_patterns import are_ascending, ties
from .kinds import (
    Choice,
    Entries,
    Flag,
    Items,
    Key,
    Keys,
    Number,
    OrOff,
    OrWord,
    Parsed,
    Placed,
    Reader,
    Table,
    Text,
    Whole,
    WithPlace,
)
from .policy import SUBJECTS
from .problems import Problems, unknown
from .texts import ALIAS, pattern

_BUDGET: Final = Budget("", 0, "")
_METERING: Final = Metering()
_EPOCH: Final = date(1970, 1, 1).toordinal()
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}"


def _money(text: str) -> int:
    """Billionths."""
    match = re.fullmatch(rf"([0-9]{{1,12}})(?:\.([0-9]{{1,{DECIMALS}}}))?", text)
    if match is None:
        raise ValueError(f"expected an amount such as 0.002, with at most {DECIMALS} decimals and no currency")
    return int(match[1]) * 10**DECIMALS + int((match[2] or "").ljust(DECIMALS, "0"))


def _day(text: str) -> int:
    try:
        if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError
        return date.fromisoformat(text).toordinal() - _EPOCH
    except ValueError:
        raise ValueError("expected a day such as 2026-11-01; it begins at midnight UTC") from None


_MONEY: Final = Parsed(Text("an amount such as 0.002", r"[^\x00]{0,64}", as_written=True), _money)

PRICE: Final = Key(
    "price", _MONEY, f"What one costs, with at most {DECIMALS} decimals.", required=True, example="0.002"
)
EACH: Final = Key("price", _MONEY, f"What one costs, with at most {DECIMALS} decimals.", example="0.002")
UPTO: Final = Key("upto", Whole(1, 10**12), "Up to how many a month; the last tier has no end.", example="10000")
TIERS: Final = Key(
    "tiers",
    Items(Keys("a tier", UPTO, PRICE), "such as [{upto: 10000, price: 0.002}, {price: 0.001}]"),
    "In place of `price`: each tier's price holds for what lies in it, counted for each tenant and month.",
    example="[{upto: 10000, price: 0.002}, {price: 0.001}]",
)
FREE: Final = Key(
    "free", Whole(1, 10**12), "How many cost each tenant nothing in a month; tiers begin behind them.", example="1000"
)
CHARGE: Final = OrWord(EACH, Keys("a charge", EACH, TIERS, FREE))
OF_TOOLS: Final = Key(
    "tools",
    Entries(
        Entries(CHARGE, "unit", "|".join(UNITS), "call, second, mb or tokens"),
        "pattern",
        r"[^\x00]+",
        "a pattern over server.tool",
    ),
    "What calls cost, by patterns over `server.name`; the most specific one that matches holds. For each `call`, each "
    "`second` it takes, each `mb` (a million bytes of arguments and result), each thousand `tokens` of result "
    "(estimated: a token is four bytes).",
    required=True,
    example='{"time.*": {call: 0.002, second: 0.0001}}',
)
CURRENCY: Final = Key(
    "currency",
    Text("three capital letters, such as EUR", "[A-Z]{3}"),
    "What amounts are in.",
    required=True,
    example="EUR",
)
VALID_FROM: Final = Key(
    "valid_from",
    Parsed(Text("a day such as 2026-11-01"), _day),
    "The first day it holds, in UTC: best the first of a month, where tiers and allowances begin anew.",
    required=True,
    example="2026-11-01",
)
CHARGED: Final[Key[Literal["ok", "all"]]] = Key(
    "charge",
    Choice(("ok", "all")),
    "Which calls cost: those that succeed (`ok`), or `all` that a server saw.",
    "ok",
    example="all",
)
FOR_TENANTS: Final = Key(
    "tenants",
    Items(WithPlace(Text("the name of a tenant, with * and ? as wildcards", "[a-z0-9*?-]+")), "such as [acme]"),
    "Whose prices they are: before those of books that name nobody, which are for all.",
    example="[acme]",
)
PRICES: Final = Key(
    "prices",
    Entries(
        Keys("a price book", CURRENCY, VALID_FROM, CHARGED, FOR_TENANTS, OF_TOOLS),
        "book",
        _NAME,
        "a name of letters, digits, space, _, . and -",
    ),
    "What calls of tools cost, by books that hold from a day on. A call is charged by the book that holds when it "
    "ends, and keeps that price, whatever stands here later.",
    example='{standard: {currency: EUR, valid_from: 2026-11-01, tools: {"time.*": {call: 0.002}}}}',
)

PER: Final[Key[BudgetPer]] = Key(
    "per", Choice(("tenant", "user", "global")), "Who has the amount for themselves.", _BUDGET.per, example="user"
)
AMOUNT: Final = Key("amount", _MONEY, "How much may be spent.", required=True, example="50.00")
BUDGET_CURRENCY: Final = Key(
    "currency", CURRENCY.kind, "What the amount is in; not needed where all prices are in one.", example="EUR"
)
PERIOD: Final[Key[BudgetPeriod]] = Key(
    "period", Choice(("day", "month")), "In which time, in UTC.", _BUDGET.period, example="day"
)
SOFT: Final = Key(
    "soft",
    Number(0, 1, above=True),
    "From this part of it on, callers are told with each result.",
    _BUDGET.soft,
    example="0.9",
)
HARD: Final = Key(
    "hard", Flag(), "Refuse calls that cost once it is spent; `false` only tells.", _BUDGET.hard, example="false"
)
BUDGETS: Final = Key(
    "budgets",
    Entries(
        Keys("a budget", PER, AMOUNT, BUDGET_CURRENCY, PERIOD, SOFT, HARD, FOR_TENANTS, SUBJECTS),
        "budget",
        r"[^\x00-\x1f\x7f]{1,64}",
        "a name of at most 64 characters",
    ),
    "What may be spent, by names that are told to whoever is refused. Calls that run already still count.",
    example="{each tenant: {amount: 50.00}}",
)

PATH: Final = Key(
    "path",
    Text("a file", r"[^\x00]+"),
    "The SQLite file; by default `usage.db` in the state folder.",
    example="usage.db",
)
KEEP_DAYS: Final[Key[int | None]] = Key(
    "keep_days",
    OrOff(Whole(62, 36_500)),
    "Days for which sums are kept: at least two months. `off`, as where nothing is said: for ever.",
    example="3650",
)
USAGE: Final[Key[Table | None]] = Key(
    "usage",
    OrOff(Keys("usage", PATH, KEEP_DAYS)),
    "How much is used, by day, tenant, subject, server and tool; `off` keeps nothing, and nothing can be charged.",
    example="{keep_days: 3650}",
)


def build_usage(root: Table, reader: Reader) -> Metering:
    """Whether and where usage is kept."""
    table = root.get(USAGE)
    if table is None:
        is_off = bool(root.given(USAGE))
        for key in root.given(PRICES, BUDGETS) if is_off else ():
            reader.problems.add(root.place_of(key), f"'{key.name}' needs to know what is used; remove 'usage: off'")
        return Metering("off") if is_off else _METERING
    path = table.get(PATH)
    return Metering("on", None if path is None else reader.references.path(path), table.get(KEEP_DAYS))


def build_prices(
    root: Table, servers: Collection[str], tenants: Mapping[str, Collection[str]], problems: Problems
) -> tuple[Book, ...]:
    """The price books. `servers`: the operator's aliases; `tenants`: each one's own."""
    placed = root.get(PRICES) or {}
    books = [_book(name, book, servers, tenants, problems) for name, book in placed.items()]
    for one, other in combinations(books, 2):
        if one.from_day == other.from_day and _share(one, other, tenants):
            day = _iso(one.from_day)
            told = f"the books {one.name!r} and {other.name!r} are for the same tenants from {day} on"
            message = f"{told}; give one of them another 'valid_from', or 'tenants' of its own"
            problems.add(placed[other.name].value.place_of(VALID_FROM), message)
    return tuple(books)


def _share(one: Book, other: Book, tenants: Collection[str]) -> bool:
    if not one.tenants or not other.tenants:
        return not one.tenants and not other.tenants
    return any(_names(one.tenants, name) and _names(other.tenants, name) for name in tenants)


def _book(
    name: str,
    placed: Placed[Table],
    servers: Collection[str],
    tenants: Mapping[str, Collection[str]],
    problems: Problems,
) -> Book:
    table = placed.value
    named = _tenants(table, tenants, problems)
    known = {*servers, *(alias for tenant in tenants if _names(named, tenant) for alias in tenants[tenant])}
    currency, day = table.get(CURRENCY) or "", table.get(VALID_FROM) or 0
    prices = []
    tools = table.get(OF_TOOLS) or {}
    if not tools and table.given(OF_TOOLS):
        problems.add(table.place_of(OF_TOOLS), 'expected at least one pattern, such as "*": {call: 0.001}')
    for text, (charges, place) in tools.items():
        try:
            alias = pattern(text).partition(".")[0]
        except ValueError as error:
            problems.add(place, str(error))
            continue
        if not set(alias) & set("*?") and alias not in known:
            problems.add(place, unknown("server", alias, known))
        if not charges and not problems:  # else what it says was refused already
            problems.add(place, f"the pattern {text!r} charges nothing: give it 'call', 'second', 'mb' or 'tokens'")
        made = tuple(_charge(unit, charges[unit], problems) for unit in UNITS if unit in charges)
        prices.append(_price(name, day, text, currency, made))
    for one, other in ties([price.pattern for price in prices]):
        told = f"a tool may match {one!r} and {other!r}, and neither is more specific; make one of them so"
        problems.add(tools[max(one, other)].place, told)
    return Book(name, day, currency, tuple(prices), table[CHARGED], named)


def _price(book: str, day: int, pattern: str, currency: str, charges: tuple[Charge, ...]) -> Price:
    """A price, known by its content: the same again is the same price, and goes on where its tiers were."""
    told = [f"{one.unit} {one.free} {[(tier.price, tier.upto) for tier in one.tiers]}" for one in charges]
    digest = sha256("\n".join([currency, *told]).encode()).hexdigest()[:12]
    return Price(f"{book}@{_iso(day)} {pattern} #{digest}", pattern, currency, charges)


def _charge(unit: str, placed: Placed[Table], problems: Problems) -> Charge:
    table, place = placed
    known = next(one for one in UNITS if one == unit)
    tiers, price = table.get(TIERS), table.get(EACH)
    if table.given(TIERS) and table.given(EACH):
        problems.add(table.place_of(EACH), "'price' and 'tiers' exclude each other; keep one of them")
    elif not table.given(TIERS) and not table.given(EACH) and not table.is_misspelt:
        problems.add(place, f"'{unit}' needs an amount, such as {unit}: 0.002, or 'tiers'")
    made = [Tier(tier[PRICE] or 0, _counted(tier.get(UPTO), known)) for tier in tiers or ()]
    if tiers and not are_ascending([tier.upto for tier in made]):
        told = "tiers have to rise by 'upto', and only the last one has none"
        problems.add(table.place_of(TIERS), f"{told}: [{{upto: 1000, price: 0.02}}, {{price: 0.01}}]")
    return Charge(known, tuple(made) or (Tier(price or 0),), _counted(table.get(FREE), known) or 0)


def _counted(amount: int | None, unit: str) -> int | None:
    return None if amount is None else amount * next(BASES[one] for one in UNITS if one == unit)


def _tenants(table: Table, tenants: Collection[str], problems: Problems) -> tuple[str, ...]:
    named = table.get(FOR_TENANTS) or ()
    for name, place in named:
        if re.fullmatch(ALIAS, name) and name not in tenants:
            problems.add(place, unknown("tenant", name, tenants))
    return tuple(name for name, _ in named)


def build_budgets(
    root: Table, books: Sequence[Book], tenants: Collection[str], problems: Problems
) -> tuple[Budget, ...]:
    """The budgets, each in a currency that something is charged in."""
    currencies = sorted({book.currency for book in books})
    budgets = []
    for name, (table, place) in (root.get(BUDGETS) or {}).items():
        currency = table.get(BUDGET_CURRENCY)
        if not currencies:
            problems.add(place, f"the budget {name!r} can't be spent: nothing costs anything without 'prices'")
        elif currency is None and len(currencies) > 1 and not table.given(BUDGET_CURRENCY):
            told = f"prices are in {', '.join(currencies)}: say in 'currency' which the budget {name!r} is in"
            problems.add(place, told)
        elif currency is not None and currency not in currencies:
            told = f"no price is in {currency}, so that this budget is never spent; prices are in"
            problems.add(table.place_of(BUDGET_CURRENCY), f"{told} {', '.join(currencies)}")
        budgets.append(
            Budget(
                name,
                (table.get(AMOUNT) or 0) * (PARTS // 10**DECIMALS),
                currency or next(iter(currencies), ""),
                table[PER],
                table[PERIOD],
                table[SOFT],
                table[HARD],
                _tenants(table, tenants, problems) or _BUDGET.tenants,
                table.get(SUBJECTS) or _BUDGET.subjects,
            )
        )
    return tuple(budgets)


def _names(globs: Sequence[str], tenant: str) -> bool:
    return any(fnmatchcase(tenant, glob) for glob in globs)


def _iso(day: int) -> str:
    return date.fromordinal(day + _EPOCH).isoformat()
