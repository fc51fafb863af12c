"""HTTP off the data path: bounded in time and size, no redirect followed, and guarded where others say what is asked.

A host is resolved once, all of its addresses are judged, and the connection goes to one of those that were: a name that
means another address a moment later changes nothing. Source: hardening T19.
"""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..model.outbound import PUBLIC, Reach, host_name, is_loopback

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType
    from aiohttp import TCPConnector
    from aiohttp.abc import ResolveResult

BYTES_MAX: Final = 256 * 1024
WAIT_S: Final = 10.0


class NotFetched(Exception):
    """Why there is no answer. The text says no more of the other side than a status or a kind of failure."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header fields by lower-case name; one that came twice is joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def fetch(
    url: str,
    reach: Reach | None,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    body: bytes | None = None,
    wait_s: float = WAIT_S,
    bytes_max: int = BYTES_MAX,
) -> Answer:
    """Ask a URL. `reach`: where it may lead; None, if the operator wrote it. Errors: NotFetched."""
    import aiohttp  # here: many a hub never asks anything, and starts without it
    from yarl import URL

    try:
        parsed = URL(url)
        host, port = parsed.raw_host or "", parsed.port
    except ValueError:
        raise NotFetched("it is no URL") from None
    if not url.isprintable():
        raise NotFetched("it is no URL")
    if parsed.scheme not in ("http", "https") or not host or port is None:
        raise NotFetched("it is no http or https URL")
    if parsed.user is not None or parsed.password is not None:
        raise NotFetched("it has a user or a password in it")
    try:
        async with asyncio.timeout(wait_s):
            judged = None if reach is None else await _judged(host, port, parsed.scheme, reach)
            async with (
                aiohttp.ClientSession(connector=_connector(judged), auto_decompress=False) as session,
                session.request(
                    method,
                    parsed,
                    data=body if form is None else dict(form),
                    headers={"Accept-Encoding": "identity", **(headers or {})},
                    allow_redirects=False,
                ) as reply,
            ):
                said = b""
                while len(said) <= bytes_max and (more := await reply.content.read(bytes_max + 1 - len(said))):
                    said += more
                told = {name.lower(): ", ".join(reply.headers.getall(name)) for name in reply.headers}
                status = reply.status
    except TimeoutError:
        raise NotFetched(f"it did not answer within {wait_s:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError):
        raise NotFetched("it can't be reached") from None
    if len(said) > bytes_max:
        raise NotFetched(f"it answered with more than {bytes_max} bytes")
    return Answer(status, told, said)


async def addresses(url: str, reach: Reach) -> list[str]:
    """The addresses of a server's URL that somebody else gave, all of which may be asked.

    `http` is for what the operator has named in `outbound.allow`. Errors: NotFetched.
    """
    parts = urlsplit(url)
    host, scheme = parts.hostname or "", parts.scheme
    if not host or "%" in host:
        raise NotFetched("its host is no name")
    try:
        port = parts.port or (443 if scheme == "https" else 80)
        async with asyncio.timeout(WAIT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise NotFetched(f"its host's address was not found within {WAIT_S:g} s") from None
    except (UnicodeError, ValueError):
        raise NotFetched("its host is no name") from None
    except OSError:
        raise NotFetched("its host has no address") from None
    literals = list(dict.fromkeys(str(address[0]) for *_, address in found))
    for literal in literals:
        if (wrong := reach.why_not(host, literal)) is not None:
            raise NotFetched(f"it leads to {wrong}; `outbound.allow` in the file says what is allowed")
        if scheme == "http" and host_name(host) not in reach.hosts and PUBLIC.why_not(host, literal) is None:
            raise NotFetched("it is not https")
    return literals


async def _judged(host: str, port: int, scheme: str, reach: Reach) -> "list[ResolveResult]":
    """The addresses of a host, all of which may be asked. Errors: NotFetched, OSError."""
    loop = asyncio.get_running_loop()
    if "%" in host:
        raise NotFetched("its host is no name")  # an escape, or the zone of an address
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise NotFetched("its host is no name") from None
    places: list[ResolveResult] = []
    for family, _, proto, _, address in found:
        literal = str(address[0])
        if (wrong := reach.why_not(host, literal)) is not None:
            raise NotFetched(
                f"it leads to {wrong}, where others do not send the hub; `outbound.allow` says what is allowed"
            )
        if scheme == "http" and not is_loopback(literal):
            raise NotFetched("it is not https")
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        places.append(
            {"hostname": host, "host": literal, "port": port, "family": family, "proto": proto, "flags": flags}
        )
    if not places:
        raise NotFetched("its host has no address")
    return places


def _connector(judged: "list[ResolveResult] | None") -> "TCPConnector":
    """Connects to the addresses that were judged and no others; None: to whatever a host has.

    The library asks no resolver for what it takes for an address, so the last word is had where sockets are made.
    """
    from aiohttp import TCPConnector
    from aiohttp.abc import AbstractResolver

    if judged is None:
        return TCPConnector(use_dns_cache=False)
    places = judged

    class Pinned(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> "list[ResolveResult]":
            return places

        async def close(self) -> None:
            pass

    def made(place: "AddrInfoType") -> socket.socket:
        family, kind, proto, _, address = place
        if address[0] not in {place["host"] for place in places}:
            raise OSError("this address was not judged")
        return socket.socket(family, kind, proto)

    return TCPConnector(use_dns_cache=False, resolver=Pinned(), socket_factory=made)
