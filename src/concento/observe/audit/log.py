"""What the hub sees of the audit record: take a closed call, have an intent on disk, note a refusal. Nothing waits.

`strict` is the exception that is asked for: a call waits until its intent is on disk, together with all who wait at
that moment. Source: hardening T30, T31, R17, R18.
"""

import asyncio
import mmap
import os
import sqlite3
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from ...model.auditing import Audit
from ...model.clock import Clock
from ...model.errors import Overloaded, StartError
from ...model.principal import Principal
from ..metrics import Reading
from ..record import Record
from .entry import Callers, Draft, Entry, Kind, bounded, draft, of_call
from .stream import Stream
from .writer import Hook, Writer

FLUSH_S: Final = 0.08
RETRY_S: Final = 1.0
INTENT_WAIT_S: Final = 5.0
ITEMS_MAX: Final = 50_000
BYTES_MAX: Final = 64 * 1024 * 1024
REFUSALS_MAX: Final = 1000
"""Refusals told apart within a second; others are counted together."""
_BATCH_MAX: Final = 2000
_ITEM_BYTES: Final = 250
_COUNTER = struct.Struct("<Q")


class _Item(Struct, gc=False):
    draft: Draft
    size: int
    """About what it takes in memory, in bytes."""
    waiting: asyncio.Future[None] | None = None


class _Refused(Struct):
    wall_s: float
    reason: str
    credential: str
    count: int = 0


