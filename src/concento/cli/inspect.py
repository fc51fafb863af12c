"""`concento inspect`: one tool, whole."""

import difflib
import json

import click

from . import completing
from .common import config_option, fail, json_option, put_json, read_config
from .talk import Talk, with_hub


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

    async def ask(talk: Talk) -> tuple[object, list[str]]:
        found = await talk.tool(tool)
        return found, [] if found is not None else [one["name"] for one in (await talk.tools(None))["tools"]]

    found, names = with_hub(read_config(config), ask)
    if not isinstance(found, dict):
        fail(unknown(tool, names))
    if as_json:
        put_json(found)
        return
    click.echo(f"{found['name']}  ({found['own_name']} of {found['server']})")
    click.echo(f"  server: {', '.join(found['replicas'])}; isolation {found['isolation']}; {found['timeout_s']:g} s")
    click.echo(f"  state: {found['state']}")
    if found["description"]:
        click.echo(f"\n{found['description'].strip()}\n")
    click.echo(json.dumps(found["definition"].get("inputSchema"), indent=2, ensure_ascii=False))


def unknown(tool: str, names: list[str]) -> str:
    """That there is no such tool, and what is near."""
    near = difflib.get_close_matches(tool, names, 3)
    return f"there is no tool {tool!r}" + (f"; nearest: {', '.join(near)}" if near else "")
