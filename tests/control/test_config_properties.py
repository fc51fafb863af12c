"""Whatever a file holds, loading ends in a `Config` or a `ConfigError`, and never shows a secret."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from concento.control.config import json_schema, read
from concento.control.config.clients import slugs
from concento.control.config.document import MappingNode, Node, ScalarNode, SequenceNode, json_as_yaml, parse
from concento.control.config.problems import Problems
from concento.control.config.texts import ALIAS
from concento.model.config import Config
from concento.model.errors import ConfigError

ENV = {"HOME": "/home/ada", "SECRET": "canary-0123456789"}
CONFIGS = Path(__file__).parent / "configs"
YAML_CHARACTERS = st.sampled_from(
    [*"abc019 :-,.?*&!|>%@`'\"#{}[]\n\t\\/$~<=_", "\r\n", "---", "...", "<<", "${env:SECRET}"]
)

few = settings(max_examples=150, deadline=None)


def attempt(content: bytes, name: str = "concento.yaml") -> Config | ConfigError:
    try:
        loaded: Config | ConfigError = read(content, Path("/etc/hub") / name, ENV)
    except ConfigError as error:
        loaded = error
    assert "canary" not in repr(loaded) + str(loaded)
    return loaded


def key_names(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(key_names, schema), set())
    if not isinstance(schema, dict):
        return set()
    return {*schema.get("properties", {}), *key_names(list(schema.values()))}


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
words = st.sampled_from(
    [
        *(
            "a",
            "b",
            "*",
            "a.*",
            "http://h/x",
            "off",
            "auto",
            "shared",
            "session",
            "never",
            "sqlite:///x",
            "127.0.0.1:1",
        ),
        *("${env:SECRET}", "http://${env:SECRET}", "${env:NONE}", "${file:/etc/hostname}", "localhost", "[::1]"),
    ]
)
keys = st.sampled_from(sorted(key_names(json_schema()) | {"a", "b", "auth", "mcpServers", "type"}))
values = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=25,
)


@few
@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    attempt(content)
    attempt(content, "mcp.json")


@few
@given(st.text(max_size=300) | st.lists(YAML_CHARACTERS, max_size=60).map("".join))
def test_any_text(text: str) -> None:
    attempt(text.encode(errors="surrogatepass"))
    attempt(text.encode(errors="surrogatepass"), "mcp.json")


@few
@given(st.lists(YAML_CHARACTERS, max_size=40).map("".join))
def test_any_text_without_libyaml(text: str) -> None:
    parse(text, Problems(), yaml.SafeLoader)


@few
@given(st.dictionaries(keys, values, max_size=5))
def test_any_values_under_known_keys(document: dict[str, Any]) -> None:
    attempt(yaml.safe_dump(document, allow_unicode=True).encode(errors="surrogatepass"))


@few
@given(
    st.dictionaries(st.sampled_from(["a", "b", "C d"]), values, max_size=3), st.sampled_from(["mcpServers", "servers"])
)
def test_any_values_as_a_clients_servers(servers: dict[str, Any], name: str) -> None:
    attempt(json.dumps({name: servers}).encode(), "mcp.json")


@few
@given(st.data())
def test_any_damage_to_a_good_file(data: st.DataObject) -> None:
    content = (CONFIGS / "full.yaml").read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 20)))
    attempt(content[:start] + data.draw(st.binary(max_size=6)) + content[end:])


@few
@given(st.lists(st.text(max_size=40), unique=True, max_size=12))
def test_slugs_are_distinct_aliases(names: list[str]) -> None:
    aliases = slugs(names)
    assert len(set(aliases.values())) == len(names) == len(aliases)
    assert all(re.fullmatch(ALIAS, alias) for alias in aliases.values())


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\u2028\u2029"), max_size=8)


@few
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**17), 10**17) | texts,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(texts.filter(lambda key: key != "<<"), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    st.booleans(),
    st.sampled_from([None, 2]),
)
def test_json_is_read_as_json(value: Any, ensure_ascii: bool, indent: int | None) -> None:
    problems = Problems()
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
    node = parse(json_as_yaml(text), problems)
    assert node is not None, problems.error("x")
    assert plain(node) == value


def plain(node: Node) -> object:
    match node:
        case ScalarNode():
            return node.value
        case SequenceNode():
            return [plain(item) for item in node.items]
        case MappingNode():
            return {key: plain(entry.node) for key, entry in node.entries.items()}
