"""`concento alerts`: what fires and who was told; acknowledge it, silence it, try a channel."""

import time
from typing import Any, Final

import click

from .common import Defaulting, config_option, counted, json_option, put_json, put_table, read_config, tell
from .talk import with_running

_COLUMNS: Final = ("alert", "state", "severity", "rule", "about", "since", "why")
_COLOURS: Final = {"firing": "red", "pending": "yellow", "acknowledged": "blue", "silenced": "blue", "over": "green"}


class _Group(Defaulting):
    first = "list"


@click.group(name="alerts", cls=_Group)
def command() -> None:
    """Show what fires at the hub that runs, and who was told; acknowledge it, silence it, try a channel.

    \b
    Example:
      concento alerts
      concento alerts ack server_down --note "the disk is being replaced"
      concento alerts silence server=time --for 2h --why "it is being moved"
    """


@command.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those that are over, too: the last 50.")
@config_option
@json_option
def list_alerts(everything: bool, config: str | None, as_json: bool) -> None:
    """Show alerts, the worst first: firing, pending, acknowledged, silenced.

    \b
    Example:
      concento alerts list --all
    """
    told = with_running(read_config(config), lambda hub: hub.alerts())
    found = [one for one in told["alerts"] if everything or one["state"] != "over"]
    if as_json:
        put_json({**told, "alerts": found})
        return
    if not found:
        tell(f"nothing fires; {counted(told['rules'], 'rule')} on, {counted(told['channels'], 'channel')}")
        return
    _show(found)
    if not told["channels"]:
        tell("nobody is told: no channel is configured; see `alerts.channels`")


@command.command(name="ack")
@click.argument("alert", help="An alert's id, or a rule for all of its alerts.")
@click.option("--note", default="", metavar="TEXT", help="What is done about it.")
@config_option
@json_option
def acknowledge(alert: str, note: str, config: str | None, as_json: bool) -> None:
    """Say that somebody takes care: nobody else is told, but that it is over.

    \b
    Example:
      concento alerts ack server_down --note "the disk is being replaced"
    """
    told = _change("ack", {"alert": alert, "note": note}, config, as_json)
    if told is not None:
        click.echo(f"acknowledged: {', '.join(told['acknowledged'])}")


@command.command(name="silence")
@click.argument(
    "match", nargs=-1, required=True, help="LABEL=PATTERN, such as server=time or rule=slow_*; all have to fit."
)
@click.option("--for", "span", required=True, metavar="TIME", help="For how long: 30m, 2h, 1d.")
@click.option("--why", required=True, metavar="TEXT", help="Why, for whoever wonders.")
@config_option
@json_option
def silence(match: tuple[str, ...], span: str, why: str, config: str | None, as_json: bool) -> None:
    """Tell nobody of alerts that fit, for a while. They are shown all the same, and told afterwards if they still fire.

    \b
    Example:
      concento alerts silence server=time --for 2h --why "it is being moved"
    """
    told = _change("silence", {"match": " ".join(match), "span": span, "why": why}, config, as_json)
    if told is not None:
        click.echo(f"silence {told['id']} until {_when(told['until'])}")


@command.command(name="silences")
@config_option
@json_option
def silences(config: str | None, as_json: bool) -> None:
    """Show what is silenced.

    \b
    Example:
      concento alerts silences
    """
    told = with_running(read_config(config), lambda hub: hub.alerts())["silences"]
    if as_json:
        put_json({"silences": told})
    elif not told:
        tell("nothing is silenced")
    for one in () if as_json else told:
        match = " ".join(f"{name}={pattern}" for name, pattern in one["match"].items())
        click.echo(f"{one['id']}  {match}  until {_when(one['until'])}  by {one['by']}: {one['why']}")


@command.command(name="unsilence")
@click.argument("silence_id", metavar="ID", help="A silence's id, as `concento alerts silences` has it.")
@config_option
@json_option
def unsilence(silence_id: str, config: str | None, as_json: bool) -> None:
    """End a silence.

    \b
    Example:
      concento alerts unsilence 1f0c9a2b
    """
    told = _change("unsilence", {"silence": silence_id}, config, as_json)
    if told is not None:
        click.echo(f"silence {told['id']} is over")


@command.command(name="test")
@click.argument("channel", help="A channel, by its name in the configuration.")
@config_option
@json_option
def test_channel(channel: str, config: str | None, as_json: bool) -> None:
    """Send a test through a channel, and say what came back; exit 1 if it did not arrive.

    \b
    Example:
      concento alerts test ops
    """
    told = with_running(read_config(config), lambda hub: hub.change_alerts("test", {"channel": channel}))
    if as_json:
        put_json(told)
    else:
        click.echo(f"{channel}: {'delivered' if told['delivered'] else 'not delivered'}: {told['said']}")
    raise SystemExit(not told["delivered"])


def _change(how: str, body: dict[str, str], config: str | None, as_json: bool) -> dict[str, Any] | None:
    told = with_running(read_config(config), lambda hub: hub.change_alerts(how, body))
    if as_json:
        put_json(told)
        return None
    return told


def _show(alerts: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(*_COLUMNS, box=None, header_style="bold", pad_edge=False)
    for one in alerts:
        state = Text(one["state"], style=_COLOURS[one["state"]])
        words = [one["id"], state, one["severity"], one["rule"], Text(" ".join(one["labels"].values()))]
        table.add_row(*words, _when(one["since"]), Text("; ".join(_why(one))))
    put_table(table)
    for runbook in dict.fromkeys(one["runbook"] for one in alerts if one["state"] == "firing" and one["runbook"]):
        click.echo(f"what to do: {runbook}")


def _why(alert: dict[str, Any]) -> list[str]:
    """What is to be said of an alert."""
    told = [alert["reason"]]
    if alert["silenced_by"]:
        told.append(f"not told: {alert['silenced_by']}")
    if (ack := alert["acknowledged"]) is not None:
        told.append(f"{ack['by']} takes care" + (f": {ack['note']}" if ack["note"] else ""))
    if alert["told"]:
        told.append(f"told {', '.join(alert['told'])}")
    told += [f"{channel} not told yet: {problem}" for channel, problem in alert["not_delivered"].items()]
    return told


def _when(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
