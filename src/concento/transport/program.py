"""Find the program that a command starts."""

import os
import shutil
from pathlib import Path
from typing import Final

from ..model.errors import ConcentoError

_REMEDIES: Final = {
    **dict.fromkeys(("uvx", "uv"), "install uv, `pip install 'concento[uvx]'` puts it beside the hub,"),
    **dict.fromkeys(("npx", "node", "npm"), "install Node.js 20 or newer"),
    "docker": "install Docker and start it",
    "podman": "install Podman",
    "dnx": "install the .NET SDK 10 or newer",
    "bunx": "install Bun",
    "deno": "install Deno",
}
"""What brings the programs that servers are usually started by."""


class SpawnError(ConcentoError):
    """A command that can't be started; says why and what to do."""


def located(command: tuple[str, ...], path: str, cwd: Path | None) -> tuple[str, ...]:
    """The command with its program found, so that a typo is told as such. Errors: SpawnError."""
    program = command[0]
    if "/" in program:
        place = ((cwd or Path()) / program).absolute()
        if not place.exists():
            raise SpawnError(f"can't start: {program!r} does not exist; correct the path in `command`")
        if place.is_dir() or not os.access(place, os.X_OK):
            raise SpawnError(f"can't start: {program!r} is not executable; chmod +x it, or run it by its interpreter")
        return (str(place), *command[1:])
    found = shutil.which(program, path=path)
    if found is None:
        remedy = _REMEDIES.get(program, "install it")
        raise SpawnError(f"can't start: the command {program!r} was not found on PATH; {remedy} or give its full path")
    return (os.path.abspath(found), *command[1:])
