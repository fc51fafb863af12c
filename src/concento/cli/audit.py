"""`concento audit`: read the audit record, and see whether it is whole. It only reads the file; no hub has to run."""

import re
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from ..model.config import Config
from ..observe.audit.chain import read_anchors, verify
from ..observe.audit.query import entries, opened
from .common import config_option, fail, json_option, printable, put_json, read_config, tell

FOLLOW_S = 0.5
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Moment(click.ParamType[float]):
    """A point in time: an ISO date or time, or how long ago, such as 1h."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if match := re.fullmatch(r"([0-9]{1,6})([smhd])", str(value)):
            return time.time() - int(match[1]) * _SPANS[match[2]]
        try:
            return datetime.fromisoformat(str(value)).timestamp()
        except ValueError:
            self.fail(f"{value!r} is no time; write it as 2026-11-26T09:00, or as how long ago: 1h", param, ctx)


MOMENT = Moment()


@click.group(name="audit")
def command() -> None:
    """Read the audit record, and verify it.

    \b
    Example:
      concento audit query --since 1h --subject alice
    """


@command.command(name="query")
@click.option("--since", type=MOMENT, help="From when: 1h (ago), or 2026-11-26T09:00.")
@click.option("--until", type=MOMENT, help="Until when.")
@click.option("--subject", metavar="USER", help="Who called.")
@click.option("--agent", metavar="A", help="The agent that acted.")
@click.option("--tenant", metavar="T", help="Whose call it was.")
@click.option("--server", metavar="S", help="The server.")
@click.option("--tool", metavar="T", help="The server's own name of the tool.")
@click.option("--method", metavar="M", help="The MCP method.")
@click.option("--outcome", metavar="O", help="How it ended: ok, tool_error, error, refused, cancelled.")
@click.option("--decision", metavar="D", help="What was decided: allow, hidden, forbidden, rate_limited, …")
@click.option("--trace", metavar="ID", help="A trace id.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="The newest so many.")
@config_option
@json_option
def query(
    limit: int, config: str | None, as_json: bool, since: float | None, until: float | None, **wanted: Any
) -> None:
    """Show entries, the newest last.

    \b
    Example:
      concento audit query --since 1d --decision forbidden
    """
    with _database(read_config(config)) as database:
        found = entries(database, limit, wanted, since_s=since, until_s=until)[::-1]
    if as_json:
        put_json({"entries": found})
    else:
        for entry in found:
            click.echo(_line(entry))


@command.command(name="tail")
@click.option("-n", "count", type=click.IntRange(0, 100_000), default=20, show_default=True, help="The last so many.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes.")
@config_option
@json_option
def tail(count: int, follow: bool, config: str | None, as_json: bool) -> None:
    """Show the last entries.

    \b
    Example:
      concento audit tail -f
    """
    with _database(read_config(config)) as database:
        found = list(_entries(database, "SELECT body FROM entries ORDER BY seq DESC LIMIT ?", count))[::-1]
        last = database.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()[0]
        while True:
            for entry in found:
                click.echo(msgspec.json.encode(entry).decode() if as_json else _line(entry))
                last = max(last, entry["seq"])
            if not follow:
                return
            time.sleep(FOLLOW_S)
            found = list(_entries(database, "SELECT body FROM entries WHERE seq > ? ORDER BY seq LIMIT 1000", last))


@command.command(name="verify")
@click.option("--anchor", type=click.Path(dir_okay=False), help="Notes of the chain's head; by default `anchor`.")
@config_option
@json_option
def verify_chain(anchor: str | None, config: str | None, as_json: bool) -> None:
    """Go through the whole chain; exit 1 and name the first break, if there is one.

    \b
    Example:
      concento audit verify --anchor /mnt/other/anchors.txt
    """
    configuration = read_config(config)
    path = configuration.audit.anchor if anchor is None else Path(anchor)
    anchors: list[tuple[int, str]] = []
    if path is not None:
        try:
            anchors = read_anchors(path)
        except OSError as error:
            if anchor is not None or not isinstance(error, FileNotFoundError):
                fail(f"{path} can't be read: {error.strerror}")
    with _database(configuration) as database:
        finding = verify(database, anchors)
    if as_json:
        put_json(msgspec.to_builtins(finding))
    else:
        click.echo(f"{finding.checked} entries checked, {finding.first} to {finding.last}; head {finding.head}")
        click.echo(
            f"{finding.anchors} of {len(anchors)} notes of the head agree" if anchors else "no anchor was looked at"
        )
        if finding.gaps:
            click.echo(f"{finding.gaps} gaps, in which {finding.lost} entries were lost; the record itself says so")
        if finding.broken is not None:
            click.echo(f"broken at {finding.place}: {finding.broken}: {finding.why}")
    raise SystemExit(finding.broken is not None)


@command.command(name="export")
@click.option("--format", "form", type=click.Choice(["jsonl"]), default="jsonl", help="JSON lines.")
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="A file; by default standard output.")
@click.option("--since", type=MOMENT, help="From when.")
@config_option
def export(form: str, output: str | None, since: float | None, config: str | None) -> None:
    """Write entries as JSON lines, each with the digest that chains it.

    \b
    Example:
      concento audit export -o audit.jsonl
    """
    shows = output is not None and sys.stderr.isatty()
    with _database(read_config(config)) as database:
        total = database.execute("SELECT count(*) FROM entries WHERE time >= ?", (since or 0.0,)).fetchone()[0]
        rows = database.execute("SELECT body, hash FROM entries WHERE time >= ? ORDER BY seq", (since or 0.0,))
        with click.open_file(output or "-", "wb") as file:
            for number, (body, digest) in enumerate(rows, start=1):
                file.write(bytes(body)[:-1] + b',"digest":"%b"}\n' % bytes(digest).hex().encode())
                if shows and number % 10_000 == 0:
                    click.echo(f"\r\x1b[K{number} of {total}", err=True, nl=False)
    if shows:
        click.echo("\r\x1b[K", err=True, nl=False)
    if output is not None:
        tell(f"{total} entries in {output}")


@contextmanager
def _database(config: Config) -> Iterator[sqlite3.Connection]:
    path = config.audit_path
    if path is None:
        fail("nothing is recorded: `audit` or `state` is off")
    if not path.exists():
        fail(f"there is no audit record {path} yet: `concento serve` makes it")
    try:
        with opened(path) as database:
            yield database
    except sqlite3.Error as error:
        fail(f"{path} can't be read: {error}")


def _entries(database: sqlite3.Connection, query: str, *values: Any) -> Iterator[dict[str, Any]]:
    for (body,) in database.execute(query, values):
        yield msgspec.json.decode(bytes(body))


def _line(entry: dict[str, Any]) -> str:
    """An entry on one line, for a person."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["time"]))
    kind = entry["kind"]
    if kind in ("call", "intent"):
        who = entry.get("subject", "") + (f" by {entry['agent']}" if entry.get("agent") else "")
        what = entry.get("name") or ""
        where = f" at {entry['server']}" if entry.get("server") else ""
        end = "about to be sent" if kind == "intent" else f"{entry.get('outcome')} {entry.get('ms', 0):g} ms"
        rule = f" by {entry['rule']}" if entry.get("rule") else ""
        tenant = f" ({entry['tenant']})" if entry.get("tenant", "default") != "default" else ""
        line = f"{who}{tenant}  {entry.get('method')} {what}{where}  {entry.get('decision')}{rule}, {end}"
    elif kind == "refused":
        line = (
            f"{entry.get('address') or 'somebody'}  {entry.get('path')}  {entry.get('status')}: {entry.get('reason')}"
        )
        line += f" ({entry['count']} times)" if entry.get("count", 1) > 1 else ""
    elif kind == "changed":
        line = f"{entry.get('subject', '')}  {entry.get('method')} {entry.get('name')}: {entry.get('reason', '')}"
    else:
        count = f" {entry['count']} entries" if entry.get("count") else ""
        line = f"-- {kind}{count} {entry.get('reason', '')}".rstrip()
    return f"{entry['seq']:>8}  {when}  {printable(line)}"
