"""`concento drain`: give a server of a running hub no new calls, and wait until the last one has ended."""

import asyncio
from typing import Any

import click

from .common import config_option, counted, json_option, put_json, read_config, tell
from .objects import path_of, reason_option, tenant_option
from .talk import RunningHub, with_running

POLL_S = 0.2


@click.command(name="drain")
@click.argument("server", help="Its alias.")
@click.option("--undo", is_flag=True, help="Give it calls again.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the calls that run.")
@tenant_option
@reason_option
@config_option
@json_option
def command(
    server: str,
    undo: bool,
    no_wait: bool,
    tenant: str | None,
    reason: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Give a server no new calls, let those that run end, then stop it; over restarts, until `--undo`.

    \b
    Example:
      concento drain search --reason "new index"
      concento drain search --undo
    """
    path = path_of("servers", server, tenant)

    async def drain(hub: RunningHub) -> dict[str, Any]:
        how = "undrain" if undo else "drain"
        told: dict[str, Any] = (await hub.api("POST", f"{path}/{how}", Concento_Reason=reason)).value
        if told["in_flight"] and not no_wait and not undo:
            tell(f"waiting for {counted(told['in_flight'], 'call')} to end; stop waiting with Ctrl-C")
        while told["state"] == "draining" and not no_wait:
            await asyncio.sleep(POLL_S)
            told = (await hub.api("GET", f"{path}/status")).value
        return told

    told = with_running(read_config(config), drain)
    if as_json:
        put_json(told)
    else:
        tell(f"{server}: {told['state']}")
