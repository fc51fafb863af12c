"""The stateless era (2026-07-28 on): an agent's request lifted to a `Call`, a `Request` written for a server.

Source: specification 2026-07-28, basic (per-request fields), basic/transports, server/utilities/caching.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from ..model import meta
from ..model.call import NO_ABILITIES, Answer, Call, Endpoint, Failure, Request, RequestId, Result
from ..model.errors import CallError, HeaderMismatch, InvalidParams, UnsupportedVersion
from ..model.principal import Principal
from .capabilities import read_profile
from .headers import NAMED, Head, check_mirror, check_name, encode_value
from .hops import next_hop
from .jsonrpc import EMPTY, Message, encode_request, raw, read_object, read_once, read_string
from .versions import LEGACY, MODERN

_encode = msgspec.json.Encoder().encode

STATUS: Final[Mapping[int, int]] = {
    -32700: 400,
    -32600: 400,
    -32601: 404,
    -32602: 400,
    -32002: 400,
    -32020: 400,
    -32021: 400,
    -32022: 400,
    -31003: 429,
    -31004: 503,
    -31007: 403,
}
"""HTTP status of a JSON-RPC error while nothing was streamed yet; all others travel in 200.

-32002 is how servers of the legacy era say -32602 of a resource.
"""

_TRY_AGAIN = frozenset({429, 503})

CACHEABLE: Final = frozenset(
    {
        *("server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"),
        *("resources/read", "skills/list", "skills/get"),
    }
)
"""Methods whose complete results must say how long and by whom they may be kept."""

CAN_ASK: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Methods that may be answered with a request for input."""

_LIFETIME: Final[Mapping[str, Raw]] = {"ttlMs": Raw(b"0"), "cacheScope": Raw(b'"private"')}
_FIELDS: Final = (b'"resultType"', b'"ttlMs"', b'"cacheScope"')
_ENVELOPE = frozenset({meta.PROTOCOL_VERSION, meta.CLIENT_CAPABILITIES, meta.CLIENT_INFO, meta.LOG_LEVEL})
LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


def is_addressed(message: Message, head: Head | None) -> bool:
    """Whether a message speaks this era: by its envelope, or by its version header.

    `initialize`, which this era does not have, has to say so both ways: an agent that falls back to the legacy era may
    leave one of them behind.
    """
    enveloped = message.meta is not None and meta.PROTOCOL_VERSION in message.meta
    headed = head is not None and head.version is not None and head.version >= MODERN[0]
    return enveloped and headed if message.method == "initialize" else enveloped or headed


def lift(message: Message, head: Head | None, endpoint: Endpoint, principal: Principal, address: str = "") -> Call:
    """A modern request as a `Call`; `head` is None where the transport mirrors nothing (stdio).

    Errors, first failure wins: InvalidParams (envelope incomplete), HeaderMismatch, UnsupportedVersion, InvalidParams
    (the parameter to be named is no string).
    """
    given = EMPTY if message.meta is None else message.meta
    version = _envelope_version(given)
    capabilities = given[meta.CLIENT_CAPABILITIES]
    named_by = NAMED.get(message.method)
    name = None if named_by is None else read_string(message.params.get(named_by))
    if head is not None:
        _check_head(head, version, message.method, name)
    if version not in MODERN:
        raise UnsupportedVersion(
            f"Protocol version {version[:32]!r} is not supported",
            data={"supported": [*MODERN, *LEGACY], "requested": version},
        )
    if named_by is not None and name is None:
        raise InvalidParams(f"The parameter {named_by!r} must be a string")
    level = read_string(given[meta.LOG_LEVEL]) if meta.LOG_LEVEL in given else None
    about = {key: value for key, value in given.items() if key not in _ENVELOPE}
    if meta.HOPS in about:
        about[meta.HOPS] = next_hop(about[meta.HOPS])
    params = message.params
    answers, state = None, None
    if message.method in CAN_ASK and ("inputResponses" in params or "requestState" in params):
        params = dict(params)
        answers, state = read_answers(params.pop("inputResponses", None)), _state(params.pop("requestState", None))
    return Call(
        method=message.method,
        params=params,
        meta=about,
        name=name,
        endpoint=endpoint,
        principal=principal,
        profile=read_profile(capabilities),
        log_level=level if level in LOG_LEVELS else None,
        mirrored=None if head is None else head.params,
        answers=answers,
        state=state,
        address=address,
        id=message.id,
        revision=version,
        link=message.link,
    )


def _results(answers: Mapping[str, Answer]) -> Mapping[str, Answer]:
    """Answers as this era has them: results only. Errors: InvalidParams, if the agent answered with an error."""
    for key, answer in answers.items():
        if isinstance(answer, Failure):
            raise InvalidParams(
                f"The agent answered the question {key!r} with an error, which a server of this revision can't be told"
                f": {answer.message[:200]}"
            )
    return answers


