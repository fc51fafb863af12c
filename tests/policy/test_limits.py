"""Rates, caps and what counts where: over any arrivals, for anybody, whatever the wall clock does.

Source: hardening T29, R20.
"""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concento.model.errors import RateLimited
from concento.model.limiting import LimitRule, Per
from concento.model.principal import Principal
from concento.policy import limit_buckets, limits
from concento.policy.limits import FREE, Lease, Limits
from concento.testing.clock import ManualClock

ALICE, BOB = Principal("alice"), Principal("bob")
few = settings(max_examples=150, deadline=None)


def keeper(*rules: LimitRule, clock: ManualClock | None = None) -> Limits:
    made = Limits(clock or ManualClock(), None)
    made.configure({"": rules})
    return made


def admits(
    made: Limits, who: Principal = ALICE, server: str | None = "git", tool: str | None = "push", cost: int = 1
) -> bool:
    try:
        made.enter(who, server, tool, cost)
    except RateLimited:
        return False
    return True


def refused(
    made: Limits, who: Principal = ALICE, server: str | None = "git", tool: str | None = "push", cost: int = 1
) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        made.enter(who, server, tool, cost)
    assert caught.value.code == -31003
    return caught.value


def wait_of(error: RateLimited) -> float:
    assert error.retry_after_s is not None
    return error.retry_after_s


# -- rates


@few
@given(
    st.floats(0.05, 500),
    st.sampled_from([1.0, 60.0, 3600.0]),
    st.integers(0, 20),
    st.lists(st.floats(0, 30), max_size=150),
)
def test_no_window_lets_more_through_than_rate_and_burst(
    rate: float, per_s: float, burst: int, gaps: list[float]
) -> None:
    clock = ManualClock()
    made = keeper(LimitRule("r", rate=rate, per_s=per_s, burst=burst), clock=clock)
    times = []
    for gap in gaps:
        clock.advance(gap * per_s / rate / 10)
        if admits(made):
            times.append(clock.monotonic())
    for first in range(len(times)):
        for last in range(first, len(times)):
            most = rate / per_s * (times[last] - times[first]) + burst + 1
            assert last - first + 1 <= most + 1e-6


@few
@given(st.integers(1, 1000), st.integers(0, 20), st.lists(st.tuples(st.floats(0, 3), st.integers(1, 40)), max_size=80))
def test_costs_are_bounded_alike_and_none_waits_for_ever(
    rate: int, burst: int, arrivals: list[tuple[float, int]]
) -> None:
    clock = ManualClock()
    made = keeper(LimitRule("r", rate=rate, burst=burst), clock=clock)
    passed: list[tuple[float, int]] = []
    for gap, cost in arrivals:
        clock.advance(gap)
        if not admits(made, cost=cost):
            clock.advance(wait_of(refused(made, cost=cost)))
            assert admits(made, cost=cost)
        passed.append((clock.monotonic(), cost))
    for first in range(len(passed)):
        total = 0
        for time_s, cost in passed[first:]:
            total += cost
            most = rate * (time_s - passed[first][0]) + max(burst + 1, passed[first][1]) + max(0, cost - burst - 1)
            assert total <= most + 1e-6


def test_a_call_that_costs_more_than_fits_at_once_passes_when_nothing_is_owed_and_leaves_a_debt() -> None:
    clock = ManualClock()
    made = keeper(LimitRule("r", rate=10, burst=4), clock=clock)
    assert admits(made)
    assert wait_of(refused(made, cost=50)) == pytest.approx(0.1)
    clock.advance(0.1)
    assert admits(made, cost=50)
    assert wait_of(refused(made)) == pytest.approx(4.6)


@few
@given(st.floats(0.01, 1000), st.integers(0, 5), st.floats(0, 1e7), st.lists(st.floats(0, 2), max_size=60))
def test_who_waits_as_long_as_told_is_let_in_and_not_a_moment_sooner(
    rate: float, burst: int, since_s: float, gaps: list[float]
) -> None:
    clock = ManualClock(monotonic_s=since_s)
    made = keeper(LimitRule("r", rate=rate, burst=burst), clock=clock)
    for gap in gaps:
        clock.advance(gap / rate)
        while admits(made):
            pass
        wait_s = wait_of(refused(made))
        assert wait_s > 0
        if wait_s > 1e-4:  # what a float can tell apart, at this distance from 0
            clock.advance(wait_s * 0.999)
            wait_s = wait_of(refused(made))
        clock.advance(wait_s)
        assert admits(made)


