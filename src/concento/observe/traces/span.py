"""A trace of one call as it is kept and exported: a SERVER span, a CLIENT span for each attempt, and what took time.

Spans are made once the call has ended and it is known that they are kept. They name things and tell times and outcomes;
no argument, no result, no credential and no text of an error is in any of them.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from ...model.attempt import CANCELLED, Attempt, Wait
from ...model.config import UrlReplica
from ...protocol.trace_context import read_parent
from ..record import Origin, Record
from . import names

Reason = Literal["error", "slow", "sampled"]
"""Why a trace is kept."""
Kind = Literal["server", "client", "internal"]
Value = str | int | bool

SPANS_MAX: Final = 128
"""Spans of one call; what is beyond is left out."""
CHARS_MAX: Final = 200
"""Of one attribute's value."""
_WAITS: Final = {
    "policy": "policy",
    "guard": "guard",
    "audit": "wait for the audit record",
    "queue": "wait for a place",
    "connect": "wait for a connection",
    "token": "wait for a token",
}
"""What spans of waits are called."""


class Span(Struct, omit_defaults=True):
    """One span. `failed` is its `error.type`; `parent` is empty for one that nobody called."""

    name: str
    kind: Kind
    id: str
    parent: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Value]
    failed: str | None = None
    links: list[Origin] = []


class Trace(Struct, omit_defaults=True):
    """The spans of one call, the SERVER span first, and what traces are looked for by."""

    trace: str
    started_s: float
    ms: float
    name: str
    outcome: str
    reason: Reason
    tenant: str
    server: str
    tool: str
    spans: list[Span]
    state: str = ""
    """The `tracestate` of whoever called."""


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Trace).decode


def trace_of(record: Record, reason: Reason) -> Trace:
    """The trace of a call that ended."""
    maker = _Maker(record)
    spans = [maker.server(record, reason), *maker.parts(record, f"{record.span:016x}")]
    return Trace(
        record.trace_id,
        record.wall_s,
        round(record.duration_s * 1000, 3),
        spans[0].name,
        record.end,
        reason,
        record.call.principal.tenant,
        record.server or "",
        record.tool or "",
        spans[:SPANS_MAX],
        "" if record.parent is None else record.parent.state,
    )


