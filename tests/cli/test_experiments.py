"""`concento experiments`, of a hub that runs."""

import json
from pathlib import Path

from tests.cli.test_cli import run, serving, write_config

from concento.testing.stdio_child import child_command


def split_config(folder: Path) -> Path:
    path = write_config(folder)
    child = json.dumps(list(child_command()))
    servers = f"servers:\n  s: {{command: {child}}}\n  t: {{command: {child}}}\n"
    tools = "tools:\n  say: {strategy: split, bind: [{tool: s.echo, weight: 9}, t.echo]}\n"
    head = path.read_text().partition("servers:")[0]
    path.write_text(head + servers + tools)
    return path


def test_calls_of_each_arm_are_shown_with_what_they_say(tmp_path: Path) -> None:
    config = split_config(tmp_path)
    with serving(config):
        for _ in range(3):
            assert run("call", "say", "text=hello", cwd=tmp_path).returncode == 0
        told = json.loads(run("experiments", "--json", cwd=tmp_path).stdout)
        (experiment,) = told["experiments"]
        assert (experiment["tool"], experiment["sticky"]) == ("say", "subject")
        assert sorted(arm["calls"] for arm in experiment["arms"]) == [0, 3]
        assert [arm["weight"] for arm in experiment["arms"]] == [9, 1]
        shown = run("experiments", "say", cwd=tmp_path)
        assert "s.echo" in shown.stdout
        assert "Too early to tell" in shown.stdout
        wrong = run("experiments", "sai", cwd=tmp_path)
        assert (wrong.returncode, "there are: say" in wrong.stderr) == (1, True)


def test_without_any_it_is_said_how_to_begin(tmp_path: Path) -> None:
    write_config(tmp_path)
    shown = run("experiments", cwd=tmp_path)
    assert shown.returncode == 0
    assert "strategy: split" in shown.stderr


def test_what_a_logical_tool_leaves_out_is_said_wherever_one_looks(tmp_path: Path) -> None:
    config = split_config(tmp_path)
    config.write_text(config.read_text() + "  other: {bind: [s.echo, t.eco]}\n")
    told = "leaves out t.eco, which the server does not offer; did you mean t.echo?"
    note = f"the logical tool 'other' ({config}:8) {told}"
    with serving(config) as (process, _, _):
        assert note in run("servers", cwd=tmp_path).stderr
        assert note in json.loads(run("servers", "--json", cwd=tmp_path).stdout)["notes"]
        shown = run("inspect", "other", cwd=tmp_path).stdout
        assert shown.startswith("other  (failover over s.echo, t.eco (not there))")
        listed = json.loads(run("tools", "--json", cwd=tmp_path).stdout)["tools"]
        assert {tool["name"]: tool["server"] for tool in listed}["other"] == "s, t"
        unconnected = run("check", cwd=tmp_path)
        assert (unconnected.returncode, f"{note} (as its servers were last listed" in unconnected.stderr) == (2, True)
        connected = run("check", "--connect", cwd=tmp_path)
        assert (connected.returncode, note in connected.stderr) == (2, True)
        process.terminate()
        assert process.stderr is not None
        assert f"! {note}" in process.stderr.read()


def test_an_arm_is_promoted_in_one_command_over_restarts_and_it_is_on_record(tmp_path: Path) -> None:
    config = split_config(tmp_path)
    text = config.read_text().replace("state: off\n", "")
    config.write_text(f"{text}state: sqlite:///state/concento.db\n")
    with serving(config) as (process, _, _):
        assert run("call", "say", "text=hello", cwd=tmp_path).returncode == 0
        wrong = run("experiments", "promote", "say", "u.echo", cwd=tmp_path)
        assert (wrong.returncode, "its arms: s.echo, t.echo" in wrong.stderr) == (1, True)
        done = run("experiments", "promote", "say", "t.echo", cwd=tmp_path)
        assert done.returncode == 0
        assert "all calls go to t.echo, as operator said on" in done.stdout
        process.terminate()  # a kill could take the last entries
        process.communicate(timeout=20)
    with serving(config) as (process, _, _):
        assert run("call", "say", "text=hello", cwd=tmp_path).returncode == 0
        (told,) = json.loads(run("experiments", "--json", cwd=tmp_path).stdout)["experiments"]
        calls = {arm["arm"]: arm["calls"] for arm in told["arms"]}
        assert calls["t.echo"] >= 1
        assert sum(calls.values()) == 2, "what was counted before the restart counts on"
        assert run("experiments", "rollback", "say", cwd=tmp_path).returncode == 0
        assert run("experiments", "resume", "say", cwd=tmp_path).returncode == 0
        process.terminate()
        process.communicate(timeout=20)
    recorded = run("audit", "query", "--json", cwd=tmp_path).stdout
    changes = [entry for entry in json.loads(recorded)["entries"] if entry["kind"] == "changed"]
    assert [(one["method"], one["name"], one["reason"], one["subject"]) for one in changes] == [
        ("experiments/promote", "say", "all calls to t.echo", "operator"),
        ("experiments/rollback", "say", "all calls to s.echo", "operator"),
        ("experiments/resume", "say", "as configured", "operator"),
    ]
    lost = run("experiments", "promote", "say", "t.echo", cwd=tmp_path)
    assert (lost.returncode, "this changes one that runs" in lost.stderr) == (1, True)
