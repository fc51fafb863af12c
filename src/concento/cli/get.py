"""`concento get`: objects of a running hub's configuration, where each came from, and the whole as YAML."""

from typing import Any

import click

from ..control.config.parts import KINDS
from .common import config_option, json_option, put_json, put_table, read_config, tell
from .objects import Kind, as_yaml, path_of, tenant_option
from .talk import RunningHub, with_running

_WHOLE = "config"


class _KindOrWhole(Kind):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return _WHOLE if value == _WHOLE else super().convert(value, param, ctx)


@click.command(name="get")
@click.argument("kind", type=_KindOrWhole(), help=f"What kind: {', '.join(KINDS)}; or `{_WHOLE}`, all of it.")
@click.argument("name", required=False, help="One of them; without it, all.")
@tenant_option
@config_option
@json_option
def command(kind: str, name: str | None, tenant: str | None, config: str | None, as_json: bool) -> None:
    """Show objects of the hub that runs: from the file, or put in place since; secrets as ***.

    `get config` prints what runs as YAML, which `concento check` and `concento serve` take.

    \b
    Example:
      concento get servers
      concento get view coding
      concento get config > running.yaml
    """
    configuration = read_config(config)
    if kind == _WHOLE:
        path = "/api/v1/config?origin=1"
        click.echo(with_running(configuration, lambda hub: hub.api("GET", path)).value, nl=False)
    elif name is not None:
        told = with_running(configuration, lambda hub: hub.api("GET", path_of(kind, name, tenant))).value
        if as_json:
            put_json(told)
            return
        click.echo(as_yaml({kind: {name: told["config"]}}))
        tell(_told(told))
    else:
        _list(with_running(configuration, lambda hub: _all(hub, kind, tenant)), as_json)


async def _all(hub: RunningHub, kind: str, tenant: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    whose = "" if tenant is None else f"&tenant={tenant}"
    more = ""
    while True:
        told = (await hub.api("GET", f"/api/v1/objects?kind={kind}{whose}{more}")).value
        found += told["items"]
        if told["next"] is None:
            return found
        more = f"&cursor={told['next']}"


def _list(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        put_json({"items": found})
        return
    if not found:
        tell("there are none")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "origin", "state", "by", "since", box=None, header_style="bold", pad_edge=False)
    for one in found:
        cells = (one["name"], one["origin"], one["state"], one["by"] or "", one["since"] or "")
        table.add_row(*map(Text, cells))
    put_table(table)
    for one in found:
        for problem in one["problems"]:
            tell(f"{one['name']}{problem['pointer']}: {problem['detail']}")


def _told(one: dict[str, Any]) -> str:
    if one["origin"] == "file":
        return "it is in the file"
    more = ", in place of the file's" if one["in_file"] else ""
    return f"put in place by {one['by']} at {one['since']}{more}; {one['state']}"
