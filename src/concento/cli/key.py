"""`concento key`: the API keys of a hub. They are in its state store, where a running hub sees changes in seconds."""

import asyncio
import difflib
import os
import re
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..model.clock import SystemClock
from ..model.config import Config
from ..model.errors import StartError
from ..model.tenant import DEFAULT_TENANT
from .common import config_option, counted, fail, json_option, put_json, put_table, read_config, tell

if TYPE_CHECKING:
    from ..front.identity.keys import ApiKeys, KeyRecord

T = TypeVar("T")
KEY_VARIABLE = "CONCENTO_KEY"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_GIVEN_BYTES_MAX = 8192
_NAMED_MAX = 10


class Duration(click.ParamType[float]):
    """A time such as 30d, 12h, 15m or 90s."""

    name = "DURATION"

    def __init__(self, least_s: float = 1.0) -> None:
        self._least_s = least_s

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"([0-9]{1,6})([smhd])", str(value))
        seconds = -1.0 if match is None else float(int(match[1]) * _SECONDS[match[2]])
        if seconds < self._least_s:
            self.fail(f"{value!r} is no duration; write it as 30d, 12h, 15m or 90s", param, ctx)
        return seconds


@click.group(name="key")
def command() -> None:
    """Make, list, revoke, rotate and derive API keys.

    \b
    Example:
      concento key create --subject alice --role developer --ttl 30d
    """


@command.command(name="create")
@click.option("--subject", required=True, metavar="USER", help="Whose it is.")
@click.option("--agent", metavar="A", help="The agent that acts for them.")
@click.option("--tenant", metavar="T", default=DEFAULT_TENANT, help="Their tenant; by default the operator's own.")
@click.option("--role", "roles", metavar="R", multiple=True, help="A role that it gives; as often as needed.")
@click.option("--scope", "scopes", metavar="S", multiple=True, help="A scope that it gives; as often as needed.")
@click.option("--ttl", "ttl_s", type=Duration(), help="How long it is good; without it, until it is revoked.")
@click.option("--note", default="", metavar="TEXT", help="What it is for.")
@config_option
@json_option
def create(
    subject: str,
    agent: str | None,
    tenant: str,
    roles: tuple[str, ...],
    scopes: tuple[str, ...],
    ttl_s: float | None,
    note: str,
    config: str | None,
    as_json: bool,
) -> None:
    """Make a key and print it, this once: only its digest is kept.

    \b
    Example:
      concento key create --subject alice --agent claude-code --ttl 30d
    """
    configuration = read_config(config)
    _check_names(configuration, tenant, roles)

    async def make(keys: "ApiKeys") -> "tuple[KeyRecord, str]":
        return await keys.create(
            subject, agent=agent, tenant=tenant, roles=roles, scopes=scopes, ttl_s=ttl_s, note=note
        )

    record, text = _with_keys(configuration, make)
    _show_new(record, text, as_json)


_COLUMNS = ("id", "state", "user", "agent", "tenant", "roles", "scopes", "created", "expires", "used", "note")


@command.command(name="list")
@config_option
@json_option
def list_keys(config: str | None, as_json: bool) -> None:
    """List all keys, without their secrets, which nobody has but their holders.

    \b
    Example:
      concento key list --json
    """

    async def told(keys: "ApiKeys") -> list[dict[str, Any]]:
        now_s = time.time()
        return [_told(record, keys.used_s.get(record.id), now_s) for record in keys.records]

    found = _with_keys(read_config(config), told)
    if as_json:
        put_json({"keys": found})
        return
    if not found:
        tell("there are no keys; `concento key create --subject USER` makes one")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(*_COLUMNS, box=None, header_style="bold", pad_edge=False)
    for key in found:
        cells = (
            *(key["id"], key["state"], key["subject"], key["agent"] or "", key["tenant"], " ".join(key["roles"])),
            *(" ".join(key["scopes"]), _when(key["created"]), _when(key["expires"]), _when(key["used"]), key["note"]),
        )
        table.add_row(*map(Text, cells))  # as they are: what somebody named a key is no markup
    put_table(table)


