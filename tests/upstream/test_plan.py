"""Which replicas a call tries, and in which order. Source: hardening R7, R8, R12."""

from collections import Counter
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from concento.model.config import Balance
from concento.model.inventory import Reading
from concento.routing.plan import ATTEMPTS_MAX, plan

READINGS = st.lists(st.builds(Reading, usable=st.booleans(), in_flight=st.integers(0, 5)), min_size=1, max_size=8)
BALANCES = st.sampled_from(get_args(Balance))
TURNS = st.integers(0, 10_000)


@given(READINGS, BALANCES, TURNS)
def test_a_plan_has_at_least_one_attempt_and_no_replica_twice(
    readings: list[Reading], balance: Balance, turn: int
) -> None:
    attempts = plan(readings, balance, turn)
    assert len(attempts) == min(len(readings), ATTEMPTS_MAX)
    assert len(set(attempts)) == len(attempts)
    assert all(0 <= index < len(readings) for index in attempts)


@given(READINGS, BALANCES, TURNS)
def test_what_seems_down_is_tried_last_and_never_given_up(readings: list[Reading], balance: Balance, turn: int) -> None:
    usable = [readings[index].usable for index in plan(readings, balance, turn)]
    assert usable == sorted(usable, reverse=True)
    assert sum(usable) == min(ATTEMPTS_MAX, sum(reading.usable for reading in readings))


@given(READINGS, TURNS)
def test_the_least_busy_of_the_usable_comes_first(readings: list[Reading], turn: int) -> None:
    attempts = plan(readings, "least_busy", turn)
    usable = [readings[index].in_flight for index in attempts if readings[index].usable]
    assert usable == sorted(usable)
    everywhere = sorted(reading.in_flight for reading in readings if reading.usable)
    assert usable == everywhere[: len(usable)]


@given(st.integers(1, 6), TURNS)
def test_turns_go_round_evenly(count: int, turn: int) -> None:
    readings = [Reading()] * count
    first = Counter(plan(readings, "round_robin", turn + step)[0] for step in range(count * 3))
    assert first == {index: 3 for index in range(count)}


@given(st.integers(2, 6), TURNS)
def test_equally_busy_replicas_take_turns(count: int, turn: int) -> None:
    readings = [Reading(in_flight=2)] * count
    assert {plan(readings, "least_busy", turn + step)[0] for step in range(count)} == set(range(count))


@given(READINGS, BALANCES, TURNS)
def test_a_plan_is_a_function_of_its_arguments(readings: list[Reading], balance: Balance, turn: int) -> None:
    assert list(plan(readings, balance, turn)) == list(plan(tuple(readings), balance, turn))
