"""What only looks like a secret or like personal data, told from what is: judges of what an expression found. Pure.

A judge gets a match and says what of it is meant, or None.
"""

import base64
import binascii
import ipaddress
import re
from typing import Final

Span = tuple[int, int]


def whole(match: re.Match[str]) -> Span | None:
    """All of it, or the part that the expression names: its last group."""
    return match.span(match.lastgroup or 0)


# -- stand-ins for secrets

_STAND_IN: Final = re.compile(
    r"(?:your|my)?(?:password|passwd|pass|pwd|passphrase|secret|token|changeme|example|redacted|none|null|true|false|"
    r"undefined|required|optional|string|hidden|unknown|default|value|empty)"
)


def _is_stand_in(value: str) -> bool:
    """Whether a value stands where a secret would: a reference, a word for it, or stars."""
    plain = re.sub(r"[^a-z0-9]", "", value.lower())
    return (
        len(set(value)) < 3
        or _STAND_IN.fullmatch(plain) is not None
        or value[:1] in "$<%{[*#&"
        or value.startswith(("your-", "your_", "my-", "my_", "..."))
        or "${" in value
    )


_CODE: Final = re.compile(r"[A-Za-z_][A-Za-z_.:-]{0,255}$|[A-Za-z_]\w{0,63}[.(][A-Za-z_]")
"""A name, a call or a type rather than a value; one with a digit is taken for a value."""
_SECRET_NAME: Final = re.compile(
    r"(?:pass(?:word|wd|phrase)|(?<![a-z])pwd|(?<![a-z])secret|(?:client|signing|api)[_-]?secret|"
    r"(?:secret|access|api|private|signing|encryption|master)[_-]?key|"
    r"(?:api|access|auth|refresh|session|bearer)[_-]?token)$",
    re.IGNORECASE,
)


def assigned(match: re.Match[str]) -> Span | None:
    """A value that is given to a name for secrets. Without quotes it has to look like no word and no code."""
    text, value = match.string, match["it"]
    before = text[max(0, match.start() - 12) : match.end("word")]
    if _SECRET_NAME.search(before) is None or _is_stand_in(value):
        return None
    if not match["quote"] and (_CODE.match(value) or text[match.end() : match.end() + 1] in ("(", "[", "{")):
        return None
    return match.span("it")


def in_url(match: re.Match[str]) -> Span | None:
    """The password of a URL, unless something stands in for it."""
    value = match["it"]
    return None if _is_stand_in(value) or (value.isupper() and value.isalpha()) else match.span("it")


def authorization(match: re.Match[str]) -> Span | None:
    """The value of an Authorization header: of Basic what decodes to user:password, of Bearer no mere word."""
    value = match["it"]
    if match["scheme"].lower() == "basic":
        try:
            return match.span("it") if b":" in base64.b64decode(value + "=" * (-len(value) % 4)) else None
        except (ValueError, binascii.Error):
            return None
    return match.span("it") if any(character.isdigit() for character in value) else None


def jwt(match: re.Match[str]) -> Span | None:
    """A token whose first part is the header of one."""
    head = match[0].partition(".")[0]
    try:
        return match.span() if b'"alg"' in base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)) else None
    except (ValueError, binascii.Error):
        return None


_FILES: Final = frozenset(
    (
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "ico",
        "css",
        "js",
        "ts",
        "py",
        "rb",
        "go",
        "txt",
        "html",
        "json",
        "yml",
    )
)


_ESCAPE: Final = re.compile(r"[nrt]|u[0-9A-Fa-f]{4}")
"""What follows a backslash in JSON within JSON: it is not of the address."""


def email(match: re.Match[str]) -> Span | None:
    """An address, but for what only has its form: a picture's file name, the user of a URL or of a repository."""
    text, begin, end = match.string, match.start(), match.end()
    if match["end"].lower() in _FILES or text[max(0, begin - 2) : begin] == "//":
        return None
    if match["user"] == "git" and text[end : end + 1] == ":":
        return None
    escape = _ESCAPE.match(text, begin) if text[max(0, begin - 1) : begin] == "\\" else None
    return (begin if escape is None else escape.end(), end)


_AMERICA: Final = re.compile(r"(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-.])[2-9][0-9]{2}[-.][0-9]{4}")
_SAID: Final = re.compile(
    r"(?<![a-z])(?:phone|tel|telefon|telephone|mobile?|cell|handy|fax|whatsapp|call|ring|sms)[.:\"' ]{1,6}$",
    re.IGNORECASE,
)


def phone(match: re.Match[str]) -> Span | None:
    """A number with as many digits as numbers have, which says by its form or by the word before it that it is one."""
    text = match[0]
    digits = sum(character.isdigit() for character in text)
    if not 7 <= digits <= 15:
        return None
    if text[0] == "+":
        is_fraction = text.count(".") == 1 and not set(text) & set(" -(")
        return None if is_fraction or (text[1:].isdigit() and digits < 10) else match.span()
    before = match.string[max(0, match.start() - 14) : match.start()]
    return match.span() if _AMERICA.fullmatch(text) or _SAID.search(before) else None


_NO_ADDRESS: Final = re.compile(r"(?:version|release|section|chapter|#|/|\bv)[ -]?$", re.IGNORECASE)


def ip_address(match: re.Match[str]) -> Span | None:
    """An address, but for what only has its form: a version, a section's number, a slice of a list."""
    text = match[0]
    if _NO_ADDRESS.search(match.string[max(0, match.start() - 9) : match.start()]):
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    is_long = address.version == 4 or any(len(group) > 2 for group in text.split(":"))
    return match.span() if is_long and not (address.is_loopback or address.is_unspecified) else None


_SECRET_MEMBERS: Final = (
    *("password", "passwd", "passphrase", "pwd", "clientsecret", "secretkey", "secretaccesskey", "apikey", "apisecret"),
    *("accesstoken", "refreshtoken", "authtoken", "sessiontoken", "bearertoken", "privatekey", "signingkey"),
    *("signingsecret", "encryptionkey", "masterkey"),
)


def is_secret_member(name: str, value: str) -> bool:
    """Whether a member of an object holds a secret, by its name: what `password` finds in JSON."""
    plain = re.sub(r"[^a-z]", "", name.lower())
    return (plain == "secret" or plain.endswith(_SECRET_MEMBERS)) and bool(value) and not _is_stand_in(value)
