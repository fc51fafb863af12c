"""`concento policy test`: decisions that are expected, and those that are made."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from concento.cli.main import cli

CONFIG = """
servers:
  git: {command: ["false"]}
tenants:
  acme: {share: ["git.*"], policies: [{name: no pulls, deny: ["git.pull"]}]}
roles:
  developer: {allow: ["git.*"], members: [alice]}
policies:
  - {name: not main, deny: ["git.push"], when: {arguments: {branch: main}}}
  - {name: writers, allow: ["git.write"], when: {scopes: ["git:write"]}, advertise: true}
  - {name: office, deny: ["git.deploy"], unless: {time: {from: "08:00", to: "18:00"}, networks: [10.0.0.0/8]}}
  - {name: no deletes, deny: ["*"], when: {annotations: {destructiveHint: true}}, unless: {subjects: ["*"]}}
  - {name: ticket, deny: ["git.merge"], unless: {meta: {ticket: {exists: true}}}}
"""

EXPECTED = """
- {as: alice, tool: git.push, args: {branch: main}, expect: deny, rule: not main}
- {as: alice, tool: git.push, args: {branch: dev}, expect: allow, rule: role developer}
- {as: bob, tool: git.push, expect: hidden}
- {as: bob, roles: [developer], prompt: git.review, expect: allow}
- {as: bob, tool: git.write, expect: needs_scope, rule: writers}
- {as: bob, tool: git.write, scopes: ["git:write"], expect: allow}
- {as: alice, tool: git.deploy, at: "2026-11-26T09:00:00+00:00", from: 10.1.2.3, expect: allow}
- {as: alice, tool: git.deploy, at: "2026-11-26T19:00:00+00:00", from: 10.1.2.3, expect: deny, rule: office}
- {as: alice, tool: git.deploy, at: "2026-11-26T09:00:00+00:00", expect: deny}
- {as: alice, tool: git.merge, meta: {ticket: A-1}, expect: allow}
- {as: alice, tool: git.merge, expect: deny}
- {as: alice, tenant: acme, tool: git.pull, expect: hidden, rule: no pulls}
- {as: alice, tool: git.pull, agent: shell, chain: [planner], annotations: {readOnlyHint: true}, expect: allow}
- {as: alice, resource: "git.file:///readme.md", proof: mtls, expect: allow}
"""


def run(folder: Path, cases: str, *options: str, config: str = CONFIG) -> Result:
    (folder / "concento.yaml").write_text(config)
    (folder / "decisions.yaml").write_text(cases)
    arguments = ["policy", "test", str(folder / "decisions.yaml"), "--config", str(folder / "concento.yaml")]
    return CliRunner().invoke(cli, [*arguments, *options])


def test_decisions_as_expected_are_counted_and_not_shown(tmp_path) -> None:
    done = run(tmp_path, EXPECTED)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "14 of 14 decisions as expected" in done.stderr


def test_other_decisions_are_shown_with_what_is_and_why(tmp_path) -> None:
    done = run(tmp_path, EXPECTED + "- {as: bob, tool: git.push, expect: allow}\n")
    assert done.exit_code == 1
    (_, row) = done.stdout.splitlines()
    for part in ("✗", "16", "bob", "tool git.push", "allow", "hidden", "default", "the caller is not in this role"):
        assert part in row
    assert "14 of 15 decisions as expected" in done.stderr


def test_another_rule_than_expected_is_a_failure(tmp_path) -> None:
    done = run(tmp_path, "- {as: alice, tool: git.pull, expect: allow, rule: writers}")
    assert done.exit_code == 1
    assert "allow by writers" in done.stdout


def test_verbose_shows_all(tmp_path) -> None:
    assert run(tmp_path, EXPECTED, "-v").stdout.count("✓") == 14


def test_json_has_the_failures(tmp_path) -> None:
    done = run(tmp_path, "[{as: bob, tool: git.push, expect: allow}, {as: bob, tool: git.x, expect: hidden}]", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["passed"], told["cases"]) == (1, 1, [])
    (failed,) = told["failed"]
    assert (failed["line"], failed["is"], failed["expected"], failed["rule"]) == (1, "hidden", "allow", "default")


@pytest.mark.parametrize(
    ("cases", "problem"),
    [
        ("", "expected a list of decisions"),
        ("[]", "at least 1"),
        ("{}", "expected a list"),
        ("[{as: a, tol: git.x, expect: allow}]", "1:10: unknown key 'tol'; did you mean 'tool'?"),
        (
            "[{as: a, tool: git.x, expect: alow}]",
            "1:31: expected one of allow, hidden, needs_scope, deny; did you mean",
        ),
        ("[{tool: git.x, expect: allow}]", "a decision needs the key 'as'"),
        ("[{as: a, expect: allow}]", "one of 'tool', 'prompt' and 'resource'"),
        ("[{as: a, tool: git.x, prompt: git.y, expect: allow}]", "one of 'tool', 'prompt' and 'resource'"),
        ("[{as: a, tool: push, expect: allow}]", "expected server.name"),
        ("[{as: a, tenant: acne, tool: git.x, expect: allow}]", "unknown tenant 'acne'; did you mean 'acme'?"),
        ("[{as: a, tool: git.x, at: '2026-11-26T09:00:00', expect: allow}]", "with its offset"),
        ("[{as: a, tool: git.x, from: here, expect: allow}]", "expected an IP address"),
        ("[{as: a, tool: git.x, annotations: {destructive: true}, expect: allow}]", "can't be a hint"),
        ("[{as: a, as: b, tool: git.x, expect: allow}]", "duplicate key 'as'"),
        ("[{as: a", "this is not YAML"),
    ],
)
def test_file_that_can_not_be_used_ends_with_2_and_the_place(tmp_path, cases, problem) -> None:
    done = run(tmp_path, cases)
    assert (done.exit_code, done.stdout) == (2, "")
    assert problem in done.stderr


def test_file_that_is_no_text_ends_with_2(tmp_path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff")
    (tmp_path / "concento.yaml").write_text(CONFIG)
    done = CliRunner().invoke(cli, ["policy", "test", str(tmp_path / "x.yaml"), "-c", str(tmp_path / "concento.yaml")])
    assert done.exit_code == 2


def test_configuration_that_can_not_be_used_ends_with_2(tmp_path) -> None:
    done = run(tmp_path, EXPECTED, config="policies: [{name: x}]")
    assert done.exit_code == 2
    assert "either allows or denies" in done.stderr


def test_names_with_brackets_are_shown_as_they_are(tmp_path) -> None:
    assert "[bold]bob" in run(tmp_path, '[{as: "[bold]bob", tool: git.push, expect: allow}]').stdout
