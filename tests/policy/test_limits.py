"""Rates, calls at a time, quotas. Source: hardening T28, T29, R20."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concento.model.errors import RateLimited
from concento.model.limiting import LimitRule
from concento.model.principal import Principal
from concento.policy import limits
from concento.policy.limits import Limits
from concento.store.memory import MemoryStore
from concento.testing.clock import ManualClock

ALICE, BOB = Principal("alice"), Principal("bob")


def made(
    *rules: LimitRule, clock: ManualClock | None = None, store: MemoryStore | None = None
) -> tuple[Limits, ManualClock]:
    clock = clock or ManualClock()
    keeper = Limits(clock, store)
    keeper.configure({"": rules})
    return keeper, clock


def admitted(
    keeper: Limits, principal: Principal = ALICE, server: str | None = "s", tool: str | None = "t", cost: int = 1
) -> bool:
    try:
        keeper.enter(principal, server, tool, cost)
        return True
    except RateLimited:
        return False


ARRIVALS = st.lists(st.tuples(st.floats(0, 2.0), st.integers(1, 3)), max_size=60)


@given(ARRIVALS, st.sampled_from([1.0, 5.0, 10.0]), st.integers(0, 5))
def test_no_window_ever_has_more_than_the_rate_and_the_burst(arrivals: Any, rate: float, burst: int) -> None:
    keeper, clock = made(LimitRule("r", rate=rate, burst=burst))
    times: list[float] = []
    for wait, _ in arrivals:
        clock.advance(wait)
        if admitted(keeper):
            times.append(clock.monotonic())
    for first, since in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= rate * (times[last] - since) + burst + 1 + 1e-6


@given(ARRIVALS, st.sampled_from([1.0, 5.0]), st.integers(0, 3))
def test_who_waits_as_long_as_told_is_let_in(arrivals: Any, rate: float, burst: int) -> None:
    keeper, clock = made(LimitRule("r", rate=rate, burst=burst))
    for wait, cost in arrivals:
        clock.advance(wait)
        try:
            keeper.enter(ALICE, "s", "t", cost)
        except RateLimited as error:
            assert error.retry_after_s is not None
            clock.advance(error.retry_after_s + 1e-6)
            assert admitted(keeper, cost=cost)


def test_a_fan_out_counts_as_many_times_as_it_goes_out() -> None:
    """T29."""
    keeper, clock = made(LimitRule("r", rate=10.0, burst=9))
    assert admitted(keeper, cost=50)  # one that is larger than what may come at once is let in, and owes the rest
    assert not admitted(keeper)
    clock.advance(3.9)
    assert not admitted(keeper)
    clock.advance(0.2)
    assert admitted(keeper)


def test_a_call_that_one_limit_refuses_uses_up_nothing_of_the_others() -> None:
    keeper, _ = made(LimitRule("wide", rate=1.0, burst=1), LimitRule("narrow", concurrency=1), LimitRule("day", day=2))
    lease = keeper.enter(ALICE, "s", "t")
    for _ in range(10):
        assert not admitted(keeper)
    lease.leave()
    assert admitted(keeper)  # the second of the burst, and the second of the day


def test_each_has_a_count_of_its_own() -> None:
    keeper, _ = made(LimitRule("r", per=("user", "tool"), rate=1.0))
    assert admitted(keeper)
    assert not admitted(keeper)
    assert admitted(keeper, tool="u")
    assert admitted(keeper, BOB)
    assert admitted(keeper, Principal("alice", tenant="acme"))  # another tenant's user of the same name


@pytest.mark.parametrize(
    ("per", "apart"),
    [
        ("tool", {"tool"}),
        ("server", {"server"}),
        ("user", {"user", "tenant"}),
        ("agent", {"user", "agent", "tenant"}),
        ("tenant", {"tenant"}),
        ("global", set()),
    ],
)
def test_what_shares_a_count(per: Any, apart: set[str]) -> None:
    others = {
        "tool": (ALICE, "s", "u"),
        "server": (ALICE, "z", "t"),
        "user": (BOB, "s", "t"),
        "agent": (Principal("alice", "ci"), "s", "t"),
        "tenant": (Principal("alice", tenant="acme"), "s", "t"),
    }
    if per == "tool":
        apart = {"tool", "server"}
    for name, call in others.items():
        keeper, _ = made(LimitRule("r", per=(per,), rate=1.0))
        assert admitted(keeper)
        assert admitted(keeper, *call) is (name in apart), name


def test_a_limit_is_about_what_it_names() -> None:
    rule = LimitRule("r", patterns=("git.*",), subjects=("a*",), agents=("ci",), roles=("guest",), rate=1.0)
    guest = Principal("alice", "ci", roles=frozenset({"guest"}))
    keeper, _ = made(rule)
    assert admitted(keeper, guest, "acme/git")
    assert not admitted(keeper, guest, "acme/git")
    for other in (
        (guest, "docs", "t"),
        (guest, None, None),
        (Principal("bob", "ci", roles=frozenset({"guest"})), "git", "t"),
        (Principal("alice", roles=frozenset({"guest"})), "git", "t"),
        (Principal("alice", "ci"), "git", "t"),
    ):
        assert admitted(keeper, *other)
        assert admitted(keeper, *other)


def test_calls_at_a_time_are_given_back_once() -> None:
    keeper, _ = made(LimitRule("r", concurrency=2))
    first, second = keeper.enter(ALICE, "s", "t"), keeper.enter(ALICE, "s", "t")
    assert not admitted(keeper)
    first.leave()
    first.leave()
    assert admitted(keeper)
    assert not admitted(keeper)
    second.leave()
    assert admitted(keeper)


async def test_a_quota_survives_a_restart_and_begins_anew_with_its_period() -> None:
    store, clock = MemoryStore(), ManualClock()
    keeper, _ = made(LimitRule("q", day=3, month=4), clock=clock, store=store)
    assert [admitted(keeper) for _ in range(4)] == [True, True, True, False]
    await keeper.flush()
    again, _ = Limits(clock, store), None
    await again.load()
    again.configure({"": (LimitRule("q", day=3, month=4),)})
    with pytest.raises(RateLimited) as refused:
        again.enter(ALICE, "s", "t")
    assert "3 calls a day" in refused.value.message
    assert refused.value.retry_after_s is not None
    clock.advance(refused.value.retry_after_s)
    assert [admitted(again) for _ in range(2)] == [True, False]  # the next day; the month has four
    with pytest.raises(RateLimited) as spent:
        again.enter(ALICE, "s", "t")
    assert "4 calls a month" in spent.value.message
    assert spent.value.retry_after_s is not None
    clock.advance(spent.value.retry_after_s)
    assert admitted(again)


def test_who_nears_a_quota_is_told() -> None:
    keeper, _ = made(LimitRule("q", day=10, soft=0.8))
    told = [keeper.enter(ALICE, "s", "t").told for _ in range(10)]
    assert told[:8] == [None] * 8
    assert all("of 10 calls of this day" in str(text) for text in told[8:])


class Jumping(ManualClock):
    """A clock whose wall time somebody sets."""

    jump_s = 0.0

    def wall(self) -> float:
        return super().wall() + self.jump_s


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 86_400.0 * 40, -86_400.0 * 40])
def test_a_clock_that_is_set_changes_no_rate_and_gives_no_quota_back(jump_s: float) -> None:
    """R20."""
    clock = Jumping()
    keeper, _ = made(LimitRule("r", per=("tool",), rate=1.0), LimitRule("q", day=1), clock=clock)
    assert admitted(keeper, tool="a")
    clock.jump_s = jump_s
    assert not admitted(keeper, tool="a")
    clock.jump_s = 0.0
    assert not admitted(keeper, BOB, tool="a")
    if jump_s < 0:
        clock.jump_s = jump_s
        assert not admitted(keeper, tool="b")


def test_a_reload_keeps_the_debts_of_limits_that_stay() -> None:
    rule = LimitRule("r", rate=1.0)
    keeper, _ = made(rule)
    assert admitted(keeper)
    keeper.configure({"": (rule, LimitRule("new", concurrency=1)), "acme": (LimitRule("theirs", rate=1.0),)})
    assert not admitted(keeper)
    keeper.configure({"": (LimitRule("r", rate=2.0),)})
    assert admitted(keeper)


def test_the_limits_of_a_tenant_are_its_own() -> None:
    keeper = Limits(ManualClock(), None)
    keeper.configure({"": (), "acme": (LimitRule("r", per=("global",), rate=1.0),)})
    assert admitted(keeper, Principal("a", tenant="acme"))
    assert not admitted(keeper, Principal("b", tenant="acme"))
    assert admitted(keeper, Principal("b", tenant="globex"))


def test_any_number_of_callers_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """T28: those that owe nothing are forgotten, those that owe are not forgiven."""
    monkeypatch.setattr(limits, "KEYS_MAX", 1000)
    keeper, clock = made(LimitRule("r", rate=1.0))
    assert admitted(keeper, BOB)
    for number in range(5000):
        clock.advance(0.001)
        keeper.enter(Principal(f"user {number}"), "s", "t") if number < 500 else admitted(
            keeper, Principal(f"u{number}")
        )
    (limit,) = keeper._limits
    assert len(limit.due_s) <= 1001


def test_looking_uses_nothing_up() -> None:
    keeper, _ = made(LimitRule("each user", rate=10.0, burst=4, concurrency=3, day=100))
    before = keeper.describe(ALICE, "s", "t")
    assert before == keeper.describe(ALICE, "s", "t")
    assert before == ["each user: 10 a second, 5 at once now; 3 at a time, 3 free; 100 a day, 100 left (for each user)"]
    keeper.enter(ALICE, "s", "t")
    assert "4 at once now; 3 at a time, 2 free; 100 a day, 99 left" in keeper.describe(ALICE, "s", "t")[0]


def test_what_was_refused_is_counted_by_limit() -> None:
    keeper, _ = made(LimitRule("r", rate=1.0))
    list(iterate(keeper))
    ((_, _, labels, count),) = keeper.readings()
    assert (labels["limit"], count) == ("r", 4)


def iterate(keeper: Limits) -> Iterator[bool]:
    for _ in range(5):
        yield admitted(keeper)
