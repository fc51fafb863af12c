"""`concento import`: what MCP clients have becomes a configuration, and the clients may use the hub from then on."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import click

from ..control.config.load import FILE_NAME
from ..control.config.problems import nearest
from ..model.config import Config
from ..model.errors import ConcentoError
from ..onboarding.clients import ClientFile, hub_command, known_files
from ..onboarding.disguise import SECRETS_FOLDER, Answer
from ..onboarding.found import Found, Reading, read_file
from ..onboarding.gather import Gathered, Taken, gather
from ..onboarding.insert import HEAD, NewServer, commented, fresh, uncommented
from ..onboarding.pointing import Change, apply, change, undo
from ..onboarding.save import CantWrite, replace_file, save_configuration
from ..onboarding.translate import Need
from ..onboarding.trial import printable
from .common import counted, fail, json_option, put_json, shortened, tell, user_state
from .writing import added_to, ask, can_ask, config_to_write, target_of


@click.command(name="import")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@config_to_write
@click.option(
    "--set", "said", multiple=True, metavar="NAME=VALUE", help="A variable or input that a client's file leaves open."
)
@click.option("--apply", "pointing", is_flag=True, help="Also let the clients use the hub in place of those servers.")
@click.option("--undo", "undoing", is_flag=True, help="Give clients back what the last --apply changed.")
@click.option("--force", is_flag=True, help="Begin the configuration anew; with --undo: files that changed since, too.")
@click.option("--dry-run", is_flag=True, help="Print what would be written, and write nothing.")
@json_option
def command(
    files: tuple[Path, ...],
    named: str | None,
    said: tuple[str, ...],
    pointing: bool,
    undoing: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring in the servers that MCP clients have.

    Without FILE it looks where Claude Desktop, Claude Code, VS Code, Cursor, Windsurf, Zed, Copilot and Gemini CLI
    keep them. The same server in several clients becomes one; secrets move into files of their own beside the
    configuration. A configuration that is there already keeps what it has.

    \b
    Example:
      concento import --dry-run
      concento import --apply
      concento import --undo          # as it was before
    """
    if undoing:
        if pointing or dry_run or said:
            raise click.UsageError("--undo goes together with --force and --json only.")
        _undo(files, force, as_json)
        return
    path, existing, before = target_of(named, anew=force)
    readings = _read(files)
    answers = _answers(said)
    gathered = gather(readings, os.environ, answers, existing, path)
    _refuse_unknown(answers, gathered.asked)
    if not dry_run and can_ask(as_json) and _needs(gathered):
        tell("Some servers need what only you know; leave it empty to decide later.")
        answers |= ask(_needs(gathered))
        gathered = gather(readings, os.environ, answers, existing, path)
    if before is None and not gathered.taken:
        _report(readings, gathered)
        _tell_broken(readings)
        fail("there is no server to bring in; begin with `concento add NAME`")
    text = _text(gathered, before, path)
    written = before is None or text.encode() != before
    try:
        config = _write(path, text, gathered, before, force) if written and not dry_run else existing
        changes = _changes(readings, gathered, config, path, bool(files)) if pointing else []
        _report(readings, gathered)
        if dry_run:
            _tell_dry(changes, written, path)
        else:
            _tell_written(gathered, written, before is None, path)
            for one in apply(changes, user_state() / "clients") if changes else ():
                tell(
                    f"{one.file.client.name} has the hub for {counted(one.gone, 'server')} now; {one.file.client.after}"
                )
            _tell_next(pointing, changes, path)
        _tell_broken(readings)
    except ConcentoError as error:
        fail(error)
    if as_json:
        put_json(_described(path, written and not dry_run, readings, gathered, () if dry_run else changes))
    elif dry_run:
        click.echo(text, nl=False)


# -- what there is


def _read(files: Sequence[Path]) -> list[Reading]:
    known = known_files(Path.home(), Path.cwd(), os.environ)
    if not files:
        readings = [read_file(file.path, known, file) for file in known if file.path.is_file()]
        if not readings:
            fail("no client keeps servers here; name a FILE, or begin with `concento add NAME`")
        return readings
    readings = [read_file(path.absolute(), known) for path in files]
    for reading in readings:
        if reading.problem:
            fail(f"{reading.file.path}: {reading.problem}")
    return readings


