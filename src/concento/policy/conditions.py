"""What a rule looks at when a call comes, compiled to closures: arguments, time, network, metadata, CEL, other engines.

A condition can be asked in two ways. Where a grant rests on it, it has to hold for certain: every value that a path
finds, of the right type. Where a refusal rests on it, it is enough that it may hold: any value will do, and one that
can't be judged counts. Either way doubt refuses. What holds of a value is in `values.py`.
"""

import ipaddress
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Raw

from ..model.errors import InvalidParams
from ..model.policy import Conditions, Hours, Test
from ..model.principal import Principal
from ..protocol.jsonrpc import read_object
from ..protocol.text import check_repeats, is_plain
from .cel import compile_cel
from .item import Item
from .paths import Path, find, parse_path
from .values import MISSING, compile_test

_ADDRESSES_MAX: Final = 10_000

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
            self._meta[key] = MISSING if raw is None else read_strictly(raw)
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


Check = Callable[[Item, Facts], bool]
"""Whether a condition holds, in the way it was compiled for."""


def compile_dynamic(conditions: Conditions, *, certain: bool) -> list[tuple[str, Check]]:
    """The conditions that only a call can answer, each with what it looks at, for people. Errors: ValueError."""
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


def _argument(path: Path, test: Test, certain: bool) -> Check:
    judge = compile_test(test)

    def check(item: Item, facts: Facts) -> bool:
        values = find(facts.arguments, path)
        if values is None:
            return not certain
        if len(values) == 1:
            held = judge(values[0])
            return held is True if certain else held is not False
        if certain:
            return all(judge(value) is True for value in values)
        return any(judge(value) is not False for value in values)

    return check


def _meta(key: str, test: Test, certain: bool) -> Check:
    judge = compile_test(test)

    def check(item: Item, facts: Facts) -> bool:
        held = judge(facts.meta_value(key))
        return held is True if certain else held is not False

    return check


# -- time and network


def _time(hours: Hours) -> Check:
    zone = ZoneInfo(hours.zone)
    known: tuple[int, bool] = (-1, False)

    def check(item: Item, facts: Facts) -> bool:
        nonlocal known
        second = int(facts.now_s)
        if known[0] != second:  # the same for all calls of one second, whatever the zone's clocks do
            known = (second, is_within(datetime.fromtimestamp(second, zone)))
        return known[1]

    def is_within(now: datetime) -> bool:
        minute, day = now.hour * 60 + now.minute, now.weekday()
        if hours.from_minute <= hours.to_minute:
            return day in hours.days and hours.from_minute <= minute < hours.to_minute
        if minute >= hours.from_minute:  # past midnight: the span belongs to the day it begins on
            return day in hours.days
        return minute < hours.to_minute and (day - 1) % 7 in hours.days

    return check


def _network(networks: tuple[str, ...], certain: bool) -> Check:
    known = [_unmapped(ipaddress.ip_network(network, strict=False)) for network in networks]
    seen: dict[str, bool] = {}

    def check(item: Item, facts: Facts) -> bool:
        if facts.address is None:
            return not certain
        held = seen.get(facts.address)
        if held is None:
            if len(seen) >= _ADDRESSES_MAX:
                seen.clear()
            held = seen[facts.address] = _is_in(facts.address, known, certain)
        return held

    return check


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _unmapped(network: _Network) -> _Network:
    """A network of IPv4 addresses, however they are written."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    return (
        network if mapped is None or network.prefixlen < 96 else ipaddress.ip_network((mapped, network.prefixlen - 96))
    )


def _is_in(address: str, networks: list[_Network], certain: bool) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return not certain
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks if network.version == parsed.version)
