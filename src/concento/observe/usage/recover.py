"""After a crash: what the audit record has and the file of what was used has not, counted once.

A call's entry has the number under which it was metered: it is counted if and only if that is beyond the file's mark.
In strict mode an intent whose call never ended was sent, perhaps: it counts as an error, once, costs nothing, and the
mark says up to which intent was looked. Rebuilding a lost file is the same with a mark of nothing.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ...model.prices import Price
from ...model.usage import RowKey
from ..audit.chain import as_bytes
from ..audit.entry import Branch, Entry, decode
from .ledger import Mark
from .meter import DAY_US, Meter


class Recovered:
    """What was counted again. `intents`: up to which intent was looked."""

    def __init__(self, mark: Mark) -> None:
        self.number = mark.number
        self.intents = mark.intents
        self.calls = 0
        self.numbered = 0
        """How many of them had a number; intents that never ended have none."""


def recover(path: Path, mark: Mark, horizon_s: float, meter: Meter, prices: dict[str, Price]) -> Recovered:
    """Count what is in an audit record and beyond the mark. `horizon_s`: how long a call may last.

    Errors: sqlite3.Error, if the record can't be read.
    """
    done = Recovered(mark)
    waiting: dict[int, Entry] = {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)) as record:
        place, counted = _begin(record, mark, horizon_s)
        for seq, entry in _entries(record, place):
            for number in (entry.intent, *entry.intents):
                waiting.pop(number, None)
            if entry.kind == "intent" and entry.number > mark.intents:
                waiting[entry.number] = entry
                done.intents = entry.number
            elif entry.kind == "call" and seq > counted and entry.metered > mark.number:
                done.number = entry.metered
                done.calls += 1
                done.numbered += 1
                _count(entry, meter, prices)
    for entry in waiting.values():
        done.calls += 1
        entry.outcome, entry.attempts = "error", max(1, len(entry.intents))
        _count(entry, meter, prices)
    return done


def _begin(record: sqlite3.Connection, mark: Mark, horizon_s: float) -> tuple[int, int]:
    """The first place that has to be looked at, and the last one whose call is counted.

    Numbers rise with places, but for a file that was begun anew: so what counts lies behind the last one counted.
    """
    counted = 0
    for seq, body in record.execute("SELECT seq, body FROM entries ORDER BY seq DESC"):
        if 0 < decode(as_bytes(body)).metered <= mark.number:
            counted = int(seq)
            break
    last = record.execute("SELECT max(time) FROM entries").fetchone()[0] or 0.0
    alive = record.execute("SELECT min(seq) FROM entries WHERE time >= ?", (last - horizon_s,)).fetchone()[0]
    return min(counted, alive or 0), counted


def _entries(record: sqlite3.Connection, place: int) -> Iterator[tuple[int, Entry]]:
    for seq, body in record.execute("SELECT seq, body FROM entries WHERE seq >= ? ORDER BY seq", (place,)):
        yield seq, decode(as_bytes(body))


def _count(entry: Entry, meter: Meter, prices: dict[str, Price]) -> None:
    whole = Branch(
        entry.server, entry.tool, entry.outcome, entry.attempts, entry.bytes_out, entry.ms, entry.part, entry.price
    )
    for one in entry.branches or (whole,):
        us, price = round(one.ms * 1000), prices.get(one.price)
        key = RowKey(
            int(entry.time * 1_000_000 + us) // DAY_US,
            entry.tenant,
            entry.subject,
            one.server,
            one.tool,
            entry.arm,
            entry.method,
            one.outcome,
            one.part,
            "" if price is None else price.id,
        )
        meter.add(meter.line(key, price), one.attempts, us, entry.bytes_in, one.bytes_out)
