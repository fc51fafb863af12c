"""`concento add`: one more server, found by name or given as a command or URL, tried before it is written down."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click
import uvloop

from ..control.config.clients import free_alias
from ..control.config.problems import nearest
from ..control.config.texts import ALIAS
from ..model.config import Config, Server
from ..model.errors import ConcentoError
from ..onboarding.disguise import SECRETS_FOLDER, Answer, Disguised, disguise, in_full, open_needs, with_defaults
from ..onboarding.gather import same_server, server_of
from ..onboarding.insert import HEAD, NewServer, fresh
from ..onboarding.offer import KINDS, Way, choose, ways
from ..onboarding.registry import OFFICIAL, SHIPPED, Listing, NotReached, best, find, nearest_names, shipped, short_name
from ..onboarding.save import save_configuration
from ..onboarding.secrets import is_secret_name
from ..onboarding.translate import Entry, Need
from ..onboarding.trial import Trial, printable, try_server
from . import completing
from .common import counted, fail, json_option, put_json, shortened, tell
from .writing import added_to, ask, can_ask, config_to_write, target_of

SHOWN_MAX = 12
"""Most matches that are listed."""

DESCRIPTION_CHARS = 90


class Add(click.Command):
    """Notes whether there was a `--`, which click takes away: what follows it is a command, even if it is one word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_IS_COMMAND] = "--" in args
        return super().parse_args(ctx, args)


_IS_COMMAND = f"{__name__}.is_command"


@click.command(name="add", cls=Add)
@click.argument(
    "target", nargs=-1, required=True, metavar="NAME | URL | -- COMMAND...", shell_complete=completing.well_known
)
@click.option("--as", "alias", metavar="ALIAS", help="Alias of the server; by default made of its name.")
@click.option(
    "--env",
    "said",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variable the server gets; NAME alone: by reference to ours.",
)
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header field sent to a URL.")
@click.option("--set", "inputs", multiple=True, metavar="NAME=VALUE", help="An argument that the registry names.")
@click.option("--via", type=click.Choice(KINDS), help="Which way to run it, where a registry names several.")
@click.option(
    "--registry",
    metavar="URL",
    help=f"Where to look names up: a registry's URL, or `{SHIPPED}`.",
    envvar="CONCENTO_REGISTRY",
    show_envvar=True,
)
@config_to_write
@click.option("--no-try", "untried", is_flag=True, help="Write it without trying it.")
@click.option("--dry-run", is_flag=True, help="Print the configuration with it, and neither try nor write it.")
@json_option
def command(
    target: tuple[str, ...],
    alias: str | None,
    said: tuple[str, ...],
    headers: tuple[str, ...],
    inputs: tuple[str, ...],
    via: str | None,
    registry: str | None,
    named: str | None,
    untried: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Find a server, try it, show its tools, and write it into the configuration.

    NAME is looked up among the well-known servers that come with Concento, then in the official MCP registry. What a
    server must be told is asked for on a terminal, else given by --env; secrets go into files of their own.

    \b
    Example:
      concento add time
      concento add brave-search --env BRAVE_API_KEY=...
      concento add https://mcp.deepwiki.com/mcp --as wiki
      concento add -- uvx mcp-server-git --repository .
    """
    if alias is not None and not re.fullmatch(ALIAS, alias):
        raise click.UsageError(f"{alias!r} is no alias: a-z, 0-9 and -, beginning with a letter, at most 20 in all.")
    path, existing, before = target_of(named)
    if alias is not None and alias in existing.servers:
        raise click.UsageError(f"{shortened(path)} has a server called {alias!r} already; choose another with --as.")
    said_to_it = _Given(_pairs("--env", said), _pairs("--header", headers), _pairs("--set", inputs))
    given = said_to_it.all
    new = _found(target, said_to_it, via, registry, as_json)
    answers = {name: Answer(value, is_secret_name(name)) for name, value in given.items()}
    answers |= {need.name: Answer(given[need.name], need.is_secret) for need in new.entry.needs if need.name in given}
    missing = [need for need in new.entry.needs if need.name not in answers]
    if missing and can_ask(as_json):
        answers |= ask(missing)
    _refuse_missing(new, open_needs(new.entry, answers))
    answers = with_defaults(new.entry, answers)
    alias = alias or free_alias(new.name, existing.servers)
    server = server_of(alias, in_full(new.entry, answers), path, os.environ)
    if isinstance(server, str):
        fail(f"this can't be a server: {server}")
    if (there := same_server(server, existing.servers)) is not None:
        tell(f"{shortened(path)} has it already, as {there!r}")
        if as_json:
            put_json({"config": str(path), "written": False, "alias": there})
        return
    hidden = disguise(new.entry, alias, answers)
    tell(f"{alias}: {printable(shlex.join(hidden.keys.get('command', ())) or hidden.keys['url'])}")
    trial = None if untried or dry_run else _try(server, hidden, as_json)
    if trial is not None and not trial.works:  # but for its users, who connect accounts of theirs
        hidden = replace(hidden, keys={**hidden.keys, "credentials": {"user": {}}})
    addition = NewServer(alias, hidden.keys, new.comments)
    text = added_to(path, before, [addition]) if before is not None else fresh([addition], _head(hidden))
    if dry_run:
        click.echo(text, nl=False) if not as_json else put_json(_described(path, alias, hidden, None, False))
        return
    try:
        save_configuration(path, text.encode(), hidden.secrets, os.environ, expected=before)
    except ConcentoError as error:
        fail(error)
    if as_json:
        put_json(_described(path, alias, hidden, trial, True))
    elif trial is not None and trial.works:
        _show_tools(trial)
    _tell_written(path, alias, hidden, new, before is None, existing)


class _New(NamedTuple):
    """A server to be added: what it is called, what it is, what is said of it in a comment."""

    name: str
    entry: Entry
    comments: tuple[str, ...] = ()
    optional: tuple[Need, ...] = ()


class _Given(NamedTuple):
    """What a person says on the command line, by the option it is said with."""

    env: Mapping[str, str]
    headers: Mapping[str, str]
    inputs: Mapping[str, str]

    @property
    def all(self) -> dict[str, str]:
        return {**self.env, **self.headers, **self.inputs}


def _pairs(option: str, said: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE; NAME alone refers to the variable of the hub's own environment."""
    pairs: dict[str, str] = {}
    for one in said:
        name, equals, value = one.partition("=")
        if not name or (not equals and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)):
            raise click.UsageError(f"{option} takes NAME=VALUE.")
        if not equals and name not in os.environ:
            raise click.UsageError(f"{option} {name}: no such variable is set here; set it, or give {name}=VALUE.")
        pairs[name] = value if equals else f"${{env:{name}}}"
    return pairs


