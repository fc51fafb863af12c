"""The verbs that change a running hub: real processes, and what they leave behind over a restart."""

import json
from pathlib import Path

import pytest
from tests.cli.test_cli import get, run, serving, write_config

OBJECTS = """\
servers:
  docs: {url: "http://127.0.0.1:9/mcp", credentials: {bearer: canary-of-mine}}
views:
  coding: {include: ["docs.*"]}
policies:
  - {name: no purge, deny: ["*.purge_*"]}
"""


def test_objects_are_applied_shown_drained_and_deleted(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with config.open("a") as file:
        file.write("outbound: {allow: [127.0.0.0/8]}\n")
    (tmp_path / "objects.yaml").write_text(OBJECTS)
    with serving(config) as (_, _, admin):
        tried = run("apply", "objects.yaml", "--dry-run", cwd=tmp_path)
        assert (tried.returncode, tried.stdout.count("created")) == (0, 3), tried
        assert run("get", "view", "coding", cwd=tmp_path).returncode == 1
        applied = run("apply", "-", "--reason", "ticket 7", "--json", cwd=tmp_path, text=OBJECTS)
        assert applied.returncode == 0, applied
        assert {one["what"] for one in json.loads(applied.stdout)["changes"]} == {"created"}
        listed = json.loads(run("get", "servers", "--json", cwd=tmp_path).stdout)["items"]
        assert [(one["name"], one["origin"]) for one in listed] == [("s", "file"), ("docs", "api")]
        shown = run("get", "server", "docs", cwd=tmp_path)
        assert "bearer: '***'" in shown.stdout
        assert "origin" in run("get", "servers", cwd=tmp_path).stdout
        drained = run("drain", "s", cwd=tmp_path)
        assert (drained.returncode, drained.stderr) == (0, "s: drained\n")
        assert get(f"{admin}/api/v1/servers/s/status")["state"] == "drained"
        refused = run("delete", "server", "docs", cwd=tmp_path)
        assert refused.returncode == 1
        assert "api:/views/coding/include/0" in refused.stderr
        assert run("delete", "view", "coding", cwd=tmp_path).returncode == 0
        assert run("delete", "server", "docs", cwd=tmp_path).returncode == 0
    with serving(config, "drained") as (_, _, admin):
        exported = run("get", "config", cwd=tmp_path)
        (tmp_path / "running.yaml").write_text(exported.stdout)
        assert "no purge" in exported.stdout
        assert run("check", "running.yaml", cwd=tmp_path).returncode == 0
        assert run("drain", "s", "--undo", cwd=tmp_path).returncode == 0
        assert run("audit", "query", "--json", cwd=tmp_path).stdout.count("ticket 7") == 3


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("get", "servers"), 1, "no hub is running"),
        (("get", "spoons"), 2, "spoons"),
        (("apply", "missing.yaml"), 2, "can't be read"),
        (("apply", "wrong.yaml"), 2, "wrong.yaml:1:"),
    ],
)
def test_without_a_hub_or_a_file_it_is_said_what_is_missing(
    tmp_path: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    write_config(tmp_path)
    (tmp_path / "wrong.yaml").write_text("servers: {a: {, b\n")
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, told in done.stderr, done.stdout) == (code, True, ""), done
