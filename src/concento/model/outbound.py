"""Where the hub may be sent by others: the addresses that a URL of somebody else's may lead to."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

_HERE: Final = "localhost"
_NAT64: Final = IPv6Network("64:ff9b::/96")
_GLOBAL: Final = IPv6Network("2000::/3")
"""All that IPv6 has of public addresses so far; what is site-local, or not given to anybody, is outside."""
_NOT_PUBLIC: Final[tuple[_Network, ...]] = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20"))
)
"""What `is_global` of some Python takes for public: special purposes, examples, and tunnels, which may end anywhere."""
_CLOUD: Final[tuple[_Network, ...]] = tuple(
    map(ip_network, ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::/32", "fd20:ce::254"))
)
"""Where clouds keep their machines' keys, beside link-local addresses."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a URL that the operator did not write may lead to: public addresses over https, and what is named here.

    `hosts` are names and addresses as `host_name` spells them: whatever address they have, but for those that are
    nobody's own, and those where clouds keep keys.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[_Network, ...] = ()
    loopback: bool = False
    """Whether this machine may be asked: for those who are on it themselves."""

    def near(self, url: str) -> "Reach":
        """The same, and the host of a URL that the operator did write; of one on this machine, all that is on it."""
        host = host_name(urlsplit(url).hostname or "")
        return Reach((self.hosts | {host}) - {""}, self.networks, self.loopback or is_loopback(host))

    def why_not(self, host: str, address: str) -> str | None:
        """What is wrong with an address that a host of a URL has; None, if it may be asked there."""
        found = _inner(ip_address(address.partition("%")[0]))
        if found.is_loopback:
            return None if self.loopback else "this machine"
        if any(found in network for network in self.networks):
            return None
        if found.is_multicast or found.is_unspecified:
            return "an address of no single machine"
        if found.is_link_local or any(found in network for network in _CLOUD):
            return "an address where clouds keep their machines' keys"
        return None if host_name(host) in self.hosts or _is_public(found) else "an address that is not public"


PUBLIC: Final = Reach()


def reach_of(allowed: Iterable[str]) -> Reach:
    """The reach with what the operator allows: networks as `10.0.0.0/8`, else names. Errors: ValueError."""
    hosts: set[str] = set()
    networks: list[_Network] = []
    for one in allowed:
        if "/" in one or _address(one) is not None:
            networks.append(ip_network(one))
        else:
            hosts.add(host_name(one))
    loopback = _HERE in hosts or any(network.is_loopback for network in networks)
    return Reach(frozenset(hosts - {""}), tuple(networks), loopback)


def host_name(host: str) -> str:
    """The one spelling of a host in which two are compared: as it is asked for. Errors: ValueError."""
    if (address := _address(host)) is not None:
        return str(address)
    if not host.isascii():
        from yarl import URL  # here: few need it. Of the two ways to spell such a name, it has the one that is asked

        host = URL.build(scheme="https", host=host).raw_host or ""
    return host.lower().rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether a host as it stands in a URL is this machine by its very name."""
    address = _address(host)
    return host.lower() == _HERE if address is None else _inner(address).is_loopback


def _address(host: str) -> _Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _inner(address: _Address) -> _Address:
    """The IPv4 address that is asked in the end, if one of IPv6 only stands for it."""
    if isinstance(address, IPv4Address):
        return address
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address.ipv4_mapped or address


def _is_public(address: _Address) -> bool:
    is_given = isinstance(address, IPv4Address) or address in _GLOBAL
    return is_given and address.is_global and not any(address in network for network in _NOT_PUBLIC)
