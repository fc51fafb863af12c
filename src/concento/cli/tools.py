"""`concento tools`: all tools, or those that fit some words."""

import click

from .common import config_argument, json_option, put_json, put_table, read_config
from .talk import with_hub

DESCRIPTION_CHARS = 100


@click.command(name="tools")
@config_argument
@click.option("--search", metavar="WORDS", help="Only tools that fit these words, best first.")
@json_option
def command(config: str | None, search: str | None, as_json: bool) -> None:
    """List tools, or search them.

    \b
    Example:
      concento tools --search "current time"
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
