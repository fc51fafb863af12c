"""What a server asks for that refuses a request: where its metadata is, and which scopes.

Never relayed: it names the server's own resource and authorization server, which are none of the caller's business.
Source: RFC 6750 3, RFC 9728 5.
"""

import re
from typing import Final

from msgspec import Struct

_SCOPES_CHARS_MAX: Final = 4096
_HEADER_CHARS_MAX: Final = 16_384
_PARAM: Final = re.compile(r'([a-z_]{1,40})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.IGNORECASE)
_BEARER: Final = re.compile(r"(?:^|,)\s*bearer(?:\s|$)", re.IGNORECASE)
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


class Challenge(Struct, frozen=True):
    """One challenge, as far as it was understood."""

    metadata_url: str | None = None
    scopes: tuple[str, ...] = ()
    error: str = ""


NO_CHALLENGE: Final = Challenge()


def read_challenge(header: str) -> Challenge:
    """The bearer challenge of a `WWW-Authenticate` header; an empty one if there is none."""
    found = _BEARER.search(header[:_HEADER_CHARS_MAX])
    if found is None:
        return NO_CHALLENGE
    told: dict[str, str] = {}
    for name, quoted, plain in _PARAM.findall(header[found.end() : _HEADER_CHARS_MAX]):
        told.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted else plain)
    return Challenge(told.get("resource_metadata"), scopes_in(told.get("scope", "")), told.get("error", ""))


def scopes_in(text: str) -> tuple[str, ...]:
    """The scopes of a text, each once, as RFC 6749 3.3 writes them."""
    return tuple(dict.fromkeys(one for one in text[:_SCOPES_CHARS_MAX].split(" ") if _SCOPE.fullmatch(one)))
