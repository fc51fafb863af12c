"""What the hub sees of usage: the meter, the file behind it, and the one thread that writes.

While nothing can be written nothing is lost: sums grow in memory, keys are bounded, and the disk is tried again.
"""

import asyncio
import mmap
import os
import sqlite3
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from ...model.clock import Clock
from ...model.errors import StartError
from ...model.limits import LABELS_MAX
from ...model.prices import PARTS, Book, Budget, text_of
from ...model.usage import Metering, Row
from ...policy.budgets import Budgets
from ...policy.limit_quotas import month_of
from ...policy.pricing import PriceList
from ...upstream.tasks import Tasks
from ..metrics import Reading
from ..record import Record
from .ledger import Gap, Hook, Ledger, Mark, Newer, keys_of, prices_of, spent_of, used_of
from .meter import DAY_US, Meter
from .recover import recover

FLUSH_S: Final = 0.08
RETRY_S: Final = 1.0
DAY_S: Final = DAY_US // 1_000_000
_RECENT_DAYS: Final = 62
"""What is looked at when the file is opened: this month and the one before."""
_COUNTER: Final = struct.Struct("<Q")

T = TypeVar("T")


class Usage:
    """What a hub's calls use: a sink, to be asked before the audit record. The path holds until the next start."""

    def __init__(self, ledger: Ledger, counter: mmap.mmap, settings: Metering, clock: Clock, path: Path) -> None:
        self.path = path
        self.recovered = 0
        """Calls that were counted from the audit record at the start."""
        self.problem: str | None = None
        """Why nothing can be written now."""
        self.budgets = Budgets(clock, self._costs)
        self._meter = Meter(self.budgets, self._note, self._wake)
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._counter: mmap.mmap | None = counter
        self._wanted = asyncio.Event()
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="usage")
        self._tasks = Tasks("usage")
        self._waiting: list[Row] = []
        """Used before prices changed, and not yet in a batch."""
        self._batch: list[Row] = []
        """What is being written or could not be: the same until it is there, so that it is counted once."""
        self._batch_number = 0
        self._pruned = 0
        self._audited: Callable[[], Awaitable[None]] | None = None

    @classmethod
    async def open(
        cls,
        path: Path,
        settings: Metering,
        clock: Clock,
        *,
        audit: Path | None = None,
        intents: int = 0,
        horizon_s: float = 0.0,
        books: Sequence[Book] = (),
        audited: Callable[[], Awaitable[None]] | None = None,
        hook: Hook = lambda step: None,
    ) -> "Usage":
        """Open the file, or begin one, and count what a crash took. Errors: StartError, naming the file and the remedy.

        `audit`: the record to count again from; `intents`: the last number in it; `horizon_s`: how long a call that has
        an intent may last, 0 where there are none; `books`: prices that a new file can't know;
        `audited`: waits until the record has what was taken so far, where an intent without an end means that its call
        was not counted.
        """
        try:
            ledger = await asyncio.to_thread(Ledger, path, hook)
            try:
                usage = cls(ledger, _counter(path), settings, clock, path)
                await usage._run(partial(ledger.keep_prices, [price for book in books for price in book.prices]))
                await usage._run(partial(usage._begin, audit, intents, horizon_s))
            except BaseException:
                ledger.close()
                raise
        except (OSError, sqlite3.Error, Newer) as error:
            told = f"The usage file {path} can't be used ({error}); set `usage: {{path: FILE}}`, or `usage: off`"
            raise StartError(told) from error
        usage._audited = audited
        usage._tasks.start(usage._keep())
        return usage

    def _begin(self, audit: Path | None, intents: int, horizon_s: float) -> None:
        """Go on from the file; after a crash, with what the audit record has beyond it."""
        mark, today = self._ledger.mark(), self._today()
        file = self._ledger.connection
        assert self._counter is not None
        counted = max(mark.number, _COUNTER.unpack_from(self._counter)[0])
        self._meter.begin(mark.number, keys_of(file, today - 1), used_of(file, today - _RECENT_DAYS), prices_of(file))
        if counted > mark.number or not mark.clean:
            counted = self._recover(audit, mark, horizon_s, counted)
        # A counter that is behind (a power cut, a copied file) starts from the file again.
        self._meter.number = counted
        self._note(counted)
        self._ledger.begin(intents)

    def _recover(self, audit: Path | None, mark: Mark, horizon_s: float, counted: int) -> int:
        """Count again what can be, and note how many calls nobody knows of. Returns the last number that is settled."""
        number, intents, found = mark.number, mark.intents, 0
        if audit is not None and audit.exists():
            try:
                prices = prices_of(self._ledger.connection)
                done = recover(audit, mark, horizon_s, self._meter, prices)
            except (sqlite3.Error, msgspec.DecodeError) as error:
                self.problem = f"the audit record can't be read to count again: {error}"
                self._meter.take()
            else:
                number, intents, found, self.recovered = done.number, done.intents, done.numbered, done.calls
        upto = max(number, counted)
        lost = upto - mark.number - found
        gap = Gap(upto, self._clock.wall(), lost) if lost > 0 else None
        self._ledger.add(self._meter.take(), upto, intents=intents, gap=gap)
        return upto

    # -- on the loop

    def __call__(self, record: Record) -> None:
        """Take a closed record."""
        self._meter(record)

    def cost(self, record: Record) -> dict[str, Any]:
        """What a call that ends now costs, for its caller. It is counted here, and not once more when it closes."""
        self._meter(record)
        if record.price is None:
            return {"amount": "0"}
        return {"amount": text_of(record.cost), "currency": record.price.currency, "price": record.price.id}

    async def configure(self, settings: Metering, books: Sequence[Book], budgets: Sequence[Budget]) -> None:
        """Charge what follows at these prices, within these budgets. What was used before keeps its price.

        Errors: StartError, if the prices can't be written down: nothing is metered at one that would be forgotten.
        """
        self._settings = settings
        try:
            await self._run(partial(self._ledger.keep_prices, [price for book in books for price in book.prices]))
        except (OSError, sqlite3.Error) as error:
            raise StartError(
                f"The usage file {self.path} can't be written ({error}); prices stay as they were"
            ) from error
        self._waiting += self._meter.take()
        self._meter.configure(PriceList(books))
        if not budgets:
            self.budgets.configure(())
            return
        async with self._lock:  # so that nothing goes from memory to the file while both are added up
            prices = await self._run(partial(prices_of, self._ledger.connection))
            spent = await self._run(partial(spent_of, self._ledger.connection, self._today() - 31))
            for row in (*self._batch, *self._waiting, *self._meter.used()):
                if row.cost:
                    spent.append((row.key.tenant, row.key.subject, row.key.day, row.key.price, row.cost))
            self.budgets.configure(
                budgets, ((tenant, who, day, prices[id].currency, cost) for tenant, who, day, id, cost in spent)
            )

    def _costs(self, tenant: str, server: str, tool: str) -> bool:
        return self._meter.prices.price(tenant, self._today(), server, tool) is not None

    def _today(self) -> int:
        return int(self._clock.wall() // DAY_S)

    def _note(self, number: int) -> None:
        if self._counter is not None:
            _COUNTER.pack_into(self._counter, 0, number)

    def _wake(self) -> None:
        self._wanted.set()

    # -- onto the disk

    async def _keep(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await asyncio.sleep(FLUSH_S if self.problem is None else RETRY_S)
            await self.flush()
            if self.problem is not None:
                self._wanted.set()

    async def flush(self) -> None:
        """Write what was used since the last time; `problem` says why if that failed."""
        async with self._lock:
            while self._batch or self._waiting or self._meter.waiting:
                if not self._batch:
                    self._batch, self._waiting = [*self._waiting, *self._meter.take()], []
                    self._batch_number = self._meter.number
                if self._audited is not None:
                    await self._audited()
                try:
                    await self._run(partial(self._ledger.add, self._batch, self._batch_number, keep=self._first_kept()))
                except (OSError, sqlite3.Error) as error:
                    self.problem = str(error)
                    return
                self._batch, self.problem = [], None

    def _first_kept(self) -> int:
        """The first day that is kept, once a day; else 0."""
        today = self._today()
        if self._settings.keep_days is None or self._pruned == today:
            return 0
        self._pruned = today
        return today - self._settings.keep_days

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        """Write what waits, say that it is all, and let go."""
        await self._tasks.close()
        await self.flush()
        if not self._batch:  # else it is counted from the audit record at the next start
            await self._run(self._ledger.end)
        await self._run(self._ledger.close)
        self._thread.shutdown(wait=False)
        if self._counter is not None:
            self._counter.close()
            self._counter = None

    def readings(self) -> Iterator[Reading]:
        """For metrics."""
        waiting = len(self._batch) + len(self._waiting) + self._meter.waiting
        yield "concento_usage_waiting", "Sums of usage that wait to be written", {}, waiting
        yield "concento_usage_failing", "Whether usage can't be written", {}, float(self.problem is not None)
        yield "concento_usage_keys", "Keys that usage is counted by now", {}, self._meter.keys
        yield "concento_usage_metered", "The number of the last call that was metered", {}, self._meter.number
        spent = self._meter.spent(month_of(self._today()))
        for (tenant, currency), cost in tuple(spent.items())[:LABELS_MAX]:
            labels = {"tenant": tenant, "currency": currency}
            yield "concento_usage_spent", "What a tenant's calls of this month cost so far", labels, cost / PARTS
        yield from self.budgets.readings()


def _counter(path: Path) -> mmap.mmap:
    """Shared memory that outlives the process: the number of the last call that was counted."""
    file = os.open(path.with_name(path.name + "-count"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(file).st_size < _COUNTER.size:
            os.ftruncate(file, _COUNTER.size)
        return mmap.mmap(file, _COUNTER.size)
    finally:
        os.close(file)
