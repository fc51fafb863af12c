"""Calls that need input: what the agent keeps until it comes back, and whether what it brings is its own.

Whichever way a server asks, here it has answered `input_required`, with a `requestState` of its own to get back. The
agent is given that state sealed: it opens only for the same caller, endpoint, method and parameters, and only for a
while. Source: specification 2026-07-28, basic/patterns/mrtr; hardening T13, T14, R34.
"""

import hashlib
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw, Struct

from ..model import meta
from ..model.call import INPUT_REQUIRED, Call, Result
from ..model.errors import BadReply, InvalidParams
from ..model.limits import INPUT_WAIT_S, QUESTIONS_MAX, STATE_BYTES_MAX
from ..model.seal import Seal
from ..observe.record import Origin, Record
from ..protocol.capabilities import needed_ability
from ..protocol.jsonrpc import raw, read_object, read_string

_encode = msgspec.json.Encoder(order="deterministic").encode
SEALED_CHARS_MAX: Final = 4 * STATE_BYTES_MAX
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Held(Struct, frozen=True):
    """What goes out sealed: which server and replica asked, its own state, until when the answer is taken, and whether
    the call is parked under that state."""

    alias: str
    replica: int
    state: str | None
    until_s: float
    parked: bool
    asked: Origin | None = None
    """The span of the call that was asked."""


_value = msgspec.json.Decoder(float_hook=str).decode
"""A number with a fraction counts as it is written, whatever a double holds."""
_held = msgspec.json.Decoder(Held)


def seal_questions(
    reply: Result, call: Call, alias: str, record: Record, seal: Seal, now_s: float, *, parked: bool
) -> Result:
    """The server's questions as the agent gets them. `now_s` is wall time: the state outlives the process.

    Errors: BadReply, if a question is none that this caller can be asked.
    """
    members = read_object(reply.raw) or {}
    state = read_string(members.get("requestState"))
    questions = read_object(members.get("inputRequests", Raw(b"{}")))
    if questions is None or ("requestState" in members and state is None) or (not questions and state is None):
        raise _bad(alias, "asked for input in a form that the protocol does not have")
    if len(questions) > QUESTIONS_MAX or len((state or "").encode(errors="replace")) > STATE_BYTES_MAX:
        raise _bad(
            alias, f"asked for input with more than {QUESTIONS_MAX} questions or {STATE_BYTES_MAX} bytes of state"
        )
    members["inputRequests"] = raw({key: checked(question, call, alias) for key, question in questions.items()})
    asked = record.trace_id, f"{record.span:016x}"
    held = Held(alias, record.replica, state, now_s + INPUT_WAIT_S, parked, asked)
    members["requestState"] = raw(seal.close(_encode(held), context_of(call)))
    return Result(Raw(_encode(members)), INPUT_REQUIRED)


def state_of(reply: Result) -> str | None:
    """The state that came with questions, as their server gave it."""
    return read_string((read_object(reply.raw) or {}).get("requestState"))


def asker(call: Call, seal: Seal) -> str | None:
    """The alias of the server whose question a call answers; None if its state is none of theirs."""
    text = seal.open(call.state or "", context_of(call), chars_max=SEALED_CHARS_MAX)
    return None if text is None else _held.decode(text).alias


def open_state(call: Call, state: str, alias: str, seal: Seal, now_s: float) -> Held:
    """What was held of an earlier round of this call. Errors: InvalidParams."""
    text = seal.open(state, context_of(call), chars_max=SEALED_CHARS_MAX)
    held = None if text is None else _held.decode(text)
    if held is None or held.alias != alias:
        raise InvalidParams("The requestState is not one that was given to this caller for this request")
    if now_s > held.until_s:
        raise InvalidParams(f"The requestState has expired: it is good for {INPUT_WAIT_S:g} s")
    return held


def checked(question: Raw, call: Call, alias: str) -> Raw:
    """A question with who asks it. Errors: BadReply, if it is none that this caller can be asked."""
    members = read_object(question) or {}
    method, params = read_string(members.get("method")), members.get("params", Raw(b"{}"))
    ability = None if method is None else needed_ability(method, params)
    if ability is None:
        raise _bad(alias, f"asked for {(method or 'something')[:64]!r}, which no caller can be asked for")
    if ability not in call.profile.abilities:
        raise _bad(alias, f"asked for {ability!r}, which the caller did not declare")
    inner = read_object(params) or {}
    if ability == "elicitation.url" and not _is_safe(read_string(inner.get("url"))):
        raise _bad(alias, "asked to open a page that is not https")
    stamped = {**(read_object(inner.get("_meta", Raw(b"{}"))) or {}), meta.SERVER: raw(alias)}
    return raw({**members, "params": {**inner, "_meta": stamped}})


def _is_safe(url: str | None) -> bool:
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


def context_of(call: Call) -> bytes:
    """What the state is bound to. Parameters count by value: an agent may write them anew in another order."""
    params: dict[str, Any] = {name: msgspec.json.decode(value) for name, value in call.params.items()}
    principal, endpoint = call.principal, call.endpoint
    bound = (
        *("input", principal.owner_key),
        *(endpoint.kind, endpoint.name, call.session, call.method),
        hashlib.sha256(_encode(params)).hexdigest(),
    )
    return _encode(bound)


def _bad(alias: str, what: str) -> BadReply:
    return BadReply(f"The server {alias!r} {what}", outcome="failed")
