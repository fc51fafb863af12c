"""What the verbs share that write a configuration: which one, what only a person knows, the text with more servers."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ..control.config import find_config, load
from ..control.config.load import FILE_NAME
from ..model.config import Config
from ..model.errors import ConfigError
from ..onboarding.disguise import Answer
from ..onboarding.insert import CantInsert, NewServer, inserted
from ..onboarding.translate import Need
from ..onboarding.trial import printable
from .common import fail, refuse, tell

config_to_write = click.option(
    *("--config", "-c", "named"),
    metavar="FILE",
    type=click.Path(),
    help="Configuration to write; by default the one in use, else ./concento.yaml.",
)


def target_of(named: str | None, *, anew: bool = False) -> tuple[Path, Config, bytes | None]:
    """The configuration to write, what it has, and its bytes; `anew`: as if there were none.

    It is the one named, else the one that other verbs would use, else a new one in this folder. Ends with code 2 if
    one is there and wrong.
    """
    try:
        path = find_config(named, Path.cwd(), os.environ)
    except ConfigError:
        path = Path.cwd() / FILE_NAME
    if anew or not path.exists():
        return path, Config(), None
    try:
        return path, load(path, os.environ), path.read_bytes()
    except ConfigError as error:
        refuse(error)


def can_ask(as_json: bool) -> bool:
    """Whether a person sits there."""
    return not as_json and sys.stdin.isatty()


def ask(needs: Sequence[Need]) -> dict[str, Answer]:
    """Ask a person; what is left empty stays open."""
    answers: dict[str, Answer] = {}
    for need in needs:
        text = f"  {printable(need.name)}" + (f" ({printable(need.description)})" if need.description else "")
        shown = need.default is not None and not need.is_secret
        value = click.prompt(text, default=need.default or "", hide_input=need.is_secret, show_default=shown, err=True)
        if value:
            answers[need.name] = Answer(value, need.is_secret)
    return answers


def added_to(path: Path, before: bytes, servers: Sequence[NewServer]) -> str:
    """A configuration's text with more servers in it. Ends with code 1 if it has no place for them."""
    try:
        return inserted(before.decode(), servers)
    except CantInsert as error:
        tell(f"concento: {path}: {error}. Put this below `servers:` yourself, or name another file with --config:")
        fail("\n" + inserted("", servers).partition("\n")[2].rstrip())
