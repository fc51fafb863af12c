"""Whether a replica that keeps failing is given calls: exact on any clock. Source: hardening R7."""

from hypothesis import given
from hypothesis import strategies as st

from concento.upstream.circuit import (
    BASE_S,
    CLOSED,
    FAILURES_MAX,
    JITTER,
    LONGEST_S,
    SLOW_START_S,
    WARMTH_LEAST,
    Circuit,
    begun,
    ended,
    failed,
    restored,
    standing,
    succeeded,
    warmth,
)


def broken(now_s: float = 0.0, before: Circuit = CLOSED) -> Circuit:
    circuit = before
    for _ in range(FAILURES_MAX):
        circuit = failed(circuit, now_s, 0.0)
    return circuit


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    circuit = CLOSED
    for number in range(1, FAILURES_MAX + 1):
        assert standing(circuit, 0.0) == "closed"
        circuit = failed(circuit, 0.0, 0.0)
        assert circuit.failures == number
    assert standing(circuit, 0.0) == standing(circuit, BASE_S - 0.001) == "open"
    assert standing(circuit, BASE_S) == "half_open"


def test_one_reply_in_between_begins_the_count_anew() -> None:
    circuit = CLOSED
    for _ in range(20):
        for _ in range(FAILURES_MAX - 1):
            circuit = failed(circuit, 0.0, 0.0)
        circuit = succeeded(circuit, 0.0)
    assert standing(circuit, 0.0) == "closed"
    assert circuit.failures == 0


def test_one_call_tries_it_and_decides_for_all() -> None:
    tried = begun(broken(), BASE_S)
    assert standing(tried, BASE_S) == standing(tried, 10 * BASE_S) == "open"
    assert begun(tried, BASE_S) is tried
    assert standing(succeeded(tried, BASE_S), BASE_S) == "closed"
    again = failed(tried, BASE_S, 0.0)
    assert again.until_s == BASE_S + 2 * BASE_S
    assert standing(ended(tried), BASE_S) == "half_open"


def test_a_try_that_ran_out_of_time_is_a_failure() -> None:
    assert standing(failed(ended(begun(broken(), BASE_S)), BASE_S + 5, 0.0), BASE_S + 6) == "open"


def test_calls_that_began_before_it_opened_change_nothing() -> None:
    circuit = broken()
    assert failed(circuit, 1.0, 0.5) is circuit


def test_each_time_it_stays_open_longer_up_to_a_bound_and_forgives_with_time() -> None:
    circuit, now_s, pauses = CLOSED, 0.0, []
    for _ in range(14):
        circuit = broken(now_s, circuit)
        pauses.append(circuit.until_s - now_s)
        now_s = circuit.until_s
        circuit = succeeded(begun(circuit, now_s), now_s)
    assert pauses[:3] == [BASE_S, 2 * BASE_S, 3 * BASE_S]
    assert max(pauses) == LONGEST_S
    assert succeeded(circuit, now_s + 3 * BASE_S).ejections == circuit.ejections - 3
    assert succeeded(circuit, now_s + 100 * BASE_S).ejections == 0


def test_who_has_come_back_starts_slowly() -> None:
    assert warmth(CLOSED, 0.0) == 1.0
    back = succeeded(begun(broken(), BASE_S), BASE_S)
    assert warmth(back, BASE_S) == WARMTH_LEAST
    assert warmth(back, BASE_S + SLOW_START_S / 2) == 0.5
    assert warmth(back, BASE_S + SLOW_START_S) == 1.0
    assert warmth(restored(broken(), 5.0), 5.0) == WARMTH_LEAST
    assert restored(CLOSED, 5.0) is CLOSED


@given(st.floats(0, 1))
def test_jitter_only_adds(draw: float) -> None:
    circuit = CLOSED
    for _ in range(FAILURES_MAX):
        circuit = failed(circuit, 0.0, draw)
    assert BASE_S <= circuit.until_s <= BASE_S * (1 + JITTER)


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from(["call", "reply", "failure", "ended"]))))
def test_at_most_one_call_tries_it_in_a_window(steps: list[tuple[float, str]]) -> None:
    """Whatever happens when: between two openings, calls that try it come one at a time."""
    circuit, now_s, trying = CLOSED, 0.0, False
    for pause_s, step in steps:
        now_s += pause_s
        if step == "call":
            before = circuit
            circuit = begun(circuit, now_s)
            if circuit is not before:
                assert not trying
                assert now_s >= before.until_s
                trying = True
        elif step == "reply":
            circuit, trying = succeeded(circuit, now_s), False
        elif step == "failure":
            circuit = failed(circuit, now_s, 0.0)
            trying = trying and circuit.probing
        elif trying:
            circuit, trying = ended(circuit), False
        assert circuit.probing is trying or not circuit.probing
