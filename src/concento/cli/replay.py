"""`concento replay`: recorded calls held against another configuration. It calls nothing."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace as changed
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click
import msgspec

from ..model.config import Config, Server
from ..model.errors import StartError
from .common import config_option, counted, fail, json_option, put_json, put_table, read_config, tell
from .talk import settled

ENTRIES_MAX: Final = 1_000_000
_SQLITE: Final = b"SQLite format 3\0"
_LINE_BYTES_MAX: Final = 1024 * 1024


class _Known(msgspec.Struct):
    """What is read of an entry, by its type."""

    time: float
    kind: str = "call"
    method: str = ""
    endpoint: str = "all"
    tenant: str = "default"
    subject: str = ""
    agent: str | None = None
    chain: list[str] = []
    proof: str = ""
    credential: str = ""
    address: str = ""
    name: str | None = None
    server: str | None = None
    tool: str | None = None
    decision: str = ""
    rule: str | None = None
    end: str = ""
    ms: float = 0.0
    trace: str = ""


@click.command(name="replay")
@click.argument("file", type=click.Path(dir_okay=False), help="The record: see below.")
@config_option
@json_option
def command(file: str, config: str | None, as_json: bool) -> None:
    """Show which recorded calls would fare otherwise with another configuration: be refused, let through, answered by
    another server, or given other arguments. Its servers are started and listed; nothing is called.

    FILE is an access log, an export of the audit record, or the record itself (audit.db). Exits with 1 if anything
    differs.

    \b
    Example:
      concento audit export --since 1d > calls.jsonl
      concento replay calls.jsonl --config new.yaml
    """
    import uvloop

    configuration = read_config(config)
    entries = list(_entries(Path(file)))
    try:
        told = uvloop.run(_replayed(configuration, entries))
    except StartError as error:
        fail(error)
    if as_json:
        put_json(told)
    else:
        _show(told)
    raise SystemExit(1 if told["changes"] else 0)


async def _replayed(configuration: Config, entries: list[dict[str, Any]]) -> dict[str, Any]:
    from ..admin.replay import replay

    awake: dict[str, Server] = {key: server.awake() for key, server in configuration.servers.items()}
    async with settled(changed(configuration, servers=MappingProxyType(awake))) as hub:
        missing = [key for key, slice in hub.current.snapshot.slices.items() if slice.inventory is None]
        for key in missing:
            tell(f"{key} could not be listed: calls of its tools will look unknown")
        return {**replay(hub.current.snapshot, hub.keys.records, entries, hub.promotions).told(), "not_listed": missing}


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a record, whichever of the three it is."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE))
        texts = _of_database(path) if head == _SQLITE else _of_lines(path)
        for number, text in enumerate(texts, start=1):
            if number > ENTRIES_MAX:
                fail(f"{path} has more than {ENTRIES_MAX} entries; export a shorter time")
            entry = json.loads(text)
            try:
                msgspec.convert(entry, _Known)
            except msgspec.ValidationError as error:
                told = f"expected a line of the access log or of the audit record; {error}"
                fail(f"{path}, entry {number}: {told}")
            yield entry
    except (ValueError, RecursionError) as error:
        fail(f"{path} is no record: {error}")
    except (OSError, sqlite3.Error) as error:
        fail(f"{path} can't be read: {error}")


def _of_database(path: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        for (body,) in database.execute("SELECT body FROM entries ORDER BY seq"):
            yield bytes(body)


def _of_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(_LINE_BYTES_MAX):
            if line.strip():
                yield line


def _show(told: dict[str, Any]) -> None:
    from rich.table import Table

    skipped = sum(told["skipped"].values())
    replayed = told["read"] - skipped
    tell(f"{counted(replayed, 'call')} replayed, {skipped} of {told['read']} entries left out")
    for what, count in {**told["skipped"], **told["unsure"]}.items():
        tell(f"  {count}: {what}")
    differ = sum(one["calls"] for one in told["changes"])
    click.echo(f"{told['same']} would fare as they did, {differ} otherwise")
    if not told["changes"]:
        return
    heads = ("calls", "what", "asked for", "was", "would be", "whose")
    table = Table(*heads, box=None, header_style="bold", pad_edge=False)
    for one in told["changes"]:
        table.add_row(str(one["calls"]), one["kind"], one["name"], one["was"], one["now"], ", ".join(one["subjects"]))
    put_table(table)
