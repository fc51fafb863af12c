"""Backups: real processes, copied while they work; what comes back is what was there."""

import json
import sqlite3
from pathlib import Path
from stat import S_IMODE
from threading import Event, Thread

import pytest
from tests.cli.test_cli import run, serving, write_config

NAMES = ["audit.db", "concento-backup", "concento.db", "usage.db"]
VIEW = "views: {mine: {include: ['s.*']}}"


def used(folder: Path) -> int:
    told = json.loads(run("usage", "report", "--by", "tool", "--json", cwd=folder).stdout)
    return int(told["total"]["calls"])


def test_what_was_there_at_the_backup_is_there_after_a_restore(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    enough = Event()

    def call_on() -> None:
        while not enough.is_set():
            run("call", "s__echo", "text=x", cwd=tmp_path)

    with serving(config):
        run("apply", "-", cwd=tmp_path, text=VIEW)
        calling = Thread(target=call_on)
        calling.start()
        try:
            done = run("backup", "kept", "--json", cwd=tmp_path)
        finally:
            enough.set()
            calling.join()
        told = json.loads(done.stdout)
        assert (done.returncode, told["audit"]["broken"]) == (0, None), done
        busy = run("restore", "kept", cwd=tmp_path)
        assert (busy.returncode, "stop it first" in busy.stderr) == (1, True), busy
        run("call", "s__echo", "text=after", cwd=tmp_path)
    kept = tmp_path / "kept"
    assert sorted(path.name for path in kept.iterdir()) == NAMES
    assert (S_IMODE(kept.stat().st_mode), S_IMODE((kept / "concento.db").stat().st_mode)) == (0o700, 0o600)
    later = used(tmp_path)
    done = run("restore", "kept", cwd=tmp_path)
    assert done.returncode == 0, done
    assert done.stderr.count("what was there is") == 3
    with serving(config):
        assert "mine" in run("get", "views", cwd=tmp_path).stdout
        before = used(tmp_path)
        assert 0 <= before < later
        run("call", "s__echo", "text=again", cwd=tmp_path)
    assert used(tmp_path) == before + 1
    assert run("audit", "verify", cwd=tmp_path).returncode == 0
    with sqlite3.connect(kept / "audit.db") as record:  # what usage lacked at the backup, it took from the record
        (calls,) = record.execute("SELECT count(*) FROM entries WHERE body LIKE '%tools/call%'").fetchone()
    assert before == calls


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("backup", "full"), "full is not empty"),
        (("backup", "kept"), "nothing is kept yet"),
        (("restore", "full"), "no whole backup"),
        (("restore", "nowhere"), "no whole backup"),
        (("restore", "more"), "keeps no usage.db"),
        (("restore", "broken"), "can't be"),
    ],
)
def test_what_can_not_be_done_is_said_and_changes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    config = write_config(tmp_path)
    with config.open("a") as file:
        file.write("usage: off\n")
    for name, files in (("full", ("x",)), ("more", ("concento-backup", "usage.db")), ("broken", ("concento-backup",))):
        (tmp_path / name).mkdir()
        for one in files:
            (tmp_path / name / one).touch()
    if arguments[1] == "broken":
        (tmp_path / "broken" / "concento.db").write_bytes(b"no database")
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, told in done.stderr) == (1, True), done