@command.command(name="revoke")
@click.argument("ids", metavar="ID…", nargs=-1, required=True, help="Ids of keys, or how they begin.")
@config_option
@json_option
def revoke(ids: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """End keys, and all that were derived from them. Their streams are cut within five seconds.

    \b
    Example:
      concento key revoke 7k2m9q4x1z
    """

    async def end(keys: "ApiKeys") -> list[str]:
        found = list(dict.fromkeys(_find(keys, id) for id in ids))  # all, before any is revoked
        for id in found:
            await keys.revoke(id)
        return found

    ended = _with_keys(read_config(config), end)
    if as_json:
        put_json({"revoked": ended})
    else:
        tell(f"revoked: {', '.join(ended)}")


@command.command(name="rotate")
@click.argument("id", help="The id of a key, or how it begins.")
@click.option("--overlap", "overlap_s", type=Duration(0.0), default="0s", help="How long the old one is good yet.")
@config_option
@json_option
def rotate(id: str, overlap_s: float, config: str | None, as_json: bool) -> None:
    """Make a key with the rights of another, print it, and end the other after a while.

    \b
    Example:
      concento key rotate 7k2m9q4x1z --overlap 10m
    """

    async def turn(keys: "ApiKeys") -> "tuple[str, KeyRecord, str]":
        old = _find(keys, id)
        return old, *await keys.rotate(old, overlap_s)

    old, record, text = _with_keys(read_config(config), turn)
    tell(f"key {old} ends {f'in {overlap_s:g} s' if overlap_s else 'now'}, with all that were derived from it")
    _show_new(record, text, as_json)


@command.command(name="derive")
@click.option(
    "--tools", "tools", metavar="PATTERN", multiple=True, help="What it reaches, over server.tool; as often as needed."
)
@click.option("--scope", "scopes", metavar="S", multiple=True, help="Of the parent's scopes, only these.")
@click.option("--agent", metavar="A", help="The agent that it is for.")
@click.option("--ttl", "ttl_s", type=Duration(), required=True, help="How long it is good.")
@json_option
def derive(tools: tuple[str, ...], scopes: tuple[str, ...], agent: str | None, ttl_s: float, as_json: bool) -> None:
    """Make a narrower, shorter key of one that is given on standard input or in CONCENTO_KEY. No hub is asked.

    \b
    Example:
      concento key derive --tools "git.get_*" --ttl 15m < my.key
    """
    from ..front.identity import derived
    from ..front.identity.key_text import DERIVED, PREFIX, parts, secret_in

    form = parts(_given())
    if form is None:
        fail(f"give the key to derive from on standard input or in {KEY_VARIABLE}; this is not the form of one")
    id, is_derived, body = form
    parent = body if is_derived else secret_in(id, body)
    if parent is None:
        fail("the key was mistyped: its checksum does not fit")
    expires_s = time.time() + ttl_s
    try:
        chain = derived.derive(
            parent,
            expires_s=expires_s,
            seed=os.urandom(32),
            tools=tools or None,
            scopes=scopes or None,
            agent=agent,
        )
    except ValueError as error:
        fail(str(error))
    made = f"{PREFIX}{id}_{DERIVED}{chain}"
    if as_json:
        put_json({"key": made, "expires": expires_s})
    else:
        tell(f"good until {_when(expires_s)}, if its parent {id} is as long; ends with it")
        click.echo(made)


def _given() -> str:
    """The key on standard input, else in the environment: one that is piped in must not be passed over in silence."""
    text = (
        ""
        if sys.stdin is None or sys.stdin.isatty()
        else sys.stdin.buffer.read(_GIVEN_BYTES_MAX).decode(errors="replace").strip()
    )
    return text or os.environ.get(KEY_VARIABLE, "").strip()


# -- what they share


def _with_keys(config: Config, work: "Callable[[ApiKeys], Awaitable[T]]") -> T:
    """Run something with the keys in the configuration's state store."""
    if config.state_db is None:
        fail("API keys are kept in the state store, and `state` is off; give it a file: sqlite:///concento.db")
    path = config.state_db

    async def run() -> T:
        from ..front.identity.keys import ApiKeys
        from ..store.sqlite import SqliteStore

        store = await SqliteStore.open(path)
        try:
            keys = ApiKeys(store, SystemClock())
            await keys.load()
            if keys.unreadable:
                tell(f"{counted(keys.unreadable, 'key')} can't be read and prove nothing: {_some(keys.unreadable)}")
            return await work(keys)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except (StartError, _NotFound, ValueError) as error:
        fail(str(error))
    except sqlite3.Error as error:
        fail(f"the state file {path} can't be used ({error}); try again, or set `state:` to another")


class _NotFound(Exception):
    """No key, or several, of such an id."""


def _find(keys: "ApiKeys", begin: str) -> str:
    """The one id that is this, or begins so. A whole key is taken for its id, and never told again."""
    from ..front.identity.key_text import PREFIX

    begin = begin.removeprefix(PREFIX).partition("_")[0]
    if not re.fullmatch("[a-z0-9]{1,10}", begin):
        raise _NotFound("an id has up to ten small letters and digits: `concento key list`")  # may be a secret: unsaid
    ids = [record.id for record in keys.records]
    found = [id for id in ids if id.startswith(begin)]
    if begin in found:
        return begin
    if len(found) == 1:
        return found[0]
    if found:
        raise _NotFound(f"several keys begin with {begin!r}: {_some(found)}")
    near = difflib.get_close_matches(begin, ids, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {len(ids)}: `concento key list`"
    raise _NotFound(f"there is no key {begin!r}{hint}")


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED_MAX]) + (", …" if len(ids) > _NAMED_MAX else "")


def _check_names(config: Config, tenant: str, roles: tuple[str, ...]) -> None:
    tenants = [DEFAULT_TENANT, *config.tenants]
    if tenant not in tenants:
        fail(f"there is no tenant {tenant!r}{_near(tenant, tenants)}")
    own = config.tenants[tenant].roles if tenant in config.tenants else {}
    known = [*config.roles, *own]
    for role in roles:
        if role not in known:
            fail(f"there is no role {role!r}{_near(role, known)}")


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"


def _show_new(record: "KeyRecord", text: str, as_json: bool) -> None:
    if as_json:
        put_json({"id": record.id, "key": text, "expires": record.expires_s})
        return
    whose = f"{record.subject}{' by ' + record.agent if record.agent else ''}"
    tell(f"key {record.id} of {whose} ({record.tenant}), good until {_when(record.expires_s) or 'it is revoked'}.")
    tell("It is shown this once. Agents send it as `Authorization: Bearer …`.")
    tell("A hub that runs takes it within two seconds.")
    click.echo(text)


def _told(record: "KeyRecord", used_s: float | None, now_s: float) -> dict[str, Any]:
    return {
        "id": record.id,
        "subject": record.subject,
        "agent": record.agent,
        "tenant": record.tenant,
        "roles": list(record.roles),
        "scopes": list(record.scopes),
        "note": record.note,
        "created": record.created_s,
        "expires": record.expires_s,
        "used": used_s,
        "state": record.problem(now_s) or "good",
    }


def _when(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