def test_waiting_exactly_as_told_lets_a_call_in_over_and_over() -> None:
    clock = ManualClock(monotonic_s=123_456.789)
    made = keeper(LimitRule("r", rate=3, burst=2), LimitRule("s", rate=7.3, per_s=60), clock=clock)
    assert admits(made)
    for _ in range(2000):
        clock.advance(wait_of(refused(made)))
        assert admits(made)


def test_rounding_costs_nobody_another_try() -> None:
    # 5 + 2⁻⁵⁰ less 1 + 2⁻⁵¹ is rounded to 4, and 4 later it is rounded to 5: a moment too early.
    clock = ManualClock(monotonic_s=0.0)
    made = keeper(LimitRule("r", rate=1, per_s=5 + 2**-50), clock=clock)
    assert admits(made)
    clock.advance(1 + 2**-51)
    clock.advance(wait_of(refused(made)))
    assert admits(made)


def test_of_several_refusals_the_longest_wait_is_told() -> None:
    made = keeper(LimitRule("quick", rate=10), LimitRule("slow", rate=1, per_s=60), LimitRule("busy", concurrency=1))
    lease = made.enter(ALICE, "git", "push")
    error = refused(made)
    assert error.limit == "slow"
    assert wait_of(error) == pytest.approx(60)
    lease.leave()


@few
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-3600, 3600)), max_size=60))
def test_a_wall_clock_that_jumps_changes_nothing_for_rates(steps: list[tuple[float, float]]) -> None:
    def outcomes(jumps: bool) -> list[bool]:
        clock = JumpingClock()
        made = keeper(LimitRule("r", rate=5, burst=2), clock=clock)
        found = []
        for gap, jump in steps:
            clock.advance(gap)
            if jumps:
                clock.jump(jump)
            found.append(admits(made))
        return found

    assert outcomes(jumps=True) == outcomes(jumps=False)


class JumpingClock(ManualClock):
    """A clock whose wall reading is set from outside."""

    def jump(self, seconds: float) -> None:
        self._wall_s += seconds


# -- all or nothing


RULES = (
    LimitRule("user", ("user",), rate=5, burst=3),
    LimitRule("tool", ("tool",), rate=2, burst=1, day=20),
    LimitRule("busy", ("server",), concurrency=2, month=30),
)


@few
@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from([ALICE, BOB]), st.sampled_from("xyz"), st.integers(1, 4)),
        max_size=60,
    )
)
def test_a_refused_call_uses_up_nothing_of_any_limit(arrivals: list[tuple[float, Principal, str, int]]) -> None:
    clock = ManualClock()
    made = keeper(*RULES, clock=clock)
    leases: list[Lease] = []
    for gap, who, tool, cost in arrivals:
        clock.advance(gap)
        before = [made.describe(other, "git", name) for other in (ALICE, BOB) for name in "xyz"]
        try:
            leases.append(made.enter(who, "git", tool, cost))
        except RateLimited:
            assert [made.describe(other, "git", name) for other in (ALICE, BOB) for name in "xyz"] == before
        if len(leases) > 2:
            leases.pop(0).leave()


# -- calls at a time


@few
@given(st.integers(1, 5), st.lists(st.integers(-1, 12), max_size=100))
def test_calls_at_a_time_stay_between_none_and_the_cap(cap: int, moves: list[int]) -> None:
    made = keeper(LimitRule("busy", concurrency=cap))
    open_now: list[Lease] = []
    ended: list[Lease] = []
    for move in moves:
        if move < 0:
            if len(open_now) < cap:
                open_now.append(made.enter(ALICE, "git", "push"))
            else:
                assert wait_of(refused(made)) == limits.BUSY_RETRY_S
        elif open_now and move % 2:
            ended.append(open_now.pop(move % len(open_now)))
            ended[-1].leave()
        elif ended:
            ended[move % len(ended)].leave()  # again
        assert f"{cap} at a time: {cap - len(open_now)} free" in made.describe(ALICE, "git", "push")[0]


def test_a_fan_out_is_one_call_at_a_time_whatever_it_costs() -> None:
    made = keeper(LimitRule("busy", concurrency=2))
    made.enter(ALICE, "git", "push", 50)
    made.enter(ALICE, "git", "push", 50)
    refused(made)


