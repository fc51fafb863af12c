"""`concento traces`: recent calls that failed, were slow or were sampled, and what one spent its time on."""

import re
import time
from typing import Any, Final

import click

from .common import config_option, fail, json_option, put_json, put_table, read_config, tell
from .talk import Talk, with_hub

_BAR_CHARS: Final = 40
_SHOWN: Final = ("concento.server", "concento.replica", "concento.decision", "concento.rule", "mcp.protocol.version")
"""Attributes that are worth a look beside a span's name."""


@click.command(name="traces")
@click.argument("trace", required=False, help="The id of one trace, as errors tell it in `data.traceId`, or `last`.")
@click.option("--server", metavar="ALIAS", help="Only calls that one server was chosen for.")
@click.option("--tool", metavar="NAME", help="Only calls of a tool, by the server's own name.")
@click.option(
    "--outcome",
    type=click.Choice(["ok", "tool_error", "error", "refused", "cancelled"]),
    help="Only calls that ended so.",
)
@click.option("--min-ms", metavar="MS", type=click.FloatRange(0), help="Only calls that took so long.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many.")
@config_option
@json_option
def command(trace: str | None, config: str | None, as_json: bool, limit: int, **wanted: str | float | None) -> None:
    """List recent calls that failed, were slow or were sampled; draw what one of them spent its time on.

    \b
    Example:
      concento traces --outcome error
      concento traces last --server time
    """
    asked = {name: f"{value:g}" if isinstance(value, float) else value for name, value in wanted.items() if value}
    asked["limit"] = str(limit)
    if trace is None:
        told = with_hub(read_config(config), lambda talk: talk.traces(asked))
        put_json(told) if as_json else _list(told["traces"])
        return
    id = trace.lower()
    if id != "last" and not re.fullmatch("[0-9a-f]{32}", id):
        raise click.UsageError(f"{trace[:64]!r} is no trace id: it has 32 digits of 0-9 and a-f, or is `last`")
    if id != "last" and len(asked) > 1:
        raise click.UsageError(f"--{next(iter(asked)).replace('_', '-')} chooses among traces; leave it out with an id")
    found = with_hub(read_config(config), lambda talk: _one(talk, id, asked))
    if found is None:
        sought = "such trace" if id == "last" else f"trace {id}"
        fail(f"no {sought} is kept; `telemetry.traces` says which are, `concento traces` lists them")
    if as_json:
        put_json(found)
        return
    for call in found["calls"]:
        _draw(call)


async def _one(talk: Talk, id: str, asked: dict[str, str]) -> dict[str, Any] | None:
    """One trace: that of an id, or the newest that fits."""
    if id == "last":
        newest = (await talk.traces({**asked, "limit": "1"}))["traces"]
        if not newest:
            return None
        id = newest[0]["trace"]
    return await talk.trace(id)


def _list(traces: list[dict[str, Any]]) -> None:
    from rich.table import Table

    if not traces:
        tell("no such call is kept; errors, slow calls and some others are, as `telemetry.traces` says")
        return
    table = Table("trace", "began", "ms", "call", "server", "outcome", box=None, header_style="bold", pad_edge=False)
    table.columns[2].justify = "right"
    for one in traces:
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["started"]))
        outcome = one["outcome"] + (", slow" if one["reason"] == "slow" else "")
        table.add_row(one["trace"], began, f"{one['ms']:.1f}", one["name"], one["server"], outcome)
    put_table(table)


def _draw(call: dict[str, Any]) -> None:
    """A call's spans, each below its parent, on one axis of time."""
    from rich.table import Table
    from rich.text import Text

    spans = call["spans"]
    first = spans[0]
    until_ms = max(first["ms"], *(one["start_ms"] + one["ms"] - first["start_ms"] for one in spans), 0.001)
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(call["started"]))
    click.echo(f"{call['name']}: {call['outcome']} after {call['ms']:.1f} ms, at {began}")
    table = Table("span", "", "ms", "", box=None, show_header=False, pad_edge=False)
    table.columns[2].justify = "right"
    for depth, one in _nested(spans):
        start = round(_BAR_CHARS * max(0.0, one["start_ms"] - first["start_ms"]) / until_ms)
        length = max(1, round(_BAR_CHARS * one["ms"] / until_ms))
        bar = (" " * min(start, _BAR_CHARS - 1) + "━" * length)[:_BAR_CHARS].ljust(_BAR_CHARS)
        colour = "red" if one["error"] else "cyan" if one["kind"] == "client" else "green"
        about = [f"{name.rpartition('.')[2]}={one['attributes'][name]}" for name in _SHOWN if name in one["attributes"]]
        told = " ".join([*([one["error"]] if one["error"] else []), *(about if depth else [])])
        table.add_row(Text("  " * depth + one["name"]), Text(bar, style=colour), f"{one['ms']:.2f}", Text(told))
    put_table(table)


def _nested(spans: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Spans with their depth, each behind its parent."""
    below: dict[str | None, list[dict[str, Any]]] = {}
    for one in spans[1:]:
        below.setdefault(one["parent"], []).append(one)
    ordered: list[tuple[int, dict[str, Any]]] = []

    def add(one: dict[str, Any], depth: int) -> None:
        ordered.append((depth, one))
        for child in sorted(below.get(one["id"], ()), key=lambda span: float(span["start_ms"])):
            add(child, depth + 1)

    add(spans[0], 0)
    return ordered