class AuditLog:
    """The audit record of a hub. `settings.mode` and the path hold until the next start."""

    def __init__(
        self,
        settings: Audit,
        path: Path,
        secrets: Callable[[], frozenset[str]],
        clock: Clock,
        hook: Hook = lambda step: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._writer = Writer(path, settings, secrets, clock.wall, hook)
        self._hook = hook
        self._stream = None if settings.stream is None else Stream(settings.stream)
        self._loop = asyncio.get_running_loop()
        self._strict = settings.mode == "strict"
        self._items: list[_Item] = []
        self._readers: list[tuple[int, asyncio.Future[None]]] = []
        """Who waits until everything up to a number is on disk."""
        self._callers = Callers()
        self._size = 0
        self._refusals: dict[tuple[str, int, str], _Refused] = {}
        self._refused_s = clock.monotonic()
        self._wake = threading.Event()
        self._stopping = False
        self._counter: mmap.mmap | None = None
        self._number = 0
        self._dropped = 0
        """Entries that did not fit, of which the chain does not know yet."""
        self._dropped_upto = 0
        self.dropped = 0
        self.problem: str | None = None
        """Why nothing can be written now."""
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    @classmethod
    async def open(
        cls,
        settings: Audit,
        path: Path,
        secrets: Callable[[], frozenset[str]],
        clock: Clock,
        hook: Hook = lambda step: None,
    ) -> "AuditLog":
        """Open the record, or begin it. Errors: StartError, naming the file and what to do."""
        log = cls(settings, path, secrets, clock, hook)
        try:
            await asyncio.to_thread(log._open, path)
        except (OSError, sqlite3.Error) as error:
            told = f"The audit record {path} can't be written ({error}); set `audit: {{path: FILE}}`, or `audit: off`"
            raise StartError(told) from error
        log._thread.start()
        return log

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        counter = path.with_name(path.name + "-count")
        file = os.open(counter, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(file).st_size < _COUNTER.size:
                os.ftruncate(file, _COUNTER.size)
            self._counter = mmap.mmap(file, _COUNTER.size)
        finally:
            os.close(file)
        counted = _COUNTER.unpack_from(self._counter)[0]
        self._writer.open(counted)
        # A counter that is behind (a power cut, a copied file) starts from the chain again.
        self._number = self._writer.number
        _COUNTER.pack_into(self._counter, 0, self._number)

    # -- on the loop

    @property
    def number(self) -> int:
        """Of the last call or intent that was taken."""
        return self._number

    async def written(self) -> None:
        """Wait until what was taken so far is on disk, or for a while if it can't be written."""
        if self._writer.number >= self._number or not self._thread.is_alive():
            return
        waiting: asyncio.Future[None] = self._loop.create_future()
        self._readers.append((self._number, waiting))
        self._wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(INTENT_WAIT_S):
                await waiting

    def __call__(self, record: Record) -> None:
        """Take a closed record."""
        self._take(record, "call", None)

    def intent(self, record: Record) -> Awaitable[None] | None:
        """Have it on disk that a call is about to be sent. None where that is not asked for.

        Errors, when awaited: Overloaded, if it can't be written; the call must not be sent then.
        """
        return self._written(record) if self._strict else None

    async def _written(self, record: Record) -> None:
        if self.problem is not None or self._stopping:
            raise self._full()
        waiting: asyncio.Future[None] = self._loop.create_future()
        if not self._take(record, "intent", waiting):
            raise self._full()
        try:
            async with asyncio.timeout(INTENT_WAIT_S):
                await waiting
        except TimeoutError:
            raise self._full() from None

    def _full(self) -> Overloaded:
        return Overloaded("The audit record can't be written, and no call is made without it", retry_after_s=RETRY_S)

    def _take(self, record: Record, kind: Kind, waiting: "asyncio.Future[None] | None") -> bool:
        self._number = number = self._number + 1
        if self._counter is not None:
            _COUNTER.pack_into(self._counter, 0, number)
        if waiting is not None:
            record.intent = number
            record.intents = (*record.intents, number)
        self._hook("counted")
        if len(self._items) >= ITEMS_MAX or self._size > BYTES_MAX:
            self.dropped += 1
            self._dropped += 1
            self._dropped_upto = number
            return False
        arguments = record.call.params.get("arguments")
        text = b"" if arguments is None else bytes(arguments)
        entry = of_call(record, kind, number, text, self._callers)
        full = text if self._settings.arguments == "full" else b""
        size = len(entry) + len(full) + _ITEM_BYTES
        self._items.append(_Item(Draft(entry, record.wall_s, number, full), size, waiting))
        self._size += size
        self._hook("queued")
        if waiting is not None or len(self._items) == 1:
            self._wake.set()
        return True

    def refused(self, address: str, status: int, reason: str, path: str, credential: str = "") -> None:
        """Note that somebody was not let in. The same again within a second only counts."""
        key = (address, status, path[:256])
        known = self._refusals.get(key)
        if known is None and len(self._refusals) >= REFUSALS_MAX:
            key, reason, credential = ("", status, ""), "many more", ""
            known = self._refusals.get(key)
        if known is None:
            known = self._refusals[key] = _Refused(self._clock.wall(), reason[:256], credential)
            self._wake.set()
        known.count += 1

    def changed(
        self, by: Principal, method: str, name: str, reason: str, before: Any = None, after: Any = None
    ) -> None:
        """Note what an operator changed at run time: `method` is what was done, `name` to what, `reason` how or why;
        `before` and `after` what it was and is, without secrets."""
        entry = Entry(self._clock.wall(), "changed", method=method, name=name, reason=reason[:256])
        entry.before, entry.after = bounded(before), bounded(after)
        entry.tenant, entry.subject, entry.agent = by.tenant, by.subject, by.agent or ""
        entry.proof, entry.credential = by.proof, by.credential
        made = draft(entry)
        self._items.append(_Item(made, len(made.text) + _ITEM_BYTES))
        self._size += len(made.text) + _ITEM_BYTES
        self._wake.set()

    def configure(self, settings: Audit) -> None:
        """Take over what can be changed while it runs: retention, redaction, the anchor, where it is streamed to."""
        if settings == self._settings:
            return
        if settings.stream != self._settings.stream:
            old, self._stream = self._stream, None if settings.stream is None else Stream(settings.stream)
            if old is not None:
                old.close()
        self._settings = self._writer.settings = settings

    def readings(self) -> Iterator[Reading]:
        """For metrics."""
        yield "concento_audit_waiting", "Audit entries that wait to be written", {}, len(self._items)
        yield (
            "concento_audit_dropped_total",
            "Audit entries that did not fit while nothing could be written",
            {},
            self.dropped,
        )
        yield "concento_audit_failing", "Whether the audit record can't be written", {}, float(self.problem is not None)
        yield "concento_audit_entries", "The place of the last audit entry in its chain", {}, self._writer.seq
        age_s = max(0.0, self._clock.wall() - self._writer.last_write_s) if self._items else 0.0
        yield "concento_audit_write_age_seconds", "How long entries have waited to be written", {}, age_s
        if self._stream is not None:
            yield (
                "concento_audit_stream_dropped_total",
                "Audit entries not delivered to `stream`",
                {},
                self._stream.dropped,
            )
        yield (
            "concento_audit_anchor_failures_total",
            "Notes of the chain's head that failed",
            {},
            self._writer.anchor_failures,
        )

    async def close(self) -> None:
        """Write what waits, say that the record ends here, and let go."""
        self._stopping = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join, 10.0)
        if self._stream is not None:
            self._stream.close()
        if self._counter is not None:
            self._counter.close()
            self._counter = None

    # -- in the thread

    def _run(self) -> None:
        batch: list[_Item] = []
        while True:
            if not self._items:
                self._wake.wait(RETRY_S)  # once a second at least: for refusals, upkeep, and what could not be written
            self._wake.clear()
            if not self._stopping:
                time.sleep(RETRY_S if self.problem is not None else 0.0 if self._strict else FLUSH_S)
            batch = self._drain(batch)
            if self._stopping and (self.problem is not None or not self._items):
                break
        try:
            self._writer.finish()
        except (OSError, sqlite3.Error) as error:
            self.problem = str(error)

    def _drain(self, batch: list[_Item]) -> list[_Item]:
        """Write what there is now. Returns what is left, if the disk takes no more.

        What comes meanwhile waits for the next time: under load there would be no end, and many small transactions.
        """
        left = len(self._items)
        while True:
            taken = self._items[: min(left, _BATCH_MAX - len(batch))]
            del self._items[: len(taken)]
            left -= len(taken)
            batch = self._write([*batch, *taken], self._refusal_entries())
            if batch or not left:
                return batch

    def _write(self, batch: list[_Item], refusals: list[Draft]) -> list[_Item]:
        """Write a batch. Returns what is left to be tried again."""
        try:
            entries = [item.draft for item in batch]
            dropped, upto = self._dropped, self._dropped_upto
            if dropped:
                entries.append(self._writer.gap(dropped, upto))
            entries += refusals
            if entries:
                bodies = self._writer.write(entries)
                self._dropped -= dropped
                self._settle(batch, None)
                self._size -= sum(item.size for item in batch)
                batch = []
                if self._stream is not None:
                    self._stream.send(bodies)
            self._tell_readers()
            self._writer.keep_up(self._clock.monotonic())
            self.problem = None
            return batch
        except (OSError, sqlite3.Error) as error:
            self.problem = str(error)
            refused = [item for item in batch if item.waiting is not None]
            self._settle(refused, self._full())
            self._size -= sum(item.size for item in refused)
            return [item for item in batch if item.waiting is None]

    def _settle(self, items: list[_Item], error: Overloaded | None) -> None:
        """Tell those who wait for their intent."""
        waiting = [item.waiting for item in items if item.waiting is not None]
        if waiting:
            self._hook("settling")
            self._loop.call_soon_threadsafe(_settle, waiting, error)

    def _tell_readers(self) -> None:
        """Tell those who wait until what they want to read is there."""
        readers, self._readers = self._readers, []
        there = [future for number, future in readers if number <= self._writer.number]
        self._readers += [reader for reader in readers if reader[0] > self._writer.number]
        if there:
            self._loop.call_soon_threadsafe(_settle, there, None)

    def _refusal_entries(self) -> list[Draft]:
        now_s = self._clock.monotonic()
        if not self._refusals or (now_s - self._refused_s < 1.0 and not self._stopping):
            return []
        self._refused_s = now_s
        refusals, self._refusals = self._refusals, {}
        entries = []
        for (address, status, path), refused in refusals.items():
            entry = Entry(
                round(refused.wall_s, 3),
                "refused",
                address=address,
                status=status,
                path=path,
                reason=refused.reason,
                credential=refused.credential,
                decision="unauthenticated" if status == 401 else "refused",
                count=refused.count,
            )
            entries.append(draft(entry))
        return entries


def _settle(waiting: "list[asyncio.Future[None]]", error: Overloaded | None) -> None:
    for future in waiting:
        if not future.done():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
