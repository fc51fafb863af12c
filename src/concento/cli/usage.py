"""`concento usage`: what was used, what it comes to, the records behind it. It reads a file; no hub has to run."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from ..model.config import Config
from ..observe.usage.report import (
    BY,
    Days,
    Report,
    Sum,
    Unreadable,
    all_rows,
    dimensions,
    month,
    month_invoices,
    report,
    this_month,
)
from ..policy.invoices import NOUNS, Invoice
from .common import config_option, counted, fail, json_option, printable, put_json, put_table, read_config, tell

_COUNTS: Final = ("calls", "attempts", "errors", "seconds", "bytes_in", "bytes_out", "tokens")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Month(click.ParamType[Days]):
    """A month in UTC."""

    name = "MONTH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Days:
        if isinstance(value, Days):
            return value
        try:
            return month(str(value))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class By(click.ParamType[tuple[str, ...]]):
    """What to sum by."""

    name = "WORDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            return dimensions(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _now() -> str:
    return this_month(time.time())


month_option = click.option("--month", "days", type=Month(), default=_now, help="A month in UTC; by default this one.")
output_option = click.option("--output", "-o", type=click.Path(dir_okay=False), help="A file; by default the output.")


@click.group(name="usage")
def command() -> None:
    """Show what was used, and write invoices.

    \b
    Example:
      concento usage report --month 2026-11 --by tenant,tool
      concento usage invoice acme --month 2026-11
    """


@command.command(name="report")
@month_option
@click.option("--by", type=By(), default="tenant,tool", show_default=True, help=f"What to sum by: {', '.join(BY)}.")
@click.option("--tenant", metavar="T", help="Of one tenant alone.")
@click.option("--subject", metavar="USER", help="Of one user alone.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", help="How.")
@config_option
@json_option
def report_command(
    days: Days, by: Any, tenant: str | None, subject: str | None, form: str, config: str | None, as_json: bool
) -> None:
    """Show calls, time, bytes, tokens, errors and costs, summed by what you ask for.

    \b
    Example:
      concento usage report --month 2026-11 --by tenant,tool --format csv
    """
    try:
        found = report(_path(read_config(config)), days, by, tenant, subject)
    except Unreadable as error:
        fail(str(error))
    if as_json or form == "json":
        put_json(msgspec.to_builtins(found))
    elif form == "csv":
        click.echo(_report_csv(found), nl=False)
    else:
        _show(found)
    _tell_lost(found.lost)


@command.command(name="invoice")
@click.argument("tenant", help="Whose.")
@month_option
@click.option("--format", "form", type=click.Choice(["table", "markdown", "csv", "json"]), default="table", help="How.")
@output_option
@config_option
@json_option
def invoice(tenant: str, days: Days, form: str, output: str | None, config: str | None, as_json: bool) -> None:
    """Write what a tenant owes for a month, one invoice for each currency. The same records make the same invoice.

    \b
    Example:
      concento usage invoice acme --month 2026-11 --format markdown -o acme-2026-11.md
    """
    try:
        path = _path(read_config(config))
        found = month_invoices(path, tenant, days, time.time())
        lost = report(path, days, ()).lost
    except Unreadable as error:
        fail(str(error))
    form = "json" if as_json else "markdown" if form == "table" and output is not None else form
    if not found and form != "json":
        fail(f"nothing of {tenant!r} was charged in {days.name}; `concento usage report` says what was used")
    if form == "table":
        for one in found:
            _show_invoice(one)
    else:
        _write(_FORMS[form](found), output)
    if not all(one.final for one in found):
        tell(f"{days.name} is not over: this is what it comes to so far")
    _tell_lost(lost)


@command.command(name="export")
@month_option
@click.option("--tenant", metavar="T", help="Of one tenant alone.")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", help="How it is written.")
@output_option
@config_option
def export(days: Days, tenant: str | None, form: str, output: str | None, config: str | None) -> None:
    """Write every record of a month: one for each day, tenant, user, server, tool, arm, method, end and price.

    \b
    Example:
      concento usage export --month 2026-11 --format csv -o usage.csv
    """
    try:
        rows = list(all_rows(_path(read_config(config)), days, tenant))
    except Unreadable as error:
        fail(str(error))
    if form == "csv":
        text = _csv(list(rows[0]) if rows else [], (row.values() for row in rows))
    else:
        text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    _write(text, output)
    if output is not None:
        tell(f"{counted(rows, 'record')} in {output}")


def _path(config: Config) -> Path:
    path = config.usage_path
    if path is None:
        fail("nothing is metered: `usage` or `state` is off")
    return path


def _write(text: str, output: str | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        Path(output).write_text(text)


def _tell_lost(lost: int) -> None:
    if lost:
        tell(f"{counted(lost, 'call')} of that month {'was' if lost == 1 else 'were'} lost in a crash, and nobody pays")


# -- reports


def _show(found: Report) -> None:
    from rich.table import Table

    currencies = list(found.total.cost)
    table = Table(*found.by, box=None, header_style="bold", pad_edge=False)
    for name in (*("calls", "errors", "seconds", "MB", "tokens"), *currencies):
        table.add_column(name, justify="right")
    for one in found.sums if found.by else ():
        table.add_row(*(printable(one.by[word]) for word in found.by), *_cells(one, currencies))
    if len(found.sums) != 1 or not found.by:
        table.add_row(*["total", *[""] * len(found.by)][: len(found.by)], *_cells(found.total, currencies))
    put_table(table)


def _cells(one: Sum, currencies: Sequence[str]) -> tuple[str, ...]:
    size = f"{(one.bytes_in + one.bytes_out) / 1_000_000:.3f}"
    costs = (one.cost.get(currency, "0") for currency in currencies)
    return str(one.calls), str(one.errors), one.seconds, size, str(one.tokens), *costs


def _report_csv(found: Report) -> str:
    currencies = list(found.total.cost)
    head = [*found.by, *_COUNTS, *(f"cost_{currency}" for currency in currencies)]
    return _csv(
        head,
        (
            [
                *(one.by[word] for word in found.by),
                *(getattr(one, name) for name in _COUNTS),
                *(one.cost.get(currency, "0") for currency in currencies),
            ]
            for one in (found.sums if found.by else (found.total,))
        ),
    )


# -- invoices


def _show_invoice(one: Invoice) -> None:
    from rich.table import Table

    click.echo(f"{one.tenant}, {one.month} (UTC), in {one.currency}")
    table = Table("tool", "unit", box=None, header_style="bold", pad_edge=False)
    for name in ("quantity", "price", "amount"):
        table.add_column(name, justify="right")
    for line in one.lines:
        table.add_row(line.pattern, NOUNS[line.unit], line.quantity, line.each, line.amount)
    table.add_row("total", "", "", "", one.total)
    put_table(table)
    click.echo(_rests_on(one))


def _markdown(one: Invoice) -> str:
    lines = [
        f"# Invoice for {one.tenant}, {one.month}",
        "",
        f"Calls of {one.month} in UTC, in {one.currency}." + ("" if one.final else " The month is not over."),
        "",
        "| tool | unit | quantity | price | amount |",
        "|---|---|---:|---:|---:|",
        *(
            f"| `{line.pattern}` | {NOUNS[line.unit]} | {line.quantity} | {line.each} | {line.amount} |"
            for line in one.lines
        ),
        f"| **total** | | | | **{one.total}** |",
        "",
        _rests_on(one),
    ]
    return "\n".join(lines) + "\n"


def _rests_on(one: Invoice) -> str:
    return f"{counted(one.calls, 'call')} in {counted(one.rows, 'record')}, SHA-256 {one.digest}"


def _invoices_csv(found: Iterable[Invoice]) -> str:
    head = ["tenant", "month", "currency", "price_id", "tool", "unit", "quantity", "price", "amount"]
    return _csv(
        head,
        (
            [
                *(one.tenant, one.month, one.currency),
                *(line.price, line.pattern, line.unit, line.quantity, line.each, line.amount),
            ]
            for one in found
            for line in one.lines
        ),
    )


def _invoices_json(found: Iterable[Invoice]) -> str:
    return json.dumps({"invoices": msgspec.to_builtins(tuple(found))}, indent=2, ensure_ascii=False) + "\n"


def _invoices_markdown(found: Iterable[Invoice]) -> str:
    return "\n".join(map(_markdown, found))


_FORMS: Final[dict[str, Callable[[Iterable[Invoice]], str]]] = {
    "markdown": _invoices_markdown,
    "csv": _invoices_csv,
    "json": _invoices_json,
}


def _csv(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    if head:
        table.writerow(head)
    table.writerows([_cell(value) for value in row] for row in rows)
    return written.getvalue()


def _cell(value: Any) -> Any:
    """A value of a cell; what a spreadsheet would take for a formula is text there."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
