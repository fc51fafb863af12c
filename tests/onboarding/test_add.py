"""`concento add`: by name, URL and command, with real servers, and what keeps a server from being written."""

import asyncio
import json
import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from scripts.refresh_registry import FILE, refresh
from tests.hub.conftest import free_port
from tests.peers import fast_command, fast_http_server, sdk_command

from concento.control.config import load
from concento.model.config import ChildReplica, UrlReplica
from concento.onboarding.registry import shipped

from .conftest import Home
from .registry_server import registry

CANARY = "canary-of-a-key-4242"
ECHO = """
import os, sys
sys.stderr.write(f"the key is {os.environ.get('THE_KEY')}\\n")
sys.exit(3)
"""


def added(home: Home, *arguments: object) -> dict[str, Any]:
    done = home.concento("add", "--json", *arguments)
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


def test_a_command_is_tried_shown_and_written(home: Home) -> None:
    shown = home.concento("add", "--as", "fast", "--", *fast_command())
    assert shown.exit_code == 0, shown.stderr
    assert "fast__" in shown.stdout
    assert "it works" in shown.stderr
    (replica,) = load(home.config, home.env()).servers["fast"].replicas
    assert isinstance(replica, ChildReplica)
    assert list(replica.command) == fast_command()
    again = added(home, "--", *fast_command())
    assert (again["written"], again["alias"]) == (False, "fast")


def test_one_word_after_the_dashes_is_a_command_and_no_registry_is_asked(home: Home) -> None:
    program = home.here / "bin/time"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec {shlex.join(fast_command())}\n")
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        with registry([]) as source:
            told = added(home, "--registry", f"{source}/nobody-asks", "--", "time")
    assert told["server"] == {"command": ["time"]}
    assert told["tools"]


async def test_a_url_is_tried_and_written_with_its_token_elsewhere(home: Home) -> None:
    async with fast_http_server() as url:
        told = await asyncio.to_thread(added, home, url, "--as", "fast", "--header", f"Authorization=Bearer {CANARY}")
    assert told["tools"]
    assert told["secrets"] == ["concento.secrets/fast.Authorization"]
    assert CANARY not in home.config.read_text() + json.dumps(told)
    (replica,) = load(home.config, home.env()).servers["fast"].replicas
    assert isinstance(replica, UrlReplica)
    assert replica.headers == {"authorization": f"Bearer {CANARY}"}
    assert stat.S_IMODE((home.here / "concento.secrets/fast.Authorization").stat().st_mode) == 0o600


def test_what_does_not_work_is_told_and_not_written(home: Home) -> None:
    failed = home.concento("add", "--env", f"THE_KEY={CANARY}", "--", sys.executable, "-c", ECHO)
    assert failed.exit_code == 1
    assert "the key is [secret]" in failed.stderr
    assert CANARY not in failed.output
    assert "--no-try" in failed.stderr
    assert list(home.here.iterdir()) == []
    nobody = home.concento("add", f"http://127.0.0.1:{free_port()}/mcp")
    assert nobody.exit_code == 1
    untried = home.concento("add", "--no-try", "--as", "later", f"http://127.0.0.1:{free_port()}/mcp")
    assert untried.exit_code == 0
    assert "later" in load(home.config, home.env()).servers


def test_the_file_keeps_what_it_has(home: Home) -> None:
    mine = "# mine\nservers:\n  a: {command: [x]}   # first\n\n# the end\nviews: {v: {include: ['a.*']}}\n"
    home.config.write_text(mine)
    added(home, "--no-try", "--as", "b", "--", "python", "b.py")
    lines = iter(home.config.read_text().splitlines())
    assert all(line in lines for line in mine.splitlines())
    assert list(load(home.config, home.env()).servers) == ["a", "b"]
    shown = home.concento("add", "--dry-run", "--as", "c", "--", "python", "c.py")
    assert "c.py" in shown.stdout
    assert "c.py" not in home.config.read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--as", "A_B", "--", "x"], "alias"),
        (["--as", "a", "--", "x"], "already"),
        (["--env", "=x", "--", "x", "y"], "NAME=VALUE"),
        (["time", "--env", "NOT_SET_ANYWHERE"], "no such variable is set here"),
        (["ftp://example.com/mcp"], "http:// or https://"),
        (["https://"], "names no host"),
        (["https://[::1/mcp"], "names no host"),
        (["filesystem", "--set", "floder=/tmp"], "it takes folder; did you mean 'folder'?"),
        (["time", "--set", "zzz=1"], "'zzz' is no argument of this server"),
        (["--set", "zzz=1", "--", "x"], "after --"),
        (["--set", "zzz=1", "http://127.0.0.1/mcp"], "--header"),
        (["--env", "zzz=1", "http://127.0.0.1/mcp"], "--header"),
        (["--header", "zzz=1", "--", "x"], "--env"),
        ([], "Missing argument"),
        (["brave-search"], "BRAVE_API_KEY"),
        (["time", "--via", "pipi"], "pypi"),
    ],
)
def test_wrong_usage_is_exit_code_2_with_what_to_do(home: Home, arguments: list[str], told: str) -> None:
    home.config.write_text("servers: {a: {command: [x]}}\n")
    refused = home.concento("add", "--registry", "shipped", *arguments)
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert home.config.read_text() == "servers: {a: {command: [x]}}\n"


# -- names

