"""`concento replay`: what was recorded of a real hub, held against other configurations."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_cli import run, serving, write_config

from concento.testing.stdio_child import child_command

CHILD = json.dumps(list(child_command()))


def variant(base: Path, name: str, text: str) -> Path:
    """The same hub, with more in its configuration or other servers."""
    path = base.with_name(name)
    path.write_text(f"{base.read_text()}{text}")
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a hub that has been called, beside its exported audit record and its access log."""
    folder = tmp_path_factory.mktemp("recorded")
    config = write_config(folder)
    text = config.read_text() + f"  t: {{command: {CHILD}}}\n"
    tools = "tools: {say: {bind: [s.echo, t.echo]}}\naudit: {arguments: full}\ntelemetry: {access_log: access.log}\n"
    config.write_text(text + tools)
    with serving(config) as (process, _, _):
        for number in range(3):
            assert run("call", "s__echo", f"text=hello {number}", cwd=folder).returncode == 0
        assert run("call", "say", "text=hello", cwd=folder).returncode == 0
        process.terminate()  # a kill could take the last entries
        process.communicate(timeout=20)
    (folder / "calls.jsonl").write_text(run("audit", "export", cwd=folder).stdout)
    return config


def replayed(config: Path, record: str = "calls.jsonl") -> Any:
    done = run("replay", str(config.with_name(record)), "--config", str(config), "--json", cwd=config.parent)
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)
    assert done.returncode == bool(told["changes"])
    return told


@pytest.mark.parametrize("record", ["calls.jsonl", "access.log"])
def test_with_the_same_configuration_nothing_differs(recorded: Path, record: str) -> None:
    told = replayed(recorded, record)
    assert told["changes"] == []
    assert told["same"] == 4
    assert told["not_listed"] == []


def test_the_record_itself_will_do(recorded: Path) -> None:
    (database,) = (recorded.parent / "state").rglob("audit.db")
    told = json.loads(run("replay", str(database), "--config", str(recorded), "--json", cwd=recorded.parent).stdout)
    assert told["same"] == 4
    assert set(told["skipped"]) == {"entries that are of no call that ended"}


def test_what_a_rule_would_refuse_is_told_with_the_rule(recorded: Path) -> None:
    rule = 'policies: [{name: not that one, deny: ["s.echo"], when: {arguments: {text: "hello 1"}}}]\n'
    (change,) = replayed(variant(recorded, "rule.yaml", rule))["changes"]
    assert (change["kind"], change["name"], change["calls"]) == ("refused", "s__echo", 1)
    assert (change["was"], change["subjects"]) == ("s.echo", ["anonymous"])
    assert change["now"] == "forbidden by not that one"
    assert change["trace"]


def test_what_a_limit_would_refuse_counts_by_the_times_of_the_record(recorded: Path) -> None:
    limit = "limits: {each: {match: [s.echo], rate: 1/h, per: user}}\n"
    changes = {one["kind"]: one for one in replayed(variant(recorded, "limit.yaml", limit))["changes"]}
    refused, routed = changes["refused"], changes["routed"]
    assert (refused["name"], refused["calls"], refused["now"]) == ("s__echo", 2, "rate_limited by each")
    assert (routed["name"], routed["was"], routed["now"]) == ("say", "s.echo", "t.echo"), "the other stands in"


def test_another_order_and_other_arguments_are_told(recorded: Path) -> None:
    adapter = "{tool: t.echo, arguments: {constant: {text: bye}}}"
    other = recorded.with_name("other.yaml")
    other.write_text(recorded.read_text().replace("bind: [s.echo, t.echo]", "bind: [t.echo, s.echo]"))
    (change,) = replayed(other)["changes"]
    assert (change["kind"], change["was"], change["now"]) == ("routed", "s.echo", "t.echo")
    adapted = recorded.with_name("adapted.yaml")
    fixed = adapter.replace("t.echo", "s.echo")
    adapted.write_text(recorded.read_text().replace("bind: [s.echo, t.echo]", f"bind: [{fixed}, t.echo]"))
    (change,) = replayed(adapted)["changes"]
    assert (change["kind"], change["was"], change["now"]) == ("shaped", '{"text":"hello"}', '{"text":"bye"}')


