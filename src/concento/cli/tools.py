"""`concento tools`: all tools, or those that fit some words; and those that wait for somebody to approve them."""

import sys
from typing import Any

import click

from .common import (
    Defaulting,
    config_argument,
    config_option,
    counted,
    fail,
    json_option,
    put_json,
    put_table,
    read_config,
    tell,
)
from .talk import Talk, with_hub

DESCRIPTION_CHARS = 100
HASH_CHARS = 12


class _Group(Defaulting):
    first = "list"


@click.group(name="tools", cls=_Group)
def command() -> None:
    """List or search tools; look at those that are held back, and approve them.

    \b
    Example:
      concento tools --search "current time"
      concento tools pending
    """


@command.command(name="list")
@config_argument
@click.option("--search", metavar="WORDS", help="Only tools that fit these words, best first.")
@json_option
def listed(config: str | None, search: str | None, as_json: bool) -> None:
    """List tools, or search them.

    \b
    Example:
      concento tools list --search "current time"
    """
    if search is not None and not search.strip():
        raise click.UsageError("--search: no words given; leave it out to list all tools")
    told = with_hub(read_config(config), lambda talk: talk.tools(search))
    if as_json:
        put_json(told)
        return
    from rich.table import Table

    table = Table("tool", "server", "description", box=None, header_style="bold", pad_edge=False)
    for tool in told["tools"]:
        first = (tool["description"] or "").strip().partition("\n")[0]
        table.add_row(tool["name"], tool["server"], first[:DESCRIPTION_CHARS])
    put_table(table)


@command.command(name="pending")
@click.option(
    "--names", is_flag=True, help="Only what `approve` takes: a line for each, with the hash that was looked at."
)
@config_option
@json_option
def pending(names: bool, config: str | None, as_json: bool) -> None:
    """Show the tools that are held back, what changed of each, and what looks suspicious.

    \b
    Example:
      concento tools pending
    """
    told = with_hub(read_config(config), lambda talk: talk.pending())
    if as_json:
        put_json(told)
        return
    for one in told["pending"]:
        if names:
            click.echo(_known_by(one))
        else:
            _show(one)
    if not told["pending"]:
        tell("no tool is held back")


@command.command(name="approve")
@click.argument("tools", nargs=-1, metavar="[NAME@HASH]...", help="As `pending` shows them; without any, it asks.")
@config_option
@json_option
def approve(tools: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """Let agents see what was held back: what is named by its hash, or what is shown and asked about now. It is in the
    audit record.

    \b
    Example:
      concento tools approve
      concento tools approve git__push@3f9a0c2b71de
    """
    if not tools and not sys.stdin.isatty():
        raise click.UsageError(
            "nobody is there to be asked; name tools with their hash, as `concento tools pending` does"
        )
    for name in tools:
        if "@" not in name:
            raise click.UsageError(
                f"{name!r} says not which definition; give NAME@HASH, as `concento tools pending` does"
            )

    async def ask(talk: Talk) -> list[dict[str, Any]]:
        waiting = (await talk.pending())["pending"]
        chosen = [_named(name, waiting) for name in tools] if tools else waiting
        approved = []
        for one in chosen:
            if not tools:
                _show(one)
                if not click.confirm("Show it to agents?", err=True):
                    continue
            approved.append(await talk.approve(one["server"], one["tool"], one["hash"]))
        return approved

    done = with_hub(read_config(config), ask)
    if as_json:
        put_json({"approved": done})
    else:
        click.echo(f"approved {counted(done, 'tool')}{': ' if done else ''}{', '.join(one['name'] for one in done)}")


def _named(text: str, waiting: list[dict[str, Any]]) -> dict[str, Any]:
    """The tool that is held back under that name, with the definition of that hash."""
    name, _, hash = text.rpartition("@")
    alike = [one for one in waiting if one["name"] == name]
    found = [one for one in alike if len(hash) >= HASH_CHARS and one["hash"].startswith(hash)]
    if len(found) == 1:
        return found[0]
    if alike:
        fail(f"{name!r} is another definition than that of {hash[:64]!r} by now; look again: `concento tools pending`")
    held = ", ".join(one["name"] for one in waiting) or "none"
    fail(f"{name!r} is not held back; held back are: {held}")


def _known_by(one: dict[str, Any]) -> str:
    return f"{one['name']}@{one['hash'][:HASH_CHARS]}"


def _show(one: dict[str, Any]) -> None:
    """What a reviewer looks at."""
    why = "new, approved by nobody yet"
    if one["why"] == "changed":
        why = f"changed since it was approved ({one['approved_by']})"
    click.secho(f"{_known_by(one)} of {one['server']}: {why}", bold=True)
    for suspicion in one["suspicions"]:
        click.secho(f"  ! {suspicion}", fg="red")
    for line in one["diff"]:
        click.secho(f"  {line}", fg="green" if line.startswith("+") else "red")
