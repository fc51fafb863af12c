"""How errors are told to agents, in either era."""

import math
from typing import Any, Final

from ..model.call import Failure
from ..model.errors import CallError
from ..protocol import modern
from ..protocol.jsonrpc import encode_error
from ..protocol.legacy import error_code

_RESOURCE_MISSING = -32002
_REFUSED: Final = frozenset({403, 429, 503})


def error_data(error: CallError) -> dict[str, Any] | None:
    """What goes with an error of the hub's own: whether the call ran, whether to repeat it, where it was recorded.

    Errors of the caller's have only what the specification asks for: a hidden and an absent tool must read alike.
    """
    if error.fault == "caller":
        return error.data
    data: dict[str, Any] = {"outcome": error.outcome, "retryable": error.retryable and error.outcome == "not_sent"}
    if error.retry_after_s is not None:
        data["retryAfterMs"] = math.ceil(error.retry_after_s * 1000)
    if error.trace_id is not None:
        data["traceId"] = error.trace_id
    return {**data, **(error.data or {})}


def modern_error(raw_id: bytes | None, error: CallError | Failure) -> bytes:
    """An error for an agent of the modern era."""
    if isinstance(error, Failure):
        code = -32602 if error.code == _RESOURCE_MISSING else error.code
        return encode_error(raw_id, code, error.message, error.data)
    return encode_error(raw_id, error.code, error.message, error_data(error))


def legacy_error(raw_id: bytes | None, error: CallError | Failure) -> bytes:
    """An error for an agent of the legacy era."""
    if isinstance(error, Failure):
        return encode_error(raw_id, error_code(error), error.message, error.data)
    return encode_error(raw_id, error_code(error), error.message, error_data(error))


def legacy_status(error: CallError) -> int:
    """The HTTP status of an error in the legacy era: what is wrong with a call itself travels in 200."""
    status = modern.status(error)
    return status if status in _REFUSED else 200


def retry_headers(error: CallError | Failure) -> tuple[tuple[str, str], ...]:
    """`Retry-After`, where it is known when to come back."""
    if isinstance(error, CallError) and error.retry_after_s is not None:
        return (("retry-after", str(max(1, math.ceil(error.retry_after_s)))),)
    return ()
