"""What a rule looks at when a call comes, compiled to closures: arguments, time, network, metadata, CEL, other engines.

A condition can be asked in two ways. Where a grant rests on it, it has to hold for certain: every value that a path
finds, of the right type. Where a refusal rests on it, it is enough that it may hold: any value will do, and one that
can't be judged counts. Either way doubt refuses.
"""

import ipaddress
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Raw

from ..model.errors import InvalidParams
from ..model.policy import Conditions, Hours, Test, parse_path
from ..model.principal import Principal
from ..protocol.jsonrpc import read_object
from ..protocol.text import check_repeats, is_plain
from .cel import compile_cel
from .item import Item

MATCHED_CHARS_MAX: Final = 4096
"""Longest text that a pattern is tried on; a longer one can't be judged."""
_MISSING: Final = object()
_FOUND_MAX: Final = 10_000
"""Values that a path with `[*]` may find; more can't be judged."""

_decode = msgspec.json.decode


class Facts:
    """What a call brings that rules may look at. Arguments and metadata are decoded when first looked at, once."""

    __slots__ = ("_arguments", "_decoded", "_meta", "address", "meta", "now_s", "principal", "raw_arguments")

    def __init__(
        self,
        arguments: Raw | None,
        now_s: float,
        address: str | None,
        meta: Mapping[str, Raw],
        principal: Principal,
    ) -> None:
        self.raw_arguments = arguments
        self.now_s = now_s
        self.address = address
        self.meta = meta
        self.principal = principal
        self._decoded = False
        self._arguments: Any = None
        self._meta: dict[str, Any] = {}

    @property
    def arguments(self) -> Any:
        """The arguments as values; {} where there are none. Errors: InvalidRequest, where a member comes twice."""
        if not self._decoded:
            self._arguments = {} if self.raw_arguments is None else read_strictly(self.raw_arguments)
            self._decoded = True
        return self._arguments

    def meta_value(self, key: str) -> Any:
        """One member of the request's metadata."""
        if key not in self._meta:
            raw = self.meta.get(key)
            self._meta[key] = _MISSING if raw is None else read_strictly(raw)
        return self._meta[key]

    def all_meta(self) -> dict[str, Any]:
        """All of the request's metadata."""
        return {key: self.meta_value(key) for key in self.meta}


def read_strictly(raw: Raw) -> Any:
    """A caller's JSON that is acted upon. Errors: InvalidRequest, where a member comes twice; InvalidParams."""
    text = bytes(raw)
    members = read_object(raw) if text[:1] == b"{" and text.count(b"{") == 1 else None
    if members is None or not is_plain(members, len(text)):
        check_repeats(text)
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        told = "The arguments hold something that can't be read, such as a number of too many digits"
        raise InvalidParams(told) from None


class Engine(Protocol):
    """Another policy engine, made from its options by an entry point of `concento.policies`. It may only narrow."""

    def check(self, principal: Principal, item: Item, facts: Facts) -> bool:
        """Whether a call may pass: anything but True refuses it, and so does raising. It must not wait for anything."""
        ...


Check = Callable[[Item, Facts], bool]
"""Whether a condition holds, in the way it was compiled for."""


def compile_dynamic(conditions: Conditions, *, certain: bool) -> list[tuple[str, Check]]:
    """The conditions that only a call can answer, each with what it looks at, for people."""
    checks: list[tuple[str, Check]] = []
    for path, test in conditions.arguments:
        checks.append((f"arguments.{path}", _argument(parse_path(path), test, certain)))
    if conditions.time is not None:
        checks.append(("time", _time(conditions.time)))
    if conditions.networks:
        checks.append(("network", _network(conditions.networks, certain)))
    for key, test in conditions.meta:
        checks.append((f"meta {key}", _meta(key, test, certain)))
    if conditions.cel is not None:
        checks.append(("cel", compile_cel(conditions.cel, certain)))
    return checks


# -- arguments and metadata