def test_a_call_that_holds_nothing_gets_the_one_lease_that_is_shared() -> None:
    made = keeper(LimitRule("r", rate=10, burst=10), LimitRule("docs", patterns=("docs.*",), concurrency=1))
    assert made.enter(ALICE, "git", "push") is FREE
    assert keeper().enter(ALICE, "git", "push") is FREE
    assert made.enter(ALICE, "docs", "read") is not FREE
    FREE.leave()
    assert FREE.told is None


# -- what counts where


@pytest.mark.parametrize(
    ("per", "apart", "together"),
    [
        (("user",), [(BOB, "git", "push")], [(ALICE, "docs", "read"), (Principal("alice", "bot"), "git", "push")]),
        (("tool",), [(ALICE, "git", "pull"), (ALICE, "docs", "push")], [(BOB, "git", "push")]),
        (("server",), [(ALICE, "docs", "push")], [(BOB, "git", "pull")]),
        (("user", "tool"), [(BOB, "git", "push"), (ALICE, "git", "pull")], [(Principal("alice", "b"), "git", "push")]),
        (("agent",), [(Principal("alice", "bot"), "git", "push"), (BOB, "git", "push")], [(ALICE, "git", "pull")]),
        (("tenant",), [(Principal("alice", tenant="acme"), "git", "push")], [(BOB, "docs", "read")]),
        (("global",), [], [(BOB, "docs", "read"), (Principal("x", tenant="acme"), "a", "b"), (ALICE, None, None)]),
    ],
)
def test_each_has_a_limit_of_its_own(
    per: tuple[Per, ...], apart: Sequence[tuple[Principal, str, str]], together: Sequence[tuple[Principal, str, str]]
) -> None:
    for other in apart:
        made = keeper(LimitRule("r", per, rate=1))
        assert admits(made)
        assert admits(made, *other)
    for other in together:
        made = keeper(LimitRule("r", per, rate=1))
        assert admits(made)
        refused(made, *other)


@few
@given(st.lists(st.sampled_from("abc"), max_size=80))
def test_nobody_is_refused_for_what_others_do(names: list[str]) -> None:
    made = keeper(LimitRule("r", rate=1, burst=4))
    alone = {name: keeper(LimitRule("r", rate=1, burst=4)) for name in "abc"}
    for name in names:
        assert admits(made, Principal(name)) == admits(alone[name], Principal(name))


def test_an_agent_that_hands_on_gains_no_calls() -> None:
    made = keeper(LimitRule("r", ("agent",), agents=("bot",), rate=1))
    assert admits(made, Principal("alice", "bot"))
    refused(made, Principal("alice", "helper", chain=("bot",)))
    refused(made, Principal("alice", "other", chain=("helper", "bot")))
    assert admits(made, Principal("alice", "another"))


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        (
            LimitRule("r", ("global",), ("git.push*",), rate=1),
            [("git", "push_all")],
            [("git", "pull"), ("docs", "push")],
        ),
        (LimitRule("r", ("global",), ("*.read_*",), rate=1), [("a", "read_x"), ("b", "read_")], [("a", "write")]),
        (LimitRule("r", ("global",), ("git.*",), rate=1), [("git", None)], [(None, None), ("acme/git", "push")]),
        (LimitRule("r", ("global",), rate=1), [(None, None), ("acme/git", "push")], []),
        (LimitRule("r", ("tool",), rate=1), [("git", "push")], [("git", None), (None, None)]),
        (LimitRule("r", ("server",), rate=1), [("git", None)], [(None, None)]),
    ],
)
def test_a_limit_is_about_what_its_patterns_match(
    rule: LimitRule, inside: list[tuple[str | None, str | None]], outside: list[tuple[str | None, str | None]]
) -> None:
    made = keeper(rule)
    assert [bool(made.describe(ALICE, *call)) for call in inside] == [True] * len(inside)
    assert [bool(made.describe(ALICE, *call)) for call in outside] == [False] * len(outside)


