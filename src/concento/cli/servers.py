"""`concento servers`: what is connected, what is failing and why."""

from typing import Any

import click

from .common import config_argument, json_option, put_json, put_table, read_config, tell
from .talk import with_hub

_COLUMNS = ("server", "state", "era", "tools", "prompts", "resources", "in flight", "where")


@click.command(name="servers")
@config_argument
@json_option
def command(config: str | None, as_json: bool) -> None:
    """Show what is connected, what is failing and why, with the last words of failing servers.

    \b
    Example:
      concento servers
    """
    show(with_hub(read_config(config), lambda talk: talk.servers()), as_json)


def show(told: dict[str, Any], as_json: bool) -> None:
    """The servers as JSON, or as a table with what is wrong below."""
    if as_json:
        put_json(told)
        return
    from rich.table import Table

    table = Table(*_COLUMNS, box=None, header_style="bold", pad_edge=False)
    for server in told["servers"]:
        resources = server["resources"] + server["templates"]
        era = f"{server['era']} {server['revision']}" if server["era"] else ""
        counts = [str(count) for count in (server["tools"], server["prompts"], resources, server["in_flight"])]
        is_drained = server["state"] in ("draining", "drained")
        state = "stale" if server["stale"] and not is_drained else server["state"]
        table.add_row(server["alias"], state, era, *counts, ", ".join(server["replicas"]))
    put_table(table)
    for server in told["servers"]:
        if server["error"]:
            tell(f"{server['alias']}: {server['error']}")
            for line in server["stderr"][-5:]:
                tell(f"    {line}")
        for note in server["notes"]:
            tell(f"{server['alias']}: {note}")
    for note in told["notes"]:
        tell(note)
