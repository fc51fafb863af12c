"""`concento delete`: take an object away that was put in place at run time."""

from typing import Any

import click

from .common import config_option, json_option, put_json, read_config, tell
from .objects import kind_argument, path_of, reason_option, tenant_option
from .talk import RunningHub, with_running


@click.command(name="delete")
@kind_argument
@click.argument("name", help="Which.")
@tenant_option
@reason_option
@config_option
@json_option
def command(kind: str, name: str, tenant: str | None, reason: str | None, config: str | None, as_json: bool) -> None:
    """Take away an object that came by `concento apply` or the admin API; what the file has in its place comes back.

    \b
    Example:
      concento delete server docs
    """
    path = path_of(kind, name, tenant)

    async def delete(hub: RunningHub) -> dict[str, Any]:
        tag = (await hub.api("GET", path)).tag
        return dict((await hub.api("DELETE", path, If_Match=tag, Concento_Reason=reason)).value)

    told = with_running(read_config(config), delete)
    if as_json:
        put_json(told)
    else:
        tell(f"{name}: {told['now']}")