def test_a_limit_is_about_the_users_agents_and_roles_it_names() -> None:
    made = Limits(ManualClock(), None, lambda who: who.roles | {"night" if who.subject == "eve" else "day"})
    made.configure(
        {
            "": [
                LimitRule("guests", subjects=("*@example.com",), rate=1),
                LimitRule("bots", agents=("bot-*",), rate=1),
                LimitRule("owls", roles=("night",), rate=1),
            ]
        }
    )

    def names(who: Principal) -> list[str]:
        return [line.partition(" ")[0] for line in made.describe(who, "git", "push")]

    assert names(ALICE) == []
    assert names(Principal("ada@example.com")) == ["guests"]
    assert names(Principal("bob", "bot-1")) == ["bots"]
    assert names(Principal("bob", "x", chain=("bot-2",))) == ["bots"]
    assert names(Principal("eve")) == ["owls"]
    assert names(Principal("bob", roles=frozenset({"night"}))) == ["owls"]


def test_a_tenants_limits_are_about_its_own_calls_and_the_operators_about_everybodys() -> None:
    made = Limits(ManualClock(), None)
    made.configure(
        {
            "": [LimitRule("hub", ("global",), rate=1, burst=2)],
            "acme": [LimitRule("own", ("global",), ("git.*",), rate=1)],
            "globex": [LimitRule("own", ("global",), rate=1, burst=9)],
        }
    )
    acme, globex = Principal("a", tenant="acme"), Principal("a", tenant="globex")
    assert admits(made, acme, "acme/git")
    assert refused(made, acme, "acme/git").limit == "own"
    assert admits(made, globex, "globex/git")
    assert admits(made)
    assert refused(made, globex, "globex/git").limit == "hub"
    assert "own" not in "".join(made.describe(ALICE, "git", "push"))


# -- bounds


def test_a_million_callers_stay_bounded_and_all_are_let_in() -> None:
    clock = ManualClock()
    made = keeper(LimitRule("r", rate=10), clock=clock)
    (table,) = made._tables.values()
    for number in range(1_000_000):
        clock.advance(0.001)
        assert admits(made, Principal(f"user-{number}")), number
    assert len(table) == limit_buckets.BUCKETS_MAX
    assert len(made._choices) == limits.CHOICES_MAX
    assert sum(bucket.pins for bucket in table.buckets.values()) == limits.CHOICES_MAX


def test_callers_that_owe_are_never_forgotten_and_newcomers_share_what_one_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_buckets, "BUCKETS_MAX", 50)
    monkeypatch.setattr(limits, "CHOICES_MAX", 10)
    clock = ManualClock()
    made = keeper(LimitRule("r", rate=1, per_s=60, burst=1), clock=clock)
    first = [Principal(f"user-{number}") for number in range(50)]
    for who in first * 2:
        assert admits(made, who)
    late = [Principal(f"late-{number}") for number in range(5000)]
    assert sum(admits(made, who) for who in late) == 2
    assert sum(admits(made, Principal(f"late-{number}", tenant="acme")) for number in range(100)) == 2
    assert not any(admits(made, who) for who in first)
    assert len(next(iter(made._tables.values()))) <= 52
    clock.advance(120)
    assert all(admits(made, who) for who in first)


def test_who_gets_a_place_after_sharing_one_takes_the_debt_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_buckets, "BUCKETS_MAX", 3)
    monkeypatch.setattr(limits, "CHOICES_MAX", 1)
    clock = ManualClock()
    made = keeper(LimitRule("r", rate=1, burst=5), clock=clock)
    assert admits(made, Principal("a"))
    assert all(admits(made, Principal(name)) for name in "bc" for _ in range(6))
    assert all(admits(made, Principal("late")) for _ in range(6))
    refused(made, Principal("late"))
    clock.advance(1)  # a owes nothing any more
    assert admits(made, Principal("b"))
    assert admits(made, Principal("late"))
    refused(made, Principal("late"))


async def test_idle_callers_are_dropped_in_time() -> None:
    clock = ManualClock()
    made = keeper(LimitRule("r", rate=10), clock=clock)
    (table,) = made._tables.values()
    for number in range(3000):
        admits(made, Principal(f"user-{number}"))
    made.configure({"": [table.rule]})  # nobody is remembered
    assert len(table) == 3000
    await made.flush()
    assert len(table) == 3000
    clock.advance(1)
    for _ in range(3):
        await made.flush()
    assert len(table) == 0


async def test_a_caller_whose_call_runs_is_never_dropped() -> None:
    made = keeper(LimitRule("busy", concurrency=1))
    lease = made.enter(ALICE, "git", "push")
    made.configure({"": [LimitRule("busy", concurrency=1)]})  # nobody is remembered
    await made.flush()
    refused(made)
    lease.leave()
    assert admits(made)


