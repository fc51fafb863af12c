"""Mirrored header fields of the modern era: how a body value is written in a header, and how the two are compared.

Source: specification 2026-07-28, basic/transports, standard and custom headers.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from ..model.errors import HeaderMismatch, InvalidParams
from .text import check_repeats

NAMED: Final[Mapping[str, str]] = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
"""Methods whose `Mcp-Name` header repeats one parameter, and which."""

PARAM_PREFIX: Final = "mcp-param-"

_SENTINEL = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_PLAIN = re.compile(r"(?! )[\x20-\x7e]*(?<! )")
_DECIMAL = re.compile(r"(-?[0-9]{1,16})(?:\.0{1,16})?")
INTEGER_MAX: Final = 2**53 - 1
"""Largest integer that every JSON parser keeps exact; larger ones are not mirrored."""


class Head(Struct, frozen=True):
    """The header fields of a request that the protocol reads. `params` has the `Mcp-Param-*` ones, lower-case."""

    version: str | None = None
    method: str | None = None
    name: str | None = None
    session: str | None = None
    last_event_id: str | None = None
    repeated: str | None = None
    """A routing field that came more than once."""
    params: Mapping[str, str] = {}


class ParamHeader(Struct, frozen=True):
    """One parameter that a tool asks to have mirrored: its path in the arguments, the field's suffix, its JSON type."""

    path: tuple[str, ...]
    header: str
    type: str


def encode_value(value: str) -> str:
    """A body value as a header value: as it is where that survives, else base64 between markers."""
    if _PLAIN.fullmatch(value) and not _SENTINEL.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decode_value(value: str) -> str | None:
    """The body value that a header value stands for; None where it is not written the one way it has to be."""
    match = _SENTINEL.fullmatch(value)
    if match is None:
        return value if _PLAIN.fullmatch(value) else None
    try:
        data = base64.b64decode(match[1], validate=True)
        return data.decode() if base64.b64encode(data).decode() == match[1] else None
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def check_mirror(field: str, header: str | None, value: str) -> None:
    """Refuse a request whose header does not repeat the body's value as it is."""
    if header is None:
        raise HeaderMismatch(f"The {field} header is missing; it must repeat the body's {value[:64]!r}")
    if header != value:
        raise HeaderMismatch(f"The {field} header does not match the body")


def check_name(header: str | None, name: str) -> None:
    """Refuse a request whose `Mcp-Name`, decoded, is not the body's: what looks encoded is never taken literally."""
    check_mirror("Mcp-Name", None if header is None else decode_value(header), name)


def check_params(declared: Iterable[ParamHeader], arguments: Raw | None, sent: Mapping[str, str]) -> None:
    """Refuse a call whose `Mcp-Param-*` fields differ from its arguments."""
    values = _decode(arguments)
    for param in declared:
        field = PARAM_PREFIX + param.header.lower()
        wanted = _render(_value_at(values, param.path))
        got = sent.get(field)
        if wanted is None and got is None:
            continue
        if wanted is None or got is None or not _same(decode_value(got), wanted, param.type):
            raise HeaderMismatch(
                f"The Mcp-Param-{param.header} header does not match the argument {'.'.join(param.path)!r}"
            )


def mirror_params(declared: Iterable[ParamHeader], arguments: Raw | None) -> tuple[tuple[str, str], ...]:
    """The `Mcp-Param-*` fields that repeat a call's arguments toward a server."""
    values = _decode(arguments)
    rendered = ((param.header, _render(_value_at(values, param.path))) for param in declared)
    return tuple((f"Mcp-Param-{header}", encode_value(value)) for header, value in rendered if value is not None)


def _decode(arguments: Raw | None) -> object:
    if arguments is None:
        return None
    check_repeats(bytes(arguments))
    try:
        return msgspec.json.decode(arguments)
    except ValueError:
        raise InvalidParams("The arguments hold a number of too many digits") from None


def _value_at(value: object, path: tuple[str, ...]) -> object:
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _render(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and abs(value) <= INTEGER_MAX:
        return str(value)
    return None


def _same(got: str | None, wanted: str, type: str) -> bool:
    if got == wanted:
        return True
    if type != "integer" or got is None or _DECIMAL.fullmatch(wanted) is None:
        return False
    number = _DECIMAL.fullmatch(got)
    return number is not None and int(number[1]) == int(wanted)