def test_a_tool_that_is_gone_is_told(recorded: Path) -> None:
    gone = recorded.with_name("gone.yaml")
    gone.write_text(recorded.read_text().replace("\naudit:", "\nviews: {v: {}}\naudit:").replace("say:", "tell:"))
    (change,) = replayed(gone)["changes"]
    assert (change["kind"], change["name"], change["was"], change["now"]) == ("refused", "say", "s.echo", "unknown")
    shown = run("replay", "calls.jsonl", "--config", str(gone), cwd=recorded.parent)
    assert shown.returncode == 1
    assert "3 would fare as they did, 1 otherwise" in shown.stdout


@pytest.mark.parametrize(
    ("text", "told"), [("no JSON\n", "is no record"), ('{"a": 1}\n', "entry 1: expected a line of the access log")]
)
def test_what_is_no_record_is_told(tmp_path: Path, text: str, told: str) -> None:
    write_config(tmp_path)
    (tmp_path / "calls.jsonl").write_text(text)
    done = run("replay", "calls.jsonl", cwd=tmp_path)
    assert (done.returncode, told in done.stderr) == (1, True)


def test_a_dry_run_says_who_would_answer_and_calls_nothing(recorded: Path) -> None:
    adapted = recorded.with_name("dry.yaml")
    adapter = "{tool: t.echo, arguments: {rename: {text: word}, constant: {loud: true}}}"
    adapted.write_text(recorded.read_text().replace("bind: [s.echo, t.echo]", f"bind: [s.echo, {adapter}]"))
    done = run("call", "say", "text=hello", "--dry-run", "--config", str(adapted), cwd=recorded.parent)
    assert done.returncode == 0
    assert "strategy: failover" in done.stdout
    assert 'gets {"word":"hello","loud":true}' in done.stdout
    assert "hello\n" not in done.stdout.splitlines()


EVERY_STRATEGY = """\
tools:
  say: {bind: [s.echo, t.echo]}
  all: {bind: [s.echo, t.echo], strategy: fanout}
  copied: {bind: [s.echo, t.echo], strategy: shadow, repeatable: true}
  spread: {bind: [s.echo, t.echo], strategy: balance}
  halved: {bind: [s.echo, t.echo], strategy: split}
expose: both
audit: {arguments: full}
"""


def test_with_the_same_configuration_nothing_differs_whatever_routes_a_call(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text() + f"  t: {{command: {CHILD}}}\n{EVERY_STRATEGY}")
    with serving(config) as (process, _, _):
        for name in ("say", "all", "copied", "spread", "spread", "spread", "halved"):
            assert run("call", name, "text=hello", cwd=tmp_path).returncode == 0
        assert run("experiments", "promote", "halved", "t.echo", cwd=tmp_path).returncode == 0
        assert run("call", "halved", "text=hello", cwd=tmp_path).returncode == 0
        assert run("call", "find_tools", "query=say it again", cwd=tmp_path).returncode == 0
        used = json.dumps({"tool": "t__echo", "arguments": {"text": "hello"}})
        assert run("call", "use_capability", "--json", used, cwd=tmp_path).returncode == 0
        process.terminate()
        process.communicate(timeout=20)
    (tmp_path / "calls.jsonl").write_text(run("audit", "export", cwd=tmp_path).stdout)
    told = replayed(config)
    assert [one for one in told["changes"] if one["name"] != "halved"] == []
    assert told["skipped"]["copies of calls"] == 1
    assert told["same"] >= 8


@pytest.mark.parametrize("entry", ['{"time": 1, "ms": "x"}', '{"time": 1, "chain": 5}', '{"time": "now"}', "[1]"])
def test_an_entry_of_a_wrong_kind_is_told_by_its_number(tmp_path: Path, entry: str) -> None:
    write_config(tmp_path)
    (tmp_path / "calls.jsonl").write_text(f'{{"time": 1}}\n{entry}\n')
    done = run("replay", "calls.jsonl", cwd=tmp_path)
    assert (done.returncode, "entry 2: expected a line" in done.stderr) == (1, True)
