"""`concento inspect`: one tool, whole."""

import difflib
import json
from typing import Any

import click

from ..catalog.names import SEPARATOR
from . import completing
from .common import config_option, json_option, put_json, read_config
from .talk import CallFailed, Talk, with_hub


@click.command(name="inspect")
@click.argument("tool", shell_complete=completing.tools, help="Its public name, as `concento tools` shows it.")
@config_option
@json_option
def command(tool: str, config: str | None, as_json: bool) -> None:
    """Show one tool: its definition, its server, its own name there, how it is called.

    \b
    Example:
      concento inspect time__get_current_time
    """

    async def ask(talk: Talk) -> dict[str, Any]:
        found = await talk.tool(tool)
        if found is None:
            raise await unknown(talk, tool)
        return found

    found = with_hub(read_config(config), ask)
    if as_json:
        put_json(found)
        return
    if "bound" in found:
        bound = [one["tool"] + ("" if one["there"] else " (not there)") for one in found["bound"]]
        click.echo(f"{found['name']}  ({found['strategy']} over {', '.join(bound)})")
    else:
        click.echo(f"{found['name']}  ({found['own_name']} of {found['server']})")
    click.echo(f"  server: {', '.join(found['replicas'])}; isolation {found['isolation']}; {found['timeout_s']:g} s")
    click.echo(f"  state: {found['state']}")
    if found["description"]:
        click.echo(f"\n{found['description'].strip()}\n")
    click.echo(json.dumps(found["definition"].get("inputSchema"), indent=2, ensure_ascii=False))


async def unknown(talk: Talk, tool: str) -> CallFailed:
    """That there is no such tool, what is near, and which servers may have it but can't be listed."""
    names = [one["name"] for one in (await talk.tools(None))["tools"]]
    servers = (await talk.servers())["servers"]
    missing = [server for server in servers if server["state"] != "ready" and not server["tools"]]
    for server in missing:
        if tool.startswith(server["alias"] + SEPARATOR):
            return CallFailed(f"the server {server['alias']!r} is {server['state']}" + _why(server))
    near = difflib.get_close_matches(tool, names, 3)
    told = f"there is no tool {tool!r}" + (f"; nearest: {', '.join(near)}" if near else "")
    return CallFailed("\n".join([told, *(f"    {one['alias']} is {one['state']}{_why(one)}" for one in missing)]))


def _why(server: dict[str, Any]) -> str:
    error = (server["error"] or "").removeprefix(f"The server {server['alias']!r} ")
    return f": {error}" if error else "; its tools are not known yet"
