"""What verbs share: reading the configuration, ending with the right code, telling a person."""

import json
import os
import re
import sys
from collections.abc import Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ..control.config import find_config, load
from ..model.config import Config
from ..model.errors import ConcentoError, ConfigError

if TYPE_CHECKING:
    from rich.table import Table


def read_config(argument: str | None) -> Config:
    """The configuration that a verb was given, or the one found. Ends with code 2 and every problem if it is wrong."""
    try:
        return load(find_config(argument, Path.cwd(), os.environ), os.environ)
    except ConfigError as error:
        refuse(error)


def refuse(error: ConfigError) -> NoReturn:
    """End with code 2, with every problem of a configuration."""
    for problem in error.problems:
        tell(problem)
    raise SystemExit(2)


def tell(text: str) -> None:
    """Say something to the person."""
    click.echo(text, err=True)


def fail(error: ConcentoError | str) -> NoReturn:
    """End with code 1."""
    tell(f"concento: {error}")
    raise SystemExit(1)


def user_state() -> Path:
    """The folder where state that belongs to no single configuration is kept."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local/state") / "concento"


def shortened(path: Path) -> str:
    """A path as a person would write it: `~` for the home folder, and nothing before what is in this one."""
    for base, sign in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path.is_relative_to(base) and path != base:
            return f"{sign}{path.relative_to(base)}"
    return str(path)


def counted(things: Sized | int, noun: str) -> str:
    """How many there are: `1 server`, `3 servers`."""
    number = things if isinstance(things, int) else len(things)
    return f"{number} {noun}{'s' * (number != 1)}"


_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f]")


def printable(text: str) -> str:
    """A text of somebody else's without what a terminal would obey."""
    return _UNPRINTABLE.sub("�", text)


_WIDTH_MAX = 10_000


class Defaulting(click.Group):
    """A group that runs one of its commands if it is told none: `first`."""

    first = ""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "--help"):
            args = [self.first, *args]
        return super().parse_args(ctx, args)


def put_table(table: "Table") -> None:
    """A table: as wide as a terminal is; a line a row where the output is none."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH_MAX
    console.print(table)


def put_json(value: Any) -> None:
    """Data, for programs."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


CONFIG_HELP = "The configuration; by default ./concento.yaml, then the user's."
config_argument = click.argument("config", required=False, type=click.Path(), help=CONFIG_HELP)
config_option = click.option("--config", "-c", metavar="FILE", type=click.Path(), help=CONFIG_HELP)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
