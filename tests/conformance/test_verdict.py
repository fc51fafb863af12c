"""The guard itself: what it lets pass, and what not."""

import pytest
from tests.conformance.suite import REVISIONS, Findings, Scenario
from tests.conformance.verdict import expectations, judge, reasons

GOOD: Scenario = {"a": ("SUCCESS",), "b": ("SUCCESS", "SUCCESS")}


def problems(checks: Scenario, expected: dict[str, str] | None = None, direct: Scenario | None = None) -> list[str]:
    """What is wrong with a run of one scenario: the check ids."""
    reference = None if direct is None else Findings({"s": direct})
    verdict = judge(Findings({"s": checks}), {"s": expected} if expected else {}, reference)
    return [problem.split()[1].rstrip(":") for problem in verdict.problems]


@pytest.mark.parametrize("direct", [None, GOOD])
def test_a_run_in_which_all_passes_has_no_problem(direct: Scenario | None) -> None:
    assert problems(GOOD, direct=direct) == []


@pytest.mark.parametrize("statuses", [("FAILURE",), ("WARNING",), ("SKIPPED",), ("FAILURE", "SUCCESS"), ("NEW",)])
def test_a_check_that_does_not_pass_is_a_problem_unless_it_is_expected(statuses: tuple[str, ...]) -> None:
    assert problems({**GOOD, "c": statuses}) == ["c"]
    assert problems({**GOOD, "c": statuses}, {"c": "why"}) == []


def test_an_expected_failure_excuses_no_other_check() -> None:
    assert problems({"a": ("FAILURE",), "b": ("FAILURE",)}, {"a": "why"}) == ["b"]


@pytest.mark.parametrize("expected", [{"a": "why"}, {"gone": "why"}])
def test_an_expectation_is_stale_when_its_check_passes_or_is_not_there(expected: dict[str, str]) -> None:
    assert problems(GOOD, expected) == [*expected]


def test_an_expectation_of_a_scenario_that_was_not_run_is_stale() -> None:
    assert len(judge(Findings({"s": GOOD}), {"other": {"a": "why"}}).problems) == 2


def test_a_check_that_the_suite_leaves_out_through_the_hub_is_not_passed() -> None:
    assert problems({"a": ("SUCCESS",)}, direct=GOOD) == ["b"]
    assert problems({"a": ("SUCCESS",), "b": ("SUCCESS",)}, direct=GOOD) == ["b"]
    assert problems({"a": ("SUCCESS",)}, {"b": "why"}, GOOD) == []


def test_a_scenario_without_a_single_check_is_not_passed() -> None:
    assert problems({}) == ["nothing-checked"]
    assert len(judge(Findings({}), {}, Findings({"s": GOOD})).problems) == 3


def test_a_check_may_be_skipped_as_often_as_is_known_and_no_more() -> None:
    known = "sep-2243-client-includes-standard-headers"
    assert problems({known: ("SKIPPED", "SKIPPED", "SUCCESS")}) == []
    assert problems({known: ("SKIPPED", "SKIPPED", "SKIPPED")}) == [known]


def test_every_expected_failure_says_why() -> None:
    used = {
        reason
        for side in ("server", "client")
        for revision in REVISIONS
        for checks in expectations(side, revision).values()
        for reason in checks.values()
    }
    assert used == reasons().keys()
    assert all(len(text) > 20 for text in reasons().values())
