"""What detectors find and leave alone, by exact count; and that no text keeps them busy. Source: hardening T34."""

import re
from pathlib import Path

import pytest
from tests.policy.detector_corpus import NEGATIVES, POSITIVES
from tests.policy.detectors import measured, rows, without

from concento.policy.detectors import DETECTORS, GROUPS
from concento.policy.search_cost import STEPS_MAX, compile_searched, steps_at_a_place

MISSED = {"password": 1}
"""Of each detector that misses any of its own, how many: the rest finds all."""
FALSE: dict[str, int] = {}
"""Of each that finds something in harmless texts, in how many."""


def test_every_detector_finds_what_is_published() -> None:
    rates = measured()
    assert {name: len(rate.missed) for name, rate in rates.items() if rate.missed} == MISSED
    assert {name: len(rate.false) for name, rate in rates.items() if rate.false} == FALSE


def test_the_page_has_the_rates_that_are_measured() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guards.md").read_text()
    shown = [line for line in page.splitlines() if re.match(r"\| `[a-z-]+` \|.* of \d+ \|$", line)]
    assert shown == rows()
    assert f"Measured on {len(POSITIVES)} samples" in page
    assert f"and {len(NEGATIVES)} texts" in page


def test_the_corpus_is_as_large_as_is_published() -> None:
    assert (len(POSITIVES), len(NEGATIVES)) == (219, 389)
    assert all(sample.secret in sample.text for sample in POSITIVES)
    assert {sample.detector for sample in POSITIVES} == DETECTORS.keys()
    assert min(len(rate.found) + len(rate.missed) for rate in measured().values()) >= 6


def test_every_detector_is_in_its_group_but_for_addresses_of_machines() -> None:
    assert {*GROUPS["secrets"], *GROUPS["personal"]} == DETECTORS.keys() - {"ip-address"}


@pytest.mark.parametrize("name", DETECTORS)
def test_a_text_without_a_hint_has_nothing_that_is_found(name: str) -> None:
    for sample in POSITIVES:
        if sample.detector == name and without(DETECTORS[name], sample.text) != sample.text:
            assert DETECTORS[name].may_find(sample.text)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_place_in_a_text_costs_at_most_a_constant(name: str) -> None:
    """No repetition is without a bound, and those within each other multiply to little."""
    for pattern in DETECTORS[name].patterns:
        assert steps_at_a_place(pattern) < 400_000


@pytest.mark.parametrize("name", DETECTORS)
def test_a_mebibyte_made_to_keep_a_detector_busy_is_searched_to_its_end(name: str) -> None:
    """What begins like a find, over and over, and never becomes one: a search that were not linear would not return."""
    detector = DETECTORS[name]
    own = [sample.secret for sample in POSITIVES if sample.detector == name]
    beginnings = [*(detector.hints[:3]), own[0][: len(own[0]) // 2], own[0][:-1] + "\u00e9", *RUNS]
    for beginning in beginnings:
        text = beginning * (MIB // len(beginning))
        assert sum(1 for _ in detector.spans(text)) <= len(text)


MIB = 1024 * 1024
RUNS = ("a", "0", "-", "a@", "0 ", "+1 ", "A1", "://", "key=", "password=", "eyJ.", "1.", "a:", "Basic ", "A0 ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[0-9]+", "a repetition has to have an end"),
        ("(?:a{1,64})*x", "a repetition has to have an end"),
        (r"(?:[a-z]{1,20}){1,20}@", "steps at each place"),
        ("[a-z]{1,100}[a-z]{1,100}x", "steps at each place"),
        ("a{0,5}", "must not match an empty text"),
        ("(", "not a regular expression"),
        ("x" * 600, "may have 512 characters"),
        (r"(a)?(?(1)b|c)", "knows no conditions"),
    ],
)
def test_an_expression_that_could_take_too_long_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compile_searched(text)


@pytest.mark.parametrize(
    "text", ["CUST-[0-9]{8}", r"\b[A-Z]{2,4}-[0-9]{6,10}\b", "(?i:internal|secret) use", "[a-z]{1,64}+@x"]
)
def test_an_expression_as_people_write_them_is_taken(text: str) -> None:
    assert steps_at_a_place(compile_searched(text)) <= STEPS_MAX