# -- what only a person knows


def _answers(said: Sequence[str]) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    for one in said:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise click.UsageError("--set takes NAME=VALUE.")
        answers[name] = Answer(value, name != "workspaceFolder")
    return answers


def _refuse_unknown(names: Iterable[str], asked: Sequence[str]) -> None:
    for name in names:
        if name not in asked:
            near = nearest(name, asked)
            raise click.UsageError(
                f"no file leaves {name!r} open; they leave {', '.join(map(printable, asked)) or 'nothing'}"
                + (f"; did you mean {printable(near)!r}?" if near else ".")
            )


def _needs(gathered: Gathered) -> list[Need]:
    return list({need.name: need for taken in gathered.taken if not taken.is_disabled for need in taken.needs}.values())


# -- what is written


def _text(gathered: Gathered, before: bytes | None, path: Path) -> str:
    active = [_new(taken) for taken in gathered.taken if taken.is_active]
    if before is not None:
        waited = reduce(uncommented, (server.alias for server in active), before.decode())
        return added_to(path, waited.encode(), active)
    waiting = [commented(_new(taken)) for taken in gathered.taken if not taken.is_active]
    head = HEAD
    if any(taken.secrets for taken in gathered.taken):
        head += (
            f"# Secrets are in {SECRETS_FOLDER}/, a file each; they belong neither here nor under version control.\n"
        )
    text = fresh(active, head)
    return text + "".join(f"\n{block}\n" for block in waiting)


def _new(taken: Taken) -> NewServer:
    said = [f"from {' and '.join(dict.fromkeys(_origin(found) for found in taken.origins))}", *taken.notes]
    if taken.is_disabled:
        said.append("switched off there; take the marks away to have it")
    elif taken.needs:
        names = " ".join(f"--set {need.name}=…" for need in taken.needs)
        said.append(f"needs what only you know: concento import {names}")
    return NewServer(taken.alias, taken.keys, tuple(map(printable, said)))


def _origin(found: Found) -> str:
    project = f", project {shortened(Path(found.section[1]))}" if found.section[0] == "projects" else ""
    return f"{found.file.client.name} ({shortened(found.file.path)}{project})"


def _write(path: Path, text: str, gathered: Gathered, before: bytes | None, force: bool) -> Config:
    secrets: dict[str, str] = {}
    for taken in gathered.taken:
        secrets |= taken.secrets
    expected = before
    if force and path.exists():
        expected = path.read_bytes()
        kept = path.with_name(f"{path.name}.before")
        replace_file(kept, expected, expected=kept.read_bytes() if kept.exists() else None, mode=0o600)
    return save_configuration(path, text.encode(), secrets, os.environ, expected=expected)


def _changes(readings: Sequence[Reading], gathered: Gathered, config: Config, path: Path, named: bool) -> list[Change]:
    """What `--apply` does. A project's file is shared with others: only a person who names it has it changed."""
    url = f"http://{config.listen}/mcp"
    gone = [found for taken in gathered.taken if taken.is_active for found in taken.origins]
    gone += [found for _, found in gathered.known]
    changes: list[Change] = []
    for reading in readings:
        own = [found for found in gone if found.file == reading.file]
        if not own:
            continue
        if reading.file.scope == "project" and not named:
            tell(f"{shortened(reading.file.path)} belongs to a project and may be shared: name it to change it, too")
            continue
        entry = reading.file.client.entry(url, hub_command(path, windows=reading.file.windows))
        try:
            made = change(reading, own, entry, url)
        except CantWrite as error:
            tell(f"left as it is: {error}")
            continue
        if made is not None:
            changes.append(made)
    return changes


def _undo(files: Sequence[Path], force: bool, as_json: bool) -> None:
    try:
        done = undo(user_state() / "clients", [path.absolute() for path in files], force=force)
    except CantWrite as error:
        fail(error)
    for one in done:
        tell(f"{one.client}: {shortened(one.path)}{' is as it was' if one.problem is None else f': {one.problem}'}")
    if as_json:
        put_json({"files": [{"file": str(one.path), "client": one.client, "problem": one.problem} for one in done]})
    if any(one.problem for one in done):
        raise SystemExit(1)


# -- what is told


