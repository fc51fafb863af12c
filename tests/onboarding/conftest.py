"""A person's home folder for the verbs that look around in one."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from concento.cli.main import cli

from .homes import furnish


class Home(NamedTuple):
    """A furnished home; `here` is the folder the person works in, `files` what each client's file is."""

    path: Path
    here: Path
    files: Mapping[Path, bytes]
    concento: Callable[..., Result]
    """Runs a verb there."""

    @property
    def config(self) -> Path:
        return self.here / "concento.yaml"

    def env(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.path)}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """All clients' files, a working folder, and nothing else of this machine's."""
    path, here = tmp_path / "ada", tmp_path / "ada/work"
    here.mkdir(parents=True)
    for name in (
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
        "CLAUDE_CONFIG_DIR",
        "COPILOT_HOME",
        "WSL_DISTRO_NAME",
        "GH_TOKEN",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.chdir(here)
    return Home(path, here, furnish(path), lambda *arguments: CliRunner().invoke(cli, list(map(str, arguments))))
