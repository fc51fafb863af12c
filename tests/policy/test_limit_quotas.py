"""Quotas: a UTC day and month, over restarts, whatever the wall clock does. Hardening R20."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concento.model.errors import RateLimited
from concento.model.limiting import LimitRule
from concento.model.principal import Principal
from concento.policy import limit_buckets, limits
from concento.policy.limits import FREE, SPACE, Limits
from concento.store.memory import MemoryStore
from concento.testing.clock import ManualClock

ALICE, BOB = Principal("alice"), Principal("bob")
DAY_S, HOUR_S = 86_400.0, 3600.0
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


class JumpingClock(ManualClock):
    """A clock whose wall reading is set from outside."""

    def __init__(self, wall_s: float = NOON) -> None:
        super().__init__(wall_s=wall_s)

    def jump(self, seconds: float) -> None:
        self._wall_s += seconds


class FailingStore(MemoryStore):
    """A store that a disk stands behind."""

    is_full = False
    writes = 0

    async def put(self, space: str, key: str, value: bytes) -> None:
        if self.is_full:
            raise OSError("no space")
        self.writes += 1
        await super().put(space, key, value)

    async def delete(self, space: str, key: str) -> None:
        if self.is_full:
            raise OSError("no space")
        await super().delete(space, key)


def keeper(*rules: LimitRule, clock: ManualClock | None = None, store: MemoryStore | None = None) -> Limits:
    made = Limits(clock or JumpingClock(), store)
    made.configure({"": rules})
    return made


async def restarted(*rules: LimitRule, clock: ManualClock, store: MemoryStore) -> Limits:
    made = Limits(clock, store)
    await made.load()
    made.configure({"": rules})
    return made


def passes(made: Limits, times: int, who: Principal = ALICE) -> int:
    """How many of so many calls are let in."""
    passed = 0
    for _ in range(times):
        try:
            made.enter(who, "git", "push")
            passed += 1
        except RateLimited:
            pass
    return passed


def refused(made: Limits, who: Principal = ALICE, cost: int = 1) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        made.enter(who, "git", "push", cost)
    return caught.value


def test_a_day_and_a_month_begin_anew_at_midnight_utc_and_not_before() -> None:
    clock = JumpingClock()
    made = keeper(LimitRule("q", day=3, month=5), clock=clock)
    assert passes(made, 9) == 3
    assert refused(made).retry_after_s == 12 * HOUR_S
    clock.advance(12 * HOUR_S - 1)
    assert passes(made, 9) == 0
    clock.advance(1)
    assert passes(made, 9) == 3  # February, day 1
    clock.advance(DAY_S)
    assert passes(made, 9) == 2  # the month's rest
    assert refused(made).retry_after_s == 27 * DAY_S
    clock.advance(27 * DAY_S)
    assert passes(made, 9) == 3


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        ((2026, 12, 31, 23, 59), (2027, 1, 1)),
        ((2028, 2, 1), (2028, 3, 1)),
        ((2026, 2, 28), (2026, 3, 1)),
        ((2026, 3, 29, 1, 30), (2026, 4, 1)),
    ],
)
def test_a_month_ends_when_the_calendar_says(now: tuple[int, ...], ends: tuple[int, ...]) -> None:
    wall_s = datetime(*now, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]
    made = keeper(LimitRule("q", month=1), clock=JumpingClock(wall_s))
    assert passes(made, 2) == 1
    assert refused(made).retry_after_s == datetime(*ends, tzinfo=UTC).timestamp() - wall_s  # type: ignore[misc,arg-type]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(-60, 60), st.integers(0, 4)), max_size=60))
def test_a_wall_clock_that_jumps_by_an_hour_never_lets_a_day_have_more_than_its_quota(
    steps: list[tuple[int, int]],
) -> None:
    clock = JumpingClock(datetime(2026, 1, 31, 23, 30, tzinfo=UTC).timestamp())
    made = keeper(LimitRule("q", day=5, month=7), clock=clock)
    days: set[int] = set()
    months: set[int] = set()
    passed = 0
    for minutes, calls in steps:
        clock.jump(minutes * 60)
        now = datetime.fromtimestamp(clock.wall(), UTC)
        days.add(now.toordinal())
        months.add(now.month)
        passed += passes(made, calls)
    assert passed <= min(5 * len(days), 7 * len(months))


def test_a_clock_that_goes_back_over_midnight_goes_on_with_the_newer_day() -> None:
    clock = JumpingClock(datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp())
    made = keeper(LimitRule("q", day=5), clock=clock)
    assert passes(made, 3) == 3
    clock.jump(2)
    assert passes(made, 4) == 4
    clock.jump(-2)
    assert passes(made, 9) == 1
    assert refused(made).retry_after_s == DAY_S + 1
    clock.jump(2)
    assert passes(made, 9) == 0


def test_a_call_that_is_refused_as_midnight_strikes_is_refused_in_order() -> None:
    class TickingClock(ManualClock):
        step_s = 0.0

        def wall(self) -> float:
            self._wall_s += self.step_s
            return self._wall_s

    clock = TickingClock(wall_s=datetime(2026, 1, 31, 23, 59, 58, tzinfo=UTC).timestamp())
    made = keeper(LimitRule("q", day=1), clock=clock)
    assert passes(made, 1) == 1
    clock.step_s = 1.5
    assert refused(made).retry_after_s == 0.0
    assert passes(made, 1) == 1


def test_a_clock_that_was_years_ahead_is_no_reason_to_wait_for_years() -> None:
    clock = JumpingClock()
    made = keeper(LimitRule("q", day=5, month=8), clock=clock)
    assert passes(made, 2) == 2
    clock.jump(3650 * DAY_S)
    assert passes(made, 3) == 3
    clock.jump(-3650 * DAY_S)
    assert passes(made, 9) == 2  # what was used then counts as used today
    clock.advance(DAY_S)
    assert passes(made, 9) == 5


def test_a_call_that_counts_more_than_is_left_is_refused_whole() -> None:
    made = keeper(LimitRule("q", day=10))
    made.enter(ALICE, "git", "push", 8)
    assert "8 are used and this call counts 3" in str(refused(made, cost=3))
    assert "this call counts 11" in str(refused(made, cost=11))
    made.enter(ALICE, "git", "push", 2)
    refused(made)


def test_callers_are_told_from_the_soft_part_on() -> None:
    made = keeper(LimitRule("monthly", month=10, soft=0.8))
    told = [made.enter(ALICE, "git", "push").told for _ in range(10)]
    assert told[:7] == [None] * 7
    assert told[7] == "8 of 10 calls of this month are used (limit 'monthly'); a new one begins at 2026-02-01 00:00 UTC"
    assert all(told[8:])
    assert [value for name, _, _, value in made.readings() if name == "concento_limit_near_total"] == [3]
    assert made.enter(BOB, "git", "push") is FREE
    assert "month" in str(refused(made))


# -- kept


async def test_a_quota_goes_on_after_a_restart() -> None:
    clock, store = JumpingClock(), MemoryStore()
    rule = LimitRule("q", ("user", "tool"), day=5, month=7)
    made = keeper(rule, clock=clock, store=store)
    assert passes(made, 3) == 3
    await made.flush()
    assert passes(made, 1, BOB) == 1
    await made.flush()
    made = await restarted(rule, clock=clock, store=store)
    assert "2 left" in made.describe(ALICE, "git", "push")[0]
    assert passes(made, 9) == 2
    assert passes(made, 9, BOB) == 4
    await made.flush()
    clock.advance(DAY_S / 2)
    made = await restarted(rule, clock=clock, store=store)
    assert passes(made, 9) == 5  # February


async def test_a_clock_set_back_over_a_restart_resets_nothing() -> None:
    clock, store = JumpingClock(datetime(2026, 2, 1, 0, 5, tzinfo=UTC).timestamp()), MemoryStore()
    rule = LimitRule("q", day=5, month=6)
    made = keeper(rule, clock=clock, store=store)
    assert passes(made, 9) == 5
    await made.flush()
    clock.jump(-HOUR_S)
    made = await restarted(rule, clock=clock, store=store)
    assert passes(made, 9) == 0
    clock.jump(HOUR_S)
    assert passes(made, 9) == 0


async def test_a_thousand_calls_are_one_write_and_no_call_is_none() -> None:
    store = FailingStore()
    made = keeper(LimitRule("q", month=100_000), LimitRule("r", rate=10_000, burst=10_000), store=store)
    assert passes(made, 1000) == 1000
    await made.flush()
    await made.flush()
    assert store.writes == 1


async def test_a_flush_writes_no_more_than_it_may_and_the_next_one_goes_on() -> None:
    clock, store = JumpingClock(), FailingStore()
    made = keeper(LimitRule("q", month=9), clock=clock, store=store)
    for number in range(25):
        passes(made, 1, Principal(f"user-{number}"))
    await made.flush(10)
    assert store.writes == 10
    await made.flush()
    assert store.writes == 25
    made = await restarted(LimitRule("q", month=9), clock=clock, store=store)
    assert all(passes(made, 9, Principal(f"user-{number}")) == 8 for number in range(25))


async def test_what_a_full_disk_refused_is_written_once_there_is_space() -> None:
    clock, store = JumpingClock(), FailingStore()
    made = keeper(LimitRule("q", month=5), clock=clock, store=store)
    assert passes(made, 3) == 3
    store.is_full = True
    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            await made.flush()
    store.is_full = False
    await made.flush()
    assert passes(await restarted(LimitRule("q", month=5), clock=clock, store=store), 9) == 2


async def test_a_flush_that_is_cancelled_loses_nothing() -> None:
    clock, reached = JumpingClock(), asyncio.Event()

    class SlowStore(MemoryStore):
        async def put(self, space: str, key: str, value: bytes) -> None:
            if not reached.is_set():
                reached.set()
                await asyncio.Event().wait()
            await super().put(space, key, value)

    store = SlowStore()
    made = keeper(LimitRule("q", month=5), clock=clock, store=store)
    assert passes(made, 3) == 3
    flushing = asyncio.get_running_loop().create_task(made.flush())
    await reached.wait()
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    await made.flush()
    assert passes(await restarted(LimitRule("q", month=5), clock=clock, store=store), 9) == 2


async def test_calls_during_a_write_are_written_by_the_next_flush() -> None:
    clock = JumpingClock()

    class BusyStore(MemoryStore):
        async def put(self, space: str, key: str, value: bytes) -> None:
            await super().put(space, key, value)
            if made is not None:
                passes(made, 1)

    store = BusyStore()
    made: Limits | None = keeper(LimitRule("q", month=5), clock=clock, store=store)
    assert made is not None
    passes(made, 1)
    await made.flush()
    await made.flush()
    made = None
    again = await restarted(LimitRule("q", month=5), clock=clock, store=store)
    assert passes(again, 9) == 3


async def test_rows_of_past_periods_are_deleted() -> None:
    clock, store = JumpingClock(), FailingStore()
    rule = LimitRule("q", day=5)
    made = keeper(rule, clock=clock, store=store)
    passes(made, 1)
    passes(made, 1, BOB)
    await made.flush()
    assert len(await store.items(SPACE)) == 2
    clock.advance(DAY_S)
    made.configure({"": [rule]})
    await made.flush()
    assert await store.items(SPACE) == {}
    passes(made, 1)
    await made.flush()
    clock.advance(DAY_S)
    made = await restarted(rule, clock=clock, store=store)
    store.is_full = True
    with pytest.raises(OSError, match="no space"):
        await made.flush()
    store.is_full = False
    await made.flush()
    assert await store.items(SPACE) == {}


async def test_rows_are_deleted_with_their_buckets() -> None:
    clock, store = JumpingClock(), MemoryStore()
    rule = LimitRule("q", day=5)
    made = keeper(rule, clock=clock, store=store)
    passes(made, 1)
    await made.flush()
    made = await restarted(rule, clock=clock, store=store)
    passes(made, 1, BOB)
    clock.advance(DAY_S)
    made.configure({"": [rule]})  # nobody is remembered
    await made.flush()
    await made.flush()
    assert await store.items(SPACE) == {}


async def test_a_row_that_can_not_be_read_is_counted_anew_and_keeps_nobody_from_starting() -> None:
    clock, store = JumpingClock(), MemoryStore()
    made = keeper(LimitRule("q", month=5), clock=clock, store=store)
    passes(made, 2)
    await made.flush()
    (name,) = await store.items(SPACE)
    await store.put(SPACE, name, b"\xc1")
    await store.put(SPACE, "no name of ours", b"\x90")
    made = await restarted(LimitRule("q", month=5), clock=clock, store=store)
    assert passes(made, 9) == 5
    await made.flush()
    assert list(await store.items(SPACE)) == [name]


# -- reload


async def test_a_reload_keeps_what_was_used_and_a_limit_that_comes_back_goes_on() -> None:
    clock, store = JumpingClock(), MemoryStore()
    made = keeper(LimitRule("q", month=5), clock=clock, store=store)
    assert passes(made, 3) == 3
    made.configure({"": [LimitRule("q", month=8, rate=1000, burst=1000)]})
    assert passes(made, 9) == 5
    made.configure({})
    assert passes(made, 3) == 3
    await made.flush()
    made.configure({"": [LimitRule("q", month=9)]})
    assert passes(made, 9) == 1
    await made.flush()
    assert passes(await restarted(LimitRule("q", month=10), clock=clock, store=store), 9) == 1


async def test_a_quota_holds_for_more_callers_than_there_are_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_buckets, "BUCKETS_MAX", 20)
    monkeypatch.setattr(limits, "CHOICES_MAX", 5)
    clock, store = JumpingClock(), MemoryStore()
    made = keeper(LimitRule("q", month=2), clock=clock, store=store)
    first = [Principal(f"user-{number}") for number in range(20)]
    assert sum(passes(made, 1, who) for who in first) == 20
    late = [Principal(f"late-{number}") for number in range(100)]
    assert sum(passes(made, 1, who) for who in late) == 2
    await made.flush()
    assert len(await store.items(SPACE)) == 21
    made = await restarted(LimitRule("q", month=2), clock=clock, store=store)
    assert sum(passes(made, 1, who) for who in late) == 0
    assert [passes(made, 3, who) for who in first] == [1] * 20
