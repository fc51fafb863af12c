"""JSON-RPC messages: read strictly from agents, tolerantly from servers, written compactly to both.

Nothing here knows an era. Values that nobody needs stay `Raw`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from ..model.call import Failure, Reply, RequestId, Result
from ..model.errors import BadReply, CallError, InvalidParams, InvalidRequest, ParseError
from .text import check_repeats, check_text, is_plain

EMPTY: dict[str, Raw] = {}
EMPTY_OBJECT = Raw(b"{}")
_READ = frozenset({"_meta", "name", "uri", "arguments", "taskId", "ref", "type", "argument", "cursor"})
_SPELT = {name.casefold(): name for name in _READ}
"""Members of `params` that are acted upon here, and again by the server: both have to read the same one."""

_members = msgspec.json.Decoder(dict[str, Raw])
_string = msgspec.json.Decoder(str)
_id = msgspec.json.Decoder(int | str)
_encode = msgspec.json.Encoder().encode


class Message(Struct, frozen=True):
    """One message of an agent. `id` is the raw id; None for a notification.

    `kind` is `response` where a legacy agent answers a request of ours; then `method` is empty.
    `params` excludes `_meta`, which is in `meta`; `meta` is None if there was none. `link` is the `traceparent` of the
    HTTP head it came under, where `meta` has another.
    """

    kind: Literal["request", "notification", "response"]
    id: bytes | None
    method: str
    params: dict[str, Raw]
    meta: dict[str, Raw] | None
    link: str | None = None


class Rejection(Struct, frozen=True):
    """Why a text is no acceptable message; `id` is the raw id, as far as it could be read."""

    id: bytes | None
    error: CallError


def parse(text: bytes) -> Message | Rejection:
    """Read one message of an agent, strictly: one object, UTF-8, bounded, no member twice where it is read."""
    raw_id: bytes | None = None
    try:
        check_text(text)
        envelope = _object(text, "The body", InvalidRequest)
        unchecked: bytes | None = text
        if not is_plain(envelope, len(text)):
            check_repeats(text)
            unchecked = None
        raw_id = _read_id(envelope)
        return _read_message(envelope, raw_id, unchecked)
    except CallError as error:
        return Rejection(raw_id, error)


def parse_batch(text: bytes) -> list[bytes] | None:
    """The messages of a JSON-RPC batch (legal in a 2025-03-26 session only); None if the text is no array."""
    if text.lstrip()[:1] != b"[":
        return None
    try:
        return [bytes(raw) for raw in msgspec.json.decode(text, type=list[Raw])]
    except (msgspec.DecodeError, RecursionError):
        return None


def _read_id(envelope: dict[str, Raw]) -> bytes | None:
    raw = envelope.get("id")
    if raw is None:
        return None
    try:
        _id.decode(raw)
    except (msgspec.DecodeError, ValueError):
        raise InvalidRequest("The id must be a string or an integer") from None
    return bytes(raw)


def _read_message(envelope: dict[str, Raw], raw_id: bytes | None, unchecked: bytes | None) -> Message:
    version = envelope.get("jsonrpc")
    if version is None or bytes(version) != b'"2.0"':
        raise InvalidRequest('The member "jsonrpc" must be "2.0"')
    method = envelope.get("method")
    if method is None:
        if raw_id is not None and ("result" in envelope or "error" in envelope):
            return Message("response", raw_id, "", envelope, None)
        raise InvalidRequest('The member "method" is missing')
    kind: Literal["request", "notification"] = "notification" if raw_id is None else "request"
    name = read_string(method)
    if name is None:
        raise InvalidRequest('The member "method" must be a string')
    raw_params = envelope.get("params")
    if raw_params is None:
        return Message(kind, raw_id, name, {}, None)
    params = _inner(raw_params, 'The member "params"', unchecked)
    check_spelling(params)
    raw_meta = params.pop("_meta", None)
    meta = None if raw_meta is None else _inner(raw_meta, 'The member "params._meta"', unchecked)
    return Message(kind, raw_id, name, params, meta)


def check_spelling(members: Iterable[str]) -> None:
    """Refuse a member that a server whose parser ignores case would take for one that we read."""
    for key in members:
        if key not in _READ and (name := _SPELT.get(key.casefold())) is not None:
            raise InvalidRequest(f"The member {key!r} must be spelt {name!r}: a parser that ignores case would read it")


def _inner(raw: Raw, what: str, unchecked: bytes | None) -> dict[str, Raw]:
    """An object within the body; `unchecked` is the body, unless no object of it names a member twice."""
    members = _object(raw, what, InvalidParams)
    if unchecked is not None and not is_plain(members, memoryview(raw).nbytes):
        check_repeats(unchecked)
    return members


def _object(raw: Raw | bytes, what: str, wrong: type[CallError]) -> dict[str, Raw]:
    try:
        return _members.decode(raw)
    except msgspec.ValidationError:
        raise wrong(f"{what} must be an object") from None
    except (msgspec.DecodeError, RecursionError):
        raise ParseError("The body is not JSON") from None


def read_string(raw: Raw | None) -> str | None:
    """The string that a raw value is, or None."""
    if raw is None:
        return None
    try:
        return _string.decode(raw)
    except msgspec.DecodeError:
        return None


def read_object(raw: Raw | bytes) -> dict[str, Raw] | None:
    """The members of the object that a raw value is, or None."""
    try:
        return _members.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def read_once(raw: Raw) -> dict[str, Raw] | None:
    """The members of an object of an agent's that is acted upon. Errors: InvalidRequest, if one is named twice."""
    members = read_object(raw)
    if members is not None and not is_plain(members, memoryview(raw).nbytes):
        check_repeats(bytes(raw))
    return members


