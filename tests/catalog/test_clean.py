"""What servers may not say unseen, and what looks like a trick. Source: hardening T15, T16."""

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.search import labelled
from hypothesis import given
from hypothesis import strategies as st
from tests.catalog.offers import NAMING, READY, server, tool
from tests.catalog.poison import HIDDEN, TRICKS, samples

from concento.catalog.clean import clean_text, cleaned, suspicions
from concento.catalog.pins import Pin, canonical, differences, digest
from concento.catalog.slices import build_slice
from concento.model.inventory import Inventory, Item, Listing

CLEAN = [bytes(raw) for one in labelled.publishers() for raw in one.tools]


def ascii(text: str) -> bool:
    return all(ord(letter) < 128 for letter in text)


@pytest.mark.parametrize("escaped", [False, True])
def test_nothing_hidden_is_left_anywhere(escaped: bool) -> None:
    for name, raw in samples(HIDDEN):
        given_raw = json.dumps(json.loads(raw)).encode() if escaped else raw
        left = cleaned(given_raw)
        assert left != given_raw, name
        assert ascii(json.dumps(json.loads(left), ensure_ascii=False)), name
        assert "\\u" not in json.dumps(json.loads(left)), name
        assert cleaned(left) is left


def test_what_is_clean_stays_byte_for_byte() -> None:
    for raw in CLEAN:
        assert cleaned(raw) is raw
    for text in ("Zürich, 東京, مرحبا", "line\nline\ttab", "👨\u200d👩\u200d👧 family", "Ünïcödé \u2014 ✓"):
        raw = json.dumps({"name": "x", "description": text}, ensure_ascii=False).encode()
        assert cleaned(raw) is raw
        assert clean_text(text) == text


def test_numbers_and_what_a_server_is_asked_by_stay_as_they_are() -> None:
    schema = '"inputSchema":{"maximum":1e400,"multipleOf":1.10}'
    raw = '{"name":"a\u200bb","uri":"x:\u200b","description":"c\u200bd",' + schema + "}"
    assert cleaned(raw.encode()).decode() == raw.replace("c\u200bd", "cd").replace("x:\u200b", "x:")
    assert cleaned(raw.encode(), "uri").decode() == raw.replace("c\u200bd", "cd").replace("a\u200bb", "ab")


def test_what_may_hide_something_and_can_not_be_read_is_not_shown() -> None:
    assert cleaned('{"name":"x","description":"\u200b"'.encode()) == b"{}"
    assert cleaned(('{"name":"x","d":' + "[" * 5000 + '"\u200b"' + "]" * 5000 + "}").encode()) == b"{}"


@pytest.mark.parametrize("depth", [60, 70, 400])
def test_no_depth_is_too_deep_to_be_looked_at(depth: int) -> None:
    raw = '{"name":"x","d":' + '{"a":' * depth + '"b\u200bc"' + "}" * depth + "}"
    assert "\u200b" not in cleaned(raw.encode()).decode()


@pytest.mark.parametrize("one", ["\ufe00", "\u180c", "\u3164", "\uffa0", "\u2028", "a\ufe0f", "\U000e0101", "\x1b[31m"])
def test_whatever_is_drawn_as_nothing_is_taken_out(one: str) -> None:
    assert clean_text(f"a{one}b") in ("ab", "aab")
    assert clean_text("❤\ufe0f 1\ufe0f\u20e3") == "❤\ufe0f 1\ufe0f\u20e3"


