"""Regular expressions of operators: those whose time is bounded, and how it is."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concento.policy.expressions import EXPRESSION_CHARS_MAX, MATCHED_CHARS_MAX, chars_max, compile_bounded


@pytest.mark.parametrize(
    "text",
    [
        "feature/.*",
        "main|dev",
        "[a-z]+(-[a-z0-9]+)*",
        ".*foo.*",
        r".*\.py",
        "(/[a-z]+)*",
        r"[\w.]+@example\.com",
        "https://[^/]+/.*",
        "(?i)drop.*table.*",
        r"\d{4}-\d{2}-\d{2}",
        "(a|ab)*",
        "(foo|foobar)-.*",
        "^a.*$",
        "",
    ],
)
def test_ordinary_expression_is_tried_on_texts_of_any_usual_length(text) -> None:
    assert chars_max(compile_bounded(text)) == MATCHED_CHARS_MAX


@pytest.mark.parametrize(("text", "most"), [(".*foo.*bar", 1024), ("(/[a-z]+)*/x", 1024), (".*a.*b.*c", 64)])
def test_expression_with_more_ways_to_match_is_tried_on_shorter_texts(text, most) -> None:
    assert chars_max(compile_bounded(text)) == most


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("(a+)+", "must not repeat"),
        ("(a+)+b", "must not repeat"),
        ("(a|a)*b", "must not repeat"),
        ("(a|aa)+", "must not repeat"),
        ("([a-z]+)*x", "must not repeat"),
        (r"(?:\w+\s?)*", "must not repeat"),
        ("(.*,){10}x", "must not repeat"),
        ("(?i:A|a)*(?i:A)*(a+)*", "must not repeat"),
        ("(a*)*", "match nothing"),
        ("(a?b?)+", "match nothing"),
        (".*a.*b.*c.*d", "too many ways"),
        ("(a|a)" * 20, "too many ways"),
        ("a?" * 40 + "a" * 40, "too many ways"),
        (r"(\d+)-\1", "look-around"),
        ("(?=a)b", "look-around"),
        ("(?<!a)b", "look-around"),
        ("(a)?(?(1)b|c)", "look-around"),
        ("(", "not a regular expression"),
        ("a" * (EXPRESSION_CHARS_MAX + 1), f"{EXPRESSION_CHARS_MAX} characters"),
    ],
)
def test_expression_that_could_be_kept_busy_is_refused(text, why) -> None:
    with pytest.raises(ValueError, match=why):
        compile_bounded(text)


def test_case_is_taken_as_not_counting() -> None:
    with pytest.raises(ValueError, match="must not repeat"):
        compile_bounded("(?i)(aa|Ab)*")


pieces = st.recursive(
    st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", "ab", "-"]),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{2,5}", "*?", "{3}", "{0,200}"])),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(pieces, st.sampled_from(["a", "b", "ab", "aab", "a-", "ba-"]), st.sampled_from(["", "!", "b", "\n", "é"]))
def test_no_accepted_expression_can_be_kept_busy(text, unit, end) -> None:
    try:
        pattern = compile_bounded(text)
    except ValueError:
        return
    most = chars_max(pattern)
    subject = (unit * most)[: most - len(end)] + end
    began_s = time.process_time()
    pattern.fullmatch(subject)
    assert time.process_time() - began_s < 2.0  # what is exponential takes longer than the universe has
