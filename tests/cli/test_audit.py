"""`concento audit`: reading the record, and seeing whether it is whole."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.observe.audit_kit import WHO, call, opened

from concento.cli.main import cli
from concento.model.principal import Principal


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "concento.yaml").write_text("state: sqlite:///c.db\nservers: {}\naudit: {anchor: anchors}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def written(folder: Path) -> None:
    log = await opened(folder / "audit.db", anchor=folder / "anchors")
    for number in range(5):
        log(call(number))
    log(call(9, who=Principal("bob\x1b[31m"), end="refused", decision="hidden"))
    log.refused("6.6.6.6", 401, "no key", "/mcp")
    await log.close()


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["audit", *args])


async def test_entries_are_found_by_what_they_say(folder: Path) -> None:
    await written(folder)

    def names(*args: str) -> list[str]:
        return [
            entry.get("name", entry["kind"]) for entry in json.loads(run("query", "--json", *args).stdout)["entries"]
        ]

    assert names("--subject", WHO.subject) == [f"s__t{number}" for number in range(5)]
    assert names("--decision", "hidden") == ["s__t9"]
    assert names("--tool", "t3") == ["s__t3"]
    assert names("--outcome", "ok", "--limit", "2") == ["s__t3", "s__t4"]
    assert names("--until", "2020-01-01") == []
    assert len(names("--since", "1h")) == 9
    assert run("query", "--since", "yesterday").exit_code == 2


async def test_the_last_entries_are_shown_without_what_a_terminal_would_obey(folder: Path) -> None:
    await written(folder)
    lines = run("tail", "-n", "4").stdout.splitlines()
    assert len(lines) == 4
    assert "6.6.6.6  /mcp  401: no key" in lines[2] + lines[1] + lines[0]
    assert "\x1b" not in "".join(lines)
    assert json.loads(run("tail", "-n", "1", "--json").stdout)["kind"] == "closed"


async def test_a_whole_chain_is_right_and_a_broken_one_is_named(folder: Path) -> None:
    await written(folder)
    right = run("verify")
    assert right.exit_code == 0, right.stdout
    assert "9 entries checked" in right.stdout
    with closing(sqlite3.connect(folder / "audit.db")) as database, database:
        database.execute("DELETE FROM entries WHERE seq = 4")
    broken = run("verify", "--json")
    assert broken.exit_code == 1
    assert (json.loads(broken.stdout)["broken"], json.loads(broken.stdout)["place"]) == ("missing", 4)
    with closing(sqlite3.connect(folder / "audit.db")) as database, database:
        database.execute("DELETE FROM entries WHERE seq >= 4")
    assert "truncated" in run("verify").stdout


async def test_entries_are_exported_with_their_digests(folder: Path) -> None:
    await written(folder)
    lines = [json.loads(line) for line in run("export").stdout.splitlines()]
    assert len(lines) == 9
    assert all(len(line["digest"]) == 64 for line in lines)
    assert run("export", "-o", "out.jsonl").exit_code == 0
    assert len((folder / "out.jsonl").read_text().splitlines()) == 9


def test_where_nothing_was_recorded_that_is_said(folder: Path) -> None:
    for verb in ("tail", "verify", "query", "export"):
        result = run(verb)
        assert result.exit_code == 1
        assert "there is no audit record" in result.stderr
    (folder / "concento.yaml").write_text("servers: {}\naudit: off\n")
    assert "nothing is recorded" in run("tail").stderr