def raw(value: Any) -> Raw:
    """A value as raw JSON."""
    return Raw(_encode(value))


# ---- what is written, to either side

_BLANK = bytes.maketrans(b"\r\n", b"  ")


def one_line(text: bytes) -> bytes:
    """A message fit for framing by lines. What was relayed raw may break lines between tokens, and what stood on a line
    of its own there would be a message of its own to whoever reads it."""
    return text.translate(_BLANK) if b"\n" in text or b"\r" in text else text


# ---- to agents


def encode_result(raw_id: bytes, result: Raw | bytes) -> bytes:
    """One response with a result."""
    return one_line(b"".join((b'{"jsonrpc":"2.0","id":', raw_id, b',"result":', result, b"}")))


def encode_error(raw_id: bytes | None, code: int, message: str, data: Any = None) -> bytes:
    """One response with an error; the id is null where none could be read."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return one_line(b'{"jsonrpc":"2.0","id":' + (raw_id or b"null") + b',"error":' + _encode(error) + b"}")


def encode_notification(method: str, params: Raw | Mapping[str, Any]) -> bytes:
    """One notification."""
    return one_line(_encode({"jsonrpc": "2.0", "method": method, "params": params}))


def encode_request(id: RequestId, method: str, params: Any) -> bytes:
    """One request."""
    return one_line(_encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))


# ---- from servers


class _Error(Struct):
    code: int
    message: str = ""
    data: Raw | UnsetType = UNSET


class _Incoming(Struct):
    id: int | str | None = None
    method: str | None = None
    params: Raw = EMPTY_OBJECT
    result: Raw | UnsetType = UNSET
    error: _Error | UnsetType = UNSET


class _ResultHead(Struct):
    resultType: str | None = None
    isError: Raw = Raw(b"")


class Response(Struct, frozen=True):
    """A server's answer to the request with that id (None: an error that names no request)."""

    id: RequestId | None
    reply: Reply


class Push(Struct, frozen=True):
    """What a server sends unasked: a notification, or (legacy) a request if it has an id."""

    id: RequestId | None
    method: str
    params: Raw


_TRUE = Raw(b"true")
_incoming = msgspec.json.Decoder(_Incoming)
_result_head = msgspec.json.Decoder(_ResultHead)


def parse_incoming(text: bytes) -> Response | Push:
    """Read one message of a server. Unknown members pass; what is no message raises `BadReply`."""
    try:
        if not text.isascii():
            text.decode()
        message = _incoming.decode(text)
        if message.method is not None:
            return Push(message.id, message.method, message.params)
        if message.result is not UNSET:
            head = _result_head.decode(message.result)
            return Response(message.id, Result(message.result, head.resultType, head.isError == _TRUE, _links(text)))
        if message.error is not UNSET:
            data = message.error.data
            return Response(
                message.id, Failure(message.error.code, message.error.message, None if data is UNSET else data)
            )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        pass
    raise BadReply("The server sent something that is no JSON-RPC message")


def _links(text: bytes) -> bool:
    """Whether content with a resource's URI may be in it: its type begins so, unless it is written in escapes."""
    return b'"resource' in text or (b"\\" in text and b"\\u" in text)  # one byte is sought many times faster than two
