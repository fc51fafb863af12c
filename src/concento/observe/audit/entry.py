"""One entry of the audit record, made of a call's closing record.

Names and digests, no values: arguments are there only where the operator asks for them, and then without what is secret
by its name or known to be. A call's entry becomes text at once: objects that waited for the disk would cost more.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from ...model.call import Call
from ...model.prices import text_of
from ...model.principal import Principal
from ...model.usage import arm_text
from ..record import Act, Record

Kind = Literal["call", "intent", "refused", "changed", "opened", "closed", "gap", "pruned"]
"""`call`: one that ended. `intent`: one that is about to be sent (strict). `refused`: somebody was not let in.
`changed`: an operator changed what the hub does. The others are about the record itself."""

TEXT_CHARS_MAX: Final = 256
_CALLERS_MAX: Final = 4096
ARGUMENTS_BYTES_MAX: Final = 65_536
CHANGED_BYTES_MAX: Final = 16_384
"""Of what was changed, before and after each."""
REDACTED: Final = "[redacted]"
SECRET_NAMES: Final = (
    *("password", "passwd", "passphrase", "secret", "token", "authorization", "credential", "cookie"),
    *("api_key", "apikey", "private_key", "access_key", "client_key", "session_key"),
)
"""Members whose names hold one of these, in any case and with any dashes, are recorded without their values."""


class Branch(Struct, omit_defaults=True):
    """What one of several servers that were asked at once did."""

    server: str
    tool: str = ""
    outcome: str = ""
    attempts: int = 0
    bytes_out: int = 0
    ms: float = 0.0
    part: str = ""
    price: str = ""


class Entry(Struct, omit_defaults=True):
    """What is recorded. `seq` is its place in the chain; `number` counts calls, so that lost ones can be counted."""

    time: float
    """When it began, in Unix seconds."""
    kind: Kind
    seq: int = 0
    number: int = 0
    intent: int = 0
    """The number of the intent that this is the end of; itself, for an intent."""
    trace: str = ""
    tenant: str = ""
    subject: str = ""
    agent: str = ""
    chain: tuple[str, ...] = ()
    proof: str = ""
    credential: str = ""
    address: str = ""
    endpoint: str = ""
    method: str = ""
    name: str = ""
    """What the caller asked for, by its public name."""
    server: str = ""
    tool: str = ""
    """The server's own name of the tool."""
    arguments: str = ""
    """SHA-256 of the arguments as they came."""
    arguments_full: Any = None
    bytes_in: int = 0
    decision: str = ""
    rule: str = ""
    outcome: str = ""
    code: int = 0
    attempts: int = 0
    bytes_out: int = 0
    ms: float = 0.0
    status: int = 0
    path: str = ""
    reason: str = ""
    count: int = 0
    """How often the same was refused within a second; how many entries were lost, or pruned."""
    upto: int = 0
    """The last place that was pruned; the last number that was lost."""
    guards: list[Act] = []
    """What guards did: with what of the call, and how often which detectors found something."""
    hash: str = ""
    """Of the last entry that was pruned."""
    before: Any = None
    """What an operator changed, as it was; without its secrets."""
    after: Any = None
    intents: tuple[int, ...] = ()
    """All intents of a call that was sent to one server after another."""
    metered: int = 0
    """Under which number its use was counted."""
    arm: str = ""
    """Of an experiment: the logical tool, and the tool that was chosen."""
    part: str = ""
    """`asked`: it ended with a question; `copy`: of another call; `kept`: answered as one before; `unsent`."""
    price: str = ""
    """What it was charged at: book, day it holds from, pattern, digest."""
    cost: str = ""
    """What it costs, with the currency."""
    branches: tuple[Branch, ...] = ()
    """Of a call to several servers at once."""


encode = msgspec.json.Encoder(order="deterministic").encode
decode = msgspec.json.Decoder(Entry).decode


class Draft(Struct, gc=False):
    """An entry's text, before it has a place. `upto`: the last call's number that it speaks of; `arguments`: what is to
    be recorded of them in full, as they came."""

    text: bytes
    time: float
    upto: int = 0
    arguments: bytes = b""


def draft(entry: Entry) -> Draft:
    """The text of an entry that is about no call."""
    return Draft(encode(entry), entry.time, entry.upto if entry.kind == "gap" else 0)


def placed(draft: Draft, seq: int, redact: Iterable[str]) -> bytes:
    """An entry's whole text, at its place in the chain."""
    text = b'{"seq":%d,%b' % (seq, draft.text[1:])
    if draft.arguments:
        text = b'%b,"arguments_full":%b}' % (text[:-1], encode(redacted(draft.arguments, redact)))
    return text