# -- what is meant


def _found(target: tuple[str, ...], given: _Given, via: str | None, registry: str | None, as_json: bool) -> _New:
    first = target[0]
    is_command = click.get_current_context().meta[_IS_COMMAND] or len(target) > 1
    if not is_command and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", first):
        _refuse_given("--set", given.inputs, "a server found by its name; a URL takes --header")
        _refuse_given("--env", given.env, "a server that is started here; a URL takes --header")
        return _at_url(first, given.headers)
    if is_command or first.startswith(("/", "./", "../", "~/")):
        _refuse_given("--set", given.inputs, "a server found by its name; a command has its arguments after --")
        _refuse_given("--header", given.headers, "a URL; a command takes --env")
        return _by_command(target, given.env)
    listing = _listing(first, registry, as_json)
    offered = list(ways(listing.content, given.all))
    fitting = [way for way in offered if way.takes(given.inputs)] or offered
    way = choose([way for way in fitting if way.takes(given.all)] or fitting, _is_here, via)
    if way is None:
        kinds = ", ".join(one.kind for one in offered)
        fail(
            f"{listing.name} can't be run {'that way' if via else 'by the hub'}: "
            + (f"there is {kinds}" if kinds else "it is no package of npm, PyPI, OCI or NuGet and has no URL")
        )
    _refuse_unknown(way, given)
    entry = _with_env(way, {name: value for name, value in given.all.items() if not way.takes([name])}, given.headers)
    comment = f"{listing.name} {listing.version}".strip() + (f": {listing.description}" if listing.description else "")
    return _New(listing.short, entry, (printable(comment),), way.optional)


