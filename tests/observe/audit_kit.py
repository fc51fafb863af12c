"""An audit record in a test: calls that only happened on paper, and reading what was written."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Raw

from concento.model.auditing import Audit
from concento.model.call import ALL, NO_ABILITIES, Call
from concento.model.clock import SystemClock
from concento.model.principal import Principal
from concento.observe.audit import AuditLog
from concento.observe.audit.chain import Finding, read_anchors, verify
from concento.observe.audit.entry import Entry, decode
from concento.observe.record import Record

WHO = Principal("alice", "ci", "acme", "key", credential="key:k1", chain=("outer",))


def call(number: int = 0, arguments: bytes = b'{"x":1}', who: Principal = WHO, **options: Any) -> Record:
    made = Call(
        "tools/call", {"arguments": Raw(arguments)}, {}, f"s__t{number}", ALL, who, NO_ABILITIES, address="1.2.3.4"
    )
    record = Record(made, 0.0, time.time() - 60 + number / 1000)
    record.server, record.tool, record.end, record.rule = "s", f"t{number}", "ok", "role dev"
    for name, value in options.items():
        setattr(record, name, value)
    return record


async def opened(
    path: Path,
    mode: Any = "batched",
    secrets: frozenset[str] = frozenset(),
    hook: Callable[[str], None] = lambda step: None,
    **settings: Any,
) -> AuditLog:
    return await AuditLog.open(Audit(mode=mode, **settings), path, lambda: secrets, SystemClock(), hook)


def entries(path: Path, *kinds: str) -> list[Entry]:
    with closing(sqlite3.connect(path)) as database:
        read = [decode(bytes(body)) for (body,) in database.execute("SELECT body FROM entries ORDER BY seq")]
    return [entry for entry in read if not kinds or entry.kind in kinds]


def checked(path: Path, anchor: Path | None = None) -> Finding:
    with closing(sqlite3.connect(path)) as database:
        return verify(database, [] if anchor is None else read_anchors(anchor))
