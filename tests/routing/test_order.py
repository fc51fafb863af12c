"""In which order the servers of a logical tool are tried, and when another may follow. Source: hardening R12."""

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concento.model.errors import (
    BadReply,
    CallError,
    Forbidden,
    InvalidParams,
    Overloaded,
    RateLimited,
    TimedOut,
    Unavailable,
)
from concento.routing.order import TRIED_MAX, may_follow, order, share_of, whose_share, whose_turn

SHARES = {"alice": 0.31301852641986727, "bob": 0.7044155953701781}
WELL = st.lists(st.booleans(), min_size=1, max_size=12)


@given(WELL, st.sampled_from(["failover", "balance"]), st.integers(0, 10_000))
def test_each_is_tried_once_and_those_that_are_well_go_first(well: list[bool], strategy, turn: int) -> None:
    tried = list(order([range(len(well))], [1] * len(well), well.__getitem__, strategy, turn))
    assert len(tried) == len(set(tried)) == min(len(well), TRIED_MAX)
    states = [well[place] for place in tried]
    assert states == sorted(states, reverse=True)
    assert sum(states) == min(sum(well), TRIED_MAX)


def test_failover_keeps_the_configured_order() -> None:
    assert list(order([range(3)], [1, 1, 1], lambda place: True, "failover", 7)) == [0, 1, 2]
    assert list(order([range(3)], [1, 1, 1], lambda place: place != 0, "failover", 7)) == [1, 2, 0]


def test_nobody_is_looked_at_before_it_is_needed() -> None:
    looked: list[int] = []

    def is_well(place: int) -> bool:
        looked.append(place)
        return True

    assert list(islice(order([range(100)], [1] * 100, is_well, "failover", 0), 1)) == [0]
    assert looked == [0]


def test_a_group_stands_by_until_none_before_it_is_well() -> None:
    groups, weights = [(0, 2), (1, 3)], [1, 1, 1, 1]
    assert {next(order(groups, weights, lambda place: True, "balance", turn)) for turn in range(8)} == {0, 2}
    assert {next(order(groups, weights, lambda place: place != 0, "balance", turn)) for turn in range(8)} == {2}
    assert {next(order(groups, weights, lambda place: place in (1, 3), "balance", turn)) for turn in range(8)} == {1, 3}
    assert sorted(order(groups, weights, lambda place: False, "balance", 0)) == [0, 1, 2, 3]


@given(st.lists(st.integers(1, 20), min_size=2, max_size=8))
def test_each_gets_as_many_turns_as_it_weighs(weights: list[int]) -> None:
    total = sum(weights)
    assert Counter(whose_turn(weights, turn) for turn in range(total)) == Counter(dict(enumerate(weights)))


def test_a_share_stays_with_its_arm_and_only_borders_move_when_weights_do() -> None:
    shares = [share_of("web_search", f"user {number}") for number in range(4000)]
    before = [whose_share([90, 10], share) for share in shares]
    after = [whose_share([80, 20], share) for share in shares]
    assert 3500 < before.count(0) < 3700
    assert all(new == 1 for old, new in zip(before, after, strict=True) if old == 1)
    assert 300 < sum(old != new for old, new in zip(before, after, strict=True)) < 500


def test_who_is_in_which_arm_of_one_experiment_says_nothing_of_another() -> None:
    both = [tuple(share_of(name, f"user {number}") < 0.5 for name in ("one", "other")) for number in range(4000)]
    assert all(900 < count < 1100 for count in Counter(both).values())


def test_a_share_is_the_same_on_every_hub_and_after_every_restart() -> None:
    """These are recorded: another figure would move callers to another arm."""
    assert share_of("web_search", "alice") == pytest.approx(SHARES["alice"], abs=1e-12)
    assert share_of("web_search", "bob") == pytest.approx(SHARES["bob"], abs=1e-12)


def test_turns_are_spread() -> None:
    turns = [whose_turn([5, 5], turn) for turn in range(100)]
    assert max(len(run) for run in "".join(map(str, turns)).replace("10", "1 0").replace("01", "0 1").split()) <= 2


@pytest.mark.parametrize(
    ("error", "always", "if_repeatable"),
    [
        (Unavailable("x"), True, True),
        (Overloaded("x"), True, True),
        (RateLimited("x"), True, True),
        (Forbidden("x"), True, True),
        (TimedOut("x"), False, True),
        (BadReply("x", outcome="unknown"), False, True),
        (BadReply("x", outcome="failed"), False, False),
        (InvalidParams("x"), False, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, CallError) else str(value),
)
def test_another_may_follow_where_nothing_was_sent_or_it_may_run_twice(error, always, if_repeatable) -> None:
    assert may_follow(error, False) is always
    assert may_follow(error, True) is if_repeatable