def _refuse_given(option: str, given: Mapping[str, str], meant_for: str) -> None:
    """An option that has no meaning here is told, not dropped."""
    if given:
        raise click.UsageError(f"{option} {next(iter(given))} is for {meant_for}.")


def _refuse_unknown(way: Way, given: _Given) -> None:
    """A name after --set that the server does not take is a mistake; variables beyond those it names may be given."""
    takes = list(dict.fromkeys(need.name for need in (*way.entry.needs, *way.optional)))
    for name in given.inputs:
        if name not in takes:
            near = nearest(name, takes)
            raise click.UsageError(
                f"{name!r} is no argument of this server; it takes {', '.join(map(printable, takes)) or 'none'}"
                + (f"; did you mean {printable(near)!r}?" if near else "; a variable is given with --env.")
            )


def _is_here(program: str) -> bool:
    """Whether a server would find this program: beside the hub, or on PATH."""
    return shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}") is not None


def _with_env(way: Way, more: dict[str, str], headers: Mapping[str, str]) -> Entry:
    """The entry with what a person gives beyond what the registry names."""
    if not more:
        return way.entry
    keys = dict(way.entry.keys)
    for name, value in more.items():
        kind = "headers" if name in headers else "env"
        if (kind == "headers") != (way.launcher is None):
            raise click.UsageError(f"{name!r} is no input of this server when it is run as {way.kind!r}.")
        keys[kind] = {**keys.get(kind, {}), name: _meant(value)}
        if kind == "env" and way.kind == "oci":
            command = list(keys["command"])
            keys["command"] = [*command[:4], "-e", name, *command[4:]]
    return Entry(MappingProxyType(keys), way.entry.needs)


def _at_url(url: str, given: Mapping[str, str]) -> _New:
    scheme = url.partition("://")[0]
    if scheme not in ("http", "https"):
        raise click.UsageError(f"{scheme}:// is no way to reach a server; its URL begins with http:// or https://.")
    if not _host(url):
        raise click.UsageError(f"{url!r} names no host; write https://HOST/PATH, as the server's own pages give it.")
    keys: dict[str, Any] = {"url": url}
    headers = {name: _meant(value) for name, value in given.items()}
    for name in list(headers):
        kind, _, token = headers[name].partition(" ")
        if name.lower() == "authorization" and kind.lower() == "bearer" and token:
            keys["credentials"] = {"bearer": token}
            del headers[name]
    if headers:
        keys["headers"] = headers
    host = _host(url)
    words = [word for word in host.split(".") if word not in ("mcp", "www", "api", "docs")]
    name = words[-2] if len(words) > 1 else words[0] if words else host
    return _New("local" if re.fullmatch(r"[\d.]+|localhost", host) else name, Entry(MappingProxyType(keys)))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # half an IPv6 address
        return ""


_PASSED_OVER = (
    *("npx", "uvx", "uv", "pipx", "bunx", "pnpm", "docker", "podman", "node", "python", "python3"),
    *("run", "tool", "dlx", "exec"),
)
"""Words of a command that don't say which server it is."""


def _by_command(words: tuple[str, ...], env: Mapping[str, str]) -> _New:
    keys: dict[str, Any] = {"command": [_meant(word) for word in words]}
    if env:
        keys["env"] = {name: _meant(value) for name, value in env.items()}
    plain = [word for word in words if not word.startswith("-") and Path(word).name not in _PASSED_OVER]
    name = re.split(r"==|(?<!^)@|:", plain[0] if plain else words[0])[0]
    return _New(short_name(Path(name).stem if name.endswith((".py", ".js")) else name), Entry(MappingProxyType(keys)))


def _meant(text: str) -> str:
    """What a person typed: references of ours are meant as such, any other `${` is text."""
    return re.sub(r"\$\{(?!(?:env|file):[^{}]+\})", "$${", text.replace("\0", ""))


# -- names


