"""What the steps share: running a program, saying what goes on, refusing."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
BIN: Final = Path(sys.executable).parent
"""Where `.venv` keeps uv and the rest."""

COMMAND_S: Final = 600.0

# What a build or an installation must not learn from the checkout it is started in.
_OURS: Final = (
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "UV_PROJECT_ENVIRONMENT",
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
)


class Refused(Exception):
    """What was built must not go out: says what is wrong with it, where, and what to do."""


def run(command: Sequence[str | Path], *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """The standard output of a program that ends well, with `env` on top of ours. Errors: Refused, with its output."""
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=environ(env), capture_output=True, text=True, timeout=COMMAND_S)
    if done.returncode != 0:
        raise Refused(f"`{' '.join(words)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def environ(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what belongs to the checkout."""
    return {**{name: value for name, value in os.environ.items() if name not in _OURS}, **(more or {})}


def say(line: str) -> None:
    """One line for whoever waits."""
    print(f"  {line}", file=sys.stderr, flush=True)