@given(st.text())
def test_cleaning_ends_where_it_began(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert len(once) <= len(text)


# -- tricks: rates on a corpus, no more


def test_nine_of_ten_tricks_are_found_and_of_real_definitions_less_than_one_in_a_hundred() -> None:
    """S17: at least 90 % of the corpus, at most 1 % of 419 definitions of public servers."""
    poisoned = list(samples(TRICKS))
    assert len(poisoned) >= 100
    caught = [name for name, raw in poisoned if suspicions(raw)]
    assert len(caught) / len(poisoned) >= 0.9, sorted({name for name, _ in poisoned} - set(caught))
    wrongly = [raw[:80] for raw in CLEAN if suspicions(raw)]
    assert len(wrongly) / len(CLEAN) <= 0.01, wrongly


WRITTEN_BY_OTHERS = json.loads((Path(__file__).parent / "poison.json").read_bytes())
"""Texts whose authors had not seen what is searched for: one set to tune on, another to report on."""


def found(texts: list[str]) -> int:
    return sum(bool(suspicions(json.dumps({"description": text}).encode())) for text in texts)


def test_of_texts_in_words_of_their_own_about_half_are_found_and_few_harmless_ones() -> None:
    """What docs/approve.md says. A search for words is no judge of meaning: who writes anew gets half of it past."""
    held_out = WRITTEN_BY_OTHERS["held out"]
    blunt, subtle = held_out["poisoned"][:66], held_out["poisoned"][66:]
    assert [found(blunt), found(subtle), len(subtle)] == [38, 2, 14]
    assert [found(held_out["harmless"]), len(held_out["harmless"])] == [2, 80]
    tuned_on = WRITTEN_BY_OTHERS["tuned on"]["poisoned"]
    assert found(tuned_on) / len(tuned_on) >= 0.7


@given(st.text(max_size=2000))
def test_any_text_is_searched(text: str) -> None:
    suspicions(json.dumps({"description": text}).encode())


def test_searching_takes_no_longer_than_the_text_is() -> None:
    """Of texts made to be searched long, a hundred times as much is not ten thousand times the work."""
    import time

    for text in (
        "0x" * 50_000,
        "a-" * 50_000,
        "a." * 50_000,
        "send " * 20_000,
        "x@" * 50_000,
        "never tell " * 9000,
        "ignore " * 14_000,
        "<" * 100_000,
        "before using " * 8000,
        "/." * 50_000,
    ):
        started = time.process_time()
        suspicions(json.dumps({"description": text}).encode())
        assert time.process_time() - started < 5


# -- pins


def sifted(trusted: dict[str, Pin], *items: Item) -> Any:
    inventory = Inventory(tools=Listing(items))
    return build_slice(server("a"), inventory, READY, naming=NAMING, pins=trusted)


def test_a_definition_is_the_same_however_it_is_written() -> None:
    one = b'{"name":"x","description":"d","inputSchema":{"type":"object","properties":{}},"icons":[1]}'
    other = (
        b'{ "inputSchema": {"properties": {}, "type": "object"}, "description": "\\u0064", "name": "x", "_meta": {}}'
    )
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    "change",
    [
        {"description": "Another"},
        {"title": "T"},
        {"inputSchema": {"type": "object", "properties": {"a": {}}}},
        {"outputSchema": {"type": "object"}},
        {"annotations": {"readOnlyHint": True}},
        {"annotations": {"destructiveHint": False}},
    ],
)
def test_whatever_an_agent_acts_on_is_pinned(change: dict[str, Any]) -> None:
    before, after = tool("x", description="d"), tool("x", **{"description": "d", **change})
    assert digest(canonical(before.raw)) != digest(canonical(after.raw))
    slice = sifted({"x": Pin(canonical(before.raw))}, after, tool("y"))
    assert slice.tools == ()
    assert [(held.entry.own, held.why) for held in slice.held] == [("x", "changed"), ("y", "new")]
    assert sifted({"x": Pin(canonical(before.raw))}, before).held == ()


def test_no_name_passes_for_a_path_nor_writes_a_line_of_its_own() -> None:
    evil = {"x": {"description": "EVIL"}}
    before = canonical(tool("x", inputSchema={"properties": {"x": {"description": "A path"}}}).raw)
    after = canonical(
        tool("x", inputSchema={"properties": evil, "properties.x.description": "A path", "o\r  + d": 1, "p\n": 2}).raw
    )
    lines = differences(before, after)
    assert '+ inputSchema.properties.x.description: "EVIL"' in lines
    assert '+ inputSchema."properties.x.description": "A path"' in lines
    assert all(line.isprintable() for line in lines)


def test_what_says_something_twice_is_left_out_where_it_has_to_be_approved() -> None:
    twice = Item("x", b'{"name":"x","description":"evil","description":"good","inputSchema":{"type":"object"}}')
    slice = sifted({"x": Pin(canonical(twice.raw))}, twice)
    assert (slice.tools, slice.held) == ((), ())
    assert any("says something twice" in note for note in slice.notes)


def test_members_that_nobody_knows_are_pinned_too() -> None:
    plain, more = tool("x"), tool("x", Description="EVIL")
    assert sifted({"x": Pin(canonical(plain.raw))}, more).tools == ()
    icons = tool("x", icons=[{"src": "https://x"}], _meta={"a": 1})
    assert sifted({"x": Pin(canonical(plain.raw))}, icons).held == ()


def test_what_differs_is_said_by_its_place() -> None:
    before = canonical(
        tool("x", description="d", inputSchema={"type": "object", "properties": {"a": {"type": "string"}}}).raw
    )
    after = canonical(
        tool("x", description="e", inputSchema={"type": "object", "properties": {"a": {"enum": [1]}}}).raw
    )
    assert differences(before, after) == [
        '- description: "d"',
        '+ description: "e"',
        '- inputSchema.properties.a.type: "string"',
        "+ inputSchema.properties.a.enum[0]: 1",
    ]
    assert differences(before, before) == []
    new = differences(b"{}", before)
    assert [line[0] for line in new] == ["+"] * len(new)
    assert '+ description: "d"' in new
