"""`concento experiments`: how the arms of experiments do, and what can be said of it."""

from typing import Any

import click

from .common import config_option, fail, json_option, put_json, put_table, read_config, tell
from .talk import with_hub

_COLUMNS = ("arm", "weight", "calls", "errors", "error rate (95 %)", "mean ms (95 %)", "mean bytes")


@click.command(name="experiments")
@click.argument("tool", required=False, help="One logical tool; without it, all that are split or shadowed.")
@config_option
@json_option
def command(tool: str | None, config: str | None, as_json: bool) -> None:
    """Show how the arms of tools with `strategy: split` or `shadow` do, since the hub began.

    \b
    Example:
      concento experiments web_search
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


def _show(experiment: dict[str, Any]) -> None:
    from rich.table import Table

    how = f"split by {experiment['sticky']}" if experiment["strategy"] == "split" else "shadowed"
    click.echo(f"{experiment['tool']}, {how}")
    table = Table(*_COLUMNS, box=None, header_style="bold", pad_edge=False)
    for arm in experiment["arms"]:
        counts = [str(arm[name]) for name in ("weight", "calls", "errors")]
        if not arm["calls"]:
            table.add_row(arm["arm"], *counts, "", "", "")
            continue
        rate = f"{arm['error_rate']:.2%} ({arm['error_rate_low']:.2%} to {arm['error_rate_high']:.2%})"
        mean = f"{arm['mean_ms']:.3g} ({arm['mean_ms_low']:.3g} to {arm['mean_ms_high']:.3g})"
        table.add_row(arm["arm"], *counts, rate, mean, str(arm["mean_bytes"]))
    put_table(table)
    click.echo(experiment["reading"])