def _report(readings: Sequence[Reading], gathered: Gathered) -> None:
    width = max((len(reading.file.client.name) for reading in readings), default=0)
    for reading in readings:
        if reading.problem is None:
            names = ", ".join(found.name for found in reading.servers) or "no servers"
            tell(f"{reading.file.client.name:{width}}  {shortened(reading.file.path)}: {printable(names)}")
    for taken in gathered.taken:
        mark = "+" if taken.is_active else "-" if taken.is_disabled else "?"
        tell(f"  {mark} {taken.alias:20}  {printable('; '.join(_remarks(taken)))}")
    for alias, found in gathered.known:
        tell(f"  = {alias:20}  is there already, from {found.file.client.name} as {printable(found.name)}")
    for left in gathered.left:
        tell(f"  ! {printable(left.found.name):20}  left with {left.found.file.client.name}: {printable(left.reason)}")


def _tell_broken(readings: Sequence[Reading]) -> None:
    """Files that can't be read, after all else: a person may have servers there and miss them."""
    for reading in readings:
        if reading.problem is not None:
            tell(f"✗ {reading.file.client.name}  {shortened(reading.file.path)}: {printable(reading.problem)}")


def _remarks(taken: Taken) -> list[str]:
    said = [f"from {', '.join(dict.fromkeys(found.file.client.name for found in taken.origins))}", *taken.notes]
    if taken.is_disabled:
        said.append("switched off there")
    elif taken.needs:
        said.append(f"needs {', '.join(need.name for need in taken.needs)}")
    if taken.secrets:
        said.append(f"{counted(taken.secrets, 'secret')} moved to {SECRETS_FOLDER}/")
    return said


def _tell_written(gathered: Gathered, written: bool, is_first: bool, path: Path) -> None:
    active = [taken for taken in gathered.taken if taken.is_active]
    waiting = len(gathered.taken) - len(active)
    if written:
        where = "in comments" if is_first else "left with their clients"
        tell(f"{shortened(path)} has {counted(active, 'server')} more{f', and {waiting} {where}' if waiting else ''}")
    elif waiting:
        tell(f"{shortened(path)} stays as it is: {counted(gathered.known, 'server')} there already, {waiting} left")
    else:
        tell(f"{shortened(path)} has all of them already")


def _tell_dry(changes: Sequence[Change], written: bool, path: Path) -> None:
    tell(
        f"nothing is written; without --dry-run {shortened(path)} would be {'written' if written else 'left as it is'}"
    )
    for one in changes:
        tell(f"  and {shortened(one.file.path)} would lead to the hub instead of {counted(one.gone, 'server')}")


def _tell_next(pointing: bool, changes: Sequence[Change], path: Path) -> None:
    named = "" if path.parent == Path.cwd() and path.name == FILE_NAME else f" {shortened(path)}"
    tell(f"Next: concento serve{named}" + ("" if pointing else "   and: concento import --apply"))
    if changes:
        tell("As it was: concento import --undo")


def _described(
    path: Path, written: bool, readings: Sequence[Reading], gathered: Gathered, changes: Sequence[Change]
) -> Mapping[str, Any]:
    return {
        "config": str(path),
        "written": written,
        "clients": [
            {
                **_client(reading.file),
                "servers": [found.name for found in reading.servers],
                "problem": reading.problem,
            }
            for reading in readings
        ],
        "servers": [
            {
                "alias": taken.alias,
                "name": taken.name,
                "from": [_client(found.file) for found in taken.origins],
                "active": taken.is_active,
                "disabled": taken.is_disabled,
                "needs": [{"name": need.name, "description": need.description} for need in taken.needs],
                "secrets": [f"{SECRETS_FOLDER}/{name}" for name in taken.secrets],
                "notes": list(taken.notes),
            }
            for taken in gathered.taken
        ],
        "known": [{"alias": alias, "name": found.name, **_client(found.file)} for alias, found in gathered.known],
        "left": [
            {"name": left.found.name, **_client(left.found.file), "reason": left.reason} for left in gathered.left
        ],
        "applied": [{**_client(one.file), "servers": [found.name for found in one.gone]} for one in changes],
    }


def _client(file: ClientFile) -> dict[str, str]:
    return {"client": file.client.name, "file": str(file.path)}
