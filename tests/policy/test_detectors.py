"""What detectors find and leave alone, by exact count; and that no text keeps them busy. Source: hardening T34."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.policy.detector_corpus import NEGATIVES, POSITIVES
from tests.policy.detectors import measured, rows, without

from concento.policy.detectors import DETECTORS, GROUPS

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
        steps, _ = cost(list(parsed(pattern)))
        assert steps < 400_000


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


def parsed(pattern: re.Pattern[str]) -> Any:
    parser: Any = vars(re)["_parser"]
    return parser.parse(pattern.pattern, pattern.flags)


def cost(items: Sequence[Any]) -> tuple[int, int]:
    """The steps that a match at one place may take, and in how many ways it may end: an upper bound of both."""
    steps, ways = 0, 1
    for operation, value in items:
        inner = cost_of(str(operation), value)
        steps, ways = steps + ways * inner[0], ways * inner[1]
    return steps, ways


def cost_of(operation: str, value: Any) -> tuple[int, int]:
    match operation:
        case "LITERAL" | "NOT_LITERAL" | "IN" | "ANY" | "AT" | "GROUPREF":
            return 1, 1
        case "BRANCH":
            parts = [cost(list(part)) for part in value[1]]
            return sum(steps for steps, _ in parts), sum(ways for _, ways in parts)
        case "SUBPATTERN":
            return cost(list(value[3]))
        case "ATOMIC_GROUP":
            return cost(list(value))[0], 1
        case "ASSERT" | "ASSERT_NOT":
            return cost(list(value[1]))[0], 1
        case "MAX_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, inner = value
            assert most <= 65_536, "a repetition without a bound"
            steps, ways = cost(list(inner))
            if operation == "POSSESSIVE_REPEAT":
                return most * steps, 1
            if ways == 1:
                return most * steps, most - least + 1
            return sum(ways**count * steps for count in range(most)), sum(ways**n for n in range(least, most + 1))
    raise AssertionError(f"say what {operation} costs")
