"""One entry of the audit record, made of a call's closing record, off the event loop.

Names and digests, no values: arguments are there only where the operator asks for them, and then without what is secret
by its name or known to be.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from ..record import Record

Kind = Literal["call", "intent", "refused", "opened", "closed", "gap", "pruned"]
"""`call`: one that ended. `intent`: one that is about to be sent (strict). `refused`: somebody was not let in. The
others are about the record itself."""

TEXT_CHARS_MAX: Final = 256
ARGUMENTS_BYTES_MAX: Final = 65_536
REDACTED: Final = "[redacted]"
SECRET_NAMES: Final = (
    *("password", "passwd", "passphrase", "secret", "token", "authorization", "credential", "cookie"),
    *("api_key", "apikey", "private_key", "access_key", "client_key", "session_key"),
)
"""Members whose names hold one of these, in any case and with any dashes, are recorded without their values."""


class Entry(Struct, omit_defaults=True):
    """What is recorded. `seq` is its place in the chain; `number` counts calls, so that lost ones can be counted."""

    seq: int
    time: float
    """When it began, in Unix seconds."""
    kind: Kind
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
    hash: str = ""
    """Of the last entry that was pruned."""


encode = msgspec.json.Encoder(order="deterministic").encode
decode = msgspec.json.Decoder(Entry).decode


def of_call(record: Record, kind: Kind, number: int, *, full: bool, redact: Iterable[str]) -> Entry:
    """The entry of a call; its place is given when it is written."""
    call, principal = record.call, record.call.principal
    arguments = call.params.get("arguments")
    text = b"" if arguments is None else bytes(arguments)
    endpoint = call.endpoint
    entry = Entry(
        0,
        round(record.wall_s, 3),
        kind,
        number=number,
        trace=record.trace_id,
        tenant=principal.tenant,
        subject=_short(principal.subject),
        agent=_short(principal.agent or ""),
        chain=tuple(_short(agent) for agent in principal.chain),
        proof=principal.proof,
        credential=principal.credential,
        address=call.address,
        endpoint="all" if endpoint.kind == "all" else f"{endpoint.kind}:{_short(endpoint.name)}",
        method=_short(call.method),
        name=_short(call.name or ""),
        server=record.server or "",
        tool=_short(record.tool or ""),
        arguments=hashlib.sha256(text).hexdigest() if text else "",
        bytes_in=len(text),
        decision=record.decision,
        rule=_short(record.rule or ""),
        intent=record.intent,
    )
    if full and text:
        entry.arguments_full = redacted(text, redact)
    if kind == "call":
        entry.outcome, entry.code = record.end, record.code or 0
        entry.attempts, entry.bytes_out = record.attempts, record.reply_bytes
        entry.ms = round(record.duration_s * 1000, 2)
    return entry


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


def without_secrets(body: bytes, secrets: Iterable[str]) -> bytes:
    """An entry's text without any of the values that the configuration keeps secret, wherever they turned up."""
    for secret in secrets:
        for form in {secret.encode(errors="replace"), json.dumps(secret)[1:-1].encode(), _escaped(secret)}:
            if form in body:
                body = body.replace(form, REDACTED.encode())
    return body


def _escaped(secret: str) -> bytes:
    return msgspec.json.encode(secret)[1:-1]


def _short(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…"
