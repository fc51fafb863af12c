"""`concento accounts`: whose accounts are connected at servers; connect one of your own, disconnect anybody's."""

import asyncio
from typing import Any

import click

from ..model.errors import CallError
from ..model.principal import ANONYMOUS
from ..model.tenant import DEFAULT_TENANT
from .common import Defaulting, config_argument, config_option, json_option, put_json, put_table, read_config, tell
from .talk import CallFailed, Talk, with_hub

WAIT_S = 600.0
POLL_S = 0.5


class _Group(Defaulting):
    first = "list"


@click.group(name="accounts", cls=_Group)
def command() -> None:
    """Show whose accounts are connected at servers that want to know their users; connect and disconnect them.

    \b
    Example:
      concento accounts
      concento accounts connect github
    """


@command.command(name="list")
@config_argument
@json_option
def listed(config: str | None, as_json: bool) -> None:
    """List the accounts that are connected.

    \b
    Example:
      concento accounts list
    """
    told = with_hub(read_config(config), lambda talk: talk.accounts())
    if as_json:
        put_json(told)
        return
    from rich.table import Table

    table = Table("server", "user", "tenant", "state", "may", "since", box=None, header_style="bold", pad_edge=False)
    for one in told["accounts"]:
        user = "(anybody)" if one["user"] == ANONYMOUS.subject else one["user"]
        tenant = "" if one["tenant"] == DEFAULT_TENANT else one["tenant"]
        state = "connected" if one["connected"] else "ended"
        table.add_row(one["server"], user, tenant, state, " ".join(one["scopes"]), one["since"])
    put_table(table)
    if not told["accounts"]:
        tell("no account is connected")


@command.command(name="connect")
@click.argument("server")
@config_option
@json_option
def connect(server: str, config: str | None, as_json: bool) -> None:
    """Connect your account at a server, of a hub that you run for yourself. Where callers prove who they are, each
    user's agent asks them instead.

    \b
    Example:
      concento accounts connect github
    """

    async def ask(talk: Talk) -> dict[str, Any]:
        since = await _since(talk, server)
        try:
            tell(f"open this page, and go on there:\n  {(await talk.connect_account(server))['url']}")
        except CallError as error:
            raise CallFailed(error.message) from None
        tell("waiting until the account is connected; stop with Ctrl-C")
        async with asyncio.timeout(WAIT_S):
            return {"server": server, "since": await _changed(talk, server, since)}

    try:
        done = with_hub(read_config(config), ask)
    except TimeoutError:
        raise click.ClickException(f"nobody connected it within {WAIT_S / 60:.0f} minutes") from None
    put_json(done) if as_json else click.echo(f"{server} is connected")


async def _changed(talk: Talk, server: str, before: str | None) -> str | None:
    """Wait until the account is another than before."""
    now = before
    while now == before:
        await asyncio.sleep(POLL_S)  # the hub may be another process
        now = await _since(talk, server)
    return now


async def _since(talk: Talk, server: str) -> str | None:
    """Since when the account of whoever uses the hub is connected."""
    found = (await talk.accounts())["accounts"]
    return next((one["since"] for one in found if one["server"] == server and one["connected"]), None)


@command.command(name="disconnect")
@click.argument("server")
@click.option("--user", default=ANONYMOUS.subject, help="Whose; by default of whoever uses a hub without sign-in.")
@click.option("--tenant", default=DEFAULT_TENANT, help="Of which tenant.")
@config_option
@json_option
def disconnect(server: str, user: str, tenant: str, config: str | None, as_json: bool) -> None:
    """Forget an account, and have what was granted revoked. It is in the audit record.

    \b
    Example:
      concento accounts disconnect github --user alice
    """
    done = with_hub(read_config(config), lambda talk: talk.disconnect_account(server, user, tenant))
    if as_json:
        put_json(done)
    else:
        whose = "" if user == ANONYMOUS.subject else f" of {user}"
        click.echo(f"the account{whose} at {server} is disconnected")