def _listing(name: str, registry: str | None, as_json: bool) -> Listing:
    """The one server that is meant; ends with code 1 and those that may be, if that is not clear."""
    known = best(name, shipped())
    if registry in (None, SHIPPED) and known and (known[0].name == name or known[0].short == name.lower()):
        return known[0]
    source = registry or OFFICIAL
    try:
        found = uvloop.run(find(name, source))
    except NotReached as error:
        if registry is not None:
            fail(error)
        tell(f"{error}; looking among the servers that come with Concento")
        source, found = SHIPPED, known
    if len(found) == 1 and name.lower() in (found[0].name.lower(), found[0].short):
        return found[0]
    if not found:
        near = nearest_names(name, shipped())
        fail(f"nothing fits {name!r}" + (f"; did you mean {', '.join(near)}?" if near else "; give its command or URL"))
    if can_ask(as_json):
        return _chosen(found)
    tell(f"concento: {name!r} is not clear; give the name in full:")
    for one in found[:SHOWN_MAX]:
        tell(f"  {printable(one.name)}  {printable(one.description)[:DESCRIPTION_CHARS]}")
    raise SystemExit(1)


def _chosen(found: Sequence[Listing]) -> Listing:
    for number, one in enumerate(found[:SHOWN_MAX], start=1):
        tell(f"  {number:2}  {printable(one.name)}  {printable(one.description)[:DESCRIPTION_CHARS]}")
    shown = min(len(found), SHOWN_MAX)
    number = click.prompt("Which one", type=click.IntRange(1, shown), err=True)
    return found[int(number) - 1]


def _refuse_missing(new: _New, missing: Sequence[Need]) -> None:
    if not missing:
        return
    tell(f"concento: {new.name} needs to be told:")
    for need in missing:
        tell(f"  --{'env' if need.name.isupper() else 'set'} {printable(need.name)}=…  {printable(need.description)}")
    raise SystemExit(2)


# -- trying and telling


def _try(server: Server, hidden: Disguised, as_json: bool) -> Trial:
    told = [0]

    def waiting(waited_s: float) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[Ktrying it: {waited_s:.0f} s", err=True, nl=False)
        elif waited_s >= 10 * (told[0] + 1):
            told[0] += 1
            tell(f"trying it: {waited_s:.0f} s; the first start may have to download it")

    trial = uvloop.run(try_server(server, secrets=list(hidden.secrets.values()), on_wait=waiting))
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
    if trial.wants_users and not hidden.keys.keys() & {"headers", "credentials"}:
        tell("it wants to know its users: each connects an account of theirs when their agent first needs it")
        return trial
    if not trial.works:
        for line in trial.last_words:
            tell(f"    {line}")
        if as_json:
            put_json({"written": False, "alias": server.alias, "error": trial.error, "last_words": trial.last_words})
        fail(f"{trial.error}. Nothing was written; --no-try writes it all the same")
    tell(f"it works: {counted(trial.tools, 'tool')}, {trial.era} {trial.revision}, after {trial.took_s:.1f} s")
    return trial


def _show_tools(trial: Trial) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("tool", "description", box=None, header_style="bold", pad_edge=False)
    for tool in trial.tools:
        first = next(iter(tool.description.strip().splitlines()), "")
        table.add_row(printable(tool.name), printable(first)[:DESCRIPTION_CHARS])
    Console().print(table)


def _tell_written(path: Path, alias: str, hidden: Disguised, new: _New, is_first: bool, existing: Config) -> None:
    moved = f"; {counted(hidden.secrets, 'secret')} in {SECRETS_FOLDER}/" if hidden.secrets else ""
    tell(f"{shortened(path)} has {alias!r} now{moved}")
    if "credentials" in hidden.keys:
        tell(f"  on a hub of your own: concento accounts connect {alias}")
    if new.optional:
        tell(f"  it also takes {', '.join(printable(need.name) for need in new.optional)}")
    if is_first:
        tell("Next: concento serve   or another: concento add NAME")


def _head(hidden: Disguised) -> str:
    return HEAD + (f"# Secrets are in {SECRETS_FOLDER}/, a file each.\n" if hidden.secrets else "")


def _described(path: Path, alias: str, hidden: Disguised, trial: Trial | None, written: bool) -> dict[str, Any]:
    return {
        "config": str(path),
        "written": written,
        "alias": alias,
        "server": hidden.keys,
        "secrets": [f"{SECRETS_FOLDER}/{name}" for name in hidden.secrets],
        "tried": trial is not None,
        "era": trial.era if trial else None,
        "revision": trial.revision if trial else None,
        "tools": [{"name": tool.name, "description": tool.description} for tool in trial.tools] if trial else None,
    }