class _Maker:
    """Makes the spans of one call. Monotonic times become Unix nanoseconds by the call's own beginning."""

    def __init__(self, record: Record) -> None:
        self._zero_ns = int(record.wall_s * 1e9) - int(record.started_s * 1e9)
        self._ended_s = record.started_s + record.duration_s

    def server(self, record: Record, reason: Reason) -> Span:
        """The call as its agent made it."""
        call = record.call
        attributes = _about(record)
        attributes[names.TRANSPORT] = "tcp" if call.address else "pipe"
        attributes[names.TENANT] = call.principal.tenant[:CHARS_MAX]
        attributes[names.ENDPOINT] = (
            call.endpoint.kind
            if call.endpoint.kind == "all"
            else (f"{call.endpoint.kind}:{call.endpoint.name}"[:CHARS_MAX])
        )
        attributes[names.OUTCOME] = record.end
        attributes[names.KEPT] = reason
        if call.revision:
            attributes[names.REVISION] = call.revision
        if call.id is not None:
            attributes[names.REQUEST_ID] = call.id.decode(errors="replace").strip('"')[:CHARS_MAX]
        if call.session is not None:
            attributes[names.SESSION] = session_digest(call.session)
        if call.address:
            attributes[names.CLIENT_ADDRESS] = call.address
        if record.attempts > 1:
            attributes[names.ATTEMPTS] = record.attempts
        if record.guards is not None:
            attributes[names.GUARDS] = ", ".join(f"{act.guard}: {act.did}" for act in record.guards)[:CHARS_MAX]
        if record.input_wait_s is not None:
            attributes[names.INPUT_WAIT] = int(record.input_wait_s * 1000)
        _add_end(attributes, record.failed_as, record.code)
        links = [] if record.links is None else list(record.links)
        if (linked := read_parent(call.link)) is not None:
            links.append((linked.trace, linked.span))
        return Span(
            _name(record, call.name),
            "server",
            f"{record.span:016x}",
            "" if record.parent is None else record.parent.span,
            self._ns(record.started_s),
            self._ns(self._ended_s),
            attributes,
            record.failed_as,
            links,
        )

    def parts(self, record: Record, parent: str) -> Iterator[Span]:
        """What happened within a call, or within a branch of one."""
        for number, wait in enumerate(record.waits or ()):
            span = self._wait(wait, parent, number)
            if wait.what == "policy" and wait.failed is not None:
                span.attributes[names.DECISION] = record.decision
                if record.rule is not None:
                    span.attributes[names.RULE] = record.rule[:CHARS_MAX]
            yield span
        for attempt in record.tries:
            yield self._client(record, attempt, parent)
            for number, wait in enumerate(attempt.waits or ()):
                yield self._wait(wait, f"{attempt.span:016x}", number)
        for branch in record.within or ():
            id = f"{branch.span:016x}"
            attributes = _about(branch)
            attributes[names.OUTCOME] = branch.end
            _add_end(attributes, branch.failed_as, branch.code)
            started_s = branch.started_s
            times = self._ns(started_s), self._ns(started_s + branch.duration_s)
            name = f"branch {branch.server or ''}".strip()
            yield Span(name, "internal", id, parent, *times, attributes, branch.failed_as)
            yield from self.parts(branch, id)

    def _client(self, record: Record, attempt: Attempt, parent: str) -> Span:
        """One attempt at a server."""
        attributes = _about(record, attempt.server.key)
        attributes[names.SERVER] = attempt.server.key
        attributes[names.REPLICA] = attempt.replica
        if attempt.revision:
            attributes[names.REVISION] = attempt.revision
        spec = attempt.server.replicas[attempt.replica]
        if isinstance(spec, UrlReplica):
            attributes[names.TRANSPORT] = "tcp"
            attributes[names.SERVER_ADDRESS], attributes[names.SERVER_PORT] = _place(spec.url)
        else:
            attributes[names.TRANSPORT] = "pipe"
        failed = attempt.failed if attempt.ended_s is not None else CANCELLED
        _add_end(attributes, failed, attempt.code)
        ended_s = self._ended_s if attempt.ended_s is None else attempt.ended_s
        return Span(
            _name(record, record.tool),
            "client",
            f"{attempt.span:016x}",
            parent,
            self._ns(attempt.started_s),
            self._ns(ended_s),
            attributes,
            failed,
        )

    def _wait(self, wait: Wait, parent: str, number: int) -> Span:
        attributes: dict[str, Value] = {key: value[:CHARS_MAX] for key, value in wait.facts.items()}
        _add_end(attributes, wait.failed, None)
        return Span(
            _WAITS[wait.what],
            "internal",
            hashlib.blake2b(f"{parent}{number}".encode(), digest_size=8).hexdigest(),
            parent,
            self._ns(wait.from_s),
            self._ns(wait.until_s),
            attributes,
            wait.failed,
        )

    def _ns(self, at_s: float) -> int:
        return self._zero_ns + int(at_s * 1e9)


def _name(record: Record, name: str | None) -> str:
    """The method, and the tool or prompt that it is about: only one that is there, and never a URI."""
    method = known_method(record.call.method)
    if name is None or record.server is None or method not in _NAMED:
        return method
    return f"{method} {name[:CHARS_MAX]}"


def known_method(method: str) -> str:
    """A method, as far as its name is no text of anybody's choosing."""
    return method if len(method) <= 64 and method.replace("/", "").replace("_", "").isalnum() else "other"


_NAMED: Final = frozenset({"tools/call", "prompts/get"})


def _about(record: Record, server: str | None = None) -> dict[str, Value]:
    """What a call is about. To a server, a tool has the name that the server knows it by."""
    call = record.call
    attributes: dict[str, Value] = {names.METHOD: known_method(call.method)}
    if record.server is None:
        return attributes
    if call.method == "tools/call":
        name = call.name if server is None else record.tool
        attributes[names.OPERATION] = names.EXECUTE_TOOL
        if name is not None:
            attributes[names.TOOL] = name[:CHARS_MAX]
    elif call.method == "prompts/get" and call.name is not None:
        attributes[names.PROMPT] = call.name[:CHARS_MAX]
    elif call.method == "resources/read" and call.name is not None and server is None:
        attributes[names.RESOURCE] = _bare(call.name)
    return attributes


def _add_end(attributes: dict[str, Value], failed: str | None, code: int | None) -> None:
    if failed is not None:
        attributes[names.ERROR] = failed
    if code is not None:
        attributes[names.STATUS] = str(code)


def session_digest(session: str) -> str:
    """A legacy session as it is named to others: whoever knows its id could speak in it."""
    return hashlib.blake2b(session.encode(), digest_size=8).hexdigest()


@lru_cache(maxsize=1024)
def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return (parts.hostname or "")[:CHARS_MAX], parts.port or (443 if parts.scheme == "https" else 80)


def _bare(uri: str) -> str:
    """A URI without the parts that secrets are put in."""
    try:
        parts = urlsplit(uri[: 4 * CHARS_MAX])
    except ValueError:
        return "unreadable"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:CHARS_MAX]