class Callers:
    """Who calls what, as text. It is the same for many calls, and made once for them."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[bytes, Principal]] = {}

    def text(self, call: Call, server: str | None, tool: str | None) -> bytes:
        """The members of an entry that say who and what, with a comma behind them."""
        kind, name = call.endpoint.kind, call.endpoint.name
        key = (id(call.principal), kind, name, call.address, call.method, call.name, server, tool)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _CALLERS_MAX:
                self._known.clear()
            text = encode(_caller(call, server or "", tool or ""))[1:-1] + b","
            # The principal is kept with it, so that no other object gets its identity meanwhile.
            known = self._known[key] = (text, call.principal)
        return known[0]


def _caller(call: Call, server: str, tool: str) -> dict[str, Any]:
    principal, endpoint = call.principal, call.endpoint
    members = {
        "tenant": principal.tenant,
        "subject": _short(principal.subject),
        "agent": _short(principal.agent or ""),
        "chain": [_short(agent) for agent in principal.chain],
        "proof": principal.proof,
        "credential": principal.credential,
        "address": call.address,
        "endpoint": "all" if endpoint.kind == "all" else f"{endpoint.kind}:{_short(endpoint.name)}",
        "method": _short(call.method),
        "name": _short(call.name or ""),
        "server": server,
        "tool": _short(tool),
    }
    return {name: value for name, value in members.items() if value}


def of_call(record: Record, kind: Kind, number: int, text: bytes, callers: Callers) -> bytes:
    """The text of the entry of a call with these arguments. It runs once a call, on the event loop."""
    entry = Entry(
        record.wall_s,
        kind,
        number=number,
        trace=record.trace_id,
        decision=record.decision,
        intent=record.intent,
        bytes_in=len(text),
    )
    if record.rule:
        entry.rule = _short(record.rule)
    if record.guards:
        entry.guards = record.guards
    if text:
        entry.arguments = hashlib.sha256(text).hexdigest()
    if kind == "call":
        entry.outcome = record.end
        entry.code = record.code or 0
        entry.attempts = record.attempts
        entry.bytes_out = record.reply_bytes
        entry.ms = _ms(record)
        _add_use(entry, record)
    elif len(record.intents) > 1:
        entry.intents = record.intents
    return b"{" + callers.text(record.call, record.server, record.tool) + encode(entry)[1:]


def _ms(record: Record) -> float:
    return int(record.duration_s * 1_000_000) / 1000  # much quicker than `round`


def _add_use(entry: Entry, record: Record) -> None:
    """What usage is counted of, so that it can be counted again after a crash."""
    entry.metered, entry.part = record.metered, record.part
    if len(record.intents) > 1:
        entry.intents = record.intents
    if record.arm is not None:
        entry.arm = arm_text(record.arm)
    if record.price is not None:
        entry.price, entry.cost = record.price.id, _cost(record.cost, record.price.currency)
    if record.branches is not None:
        entry.branches = tuple(_branch(one) for one in record.branches if not one.is_refused)


@lru_cache(4096)
def _cost(cost: int, currency: str) -> str:
    """The same for most calls, where a price is for a call alone."""
    return f"{text_of(cost)} {currency}"


def _branch(record: Record) -> Branch:
    price = "" if record.price is None else record.price.id
    counts = (record.attempts, record.reply_bytes, _ms(record))
    return Branch(record.server or "", _short(record.tool or ""), record.end, *counts, record.part, price)


def redacted(text: bytes, more: Iterable[str]) -> Any:
    """Arguments without the values of members that are secret by their names."""
    if len(text) > ARGUMENTS_BYTES_MAX:
        return f"[{len(text)} bytes, more than are recorded]"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "[unreadable]"
    names = tuple(name.lower().replace("-", "_") for name in (*SECRET_NAMES, *more))
    return _without(value, names)


def _without(value: Any, names: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: REDACTED if any(name in key.lower().replace("-", "_") for name in names) else _without(inner, names)
            for key, inner in value.items()
        }
    return [_without(inner, names) for inner in value] if isinstance(value, list) else value


class Secrets:
    """The values that the configuration keeps secret, in every form in which a text might have them."""

    def __init__(self, values: frozenset[str]) -> None:
        self.values = values
        self._forms = {
            form
            for value in values
            for form in (
                value.encode(errors="replace"),
                json.dumps(value)[1:-1].encode(),
                msgspec.json.encode(value.encode(errors="replace").decode())[1:-1],
            )
        }

    def among(self, texts: Sequence[bytes]) -> bool:
        """Whether any of these texts may have one."""
        if not self._forms:
            return False
        whole = b"\0".join(texts)
        return any(form in whole for form in self._forms)

    def taken_out(self, text: bytes) -> bytes:
        """A text without them, wherever they turned up."""
        for form in self._forms:
            text = text.replace(form, REDACTED.encode())
        return text


def bounded(value: Any) -> Any:
    """A value as it is recorded: one that is too large by its digest."""
    text = encode(value)
    if len(text) <= CHANGED_BYTES_MAX:
        return value
    return f"[{len(text)} bytes, SHA-256 {hashlib.sha256(text).hexdigest()}]"


def _short(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…"
