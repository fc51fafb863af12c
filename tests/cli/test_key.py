"""`concento key` as operators and holders use it: real processes, a real state file, no secret where none belongs."""

import json
import os
import re
import subprocess
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from tests.cli.test_cli import CONCENTO, free_port, wait_for

from concento.front.identity.key_text import parts
from concento.front.identity.keys import ApiKeys, KeyProblem
from concento.model.clock import SystemClock
from concento.model.principal import Principal
from concento.store.sqlite import SqliteStore

CONFIG = """\
state: sqlite:///state/hub.db
servers: {git: {command: [x]}}
auth: {api_keys: true}
roles: {developer: {allow: ["git.*"]}, reader: {allow: ["*.get_*"]}}
tenants: {acme: {roles: {acme-admin: {allow: ["*"]}}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "concento.yaml").write_text(CONFIG)
    return tmp_path


def key(folder: Path, *arguments: str, text: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CONCENTO, "key", *arguments],
        cwd=folder,
        env={**{name: value for name, value in os.environ.items() if name != "CONCENTO_KEY"}, **env},
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )


def made(folder: Path, *arguments: str) -> str:
    """A new key; it is all there is on standard output."""
    ran = key(folder, "create", *(arguments or ("--subject", "alice")))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("\n") == 1
    return ran.stdout.strip()


def id_of(text: str) -> str:
    form = parts(text)
    assert form is not None
    return form[0]


def listed(folder: Path) -> dict[str, dict[str, object]]:
    ran = key(folder, "list", "--json")
    assert ran.returncode == 0, ran.stderr
    return {told["id"]: told for told in json.loads(ran.stdout)["keys"]}


async def shown(folder: Path, *texts: str) -> list[Principal | KeyProblem]:
    """What a hub that reads the same file says of keys."""
    store = await SqliteStore.open(folder / "state/hub.db")
    try:
        keys = ApiKeys(store, SystemClock())
        await keys.load()
        return [keys.find(text, time.time()) for text in texts]
    finally:
        await store.close()


async def test_a_key_that_was_made_is_taken_by_a_hub_with_all_that_it_was_given(folder: Path) -> None:
    rights = ("--role", "developer", "--role", "reader", "--scope", "a:read", "--scope", "b")
    text = made(folder, "--subject", "alice", "--agent", "claude", *rights, "--ttl", "30d", "--note", "laptop")
    (found,) = await shown(folder, text)
    assert isinstance(found, Principal)
    assert found.owner == ("default", "alice", "claude")
    assert found.roles == {"developer", "reader"}
    assert found.scopes == {"a:read", "b"}
    assert found.until_s is not None
    assert abs(found.until_s - time.time() - 30 * 86_400) < 60
    told = listed(folder)[id_of(text)]
    assert (told["subject"], told["agent"], told["note"], told["state"]) == ("alice", "claude", "laptop", "good")
    assert (told["roles"], told["scopes"], told["used"]) == (["developer", "reader"], ["a:read", "b"], None)


def test_json_has_the_key_once_and_the_list_never(folder: Path) -> None:
    ran = key(folder, "create", "--subject", "alice", "--json")
    told = json.loads(ran.stdout)
    assert id_of(told["key"]) == told["id"]
    assert told["expires"] is None
    assert told["key"] not in ran.stderr


async def test_neither_secret_nor_hash_is_in_any_list_or_error(folder: Path) -> None:
    """T30."""
    text = made(folder)
    id, _, secret = parts(text) or ("", False, "")
    store = await SqliteStore.open(folder / "state/hub.db")
    keys = ApiKeys(store, SystemClock())
    await keys.load()
    (record,) = keys.records
    await store.close()
    runs = [
        key(folder, "list"),
        key(folder, "list", "--json"),
        key(folder, "revoke", secret),
        key(folder, "revoke", secret.lower()),
        key(folder, "revoke", f"concento_zzzzzzzzzz_{secret}"),
        key(folder, "rotate", secret),
        key(folder, "derive", "--ttl", "1m", text=text[:-1]),
        key(folder, "derive", "--ttl", "1m", text=f"Bearer {text}"),
        key(folder, "derive", "--ttl", "1m", "--tools", "x", CONCENTO_KEY=text),
        key(folder, "derive", "--ttl", "1m", CONCENTO_KEY=text[:-1]),
        key(folder, "revoke", text),  # who has only the key can revoke by it
    ]
    assert [ran.returncode for ran in runs] == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0]
    everything = "".join(ran.stdout + ran.stderr for ran in runs)
    for piece in (secret[:12], secret[-12:], secret.lower()[:12], record.digest.hex(), record.public.hex()):
        assert piece not in everything
    assert id in everything
    assert listed(folder)[id]["state"] == "revoked"


async def test_a_revoked_key_is_taken_no_more(folder: Path) -> None:
    gone, kept = made(folder), made(folder)
    derived = key(folder, "derive", "--ttl", "15m", text=gone).stdout.strip()
    assert [type(found) for found in await shown(folder, gone, kept, derived)] == [Principal] * 3
    ran = key(folder, "revoke", id_of(gone)[:9], "--json")
    assert json.loads(ran.stdout) == {"revoked": [id_of(gone)]}
    assert [type(found) for found in await shown(folder, gone, kept, derived)] == [KeyProblem, Principal, KeyProblem]


def status(endpoint: str, text: str) -> int:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    headers = {
        "Authorization": f"Bearer {text}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    try:
        with urlopen(Request(endpoint, json.dumps(body).encode(), headers), timeout=10) as reply:
            return int(reply.status)
    except HTTPError as error:
        return error.code


def test_a_running_hub_takes_a_new_key_and_drops_a_revoked_one_within_five_seconds(folder: Path) -> None:
    """T36."""
    config = folder / "concento.yaml"
    listen = f"listen: 127.0.0.1:{free_port()}\nadmin: {{listen: 127.0.0.1:{free_port()}}}\n"
    config.write_text(listen + CONFIG)
    with subprocess.Popen(
        [CONCENTO, "serve", str(config), "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as hub:
        try:
            assert hub.stdout is not None
            endpoint = json.loads(hub.stdout.readline())["endpoint"]
            text = made(folder)
            wait_for(lambda: status(endpoint, text) == 200, 5.0)
            derived = key(folder, "derive", "--ttl", "15m", text=text).stdout.strip()
            assert status(endpoint, derived) == 200
            assert status(endpoint, derived[:-1] + ("A" if derived[-1] != "A" else "B")) == 401
            assert key(folder, "revoke", id_of(text)).returncode == 0
            wait_for(lambda: status(endpoint, text) == 401, 5.0)
            assert status(endpoint, derived) == 401
        finally:
            hub.kill()


def test_revoking_names_the_nearest_id_and_ends_none_if_one_is_unknown(folder: Path) -> None:
    id = id_of(made(folder))
    other = id[:-1] + ("0" if id[-1] != "0" else "1")
    ran = key(folder, "revoke", id, other)
    assert ran.returncode == 1
    assert f"did you mean {id!r}" in ran.stderr
    assert listed(folder)[id]["state"] == "good"
    nothing = key(folder, "revoke", "")
    assert nothing.returncode == 1
    assert listed(folder)[id]["state"] == "good"
    assert key(folder, "revoke").returncode == 2


async def test_an_abbreviation_that_several_keys_share_is_refused(folder: Path) -> None:
    store = await SqliteStore.open(folder / "state/hub.db")
    keys = ApiKeys(store, SystemClock())
    ids = [(await keys.create("alice"))[0].id for _ in range(37)]  # more than an id's first character can tell apart
    await store.close()
    first = next(id for n, id in enumerate(ids) if any(other[0] == id[0] for other in ids[n + 1 :]))
    ran = key(folder, "revoke", first[0])
    assert ran.returncode == 1
    assert "several keys" in ran.stderr
    assert {told["state"] for told in listed(folder).values()} == {"good"}


async def test_rotation_prints_a_new_key_and_ends_the_old_one_after_the_overlap(folder: Path) -> None:
    old = made(folder, "--subject", "alice", "--role", "developer", "--ttl", "30d")
    ran = key(folder, "rotate", id_of(old), "--overlap", "10m")
    new = ran.stdout.strip()
    assert ran.returncode == 0
    before, after = await shown(folder, old, new)
    assert isinstance(before, Principal)
    assert isinstance(after, Principal)
    assert before.until_s is not None
    assert abs(before.until_s - time.time() - 600) < 60
    assert (before.owner, before.roles) == (after.owner, after.roles)
    newest = key(folder, "rotate", id_of(new)).stdout.strip()
    assert [type(found) for found in await shown(folder, new, newest)] == [KeyProblem, Principal]
    dead = key(folder, "rotate", id_of(new))
    assert dead.returncode == 1
    assert "expired" in dead.stderr
    assert not dead.stdout


async def test_a_key_is_derived_without_a_configuration_from_its_text_alone(folder: Path, tmp_path: Path) -> None:
    parent = made(folder, "--subject", "alice", "--scope", "a", "--scope", "b")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ran = key(elsewhere, "derive", "--tools", "git.get_*", "--scope", "a", "--agent", "ci", "--ttl", "15m", text=parent)
    assert ran.returncode == 0, ran.stderr
    assert not list(elsewhere.iterdir())
    again = key(elsewhere, "derive", "--tools", "git.get_log", "--ttl", "5m", "--json", text=ran.stdout)
    told = json.loads(again.stdout)
    one, two = await shown(folder, ran.stdout.strip(), told["key"])
    assert isinstance(one, Principal)
    assert isinstance(two, Principal)
    assert (one.agent, one.scopes) == ("ci", frozenset({"a"}))
    assert one.narrowed == (("git.get_*",),)
    assert two.narrowed == (("git.get_*",), ("git.get_log",))
    assert two.until_s == told["expires"]


def test_a_derived_key_that_would_outlive_its_parent_is_refused(folder: Path) -> None:
    short = key(folder, "derive", "--ttl", "15m", text=made(folder)).stdout
    ran = key(folder, "derive", "--ttl", "16m", text=short)
    assert ran.returncode == 1
    assert "outlive" in ran.stderr
    assert not ran.stdout


async def test_a_key_that_is_piped_in_goes_before_the_one_in_the_environment(folder: Path) -> None:
    wide, narrow = made(folder), made(folder, "--subject", "bob")
    piped = key(folder, "derive", "--ttl", "1m", text=narrow, CONCENTO_KEY=wide).stdout.strip()
    taken = key(folder, "derive", "--ttl", "1m", CONCENTO_KEY=wide).stdout.strip()
    assert [id_of(piped), id_of(taken)] == [id_of(narrow), id_of(wide)]


@pytest.mark.parametrize("ttl", ["", "0s", "15", "-1m", "1.5h", "10y", "1000000000d"])
def test_what_is_no_duration_is_wrong_usage(folder: Path, ttl: str) -> None:
    for arguments in (("create", "--subject", "a"), ("derive",)):
        ran = key(folder, *arguments, "--ttl", ttl)
        assert ran.returncode == 2
        assert "30d, 12h, 15m or 90s" in ran.stderr
        assert not ran.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--role", "develper"), "did you mean 'developer'"),
        (("--tenant", "amce"), "did you mean 'acme'"),
        (("--role", "acme-admin"), "there is no role 'acme-admin'"),
        (("--scope", "a b"), "scope"),
        (("--agent", ""), "agent"),
    ],
)
def test_what_a_key_cannot_be_given_is_said_and_no_key_is_made(
    folder: Path, arguments: tuple[str, ...], told: str
) -> None:
    ran = key(folder, "create", "--subject", "alice", *arguments)
    assert ran.returncode == 1
    assert told in ran.stderr
    assert not ran.stdout
    assert not listed(folder)


def test_a_tenants_user_may_be_given_its_roles_and_the_operators(folder: Path) -> None:
    text = made(folder, "--subject", "bob", "--tenant", "acme", "--role", "acme-admin", "--role", "developer")
    assert listed(folder)[id_of(text)]["tenant"] == "acme"


@pytest.mark.parametrize("verb", [("create", "--subject", "a"), ("list",), ("revoke", "a"), ("rotate", "a")])
def test_without_a_state_store_the_remedy_is_said(tmp_path: Path, verb: tuple[str, ...]) -> None:
    (tmp_path / "concento.yaml").write_text("state: off\nservers: {}\n")
    ran = key(tmp_path, *verb)
    assert ran.returncode == 1
    assert "sqlite:///" in ran.stderr
    assert not ran.stdout


def test_a_wrong_configuration_is_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "concento.yaml").write_text("servrs: {}\n")
    assert key(tmp_path, "list").returncode == 2


def test_the_state_file_and_its_folder_are_the_owners_alone(folder: Path) -> None:
    made(folder)
    assert (folder / "state/hub.db").stat().st_mode & 0o077 == 0
    assert (folder / "state").stat().st_mode & 0o077 == 0


def test_the_table_shows_what_a_key_was_named_as_it_is(folder: Path) -> None:
    text = made(folder, "--subject", "alice", "--note", "[bold]red[/bold]")
    table = key(folder, "list").stdout
    assert "[bold]red[/bold]" in table
    assert re.search(rf"^{id_of(text)} +good +alice ", table, re.MULTILINE)
    assert "there are no keys" not in table


def test_an_empty_list_says_how_to_make_a_key(folder: Path) -> None:
    ran = key(folder, "list")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert "key create" in ran.stderr


@pytest.mark.parametrize("verb", ["create", "list", "revoke", "rotate", "derive"])
def test_every_verb_has_help_with_an_example_and_knows_json(folder: Path, verb: str) -> None:
    ran = key(folder, verb, "--help")
    assert ran.returncode == 0
    assert f"concento key {verb}" in ran.stdout
    assert "--json" in ran.stdout
