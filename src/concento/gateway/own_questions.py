"""Questions that the hub itself asks a caller, before a server is asked: to open a page, or whether something is meant.

The caller gets them as it gets a server's: `input_required`, with a state that is sealed for this call and comes back
with the answer. What was answered stays so over the rounds of the call. A server's own questions begin when all of
the hub's are answered, so a state is either one of the hub's or one of a server's.
Source: specification 2026-07-28, basic/patterns/mrtr; hardening T13.
"""

from typing import Final

import msgspec
from msgspec import Raw, Struct, structs

from ..catalog.logical import Logical
from ..model import meta
from ..model.call import INPUT_REQUIRED, Call, Failure, Result
from ..model.errors import Forbidden, InvalidParams
from ..model.limits import INPUT_WAIT_S
from ..model.seal import Seal
from ..protocol.jsonrpc import raw, read_object, read_string
from .inputs import SEALED_CHARS_MAX, asker, context_of

_encode = msgspec.json.Encoder().encode
_KEY: Final = "concento"
_TRUE: Final = Raw(b"true")


class Asked(Struct, frozen=True):
    """What was asked last and what before: each by a name that says what was answered. `alias` is whose server's."""

    alias: str
    answered: tuple[str, ...]
    name: str
    is_page: bool
    until_s: float


_decode = msgspec.json.Decoder(Asked).decode
NOTHING: Final[tuple[str, ...]] = ()


def may_be_asked(call: Call, *, page: bool = False) -> bool:
    """Whether the caller said that it can ask its user so: to open a page, or to fill in a form."""
    return ("elicitation.url" if page else "elicitation") in call.profile.abilities


def question(
    call: Call,
    alias: str,
    name: str,
    message: str,
    answered: tuple[str, ...],
    seal: Seal,
    now_s: float,
    url: str | None = None,
) -> Result:
    """Ask the caller's user to open a page, or to confirm what the message says. `now_s` is wall time."""
    form = {
        "requestedSchema": {
            "type": "object",
            "properties": {"confirm": {"type": "boolean", "title": "Yes, go on", "default": False}},
            "required": ["confirm"],
        }
    }
    more = {"mode": "form", **form} if url is None else {"mode": "url", "url": url}
    params = {**more, "message": message, "_meta": {meta.SERVER: alias}}
    asked = Asked(alias, answered, name, url is not None, now_s + INPUT_WAIT_S)
    result = {
        "resultType": INPUT_REQUIRED,
        "inputRequests": {_KEY: {"method": "elicitation/create", "params": params}},
        "requestState": seal.close(_encode(asked), _context(call)),
    }
    return Result(Raw(_encode(result)), INPUT_REQUIRED)


def asked_before(call: Call, seal: Seal) -> Asked | None:
    """What the hub asked in the round before; None if the state is a server's."""
    text = None if call.state is None else seal.open(call.state, _context(call), chars_max=SEALED_CHARS_MAX)
    return None if text is None else _decode(text)


def with_answers(call: Call, alias: str, seal: Seal, now_s: float) -> tuple[Call, tuple[str, ...]]:
    """The call as its server gets it, and what its user has agreed to.

    Errors: InvalidParams, if the state is another server's or has expired; Forbidden, if the user declined.
    """
    asked = asked_before(call, seal)
    if asked is None:
        return call, NOTHING
    if asked.alias != alias:
        raise InvalidParams("The requestState is not one that was given to this caller for this request")
    if now_s > asked.until_s:
        raise InvalidParams(f"The requestState has expired: it is good for {INPUT_WAIT_S:g} s")
    if not _agrees(call, asked):
        declined = Forbidden("The user did not agree, so that nothing was sent", outcome="not_sent")
        declined.rule = asked.name
        raise declined
    return structs.replace(call, state=None, answers=None), (*asked.answered, asked.name)


def asking(logical: Logical, call: Call, seal: Seal) -> int:
    """The place of the server about which a call of a logical tool was asked; of another call any: it is refused."""
    asked = asked_before(call, seal)
    alias = asker(call, seal) if asked is None else asked.alias
    return next((place for place, choice in enumerate(logical.choices) if choice.server.alias == alias), 0)


def _agrees(call: Call, asked: Asked) -> bool:
    answer = (call.answers or {}).get(_KEY)
    if answer is None or isinstance(answer, Failure):
        return False
    members = read_object(answer) or {}
    if read_string(members.get("action")) != "accept":
        return False
    return asked.is_page or (read_object(members.get("content", raw({}))) or {}).get("confirm") == _TRUE


def _context(call: Call) -> bytes:
    return b"own " + context_of(call)