ACME: dict[str, Any] = {
    "name": "com.acme/fast-mcp-server",
    "description": "Fast \x1b[31mtools",
    "version": "1.0.0",
    "remotes": [
        {"type": "streamable-http", "url": "http://127.0.0.1:{port}/mcp", "variables": {"port": {"isRequired": True}}}
    ],
}
OTHERS = [{"name": f"io.github.user{n}/fast", "description": "An impostor", "version": "1"} for n in range(4)]
OLD = {"name": "com.acme/old-fast", "description": "Gone", "version": "1", "status": "deprecated"}


async def test_a_name_is_found_in_a_registry_and_the_server_behind_it_tried(home: Home) -> None:

    async with fast_http_server() as url:
        port = url.split(":")[2].partition("/")[0]
        with registry([ACME, *OTHERS]) as source:
            told = await asyncio.to_thread(
                added, home, "com.acme/fast-mcp-server", "--registry", source, "--set", f"port={port}"
            )
    assert told["server"] == {"url": url}
    assert told["alias"] == "fast"
    assert "com.acme/fast-mcp-server 1.0.0" in home.config.read_text()
    assert "\x1b" not in home.config.read_text()


def test_several_that_fit_are_listed_and_none_is_run(home: Home) -> None:
    with registry([*OTHERS, ACME, OLD]) as source:
        unclear = home.concento("add", "fast", "--registry", source)
    assert unclear.exit_code == 1
    for one in (*OTHERS, ACME):  # they stand on several pages
        assert one["name"] in unclear.stderr
    assert "old-fast" not in unclear.stderr
    assert "\x1b" not in unclear.stderr
    assert not home.config.exists()


def test_a_name_nobody_has_is_told_with_the_nearest(home: Home) -> None:
    unknown = home.concento("add", "filesytem", "--registry", "shipped")
    assert unknown.exit_code == 1
    assert "filesystem" in unknown.stderr


def test_a_registry_that_is_asked_for_and_can_t_be_reached_is_an_error(home: Home) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    refused = home.concento("add", "anything", "--registry", gone)
    assert refused.exit_code == 1
    assert gone in refused.stderr
    with registry([]) as source:
        nothing = home.concento("add", "x/y", "--registry", f"{source}/elsewhere")
    assert nothing.exit_code == 1


def test_offline_the_shipped_servers_are_found(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concento.cli.add.OFFICIAL", f"http://127.0.0.1:{free_port()}")
    told = home.concento("add", "brave", "--no-try")
    assert "can't be reached" in told.stderr
    assert "io.github.brave/brave-search" in told.stderr
    by_name = added(home, "brave-search", "--no-try", "--env", f"BRAVE_API_KEY={CANARY}")
    assert by_name["secrets"] == ["concento.secrets/brave-search.BRAVE_API_KEY"]
    assert CANARY not in home.config.read_text()


def test_the_way_to_run_it_is_one_that_takes_what_is_given(home: Home) -> None:
    told = added(home, "github", "--no-try", "--registry", "shipped", "--set", f"token={CANARY}")
    assert told["server"]["url"] == "https://api.githubcopilot.com/mcp/"
    assert CANARY not in json.dumps(told)
    home.config.unlink()
    told = added(home, "github", "--no-try", "--registry", "shipped", "--env", f"GITHUB_PERSONAL_ACCESS_TOKEN={CANARY}")
    assert told["server"]["command"][:6] == ["docker", "run", "-i", "--rm", "-e", "GITHUB_PERSONAL_ACCESS_TOKEN"]
    more = home.concento("add", "time", "--no-try", "--env", "TZ=Europe/Rome")
    assert more.exit_code == 0
    assert "TZ: Europe/Rome" in home.config.read_text()


@pytest.mark.parametrize(
    ("variable", "is_in_a_file"),
    [
        ("SOME_KEY=a-value", True),
        ("SOME_TOKEN=a-value", True),
        ("SOME_PASSWORD=a-value", True),
        ("PLAIN=ghp_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1x", True),
        ("PLAIN=a-value", False),
    ],
)
def test_a_value_goes_to_a_file_if_its_name_or_look_says_that_it_is_secret(
    home: Home, variable: str, is_in_a_file: bool
) -> None:
    shown = home.concento("add", "time", "--registry", "shipped", "--dry-run", "--env", variable)
    assert ("concento.secrets/time." in shown.stdout) == is_in_a_file
    assert (variable.partition("=")[2] in shown.output) != is_in_a_file


def test_a_variable_can_stay_in_the_environment(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAVE_API_KEY", CANARY)
    added(home, "brave-search", "--no-try", "--env", "BRAVE_API_KEY")
    assert 'BRAVE_API_KEY: "${env:BRAVE_API_KEY}"' in home.config.read_text()
    assert not (home.here / "concento.secrets").exists()


def test_a_well_known_server_is_one_word(home: Home) -> None:
    """A real server from the public index, by its launcher."""
    told = added(home, "time", "--registry", "shipped")
    assert {tool["name"] for tool in told["tools"]} == {"time__get_current_time", "time__convert_time"}
    assert told["server"]["command"][0] == "uvx"


def test_the_shipped_copy_can_be_brought_up_to_date(tmp_path: Path) -> None:

    mine, other = shipped()[:2]
    newer = {**mine.content, "version": "9.9.9"}
    file = tmp_path / "registry.json"
    file.write_bytes(FILE.read_bytes())
    with registry([newer]) as source:
        absent = refresh(file, source)
    after = json.loads(file.read_text())["servers"]
    assert after[0]["server"] == newer
    assert after[1]["server"] == other.content
    assert mine.name not in absent
    assert len(absent) == len(shipped()) - 1


def test_a_server_that_answers_with_the_legacy_era_is_added_like_any_other(home: Home) -> None:
    told = added(home, "--as", "old", "--", *sdk_command("legacy"))
    assert told["era"] == "legacy"
