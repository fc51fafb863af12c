"""The reference says what the code says, and leaves nothing out."""

import ast
import os
import re
import shlex
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import click
import pytest
import yaml
from joserfc.jwk import ECKey
from scripts import reference
from scripts.reference import command_line, configuration, errors

from concento.cli.main import VERBS
from concento.control.config import json_schema, keys, read
from concento.control.config.kinds import Key
from concento.model.errors import CallError

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
ENV = {**os.environ, "DOCS_TOKEN": "a-token", "API_KEY": "a-key", "SIGNING_SECRET": "0123456789abcdef"}
PAGES = reference.pages()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_what_the_code_says(name: str) -> None:
    assert reference.read(name) == PAGES[name], f"docs/reference/{name} is out of date; run `make docs` and commit it"


def test_no_page_lies_in_the_folder_that_nobody_writes() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(PAGES)


def schema_places(schema: dict[str, object], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every key of the JSON Schema with the keys above it: another road through the same table."""
    found: set[tuple[str, ...]] = set()
    properties = schema.get("properties")
    for name, below in properties.items() if isinstance(properties, dict) else ():
        found |= {(*path, name)} | schema_places(below, (*path, name))
    inner = [schema.get("items"), schema.get("additionalProperties")]
    either = schema.get("anyOf")
    for part in [*inner, *(either if isinstance(either, list) else [])]:
        if isinstance(part, dict):
            found |= schema_places(part, path)
    return found


def test_every_key_is_there_at_its_place() -> None:
    shown = set()
    for match in re.finditer(r"^### `([^`]+)`$", PAGES["configuration.md"], re.MULTILINE):
        steps = match[1].replace("[]", "").split(".")
        shown.add(tuple(step for step in steps if not step.isupper()))
    of_server = {place[1:] for place in shown if place[0] == "servers" and len(place) > 1}
    shown |= {("servers", "replicas", *place) for place in of_server if place[0] in inherited_by_replicas()}
    shown |= {("defaults", *place) for place in of_server if ("defaults", place[0]) in shown}
    shown |= {("admin", *place) for place in shown if place[0] == "tls"}
    shown |= {("policies", "unless", *place[2:]) for place in shown if place[:2] == ("policies", "when")}
    conditions = [place[2:] for place in shown if place[:2] == ("policies", "when")]
    shown |= {("guards", when, *place) for place in conditions for when in ("when", "unless")}
    of_tenants = ("servers", "tools", "views", "roles", "policies", "limits", "guards")
    shown |= {("tenants", *place) for place in shown if place[0] in of_tenants}
    assert shown == schema_places(json_schema())


def inherited_by_replicas() -> set[str]:
    return {name for name, key in keys.REPLICA.keys.items() if key in keys.SERVER.keys.values()}


SERVERS = "servers: {time: {command: [x]}, git: {command: [x]}, docs: {command: [x]}, search: {command: [x]}}"


class Agreeable:
    """An engine that agrees to everything."""

    def check(self, principal: object, item: object, facts: object) -> bool:
        return True


def keys_of_hsm() -> list[bytes]:
    """The keys of a device."""
    return [bytes(range(32))]


HSM = EntryPoint("acme-hsm", f"{__name__}:keys_of_hsm", "concento.vault_keys")

KEYS = [
    (path, key)
    for path, table in configuration.tables()
    for key in table.keys.values()
    if not configuration.is_inherited(path, key)
]


@pytest.mark.parametrize(("path", "key"), KEYS, ids=[f"{path}.{key.name}".strip(".") for path, key in KEYS])
def test_key_has_an_example_that_loads(
    path: str, key: Key[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concento.policy.engines.Installed", lambda: {"acme-risk": lambda options: Agreeable()})
    monkeypatch.setattr("concento.control.config.vault.entry_points", lambda group: EntryPoints([HSM]))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "docs.key").write_text("a-key")
    (tmp_path / "secrets" / "vault.key").write_text(bytes(range(32)).hex())
    (tmp_path / "secrets" / "client.pem").write_text(ECKey.generate_key("P-256").as_pem(private=True).decode())
    assert key.example, f"give the key {path}.{key.name} an example"
    text = configuration.example_of(path, key)
    assert yaml.safe_load(text)
    assert re.search(rf"\b{key.name}: ", text)
    whole = text if re.search("^servers:", text, re.MULTILINE) else f"{text}{SERVERS}\n"
    read(whole.encode(), tmp_path / "concento.yaml", ENV)


COMMANDS = [
    (command, context.command_path) for command, context in command_line.verbs() if not isinstance(command, click.Group)
]


@pytest.mark.parametrize(("command", "path"), COMMANDS, ids=[path for _, path in COMMANDS])
def test_verb_has_an_example_with_arguments_it_takes(command: click.Command, path: str) -> None:
    _, example = command_line.help_of(command)
    assert "concento" in example, f"`{path}` has no example in its help"
    for line in example.splitlines():
        for called in re.findall(rf"(?:^|\| ){path} ?(.*)$", line):
            words = shlex.split(re.split("(?:^| )[<>]", called)[0], comments=True)
            command.make_context(path, words)


def test_every_verb_is_there() -> None:
    assert re.findall(r"^## `concento ([a-z-]+)`$", PAGES["cli.md"], re.MULTILINE) == list(VERBS)


@pytest.mark.parametrize("error", [*errors.call_errors()])
def test_error_is_there_with_what_to_do_about_it(error: type[CallError]) -> None:
    assert error.remedy, f"say in {error.__name__}.remedy what to do about it"
    assert f"### {error.code}: {error.__name__}\n" in PAGES["errors.md"]
    assert error.remedy in PAGES["errors.md"]


def test_a_code_means_one_thing() -> None:
    """Two classes may share a code where one is a kind of the other."""
    by_code: dict[int, list[type[CallError]]] = {}
    for error in errors.call_errors():
        by_code.setdefault(error.code, []).append(error)
    for code, sharing in by_code.items():
        assert all(issubclass(one, sharing[0]) for one in sharing), (code, sharing)


def test_every_metric_that_the_source_names_is_there() -> None:
    named: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = re.findall(r"^(?:concento|mcp)_[a-z_]+$", node.value)
                named |= {name.removesuffix("_total") for name in found}
    shown = set(re.findall(r"^\| `((?:concento|mcp)_[a-z_]+?)(?:_total)?` ", PAGES["metrics.md"], re.MULTILINE))
    assert named == shown


def test_every_limit_has_its_meaning() -> None:
    tree = ast.parse((ROOT / "src/concento/model/limits.py").read_text())
    names = {
        node.target.id for node in tree.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    assert names - {"MIB"} == set(re.findall(r"^\| `([A-Z_]+)`", PAGES["limits.md"], re.MULTILINE))


def test_every_meta_key_has_its_meaning() -> None:
    tree = ast.parse((ROOT / "src/concento/model/meta.py").read_text())
    values = {
        node.value.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)
    }
    assert values - {"dev.concento/"} == set(re.findall(r"^\| `([^`]+)`", PAGES["meta.md"], re.MULTILINE))
