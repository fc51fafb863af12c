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
@config_option
@json_option
def pending(config: str | None, as_json: bool) -> None:
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
        _show(one)
    if not told["pending"]:
        tell("no tool is held back")


@command.command(name="approve")
@click.argument("tools", nargs=-1, metavar="[TOOL]...", help="Public names; without any, all that are held back.")
@click.option("--yes", is_flag=True, help="Do not ask: for what you have looked at already.")
@config_option
@json_option
def approve(tools: tuple[str, ...], yes: bool, config: str | None, as_json: bool) -> None:
    """Show what is held back, ask about each, and let agents see what is approved. It is in the audit record.

    \b
    Example:
      concento tools approve git__push
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody is there to be asked; look with `concento tools pending`, then give --yes")

    async def ask(talk: Talk) -> list[dict[str, Any]]:
        waiting = {one["name"]: one for one in (await talk.pending())["pending"]}
        if missing := [name for name in tools if name not in waiting]:
            fail(f"{missing[0]!r} is not held back; held back are: {', '.join(waiting) or 'none'}")
        approved = []
        for one in [waiting[name] for name in tools or waiting]:
            if not yes:
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


def _show(one: dict[str, Any]) -> None:
    """What a reviewer looks at."""
    why = (
        "new, approved by nobody yet"
        if one["why"] == "new"
        else f"changed since it was approved ({one['approved_by']})"
    )
    click.secho(f"{one['name']}: {why}", bold=True)
    for suspicion in one["suspicions"]:
        click.secho(f"  ! {suspicion}", fg="red")
    for line in one["diff"]:
        click.secho(f"  {line}", fg="green" if line.startswith("+") else "red")
