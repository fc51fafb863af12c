"""`concento views`: the endpoints of several servers, and what their lists cost an agent that reads them."""

import click

from .common import config_argument, json_option, put_json, put_table, read_config
from .talk import with_hub


@click.command(name="views")
@config_argument
@json_option
def command(config: str | None, as_json: bool) -> None:
    """Show the endpoints, what each lists, and about how many tokens that costs an agent.

    \b
    Example:
      concento views
    """
    told = with_hub(read_config(config), lambda talk: talk.views())
    if as_json:
        put_json(told)
        return
    from rich.table import Table

    table = Table(
        "endpoint", "tenant", "lists", "tools", "tokens", "saved", box=None, header_style="bold", pad_edge=False
    )
    for view in told["views"]:
        saved = view["tokens_of_all"] - view["tokens"]
        share = f"{saved:,} ({saved / view['tokens_of_all']:.0%})" if saved > 0 else ""
        row = (view["endpoint"], view["tenant"], view["expose"], str(view["tools"]), f"{view['tokens']:,}", share)
        table.add_row(*row)
    put_table(table)
