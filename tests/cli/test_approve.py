"""`concento tools pending` and `approve`, of a hub that runs."""

import json
import os
from pathlib import Path

from tests.cli.terminal import terminal
from tests.cli.test_cli import CONCENTO, run, serving, write_config


def test_a_reviewer_sees_what_is_held_back_and_lets_it_through(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text() + "defaults: {trust: approve}\n")
    with serving(config) as (process, _, _):
        refused = run("call", "s__echo", "text=hello", cwd=tmp_path)
        assert refused.returncode == 1
        shown = run("tools", "pending", cwd=tmp_path).stdout
        (known,) = run("tools", "pending", "--names", cwd=tmp_path).stdout.split()
        assert known.startswith("s__echo@")
        assert f"{known} of s: new, approved by nobody yet" in shown
        assert '+ name: "echo"' in shown
        nobody = run("tools", "approve", cwd=tmp_path)
        assert (nobody.returncode, "nobody is there to be asked" in nobody.stderr) == (2, True)
        bare = run("tools", "approve", "s__echo", cwd=tmp_path)
        assert (bare.returncode, "says not which definition" in bare.stderr) == (2, True)
        stale = run("tools", "approve", "s__echo@000000000000", cwd=tmp_path)
        assert (stale.returncode, "is another definition" in stale.stderr) == (1, True)
        wrong = run("tools", "approve", "s__eco@000000000000", cwd=tmp_path)
        assert (wrong.returncode, "held back are: s__echo" in wrong.stderr) == (1, True)
        done = run("tools", "approve", known, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "approved 1 tool: s__echo\n")
        assert run("call", "s__echo", "text=hello", cwd=tmp_path).returncode == 0
        assert "no tool is held back" in run("tools", "pending", cwd=tmp_path).stderr
        process.terminate()  # a kill could take the last entries
        process.communicate(timeout=20)
    recorded = json.loads(run("audit", "query", "--json", cwd=tmp_path).stdout)["entries"]
    (change,) = [entry for entry in recorded if entry["kind"] == "changed"]
    assert (change["method"], change["name"], change["subject"]) == ("tools/approve", "s.echo", "operator")


def test_who_is_there_is_asked_of_each(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text() + "defaults: {trust: approve}\n")
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    with serving(config):
        for said, done in (("n", "approved 0 tools"), ("y", "approved 1 tool: s__echo")):
            assert run("call", "s__echo", "text=hello", cwd=tmp_path).returncode == 1
            with terminal([CONCENTO, "tools", "approve"], tmp_path, env) as person:
                asked = person.wait(r"Show it to agents\? \[y/N\]: ")
                assert '+ name: "echo"' in asked
                person.type(f"{said}\n")
                person.wait(f"{done}\r?\n")
        assert run("call", "s__echo", "text=hello", cwd=tmp_path).returncode == 0


def test_the_list_is_where_it_was(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    for words in (("tools",), ("tools", str(config)), ("tools", "--search", "echo"), ("tools", "list")):
        done = run(*words, cwd=tmp_path)
        assert (done.returncode, "s__echo" in done.stdout) == (0, True), words
