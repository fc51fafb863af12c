"""Which parts of a text are secret: told by the name it stands under, and by what it looks like.

When in doubt it is one: a harmless value in a file of its own costs nobody anything. Pure.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal
from urllib.parse import unquote

Kind = Literal["env", "header", "arg", "url"]
Span = tuple[int, int]

TEXT_CHARS_MAX: Final = 16 * 1024
"""Longer texts are not looked into: all of one is taken for a secret."""

_WORDS: Final = (
    "token|secret|passw(or)?d|passphrase|pwd|credentials?|cookie|session|signature|private|bearer|auth"
    "|api[_-]?keys?|access[_-]?keys?|account[_-]?key|license[_-]?key"
)
_NAME = re.compile(
    rf"({_WORDS}|(^|[_.-])(key|pat|sig|sas|dsn|pass|auth|jwt|otp|pin|code)([_.-]|$)|key$|connection[_-]?string)", re.I
)
_NO_SECRET_NAME = re.compile(
    r"(^|[_-])(path|file|dir|folder|home|url|uri|host|port|mode|type|region|user|username)$", re.I
)
_NO_SECRET = re.compile(
    r"(?i)true|false|yes|no|on|off|none|null|-?\d{1,9}(\.\d+)?|https?://[^\s@?]*|(~|\.{0,2}|[a-z]:)[/\\].*\.\w{1,10}"
)

_LOOK: Final = re.compile(
    r"""
      (?<![A-Za-z0-9])(?:
        gh[pousr]_[A-Za-z0-9]{16,} | github_pat_\w{20,} | glpat-[\w-]{16,} | sk-[\w-]{16,}
      | [spr]k_(?:live|test)_\w{10,}
      | xox[abeoprs]-[\w-]{10,} | xapp-[\w-]{10,} | (?:AKIA|ASIA)[A-Z0-9]{16} | AIza[\w-]{30,} | ya29\.[\w.-]{20,}
      | npm_[A-Za-z0-9]{30,} | pypi-[\w-]{30,} | hf_[A-Za-z0-9]{20,}
      | (?:ntn|secret|lin_api|lin_oauth|figd|dop_v1)_[\w-]{20,}
      | tvly-[\w-]{16,} | fc-[a-f0-9]{20,} | SG\.[\w-]{16,}\.[\w-]{16,} | eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?
      )
    """,
    re.VERBOSE,
)
_RANDOM = re.compile(r"(?=[^\d]*\d)(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9+/_-]{32,}={0,2}")
"""Letters and digits, too long for a word."""

_USER_INFO = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@]+)@", re.I)
_QUERY = re.compile(r"[?&]([^=&#\s]+)=([^&#\s]+)")
_SEGMENT = re.compile(r"(?<=/)(?=[^/?#]*\d)(?=[^/?#]*[A-Za-z])[A-Za-z0-9_=-]{24,}(?=[/?#]|$)")
_SCHEME = re.compile(r"\s*(?:(?:Bearer|Basic|Token|ApiKey|Digest|Negotiate)\s+)?(\S.*?)\s*", re.I | re.S)
_ASSIGNED = re.compile(r"(-{0,2}[A-Za-z][\w.-]*)\s*[=:]\s*(\S.*)", re.S)
_REFERENCE = re.compile(r"(?<!\$)\$\{|\0|^\$\$\{\w+\}$")
"""One of ours, what a person will say, or one that the server itself puts something in for."""


def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is likely to be secret."""
    return _NAME.search(name) is not None and _NO_SECRET_NAME.search(name) is None


def secret_spans(text: str, name: str, kind: Kind) -> list[Span]:
    """Where in a text secrets stand, in order, none overlapping. What has a reference in it is none.

    `name`: of the variable, header field or option; empty where there is none.
    """
    if len(text) > TEXT_CHARS_MAX:
        return [(0, len(text))]
    spans: list[Span] = []
    for start, end in sorted(_spans(text, name, kind)):
        span = start, start + len(text[start:end].rstrip("\r\n"))
        if span[0] == span[1]:
            continue
        if _REFERENCE.search(text[span[0] : span[1]]):
            continue
        if spans and span[0] < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(span[1], spans[-1][1]))
        else:
            spans.append(span)
    return spans


def _spans(text: str, name: str, kind: Kind) -> Iterator[Span]:
    if kind == "url" or "://" in text:
        yield from _in_url(text)
    yield from (match.span() for match in _LOOK.finditer(text))
    match kind:
        case "header":
            yield from _in_header(text, name)
        case "env":
            if (is_secret_name(name) and not _NO_SECRET.fullmatch(text)) or (
                _RANDOM.fullmatch(text) and "/" not in text
            ):
                yield 0, len(text)
        case "arg":
            yield from _in_argument(text, name)


def _in_url(text: str) -> Iterator[Span]:
    yield from (match.span(1) for match in _USER_INFO.finditer(text))
    for match in _QUERY.finditer(text):
        value = unquote(match[2])
        if (is_secret_name(match[1]) and not _NO_SECRET.fullmatch(value)) or _RANDOM.fullmatch(value):
            yield match.span(2)
    yield from (match.span() for match in _SEGMENT.finditer(text))


def _in_header(text: str, name: str) -> Iterator[Span]:
    is_named = is_secret_name(name) or name.lower() in ("authorization", "proxy-authorization")
    if is_named or _RANDOM.fullmatch(text):
        match = _SCHEME.fullmatch(text)
        if match is not None and not (_NO_SECRET.fullmatch(match[1]) and name.lower() != "authorization"):
            yield match.span(1)


def _in_argument(text: str, option: str) -> Iterator[Span]:
    """A value after its option, `--option=value`, `NAME=value`, or `Field: value` as `--header` takes it."""
    if option and is_secret_name(option) and not _NO_SECRET.fullmatch(text) and not text.startswith("-"):
        yield from _in_header(text, "authorization")
        return
    if _RANDOM.fullmatch(text) and "/" not in text:
        yield 0, len(text)
    assigned = _ASSIGNED.fullmatch(text)
    if assigned is None or "://" in text[: assigned.start(2) + 2]:
        return
    name, offset = assigned[1].lstrip("-"), assigned.start(2)
    if name.lower() in ("authorization", "proxy-authorization"):
        yield from ((a + offset, b + offset) for a, b in _in_header(assigned[2], name))
    elif is_secret_name(name) and not _NO_SECRET.fullmatch(assigned[2]):
        yield offset, len(text)
    elif name.lower() in ("header", "h"):
        yield from ((a + offset, b + offset) for a, b in _in_argument(assigned[2], ""))
