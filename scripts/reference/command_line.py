"""cli.md: every verb."""

import sys
from collections.abc import Iterator
from typing import Final

import click

from concento.cli.main import cli
from concento.control.config import keys

from .markdown import paragraphs, sentences, table

TRIED: Final = frozenset(("serve", "check", "servers", "tools", "inspect", "call", "schema"))
"""Verbs whose examples run where the page is tried: they need nothing but the file above them, and change nothing."""


def page() -> str:
    """The page."""
    rules = sentences(sys.modules[cli.__module__.rpartition(".")[0]].__doc__).split("\n\n")[1]
    return paragraphs(
        "# Command line",
        rules,
        "Where CONFIG is left out, `./concento.yaml` is used, else the user's own "
        "(`$XDG_CONFIG_HOME/concento/concento.yaml`). The examples go with this one:",
        f"<!-- file: concento.yaml -->\n```yaml\nservers: {keys.SERVERS.example}\n```",
        *(part for command, context in verbs() for part in verb(command, context)),
    )


def verbs(
    group: click.Group = cli, context: click.Context | None = None
) -> Iterator[tuple[click.Command, click.Context]]:
    """Every verb, and those below a verb, in the order of `--help`."""
    context = context or click.Context(cli, info_name="concento")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        below = click.Context(command, parent=context, info_name=name)
        yield command, below
        if isinstance(command, click.Group):
            yield from verbs(command, below)


def verb(command: click.Command, context: click.Context) -> Iterator[str]:
    """One verb: what it does, its options, its example."""
    prose, example = help_of(command)
    yield f"## `{context.command_path}`"
    yield f"`{context.command_path} {' '.join(command.collect_usage_pieces(context))}`"
    yield prose
    rows = [record for param in command.params if (record := param.get_help_record(context))]
    if rows:
        yield table(("option", "meaning"), [(f"`{option}`", meaning) for option, meaning in rows])
    if example:
        language = "json" if example.startswith("{") else "sh"
        yield f"{_note(command, language)}```{language}\n{example}\n```"


def _note(command: click.Command, language: str) -> str:
    """What whoever tries the page has to know of the example."""
    if command.name == "serve":
        return "<!-- serve -->\n"
    return "" if command.name in TRIED or language == "json" else "<!-- no-run: the tests of this verb try it -->\n"


def help_of(command: click.Command) -> tuple[str, str]:
    """The prose of a verb's help, and its example."""
    prose, _, example = (command.help or "").partition("\b\n")
    _, _, lines = example.partition("\n")
    return " ".join(prose.split()), "\n".join(line.strip() for line in lines.splitlines()).strip()