def read_answers(given: Raw | None) -> dict[str, Answer]:
    """The answers in `inputResponses`. Errors: InvalidParams."""
    answers = {} if given is None else read_once(given)
    if answers is None or any(bytes(answer)[:1] != b"{" for answer in answers.values()):
        raise InvalidParams("The parameter 'inputResponses' must be an object of result objects")
    return dict(answers)


def _state(given: Raw | None) -> str | None:
    state = read_string(given)
    if given is not None and state is None:
        raise InvalidParams("The parameter 'requestState' must be a string")
    return state


def _envelope_version(given: Mapping[str, Raw]) -> str:
    if meta.PROTOCOL_VERSION not in given or meta.CLIENT_CAPABILITIES not in given:
        missing = [key for key in (meta.PROTOCOL_VERSION, meta.CLIENT_CAPABILITIES) if key not in given]
        raise InvalidParams(f"The request's _meta lacks {' and '.join(missing)}")
    version = read_string(given[meta.PROTOCOL_VERSION])
    if version is None:
        raise InvalidParams(f"{meta.PROTOCOL_VERSION} must be a string")
    if bytes(given[meta.CLIENT_CAPABILITIES])[:1] != b"{":
        raise InvalidParams(f"{meta.CLIENT_CAPABILITIES} must be an object")
    return version


def _check_head(head: Head, version: str, method: str, name: str | None) -> None:
    if head.repeated is not None:
        raise HeaderMismatch(f"The {head.repeated} header came more than once")
    check_mirror("MCP-Protocol-Version", head.version, version)
    check_mirror("Mcp-Method", head.method, method)
    if name is not None:
        check_name(head.name, name)


def render(method: str, result: Result) -> bytes | Raw:
    """A result as this era's agents expect it: with `resultType`, and a lifetime where the method needs one."""
    if result.kind is not None:
        return result.raw
    text = bytes(result.raw)
    lifetime = _LIFETIME if method in CACHEABLE else EMPTY
    if any(field in text for field in _FIELDS):
        return _encode({**lifetime, **(read_object(text) or {}), "resultType": "complete"})
    added = b'{"resultType":"complete"'
    if lifetime:
        added += b',"ttlMs":0,"cacheScope":"private"'
    rest = text[1:].lstrip()
    return added + (rest if rest == b"}" else b"," + rest)


def status(error: CallError | Failure) -> int:
    """The HTTP status that goes with an error. What proxies repeat unasked is said only of calls that did not run."""
    status = STATUS.get(error.code, 200)
    if status in _TRY_AGAIN and (isinstance(error, Failure) or error.outcome != "not_sent"):
        return 200
    return status


# ---- toward servers


class Writer:
    """Writes requests for servers of one modern revision: stamps the hub's envelope on each."""

    def __init__(self, revision: str, client_info: Mapping[str, Any]) -> None:
        self.revision = revision
        self._envelope = {
            meta.PROTOCOL_VERSION: raw(revision),
            meta.CLIENT_INFO: raw(client_info),
            meta.CLIENT_CAPABILITIES: Raw(b"{}"),
        }
        self._first: dict[str, Any] = {meta.HOPS: Raw(b"1")}

    def request(self, id: RequestId, request: Request) -> bytes:
        """The message. A progress token of the caller's is replaced by the id."""
        stamped: dict[str, Any] = {**self._first, **request.meta, **self._envelope}
        if meta.PROGRESS_TOKEN in request.meta:
            stamped[meta.PROGRESS_TOKEN] = id
        if request.log_level is not None:
            stamped[meta.LOG_LEVEL] = request.log_level
        if request.profile is not NO_ABILITIES:
            stamped[meta.CLIENT_CAPABILITIES] = request.profile.declared
        if request.attempt is not None and request.attempt.traceparent is not None:
            stamped[meta.TRACEPARENT] = request.attempt.traceparent
        params: dict[str, Any] = {**request.params, "_meta": stamped}
        if request.answers:
            params["inputResponses"] = _results(request.answers)
        if request.state is not None:
            params["requestState"] = request.state
        return encode_request(id, request.method, params)

    def cancel(self, id: RequestId) -> bytes:
        """The notification that ends a request over stdio (over HTTP, closing the stream does)."""
        params = {"requestId": id, "reason": "cancelled by the caller", "_meta": self._envelope}
        return _encode({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})

    def headers(self, request: Request) -> list[tuple[str, str]]:
        """The header fields that mirror a request over HTTP."""
        fields = [("MCP-Protocol-Version", self.revision), ("Mcp-Method", request.method)]
        if request.name is not None:
            fields.append(("Mcp-Name", encode_value(request.name)))
        fields.extend(request.headers)
        return fields
