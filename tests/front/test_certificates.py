"""Whom a client certificate stands for. How it is shown is in `test_tls.py`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concento.front.identity.certificates import NAMES_MAX, names_of, principal_for
from concento.model.auth import Certificate


def told(*alternatives: tuple[str, str], cn: tuple[str, ...] = ()) -> dict[str, Any]:
    """A certificate as `ssl` tells it."""
    subject = ((("organizationName", "Example"),), *((("commonName", name),) for name in cn))
    return {"subject": subject, "subjectAltName": alternatives, "notAfter": "Jan  1 00:00:00 2030 GMT"}


def test_names_are_told_with_their_kind_the_alternative_ones_first() -> None:
    certificate = told(
        ("DNS", "Bot.Example.com"),
        ("URI", "spiffe://example.com/Bot"),
        ("email", "Ada@example.com"),
        ("IP Address", "10.0.0.1"),
        ("DirName", "x"),
        cn=("Bot",),
    )
    assert names_of(certificate) == [
        "dns:bot.example.com",
        "uri:spiffe://example.com/Bot",
        "email:Ada@example.com",
        "cn:Bot",
    ]
    assert names_of({}) == []


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00b", "a\x1b[1m", "a" * 257, "\x85"])
def test_a_name_that_could_fool_somebody_is_none(name: str) -> None:
    assert names_of(told(("DNS", name), ("URI", name), cn=(name, "good"))) == ["cn:good"]


def test_names_are_looked_at_up_to_a_bound() -> None:
    assert len(names_of(told(*[("DNS", f"{number}.example.com") for number in range(5000)]))) == NAMES_MAX


def who(names: list[str], *rules: Certificate) -> tuple[str, str | None] | None:
    found = principal_for(names, rules)
    return None if found is None else (found.subject, found.agent)


def test_a_rule_says_everything_about_the_holder() -> None:
    rule = Certificate("dns:*.agents.example.com", "ci", "{name}", "acme", ("reader",), ("tools:read",))
    found = principal_for(["dns:a.agents.example.com"], [rule], "cert:0123", 2e9, 7)
    assert found is not None
    assert found.owner == ("acme", "ci", "a.agents.example.com")
    assert (found.proof, found.credential, found.until_s, found.term) == ("mtls", "cert:0123", 2e9, 7)
    assert found.roles == {"reader"}
    assert found.scopes == {"tools:read"}


def test_the_first_rule_that_matches_any_name_counts() -> None:
    names = ["dns:a.example.com", "cn:boss"]
    assert who(names, Certificate("cn:boss", "one"), Certificate("dns:*", "two")) == ("one", None)
    assert who(names, Certificate("dns:*", "two"), Certificate("cn:boss", "one")) == ("two", None)
    assert who(names, Certificate("*", "{name}")) == ("a.example.com", None)
    assert who(names, Certificate("uri:*")) is None
    assert who([], Certificate("*")) is None
    assert who(names) is None


@pytest.mark.parametrize(
    ("match", "name", "is_matched"),
    [
        ("dns:*.example.com", "dns:a.example.com", True),
        ("dns:*.example.com", "dns:a.b.example.com", True),
        ("dns:*.example.com", "dns:example.com", False),
        ("dns:*.example.com", "dns:a.example.com.evil.example", False),
        ("dns:*.Example.COM", "dns:a.example.com", True),
        ("dns:a?.example.com", "dns:a1.example.com", True),
        ("dns:a.example.com", "dns:axexample.com", False),
        ("dns:*", "cn:a.example.com", False),
        ("uri:spiffe://example.com/ns/*/sa/*", "uri:spiffe://example.com/ns/prod/sa/bot/x", True),
        ("uri:spiffe://example.com/*", "uri:spiffe://EXAMPLE.com/bot", False),
        ("cn:bot", "cn:bot\n", False),
    ],
)
def test_patterns_over_names(match: str, name: str, is_matched: bool) -> None:
    assert (who([name], Certificate(match)) is not None) == is_matched


@given(st.lists(st.text(max_size=20), max_size=5), st.text(max_size=20))
def test_no_name_takes_the_place_of_a_rules_own_subject(names: list[str], subject: str) -> None:
    fixed = subject.replace("{", "")
    found = principal_for([f"cn:{name}" for name in names], [Certificate("cn:*", fixed)])
    assert found is None or found.subject == fixed
