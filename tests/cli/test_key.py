"""`concento key`: keys made, listed, turned over, ended and derived from the command line."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from concento.cli.main import cli

FORM = re.compile(r"concento_[a-z0-9]{10}_(d\.)?[A-Za-z0-9_-]{20,}")
CONFIG = """
state: sqlite:///c.db
auth: {}
servers: {}
roles: {reader: {allow: ["*"]}}
tenants: {acme: {roles: {theirs: {allow: ["*"]}}}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "concento.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONCENTO_KEY", raising=False)
    return tmp_path


def run(*args: str, input: str | None = None, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, ["key", *args], input=input, env=env)


def made(*args: str) -> str:
    result = run("create", *args)
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


def listed() -> list[dict[str, object]]:
    keys: list[dict[str, object]] = json.loads(run("list", "--json").stdout)["keys"]
    return keys


def test_a_key_is_shown_once_and_listed_without_its_secret(folder: Path) -> None:
    key = made("--subject", "alice", "--agent", "ci", "--role", "reader", "--scope", "a", "--ttl", "30d", "--note", "n")
    assert FORM.fullmatch(key)
    (told,) = listed()
    assert told | {"created": 0, "expires": 0} == {
        "id": key[9:19],
        "subject": "alice",
        "agent": "ci",
        "tenant": "default",
        "roles": ["reader"],
        "scopes": ["a"],
        "note": "n",
        "created": 0,
        "expires": 0,
        "used": None,
        "state": "good",
    }
    table = run("list").stdout
    assert key[9:19] in table
    for shown in (table, run("list", "--json").stdout):
        assert key[20:] not in shown
    assert key[20:].encode() not in b"".join(path.read_bytes() for path in folder.iterdir())


def test_keys_are_ended_by_how_their_ids_begin() -> None:
    first, second = made("--subject", "a"), made("--subject", "b")
    assert run("revoke", first[9:17]).exit_code == 0
    assert {key["id"]: key["state"] for key in listed()} == {first[9:19]: "revoked", second[9:19]: "good"}
    unknown = run("revoke", second[9:18] + "0" if second[18] != "0" else second[9:18] + "1")
    assert unknown.exit_code == 1
    assert f"did you mean {second[9:19]!r}" in unknown.stderr
    several = run("revoke", "")
    assert several.exit_code == 1
    assert "several keys" in several.stderr


def test_a_rotated_key_keeps_its_rights() -> None:
    old = made("--subject", "alice", "--role", "reader")
    result = run("rotate", old[9:19], "--overlap", "10m", "--json")
    new = json.loads(result.stdout)
    assert FORM.fullmatch(new["key"])
    assert [key["roles"] for key in listed()] == [["reader"], ["reader"]]


def test_keys_are_derived_without_a_hub_or_a_configuration(folder: Path) -> None:
    key = made("--subject", "alice")
    (folder / "concento.yaml").unlink()
    narrow = run("derive", "--tools", "git.get_*", "--ttl", "15m", input=key + "\n")
    assert narrow.exit_code == 0, narrow.stderr
    assert FORM.fullmatch(narrow.stdout.strip())
    again = run("derive", "--agent", "sub", "--ttl", "5m", env={"CONCENTO_KEY": narrow.stdout.strip()})
    assert FORM.fullmatch(again.stdout.strip())
    for wrong, told in (
        (run("derive", "--ttl", "1h", env={"CONCENTO_KEY": narrow.stdout.strip()}), "outlive"),
        (run("derive", "--ttl", "1h", input="nonsense"), "not the form"),
        (run("derive", "--ttl", "1h", input=key[:-1] + ("A" if key[-1] != "A" else "B")), "mistyped"),
        (run("derive", "--tools", "git", "--ttl", "1h", input=key), "pattern over server.tool"),
    ):
        assert wrong.exit_code == 1
        assert told in wrong.stderr
        assert key[20:] not in wrong.stderr


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--subject", "a", "--role", "raeder"), "did you mean 'reader'?"),
        (("--subject", "a", "--role", "theirs"), "there is no role 'theirs'"),
        (("--subject", "a", "--tenant", "acne"), "did you mean 'acme'?"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_the_nearest(args: tuple[str, ...], told: str) -> None:
    result = run("create", *args)
    assert (result.exit_code, told in result.stderr) == (1, True)
    assert result.stdout == ""


def test_roles_of_a_tenant_are_its_users_alone() -> None:
    assert made("--subject", "a", "--tenant", "acme", "--role", "theirs")


def test_a_wrong_duration_and_a_missing_place_are_told(folder: Path) -> None:
    assert run("create", "--subject", "a", "--ttl", "soon").exit_code == 2
    (folder / "concento.yaml").write_text("state: off\nservers: {}\n")
    result = run("create", "--subject", "a")
    assert result.exit_code == 1
    assert "sqlite:///" in result.stderr
