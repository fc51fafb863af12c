"""`concento explain`: whether somebody sees a tool and may call it, by which rule, under which limits and
guards.

It calls nothing.
"""

from typing import Any

import click

from ..admin.explain import Question
from ..model.tenant import DEFAULT_TENANT
from . import completing
from .common import config_option, json_option, put_json, read_config
from .talk import with_hub


@click.command(name="explain")
@click.argument("tool", shell_complete=completing.tools, help="Its public name, or server.tool.")
@click.option("--as", "subject", default="anonymous", metavar="USER", help="Who would call; by default, nobody known.")
@click.option("--agent", metavar="A", help="The agent that acts for them.")
@click.option("--tenant", metavar="T", default=DEFAULT_TENANT, help="Their tenant; by default the operator's own.")
@click.option(
    "--role",
    "roles",
    metavar="R",
    multiple=True,
    help="A role that their credential names; by default their API key's.",
)
@click.option("--scope", "scopes", metavar="S", multiple=True, help="A scope of it; by default their API key's.")
@click.option("--args", "arguments", metavar="JSON", help="Arguments, for rules and adapters that look at them.")
@click.option("--from", "address", metavar="IP", help="Where the call would come from, for rules that look at it.")
@config_option
@json_option
def command(
    tool: str,
    subject: str,
    agent: str | None,
    tenant: str,
    roles: tuple[str, ...],
    scopes: tuple[str, ...],
    arguments: str | None,
    address: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Say whether USER sees TOOL and may call it, by which rule, under which limits and guards, and who would answer.
    Nothing is called.

    \b
    Example:
      concento explain git__push --as alice --args '{"branch": "main"}'
    """
    question = Question(tool, subject, agent, tenant, roles, scopes, arguments, address)
    told = with_hub(read_config(config), lambda talk: talk.explain(question))
    if as_json:
        put_json(told)
    else:
        show(told)
    raise SystemExit(0 if told["callable"] else 1)


def _show_candidate(one: dict[str, Any]) -> None:
    """One server's tool: when it is asked, why, and how its server is."""
    place = f"{one['order']}." if one["order"] else "-"
    click.echo(f"  {place:3} {one['tool']}: {one['state']}, {one['in_flight']} in flight; {one['why']}")
    if len(one["replicas"]) > 1 or any(replica["circuit"] != "closed" for replica in one["replicas"]):
        for number, replica in enumerate(one["replicas"]):
            breaker = {
                "closed": "",
                "half_open": ", breaker half open",
                "open": f", breaker open {replica['open_s']:g} s",
            }
            latency = f", {replica['latency_ms']:g} ms" if replica["latency_ms"] else ""
            load = f"{replica['in_flight']} in flight{latency}{breaker[replica['circuit']]}"
            click.echo(f"        replica {number}: {replica['state']}, {load}")
    if "arguments" in one:
        click.echo(f"        gets {one['arguments']}")


def show(told: dict[str, Any]) -> None:
    """For a person."""
    who = told["principal"]
    roles = ", ".join(who["roles"]) or "no roles"
    scopes = f", scopes {' '.join(who['scopes'])}" if who["scopes"] else ""
    click.echo(f"{who['subject']}{' by ' + who['agent'] if who['agent'] else ''} ({who['tenant']}): {roles}{scopes}")
    if told["known_by"]:
        click.echo(f"  {told['known_by']}")
    sees = "sees" if told["visible"] else "does not see"
    may = "may call" if told["callable"] else "may not call"
    click.echo(f"{sees} {told['tool']} and {may} it: {told['reason']}")
    for line in told["rules"]:
        click.echo(f"  {line}")
    if told["strategy"] is not None:
        click.echo(f"strategy: {told['strategy']}")
    for one in told["candidates"]:
        _show_candidate(one)
    for limit in told["limits"]:
        click.echo(f"  limit {limit}")
    for guard in told["guards"]:
        click.echo(f"  guard {guard}")
