"""Changing one object in a person's JSON leaves everything else as it was written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concento.onboarding.jsonc import NotJson, plain, replaced, scan

HUB = {"concento": {"url": "http://127.0.0.1:7400/mcp"}}


def edited(text: str, *without: str, path: tuple[str, ...] = ("mcpServers",), add: Any = HUB) -> str:
    section = scan(text).at(path)
    assert section is not None
    return replaced(text, section, frozenset(without), add)


def test_an_editor_s_settings_keep_comments_commas_and_indentation() -> None:
    text = (
        "// Settings\n{\n"
        '\t"theme": "dark", /* for the night */\n'
        '\t"mcpServers": {\n'
        "\t\t// the clock\n"
        '\t\t"time": {"command": "uvx"}, // keep me\n'
        '\t\t"other": {"command": "x"},\n'
        "\t},\n"
        "}\n"
    )
    assert edited(text, "time") == (
        "// Settings\n{\n"
        '\t"theme": "dark", /* for the night */\n'
        '\t"mcpServers": {\n'
        '\t\t"concento": {\n\t\t\t"url": "http://127.0.0.1:7400/mcp"\n\t\t},\n'
        "\t\t// the clock\n // keep me\n"
        '\t\t"other": {"command": "x"},\n'
        "\t},\n"
        "}\n"
    )


def test_strict_json_stays_strict() -> None:
    text = json.dumps({"a": 1, "mcpServers": {"x": {"command": "x"}, "y": {"command": "y"}}, "b": [2]}, indent=2)
    for gone in (("x",), ("y",), ("x", "y"), ()):
        after = json.loads(edited(text, *gone))
        assert list(after) == ["a", "mcpServers", "b"]
        assert after["mcpServers"].keys() == {"concento", "x", "y"} - set(gone)


def test_line_ends_of_windows_and_text_on_one_line_are_kept() -> None:
    assert edited('{\r\n  "mcpServers": {\r\n    "x": 1\r\n  }\r\n}\r\n', "x", add={"c": 1}) == (
        '{\r\n  "mcpServers": {\r\n    "c": 1\r\n  }\r\n}\r\n'
    )
    assert json.loads(edited('{"mcpServers":{"x":{},"y":{}}}', "x")).keys() == {"mcpServers"}
    assert "\n" not in edited('{"mcpServers":{"x":{},"y":{}}}', "x")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1', "1:8"),
        ('{"a" 1}', "colon"),
        ("{'a': 1}", "double quotes"),
        ('{"a": b}', "double quotes"),
        ('{"a": 1} 2', "after the end"),
        ('{\n  "a": 1 "b": 2}', "2:10"),
        ('{"a": /* }', "1:7"),
        ("", "a value is missing"),
        ("[" * 300, "nested deeper"),
        ("{\0}", "NUL"),
        (r'{"\q": 1}', "escape"),
        ('{"a": Infinity}', "double quotes"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(NotJson, match=told):
        scan(text)


# Any document, with trivia wherever trivia may stand.

TRIVIA = st.sampled_from(["", " ", "\n", "\r\n  ", "\t", " // a, } note\n", "/* { */", "\n\n  // x\n  ", "/**/ "])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
KEYS = st.sampled_from(["a", "b", "c", "concento", 'q"uote', "//no comment", "ü"])


@st.composite
def written(draw: Any, value: Any) -> str:
    def gap() -> str:
        return str(draw(TRIVIA))

    if isinstance(value, dict):
        members = [f"{gap()}{json.dumps(k)}{gap()}:{gap()}{draw(written(v))}{gap()}" for k, v in value.items()]
        return "{" + ",".join(members) + ("," + gap() if members and draw(st.booleans()) else gap()) + "}"
    if isinstance(value, list):
        items = [f"{gap()}{draw(written(one))}{gap()}" for one in value]
        return "[" + ",".join(items) + ("," if items and draw(st.booleans()) else gap()) + "]"
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


SERVERS = st.dictionaries(KEYS, st.none() | TEXT | st.lists(st.integers()) | st.dictionaries(KEYS, TEXT, max_size=2))


@given(st.data(), SERVERS, st.sets(KEYS), st.booleans())
def test_any_edit_changes_just_what_was_asked(
    data: st.DataObject, servers: dict[str, Any], without: set[str], adding: bool
) -> None:
    document: dict[str, Any] = {"before": [1, {"x": "}"}], "mcpServers": servers, "after": "z"}
    text = data.draw(TRIVIA) + data.draw(written(document)) + data.draw(TRIVIA)
    assert plain(text) == document
    add: dict[str, Any] = dict(HUB) if adding else {}
    after = edited(text, *without, add=add)
    kept = {key: value for key, value in servers.items() if key not in without and key not in add}
    servers_now: dict[str, Any] = {**add, **kept}
    assert plain(after) == {**document, "mcpServers": servers_now}
    section, now = scan(text).at(("mcpServers",)), scan(after).at(("mcpServers",))
    assert section is not None
    assert now is not None
    assert after[: now.start] == text[: section.start]
    assert after[now.end :] == text[section.end :]
    for key in kept:  # what stays is not reformatted
        old, new = section.member(key), now.member(key)
        assert old is not None
        assert new is not None
        assert after[new.start : new.end] == text[old.start : old.end]
    inside = text[section.start : section.end]
    assert after.count("note") >= inside.count("note") - sum(
        text[m.start : m.end].count("note") for m in section.members or () if m.key not in kept
    )
