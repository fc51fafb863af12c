"""Which replicas a call tries, and in which order. Source: hardening R7, R8, R12."""

from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concento.model.config import Balance
from concento.model.inventory import Reading
from concento.routing.plan import ATTEMPTS_MAX, plan
from concento.upstream.latency import Latency

READINGS = st.lists(st.builds(Reading, usable=st.booleans(), in_flight=st.integers(0, 5)), min_size=1, max_size=8)
BALANCES = st.sampled_from(get_args(Balance))
TURNS = st.integers(0, 10_000)
DRAWS = st.floats(0, 1)


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


@given(READINGS, TURNS, DRAWS)
def test_the_less_busy_of_two_comes_first_and_the_others_by_load(
    readings: list[Reading], turn: int, draw: float
) -> None:
    attempts = plan(readings, "least_busy", turn, draw=draw)
    usable = [readings[index].in_flight for index in attempts if readings[index].usable]
    assert usable[1:] == sorted(usable[1:])
    everywhere = sorted(reading.in_flight for reading in readings if reading.usable)
    if len(everywhere) > 1:
        assert usable[0] <= everywhere[-2], "the busiest of all is never the less busy of two"


def test_each_pair_is_drawn_alike() -> None:
    readings = [Reading(in_flight=index) for index in range(4)]
    first = Counter(plan(readings, "least_busy", 0, draw=step / 1200)[0] for step in range(1200))
    assert first == {0: 600, 1: 400, 2: 200}


def test_a_slow_replica_counts_as_a_busy_one() -> None:
    readings = [Reading(in_flight=1, latency_s=0.5), Reading(in_flight=3, latency_s=0.01)]
    assert plan(readings, "least_busy", 0) == [1, 0]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_turns_go_by_weight(weights: list[int]) -> None:
    readings = [Reading()] * len(weights)
    first = Counter(plan(readings, "weighted", turn, weights)[0] for turn in range(sum(weights)))
    assert first == dict(enumerate(weights))


def test_one_key_stays_with_one_replica_and_moves_only_when_that_is_gone() -> None:
    keys = [f"key {number}".encode() for number in range(2000)]
    well = [Reading()] * 4
    before = {key: plan(well, "hash", turn, (1, 1, 1, 1), key=key)[0] for turn, key in enumerate(keys)}
    assert before == {key: plan(well, "hash", 0, (1, 1, 1, 1), key=key)[0] for key in keys}
    assert all(400 < count < 600 for count in Counter(before.values()).values())
    after = {key: plan([*well[:3], Reading(usable=False)], "hash", 0, (1, 1, 1, 1), key=key)[0] for key in keys}
    assert all(after[key] == before[key] for key in keys if before[key] != 3)
    assert all(after[key] != 3 for key in keys)


def test_a_key_goes_by_weight() -> None:
    first = Counter(plan([Reading()] * 2, "hash", 0, (3, 1), key=b"%d" % number)[0] for number in range(4000))
    assert 2800 < first[0] < 3200


def test_what_is_known_of_a_replicas_speed_fades() -> None:
    latency = Latency()
    assert latency.at(5.0) == 0.0
    latency.note(1.0, 10.0)
    assert latency.at(10.0) == 1.0
    assert latency.at(20.0) == pytest.approx(0.5)
    latency.note(0.5, 20.0)
    assert latency.at(20.0) == pytest.approx(0.5)


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


def test_who_has_just_come_back_takes_a_part_of_its_turns() -> None:
    readings = [Reading(warmth=0.25), Reading(), Reading()]
    first = Counter(plan(readings, "round_robin", 0, draw=step / 1000)[0] for step in range(1000))
    assert first[0] == pytest.approx(250, abs=2)
    assert first[1] == pytest.approx(750, abs=2)
    assert {plan(readings, "round_robin", turn, draw=0.9)[0] for turn in (1, 2)} == {1, 2}


def test_who_has_just_come_back_counts_as_busier() -> None:
    readings = [Reading(in_flight=1, warmth=0.1), Reading(in_flight=5)]
    assert plan(readings, "least_busy", 0)[0] == 1
