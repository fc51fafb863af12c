"""What is said of an experiment: intervals that hold, and sentences that only say what is sure."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concento.observe.experiments import Arm, newcombe, reading, told, wilson


def arm(calls: int, errors: int = 0, ms: float = 10.0, spread_ms: float = 2.0, seed: int = 1) -> Arm:
    made, dice = Arm(), random.Random(seed)
    for number in range(calls):
        made.note(number < errors, max(0.1, dice.gauss(ms, spread_ms)), 100)
    return made


@given(st.lists(st.floats(0.1, 1e4), min_size=2, max_size=50))
def test_running_sums_are_those_of_all_values(values: list[float]) -> None:
    made = Arm()
    for value in values:
        made.note(False, value, 1)
    assert made.mean_ms == pytest.approx(statistics.fmean(values))
    assert made.variance == pytest.approx(statistics.variance(values), rel=1e-6, abs=1e-6)


def test_intervals_are_the_published_ones() -> None:
    """Newcombe 1998, table II: 56/70 against 48/80, hybrid score, 0.0524 to 0.3339."""
    assert newcombe(Arm(70, 56), Arm(80, 48)) == pytest.approx((0.0524, 0.3339), abs=0.0002)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=0.001)
    assert wilson(0, 0) == (0.0, 1.0)


def test_an_interval_holds_the_truth_nineteen_times_of_twenty() -> None:
    dice, held = random.Random(7), 0
    for _ in range(2000):
        errors = sum(dice.random() < 0.03 for _ in range(200))
        low, high = wilson(errors, 200)
        held += low <= 0.03 <= high
    assert 0.93 < held / 2000 < 0.98


def test_of_equal_arms_hardly_ever_a_difference_is_told() -> None:
    dice, wrong = random.Random(11), 0
    for _ in range(300):
        made = {}
        for name in "ab":
            one = Arm()
            for _ in range(150):
                one.note(dice.random() < 0.05, dice.expovariate(0.1), 100)
            made[name] = one
        wrong += "No difference" not in reading(made)
    assert wrong / 300 < 0.13, "two questions are asked, each wrong one time in twenty"


def test_a_difference_that_is_there_is_told_with_its_size() -> None:
    said = reading({"a.x": arm(2000, 100, 10.0), "b.x": arm(2000, 10, 5.0)})
    assert said.startswith("b.x fails less often than a.x: 0.5 % against 5 %, a difference of ")
    assert "b.x is quicker than a.x, on average by " in said


def test_what_fails_less_may_still_be_slower() -> None:
    said = reading({"a.x": arm(2000, 100, 5.0), "b.x": arm(2000, 10, 9.0)})
    assert "b.x fails less often than a.x" in said
    assert "a.x is quicker than b.x" in said


def test_few_calls_say_nothing() -> None:
    assert reading({"a": arm(1000, 0), "b": arm(29, 29)}) == "Too early to tell: b had fewer than 30 calls."
    assert reading({"a": Arm(), "b": Arm()}) == "Too early to tell: a and b had fewer than 30 calls."


def test_figures_of_no_calls_are_none() -> None:
    (row,) = told({"a": Arm()})
    assert (row["error_rate"], row["mean_ms"], row["mean_bytes"]) == (None, None, None)
    assert not any(isinstance(value, float) and math.isnan(value) for value in row.values())
