"""How keys are written: told apart from any other text by one regular expression, and from mistyped ones by a checksum.

    concento_<id>_<secret>          a key
    concento_<id>_d.<blocks>        a key delegated by its holder (`derived.py`)

    concento_[a-z0-9]{10}_(d\\.)?[A-Za-z0-9_-]{20,}

The last line finds both in code, logs and chats. Bytes are base64url without padding, of which each has exactly one
spelling: a text that was altered anywhere is another text, and never the same key written otherwise.
"""

import base64
import re
import zlib
from typing import Final

PREFIX: Final = "concento_"
DERIVED: Final = "d."
ID_CHARS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_LENGTH: Final = 10
SECRET_BYTES: Final = 32
TEXT_CHARS_MAX: Final = 4096
"""Longest text of a key, so that it fits into the header fields that proxies take."""
BLOCKS_CHARS_MAX: Final = TEXT_CHARS_MAX - len(PREFIX) - ID_LENGTH - 1 - len(DERIVED)

NAME_CHARS_MAX: Final = 128
PATTERN_CHARS_MAX: Final = 256

_FORM: Final = re.compile(rf"concento_([a-z0-9]{{10}})_(d\.)?([A-Za-z0-9_-]{{20,{BLOCKS_CHARS_MAX}}})")
_SCOPE: Final = re.compile(rf"[\x21\x23-\x5b\x5d-\x7e]{{1,{NAME_CHARS_MAX}}}")
_PATTERN: Final = re.compile(r"\*|[a-z0-9*?-]+\.[^\[\]{}\x00-\x1f\x7f]+")


def parts(text: str) -> tuple[str, bool, str] | None:
    """A key's id, whether it is derived, and what follows; None for any other text."""
    form = _FORM.fullmatch(text)
    return None if form is None else (form[1], form[2] is not None, form[3])


def written(id: str, secret: bytes) -> str:
    """A key as text. The checksum covers the id, too, so that no slip in it looks like a key that was deleted."""
    return f"{PREFIX}{id}_{encoded(secret + _check(id, secret))}"


def secret_in(id: str, body: str) -> bytes | None:
    """The secret in what follows a key's id; None if either was mistyped."""
    both = decoded(body)
    if both is None or len(both) != SECRET_BYTES + 4:
        return None
    secret, check = both[:SECRET_BYTES], both[SECRET_BYTES:]
    return secret if _check(id, secret) == check else None


def _check(id: str, secret: bytes) -> bytes:
    return zlib.crc32(id.encode() + secret).to_bytes(4, "big")


def encoded(value: bytes) -> str:
    """Bytes as text."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def decoded(text: str) -> bytes | None:
    """Bytes of a text; None if it is not the one spelling of any."""
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return value if encoded(value) == text else None


def is_name(text: str) -> bool:
    """Whether it can be the name of a user or an agent: one line that can be shown as it is, and not too long."""
    return 0 < len(text) <= NAME_CHARS_MAX and text.isprintable() and text == text.strip()


def is_scope(text: str) -> bool:
    """Whether it can be a scope, as RFC 6749 writes them."""
    return _SCOPE.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Whether it can be a pattern over `server.tool` of a derived key."""
    return len(text) <= PATTERN_CHARS_MAX and _PATTERN.fullmatch(text) is not None
