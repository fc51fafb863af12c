"""`concento apply`: put objects of a file in place at a running hub, all of them or none."""

import sys
from pathlib import Path
from typing import Any

import click

from ..control.config.document import json_as_yaml, parse
from ..control.config.parts import KINDS, json_of
from ..control.config.problems import Problems
from .common import config_option, counted, json_option, put_json, read_config, refuse, tell
from .objects import reason_option, tenant_option
from .talk import with_running

FILE_BYTES_MAX = 1024 * 1024


@click.command(name="apply")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), help="YAML or JSON; `-`: standard input.")
@click.option("--dry-run", is_flag=True, help="Only show what would change, and how recorded calls would fare.")
@tenant_option
@reason_option
@config_option
@json_option
def command(
    file: str, dry_run: bool, tenant: str | None, reason: str | None, config: str | None, as_json: bool
) -> None:
    """Put servers, views and other objects in place at the hub that runs; over restarts, until they are deleted.

    The file has what would stand in the configuration: `servers:`, `tools:`, `views:`, `roles:`, `policies:` (each with
    a name), `limits:`, `guards:`, `tenants:`. An object that is `null` is taken away.

    \b
    Example:
      concento apply objects.yaml --dry-run
    """
    body = _read(file)
    whose = "" if tenant is None else f"/tenants/{tenant}"
    path = f"/api/v1{whose}/apply{'?dry_run=true' if dry_run else ''}"
    told = with_running(read_config(config), lambda hub: hub.api("POST", path, body, Concento_Reason=reason)).value
    if as_json:
        put_json(told)
        return
    for one in told["changes"]:
        click.echo(f"{one['what']:<10} {one['kind']} {one['name']}")
    if dry_run:
        tell("nothing was changed")
        _show_replay(told["replay"])


def _show_replay(replay: dict[str, Any] | None) -> None:
    if replay is None or not replay["read"]:
        return
    tell(f"of the last {counted(replay['read'], 'recorded call')}, {replay['same']} would fare as they did")
    for one in replay["changes"]:
        who = ", ".join(one["subjects"])
        tell(f"  {counted(one['calls'], 'call')} of {one['name']} by {who}: {one['was']} → {one['now']}")


def _read(file: str) -> Any:
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file} can't be read: {error}") from None
    if len(data) > FILE_BYTES_MAX:
        raise click.UsageError(f"{file} has more than {FILE_BYTES_MAX} bytes; divide it")
    problems = Problems()
    root = parse(json_as_yaml(text) if text.lstrip().startswith("{") else text, problems)
    if problems:
        refuse(problems.error(file))
    if root is None:
        raise click.UsageError(f"{file} is empty; it has one or more of {', '.join(KINDS)}")
    return json_of(root)
