"""Where the hub may be sent by others: the addresses that a URL of somebody else's may lead to."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE: Final = IPv6Network("::/96")
_HERE: Final = "localhost"


@dataclass(frozen=True, slots=True)
class Reach:
    """What a URL that the operator did not write may lead to: public addresses over https, and what is named here.

    `hosts` are names and addresses as they stand in URLs: whatever address they have, but for link-local ones, where
    clouds keep their keys.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[_Network, ...] = ()
    loopback: bool = False
    """Whether this machine may be asked: for those who are on it themselves."""

    def near(self, url: str) -> "Reach":
        """The same, and the host of a URL that the operator did write; of one on this machine, all that is on it."""
        host = (urlsplit(url).hostname or "").rstrip(".")
        return Reach(self.hosts | {host}, self.networks, self.loopback or is_loopback(host))

    def allows(self, host: str, address: str) -> bool:
        """Whether a host of a URL may be asked at one of the addresses that it has."""
        found = ip_address(address.partition("%")[0])
        inner = _inner(found)
        if inner.is_loopback:
            return self.loopback
        if any(inner in network for network in self.networks):
            return True
        if host.lower().rstrip(".") in self.hosts:
            return not (inner.is_multicast or inner.is_unspecified or inner.is_link_local)
        return inner.is_global and not inner.is_multicast and not inner.is_reserved


PUBLIC: Final = Reach()


def reach_of(allowed: Iterable[str]) -> Reach:
    """The reach with what the operator allows: networks as `10.0.0.0/8`, else names. Errors: ValueError."""
    hosts: set[str] = set()
    networks: list[_Network] = []
    for one in allowed:
        if "/" in one or _address(one) is not None:
            networks.append(ip_network(one))
        else:
            hosts.add(one.lower().rstrip("."))
    loopback = _HERE in hosts or any(network.is_loopback for network in networks)
    return Reach(frozenset(hosts), tuple(networks), loopback)


def is_loopback(host: str) -> bool:
    """Whether a host as it stands in a URL is this machine by its very name."""
    address = _address(host)
    return host.lower() == _HERE if address is None else address.is_loopback


def _address(host: str) -> _Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _inner(address: _Address) -> _Address:
    """The IPv4 address that one of IPv6 only carries: what is asked in the end."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _NAT64) or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