def test_names_that_callers_choose_are_not_kept_at_any_length() -> None:
    made = keeper(LimitRule("r", ("tool",), ("docs.file:///*.md",), rate=1))
    long = "file:///" + "x" * 4_000_000 + ".md"
    assert admits(made, ALICE, "docs", long)
    refused(made, ALICE, "docs", long)
    assert admits(made, ALICE, "docs", long.replace("xx.md", "xy.md"))
    (table,) = made._tables.values()
    kept = [*made._choices, *table.buckets]
    assert max(len(part) for key in kept for part in key if isinstance(part, str)) < 300


# -- reload


def test_a_reload_keeps_what_is_owed_and_what_runs() -> None:
    clock = ManualClock()
    rule, other = LimitRule("r", rate=1, per_s=60), LimitRule("busy", concurrency=1)
    made = keeper(rule, other, clock=clock)
    lease = made.enter(ALICE, "git", "push")
    made.configure({"": [other, LimitRule("r", rate=1, per_s=60, place="elsewhere:1"), LimitRule("new", rate=99)]})
    assert refused(made).limit == "r"
    clock.advance(60)
    assert refused(made).limit == "busy"
    lease.leave()
    assert admits(made)


def test_a_rate_that_changes_keeps_the_calls_that_are_owed() -> None:
    clock = ManualClock()
    made = keeper(LimitRule("r", rate=1, burst=9), clock=clock)
    assert all(admits(made) for _ in range(10))
    made.configure({"": [LimitRule("r", rate=10, burst=9)]})
    assert wait_of(refused(made)) == pytest.approx(0.1)
    made.configure({"": [LimitRule("r", rate=1, burst=9)]})
    assert wait_of(refused(made)) == pytest.approx(1)


def test_a_lease_from_before_a_reload_that_removed_its_limit_is_given_back_in_peace() -> None:
    made = keeper(LimitRule("busy", concurrency=1))
    lease = made.enter(ALICE, "git", "push")
    made.configure({})
    lease.leave()
    made.configure({"": [LimitRule("busy", concurrency=1)]})
    assert admits(made)
    refused(made)


# -- what people see


def test_a_refusal_names_the_limit_its_size_and_when_to_come_back() -> None:
    made = keeper(LimitRule("each user", rate=20, burst=3))
    for _ in range(4):
        made.enter(Principal("alice", credential="secret-canary"), "git", "push")
    text = str(refused(made, Principal("alice", credential="secret-canary")))
    assert text == (
        "The limit 'each user' is 20 calls a second, 3 more at once, for each user; repeat the call in 0.1 s"
    )
    made = keeper(LimitRule("one", ("tool", "user"), concurrency=1))
    made.enter(ALICE, "git", "push")
    assert str(refused(made)).startswith("The limit 'one' is 1 call at a time, for each tool and each user; ")


def test_what_applies_is_told_and_uses_up_nothing() -> None:
    made = keeper(
        LimitRule("each user", rate=20, burst=3, concurrency=4), LimitRule("docs", patterns=("docs.*",), day=9)
    )
    first = made.describe(ALICE, "git", "push")
    assert first == ["each user (each user): 20 calls a second, 3 more at once: 4 now; 4 at a time: 4 free"]
    for _ in range(100):
        assert made.describe(ALICE, "git", "push") == first
    assert not next(iter(made._tables.values())).buckets
    made.enter(ALICE, "git", "push")
    (line,) = made.describe(ALICE, "git", "push")
    assert line.endswith("3 now; 4 at a time: 3 free")
    assert made.describe(ALICE, "docs", "read")[1].startswith("docs (each user): 9 a day: 9 left until ")


def test_refusals_are_counted_by_limit() -> None:
    made = keeper(LimitRule("r", rate=1), LimitRule("day", day=5, soft=0.5))
    assert admits(made)
    for _ in range(3):
        refused(made)
    found = {(name, labels["limit"]): value for name, _, labels, value in made.readings()}
    assert found[("concento_limit_refused_total", "r")] == 3
    assert found[("concento_limit_refused_total", "day")] == 0
    assert found[("concento_limit_near_total", "day")] == 0
    assert ("concento_limit_near_total", "r") not in found
    assert {name for _, _, labels, _ in made.readings() for name in labels} == {"limit", "tenant"}
