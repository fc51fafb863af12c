"""`concento experiments`: how the arms of experiments do, what can be said of it, and how one ends."""

import time
from typing import Any

import click

from .common import Defaulting, config_option, fail, json_option, put_json, put_table, read_config, tell
from .talk import with_hub

_COLUMNS = ("arm", "weight", "calls", "errors", "error rate (95 %)", "mean ms (95 %)", "mean bytes", "of use")


class _Group(Defaulting):
    first = "show"


@click.group(name="experiments", cls=_Group)
def command() -> None:
    """Show how the arms of tools with `strategy: split` or `shadow` do, and end such an experiment.

    \b
    Example:
      concento experiments web_search
      concento experiments promote web_search tavily.search
    """


@command.command(name="show")
@click.argument("tool", required=False, help="One logical tool; without it, all that are split or shadowed.")
@config_option
@json_option
def show(tool: str | None, config: str | None, as_json: bool) -> None:
    """Show how the arms do so far.

    \b
    Example:
      concento experiments show web_search
    """
    told = with_hub(read_config(config), lambda talk: talk.experiments())
    if tool is not None:
        known = [one["tool"] for one in told["experiments"]]
        if tool not in known:
            fail(f"there is no experiment with {tool!r}; there are: {', '.join(known) or 'none'}")
        told = {"experiments": [one for one in told["experiments"] if one["tool"] == tool]}
    if as_json:
        put_json(told)
        return
    if not told["experiments"]:
        tell("there is no experiment; `strategy: split` or `shadow` under `tools:` begins one")
    for one in told["experiments"]:
        _show(one)


@command.command(name="promote")
@click.argument("tool", help="The logical tool.")
@click.argument("arm", help="The bound tool that gets all calls, such as tavily.search.")
@config_option
@json_option
def promote(tool: str, arm: str, config: str | None, as_json: bool) -> None:
    """Give one arm all calls, at once and over restarts. The others stand in while it can't answer.

    \b
    Example:
      concento experiments promote web_search tavily.search
    """
    _change(tool, "promote", {"arm": arm}, config, as_json)


@command.command(name="rollback")
@click.argument("tool", help="The logical tool.")
@config_option
@json_option
def rollback(tool: str, config: str | None, as_json: bool) -> None:
    """Give all calls back to the first arm, the one that stood before the experiment.

    \b
    Example:
      concento experiments rollback web_search
    """
    _change(tool, "rollback", {}, config, as_json)


@command.command(name="resume")
@click.argument("tool", help="The logical tool.")
@config_option
@json_option
def resume(tool: str, config: str | None, as_json: bool) -> None:
    """Let the configured weights decide again.

    \b
    Example:
      concento experiments resume web_search
    """
    _change(tool, "resume", {}, config, as_json)


def _change(tool: str, how: str, body: dict[str, str], config: str | None, as_json: bool) -> None:
    told = with_hub(read_config(config), lambda talk: talk.change_experiment(tool, how, body))
    if as_json:
        put_json(told)
    else:
        _show(told)


def _show(experiment: dict[str, Any]) -> None:
    from rich.table import Table

    how = f"split by {experiment['sticky']}" if experiment["strategy"] == "split" else "shadowed"
    click.echo(f"{experiment['tool']}, {how}")
    if (promoted := experiment["promoted"]) is not None:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(promoted["since"]))
        gone = "" if promoted["there"] else "; it is bound no more, so that the weights decide"
        click.echo(f"all calls go to {promoted['arm']}, as {promoted['by']} said on {since}{gone}")
    table = Table(*_COLUMNS, box=None, header_style="bold", pad_edge=False)
    for arm in experiment["arms"]:
        counts = [str(arm[name]) for name in ("weight", "calls", "errors")]
        judged = arm["useful"] + arm["useless"]
        use = f"{arm['useful']} of {judged}" if judged else ""
        if not arm["calls"]:
            table.add_row(arm["arm"], *counts, "", "", "", use)
            continue
        rate = f"{arm['error_rate']:.2%} ({arm['error_rate_low']:.2%} to {arm['error_rate_high']:.2%})"
        mean = f"{arm['mean_ms']:.3g} ({arm['mean_ms_low']:.3g} to {arm['mean_ms_high']:.3g})"
        table.add_row(arm["arm"], *counts, rate, mean, str(arm["mean_bytes"]), use)
    put_table(table)
    click.echo(experiment["reading"])
