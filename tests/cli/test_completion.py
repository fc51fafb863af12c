"""Completion as a person has it: real shells, the script loaded as its help says, TAB pressed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.terminal import terminal
from tests.cli.test_cli import run, serving, write_config

from concento.cli.main import VERBS

BIN = Path(sys.executable).parent
WAIT_S = 60.0


def script(shell: str, folder: Path) -> Path:
    printed = run("completion", shell, cwd=folder)
    assert printed.returncode == 0
    path = folder / f"completion.{shell}"
    path.write_text(printed.stdout)
    return path


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("LANG", "LC_ALL", "TMPDIR")}
    state = {"XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder), "TERM": "dumb"}
    return {**kept, **state, "PATH": f"{BIN}:{os.environ['PATH']}"}


SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        "PS1='ready> '; bind 'set enable-bracketed-paste off'; source {}",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        "PS1='ready> '; unsetopt zle_bracketed_paste; autoload -U compinit; compinit -u; source {}",
    ),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_verbs_names_and_tools(shell: str, tmp_path: Path) -> None:
    command, setup = SHELLS[shell]
    config = write_config(tmp_path)
    file = script(shell, tmp_path)
    with serving(config), terminal(command, tmp_path, environment(tmp_path)) as person:
        person.type(setup.format(file) + "; echo load''ed\n")
        person.wait("loaded\r?\n")
        person.type("concento imp\t")
        person.wait("concento import ")
        person.type("\x15concento add sequ\t")
        person.wait("concento add sequential-thinking ")
        person.type("\x15concento inspect s\t")  # asked of the hub that runs
        person.wait("concento inspect s__echo ")
        person.type("\x15concento serve conc\t")
        person.wait(r"concento serve concento\.yaml")
        person.type("\x15concento add --dry\t")
        person.wait("concento add --dry-run ")


def test_fish_is_told_verbs_names_and_tools(tmp_path: Path) -> None:
    write_config(tmp_path)
    file = script("fish", tmp_path)

    def completed(line: str) -> list[str]:
        asked = subprocess.run(
            ["fish", "--no-config", "-c", f"source {file}; complete -C '{line}'"],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=True,
        )
        return asked.stdout.splitlines()

    assert completed("concento imp") == [f"import\t{VERBS['import']}"]
    assert completed("concento add sequ")[0].startswith("sequential-thinking\t")
    assert completed("concento inspect s") == ["s__"]  # no hub runs: what its tools begin with


def test_completion_is_quiet_where_nothing_can_be_known(tmp_path: Path) -> None:
    (tmp_path / "concento.yaml").write_text("servers: {a: {comand: []}}\n")
    asked = subprocess.run(
        [str(BIN / "concento")],
        cwd=tmp_path,
        env={
            **environment(tmp_path),
            "_CONCENTO_COMPLETE": "bash_complete",
            "COMP_WORDS": "concento call x",
            "COMP_CWORD": "2",
        },
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=True,
    )
    assert asked.stdout.strip() == ""
    assert asked.stderr == ""


def test_a_shell_nobody_knows_is_wrong_usage(tmp_path: Path) -> None:
    refused = run("completion", "powershell", cwd=tmp_path)
    assert refused.returncode == 2
    assert "fish" in refused.stderr
