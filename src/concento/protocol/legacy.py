"""The session era (2025-11-25 and older): an agent's request lifted to a `Call`, a `Request` written for a server.

Sessions themselves live in `front` and `upstream`; here is only how their messages read.
Source: specifications 2024-11-05 to 2025-11-25.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from ..model import meta
from ..model.call import Call, Endpoint, Failure, Profile, Request, RequestId, Result
from ..model.errors import CallError, InvalidParams
from ..model.principal import Principal
from .capabilities import read_legacy_profile
from .headers import NAMED
from .hops import next_hop
from .jsonrpc import EMPTY, EMPTY_OBJECT, Message, one_line, read_object, read_string
from .versions import negotiate

_encode = msgspec.json.Encoder().encode

_MODERN_ONLY = ("resultType", "ttlMs", "cacheScope")
_FOREIGN_CODES: Final[Mapping[int, int]] = {-32020: -32603, -32021: -32602, -32022: -32603}
"""Codes an agent of this era can't know, and what it is told instead."""


class Hello(msgspec.Struct, frozen=True):
    """What an agent's `initialize` says: the revision to answer with, what it can be asked for, and its raw name."""

    revision: str
    profile: Profile
    info: Raw


def read_hello(message: Message) -> Hello:
    """Read an `initialize`."""
    version = read_string(message.params.get("protocolVersion"))
    if version is None:
        raise InvalidParams("initialize needs a protocolVersion")
    capabilities = message.params.get("capabilities", EMPTY_OBJECT)
    info = message.params.get("clientInfo", EMPTY_OBJECT)
    if read_object(capabilities) is None or read_object(info) is None:
        raise InvalidParams("capabilities and clientInfo must be objects")
    revision = negotiate(version)
    return Hello(revision, read_legacy_profile(capabilities, revision), info)


def lift(
    message: Message,
    endpoint: Endpoint,
    principal: Principal,
    *,
    profile: Profile,
    log_level: str | None,
    session: str | None,
    address: str = "",
    revision: str = "",
) -> Call:
    """A legacy request as a `Call`: what its session settled is stamped on it."""
    name = None
    named_by = NAMED.get(message.method)
    if named_by is not None:
        name = read_string(message.params.get(named_by))
        if name is None:
            raise InvalidParams(f"The parameter {named_by!r} must be a string")
    about = EMPTY if message.meta is None else message.meta
    if meta.HOPS in about:
        about = {**about, meta.HOPS: next_hop(about[meta.HOPS])}
    return Call(
        method=message.method,
        params=message.params,
        meta=about,
        name=name,
        endpoint=endpoint,
        principal=principal,
        profile=profile,
        log_level=log_level,
        session=session,
        address=address,
        id=message.id,
        revision=revision,
        link=message.link,
    )


def render(result: Result) -> bytes | Raw:
    """A result as this era's agents expect it: without the fields that came later."""
    if result.kind is None:
        return result.raw
    members = read_object(result.raw) or {}
    for key in _MODERN_ONLY:
        members.pop(key, None)
    stamped = read_object(members["_meta"]) if "_meta" in members else None
    if stamped is not None and stamped.pop(meta.SERVER_INFO, None) is not None:
        members["_meta"] = Raw(_encode(stamped))
        if not stamped:
            del members["_meta"]
    return _encode(members)


def capabilities(offered: Mapping[str, Any], revision: str) -> dict[str, Any]:
    """What an endpoint offers, as this era's agents are told it: without extensions, which came later."""
    told = {name: settings for name, settings in offered.items() if name != "extensions"}
    if revision >= TASKS_SINCE:
        told["tasks"] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    return told


TASKS_SINCE: Final = "2025-11-25"
"""The revision that brought tasks, as an experiment."""


def error_code(error: CallError | Failure) -> int:
    """The code an agent of this era is told."""
    return _FOREIGN_CODES.get(error.code, error.code)


# ---- toward servers


_FIRST_HOP: Final = Raw(b"1")


class Writer:
    """Writes requests for servers of one legacy revision."""

    def __init__(self, revision: str) -> None:
        self.revision = revision

    def request(self, id: RequestId, request: Request) -> bytes:
        """The message. A progress token of the caller's is replaced by the id."""
        params: dict[str, Any] = dict(request.params)
        traceparent = None if request.attempt is None else request.attempt.traceparent
        if request.meta or request.name is not None or traceparent is not None:
            stamped: dict[str, Any] = {meta.HOPS: _FIRST_HOP, **request.meta}
            if meta.PROGRESS_TOKEN in stamped:
                stamped[meta.PROGRESS_TOKEN] = id
            if traceparent is not None:
                stamped[meta.TRACEPARENT] = traceparent
            params["_meta"] = stamped
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": id, "method": request.method}
        if params:
            message["params"] = params
        return one_line(_encode(message))

    def cancel(self, id: RequestId) -> bytes:
        """The notification that ends a request."""
        params = {"requestId": id, "reason": "cancelled by the caller"}
        return _encode({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})


INITIALIZED: Final = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