def _argument(path: tuple[str | int | None, ...], test: Test, certain: bool) -> Check:
    judge = _judge(test)
    if all(isinstance(step, str) for step in path) and len(path) == 1:
        name = path[0]

        def direct(item: Item, facts: Facts) -> bool:
            arguments = facts.arguments
            held = judge(arguments.get(name, _MISSING) if isinstance(arguments, dict) else _MISSING)
            return held is True if certain else held is not False

        return direct

    def check(item: Item, facts: Facts) -> bool:
        values: list[Any] = []
        if not _find(facts.arguments, path, values):
            return not certain
        if not values:
            values.append(_MISSING)
        if certain:
            return all(judge(value) is True for value in values)
        return any(judge(value) is not False for value in values)

    return check


def _find(value: Any, path: tuple[str | int | None, ...], found: list[Any]) -> bool:
    """Gather what a path leads to, a missing one as such. Returns False if that is too much."""
    for place, step in enumerate(path):
        if step is None:
            if not isinstance(value, list):
                found.append(_MISSING)
                return True
            rest = path[place + 1 :]
            return all(len(found) < _FOUND_MAX and _find(one, rest, found) for one in value)
        if isinstance(step, str):
            value = value.get(step, _MISSING) if isinstance(value, dict) else _MISSING
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else _MISSING
    found.append(value)
    return True


def _meta(key: str, test: Test, certain: bool) -> Check:
    judge = _judge(test)

    def check(item: Item, facts: Facts) -> bool:
        held = judge(facts.meta_value(key))
        return held is True if certain else held is not False

    return check


def _judge(test: Test) -> Callable[[Any], bool | None]:
    """How a test judges a value: True, False, or None where it can't."""
    op, wanted = test.op, test.value
    if op == "exists":
        return lambda value: (value is not _MISSING) is wanted
    if op == "eq":
        return lambda value: value is not _MISSING and _same(value, wanted)
    if op == "ne":
        return lambda value: value is _MISSING or not _same(value, wanted)
    if op == "in":
        return lambda value: value is not _MISSING and any(_same(value, one) for one in wanted)
    if op == "not_in":
        return lambda value: value is _MISSING or not any(_same(value, one) for one in wanted)
    if op == "matches":
        match = wanted.fullmatch

        def matches(value: Any) -> bool | None:
            if value is _MISSING:
                return False
            if not isinstance(value, str) or len(value) > MATCHED_CHARS_MAX:
                return None
            return match(value) is not None

        return matches
    compare = _COMPARE[op]

    def compared(value: Any) -> bool | None:
        if value is _MISSING:
            return False
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return compare(value, wanted)

    return compared


_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "lt": lambda value, wanted: value < wanted,
    "le": lambda value, wanted: value <= wanted,
    "gt": lambda value, wanted: value > wanted,
    "ge": lambda value, wanted: value >= wanted,
}


def _same(value: Any, wanted: Any) -> bool:
    """Equal as JSON: true is not 1, and 1 is 1.0."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return bool(value == wanted)


# -- time and network


def _time(hours: Hours) -> Check:
    zone = ZoneInfo(hours.zone)

    def check(item: Item, facts: Facts) -> bool:
        now = datetime.fromtimestamp(facts.now_s, zone)
        minute, day = now.hour * 60 + now.minute, now.weekday()
        if hours.from_minute <= hours.to_minute:
            return day in hours.days and hours.from_minute <= minute < hours.to_minute
        if minute >= hours.from_minute:  # past midnight: the span belongs to the day it begins on
            return day in hours.days
        return minute < hours.to_minute and (day - 1) % 7 in hours.days

    return check


def _network(networks: tuple[str, ...], certain: bool) -> Check:
    known = [ipaddress.ip_network(network, strict=False) for network in networks]
    seen: dict[str, bool] = {}

    def check(item: Item, facts: Facts) -> bool:
        if facts.address is None:
            return not certain
        held = seen.get(facts.address)
        if held is None:
            if len(seen) > 10_000:
                seen.clear()
            held = seen[facts.address] = _is_in(facts.address, known, certain)
        return held

    return check


def _is_in(address: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network], certain: bool) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return not certain
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks if network.version == parsed.version)
