"""`concento doctor`: try everything, and say in a line each what is wrong and what to do."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import uvloop

from ..control.config import find_config, load
from ..control.config.load import FILE_NAME
from ..model.config import Config
from ..model.errors import ConfigError
from ..onboarding.clients import known_files
from ..onboarding.examine import Finding, Report, examine_clients, examine_servers, port_finding, state_finding
from ..onboarding.trial import printable
from .common import config_argument, counted, json_option, put_json, shortened, tell

WAIT_S = 60.0
LAST_WORDS = 3

_MARKS: Mapping[str, tuple[str, str]] = {"ok": ("✓", "green"), "wrong": ("✗", "red"), "note": ("·", "white")}


@click.command(name="doctor")
@config_argument
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0.1, 3600),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long a server may take to answer.",
)
@json_option
def command(config: str | None, wait_s: float, as_json: bool) -> None:
    """Try each server and every client, and say what is wrong and what to do; exit 1 if anything is wrong.

    \b
    Example:
      concento doctor
      concento doctor concento.yaml --json
    """
    findings: list[Finding] = []

    def report(one: Finding) -> None:
        findings.append(one)
        if not as_json:
            _show(one)

    uvloop.run(_examine(config, wait_s, report))
    wrong = [one for one in findings if one.state == "wrong"]
    if as_json:
        put_json({"ok": not wrong, "findings": [_described(one) for one in findings]})
    else:
        tell(f"{len(wrong)} of {len(findings)} need something" if wrong else "nothing is wrong")
    raise SystemExit(bool(wrong))


async def _examine(named: str | None, wait_s: float, report: Report) -> None:
    config = _configuration(named, report)
    if config is not None:
        report(state_finding(config))
        report(await port_finding("listen", config.listen))
        if config.admin is not None:
            report(await port_finding("admin", config.admin))
        await examine_servers(config, wait_s, report, _tell_start)
    await examine_clients(known_files(Path.home(), Path.cwd(), os.environ), config, os.environ, report)


def _configuration(named: str | None, report: Report) -> Config | None:
    try:
        path = find_config(named, Path.cwd(), os.environ)
    except ConfigError:
        report(Finding("configuration", FILE_NAME, "wrong", "there is none", "concento import, or concento add NAME"))
        return None
    try:
        config = load(path, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            text = problem.removeprefix(f"{path}:")
            report(Finding("configuration", shortened(path), "wrong", text, "correct that place"))
        return None
    text = f"{counted(config.servers, 'server')}, {counted(config.views, 'view')}"
    report(Finding("configuration", shortened(path), "ok", text))
    return config


def _tell_start(alias: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[Ktrying {alias}", err=True, nl=False)


def _show(one: Finding) -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
    mark, colour = _MARKS[one.state]
    sign = click.style(mark, fg=colour) if sys.stdout.isatty() else mark
    home = f"{Path.home()}/"
    text = " → ".join(filter(None, (printable(one.text), printable(one.remedy)))).replace(home, "~/")
    click.echo(f"{sign} {one.subject} {one.name.replace(home, '~/')}: {text}")
    words = [line for line in one.last_words if line.strip() and not line.startswith("npm notice")]
    for line in words[-LAST_WORDS:]:
        tell(f"    {line}")


def _described(one: Finding) -> dict[str, object]:
    return {
        "subject": one.subject,
        "name": one.name,
        "state": one.state,
        "text": one.text,
        "remedy": one.remedy or None,
        "last_words": list(one.last_words),
    }
