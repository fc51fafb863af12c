"""The audit record: what may stand in `audit:`, and the values it is read as."""

import re
from typing import Final, Literal, TypeVar

from ...model.auditing import Audit
from .kinds import Choice, Items, Key, Keys, Number, OrOff, Parsed, Reader, Table, Text, Whole

T = TypeVar("T")
_AUDIT = Audit()


def _stream(text: str) -> str:
    kind, _, place = text.partition(":")
    if kind == "file" and place:
        return text
    if kind == "syslog" and (place.startswith("/") or re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:/\s]+):[0-9]{1,5}", place)):
        return text
    raise ValueError("expected file:PATH, syslog:HOST:PORT (UDP) or syslog:/dev/log")


MODE: Final[Key[Literal["off", "batched", "strict"]]] = Key(
    "mode",
    Choice(("batched", "strict")),
    "`batched`: no call waits, and a kill may take the last 100 ms, which shows as a gap. `strict`: that a call will "
    "be made is on disk before anything is sent; while the disk is full, none is made.",
    "batched",
    example="strict",
)
PATH: Final = Key(
    "path",
    Text("a file", r"[^\x00]+"),
    "The SQLite file; by default `audit.db` in the state folder.",
    example="audit.db",
)
ARGUMENTS: Final[Key[Literal["digest", "full"]]] = Key(
    "arguments",
    Choice(("digest", "full")),
    "Record the arguments' SHA-256 alone, or the arguments, without what is secret by its name.",
    _AUDIT.arguments,
    example="full",
)
REDACT: Final = Key(
    "redact",
    Items(Text("a part of a member's name", r"[^\x00]{1,64}"), "such as [iban]"),
    "With full arguments: values of members whose names hold one of these are left out, beside passwords and tokens.",
    example="[iban, birthday]",
)
KEEP_DAYS: Final[Key[float | None]] = Key(
    "keep_days",
    OrOff(Number(0, 36_500, above=True)),
    "Days for which entries are kept; `off`: for ever.",
    90.0,
    example="365",
)
SIZE_MAX_MB: Final[Key[int | None]] = Key(
    "size_max_mb",
    OrOff(Whole(1, 10_000_000)),
    "Beyond this size the oldest entries go; `off`: never.",
    1024,
    example="4096",
)
STREAM: Final = Key(
    "stream",
    Parsed(Text("file:PATH, syslog:HOST:PORT or syslog:/dev/log"), _stream),
    "Send each entry elsewhere, too: to a file of JSON lines, or to syslog (RFC 5424 over UDP). What it can't take is "
    "counted, not waited for.",
    example="syslog:127.0.0.1:5514",
)
ANCHOR: Final = Key(
    "anchor",
    Text("a file", r"[^\x00]+"),
    "A file, best on another disk, that the head of the chain is noted in each minute: it shows a cut tail, or a chain "
    "made anew.",
    example="anchors.txt",
)
AUDIT: Final[Key[Table | None]] = Key(
    "audit",
    OrOff(Keys("audit", MODE, PATH, ARGUMENTS, REDACT, KEEP_DAYS, SIZE_MAX_MB, STREAM, ANCHOR)),
    "The record of who called what, what was decided and how it ended; `off` keeps none.",
    example="{mode: strict, keep_days: 365}",
)


def build_audit(root: Table, reader: Reader) -> Audit:
    """The audit record as configured."""
    table = root.get(AUDIT)
    if table is None:
        return Audit(mode="off") if root.given(AUDIT) else Audit()
    path, anchor, stream = table.get(PATH), table.get(ANCHOR), table.get(STREAM)
    if stream is not None and stream.startswith("file:"):
        stream = f"file:{reader.references.path(stream.removeprefix('file:'))}"
    return Audit(
        table[MODE],
        None if path is None else reader.references.path(path),
        table[ARGUMENTS],
        table.get(REDACT) or (),
        _given(table, KEEP_DAYS),
        _given(table, SIZE_MAX_MB),
        stream,
        None if anchor is None else reader.references.path(anchor),
    )


def _given(table: Table, key: Key[T | None]) -> T | None:
    return table.get(key) if table.given(key) else key.default
