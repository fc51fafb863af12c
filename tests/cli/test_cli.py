"""The command line as a person or a script uses it: real processes, real servers, exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from concento.cli.main import VERBS
from concento.testing.stdio_child import child_command

CONCENTO = str(Path(sys.executable).with_name("concento"))
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(*arguments: str, cwd: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "XDG_STATE_HOME": str(cwd / "state")}
    return subprocess.run(
        [CONCENTO, *arguments], cwd=cwd, env=env, input=text, capture_output=True, text=True, timeout=60
    )


def write_config(folder: Path, behaviour: str = "plain", **options: object) -> Path:
    listen, admin = free_port(), free_port()
    command = json.dumps(child_command(behaviour, **options))
    path = folder / "concento.yaml"
    path.write_text(
        f"listen: 127.0.0.1:{listen}\nadmin: {{listen: 127.0.0.1:{admin}}}\nservers:\n  s: {{command: {command}}}\n"
    )
    return path


@contextmanager
def serving(config: Path, state: str = "ready") -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A hub in a process of its own, listening: the process, its endpoint, its admin address."""
    env = {**os.environ, "XDG_STATE_HOME": str(config.parent / "state")}
    process = subprocess.Popen(
        [CONCENTO, "serve", str(config), "--json"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        wait_for(lambda: get(f"http://{told['admin']}/api/v1/servers")["servers"][0]["state"] == state)
        yield process, told["endpoint"], f"http://{told['admin']}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def get(url: str) -> dict[str, Any]:
    with urlopen(url, timeout=5) as reply:
        value = json.loads(reply.read())
        assert isinstance(value, dict)
        return value


def wait_for(condition: Callable[[], object], wait_s: float = 20.0) -> None:
    end = time.monotonic() + wait_s
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(child) for child in found]


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_stops_with_its_children_even_if_the_signal_comes_twice(tmp_path: Path, stop: signal.Signals) -> None:
    with serving(write_config(tmp_path)) as (process, _, _):
        family = children(process.pid)
        assert family
        process.send_signal(stop)
        process.send_signal(stop)
        assert process.wait(20) == 0
        wait_for(lambda: not any(map(is_alive, family)))


def test_no_child_survives_a_hub_that_was_killed(tmp_path: Path) -> None:
    """R23."""
    with serving(write_config(tmp_path, "ignore_eof_and_term")) as (process, _, _):
        family = children(process.pid)
        assert family
        process.kill()
        wait_for(lambda: not any(map(is_alive, family)))


def test_a_port_in_use_is_said_with_its_remedy(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with serving(config) as (_, _, _):
        second = run("serve", str(config), cwd=tmp_path)
        assert second.returncode == 1
        assert "is in use" in second.stderr
        assert "listen" in second.stderr


def test_verbs_ask_the_running_hub_and_say_so(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with serving(config):
        servers = run("servers", "--json", cwd=tmp_path)
        assert "asking the hub" in servers.stderr
        assert json.loads(servers.stdout)["servers"][0]["state"] == "ready"
        called = run("call", "s__echo", "text=hello", cwd=tmp_path)
        assert called.returncode == 0
        assert "hello" in called.stdout
        found = run("tools", "--search", "echo", "--json", cwd=tmp_path)
        assert [tool["name"] for tool in json.loads(found.stdout)["tools"]] == ["s__echo"]


def test_verbs_without_a_hub_start_one_for_the_moment(tmp_path: Path) -> None:
    write_config(tmp_path)
    called = run("call", "s__echo", "--json", "-", "--raw", cwd=tmp_path, text='{"text": "x"}')
    assert "starting one" in called.stderr
    assert called.returncode == 0
    assert "x" in json.dumps(json.loads(called.stdout))
    shown = run("inspect", "s__echo", "--json", cwd=tmp_path)
    assert json.loads(shown.stdout)["definition"]["name"] == "s__echo"
    near = run("inspect", "s__ecko", cwd=tmp_path)
    assert near.returncode == 1
    assert "s__echo" in near.stderr


def test_servers_shows_why_one_fails_with_its_last_words(tmp_path: Path) -> None:
    path = tmp_path / "concento.yaml"
    path.write_text(
        "servers:\n"
        "  gone: {command: [no-such-command-here]}\n"
        f"  dies: {{command: {json.dumps([sys.executable, '-c', 'import sys; sys.exit(chr(111)*3)'])}}}\n"
    )
    shown = run("servers", cwd=tmp_path)
    assert "was not found" in shown.stderr
    assert "install it or give its full path" in shown.stderr
    assert "ooo" in shown.stderr
    assert run("check", "--connect", cwd=tmp_path).returncode == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("servers:\n  a: {comand: [x]}\n", "concento.yaml:2"),
        ("servers:\n  a: {comand: [x]}\n", "command"),
        ("shared: {}\nservers: {}\n", "shared"),
        ("listen: 0.0.0.0:7400\nservers: {}\n", "loopback"),
        ("servers: {a: {command: [x], env: {K: '${env:NOT_SET_ANYWHERE}'}}}\n", "NOT_SET_ANYWHERE"),
    ],
)
def test_a_wrong_configuration_is_told_with_its_place_and_exit_code_2(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "concento.yaml").write_text(text)
    for verb in ("check", "serve", "servers"):
        refused = run(verb, cwd=tmp_path)
        assert refused.returncode == 2
        assert told in refused.stderr
        assert not refused.stdout


def test_wrong_usage_is_exit_code_2_with_the_nearest_verb(tmp_path: Path) -> None:
    wrong = run("sevre", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "serve" in wrong.stderr
    missing = run("check", cwd=tmp_path)
    assert missing.returncode == 2


def test_a_file_saved_while_serving_is_taken_over_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    """R21."""
    config = write_config(tmp_path)
    good = config.read_text()
    with serving(config) as (process, _, admin):
        config.write_text(good + f"  t: {{command: {json.dumps(child_command('plain'))}}}\n")
        wait_for(lambda: [s["alias"] for s in get(f"{admin}/api/v1/servers")["servers"]] == ["s", "t"])
        config.write_text(good + "  t: {comand: []}\n")
        wait_for(lambda: "concento_reload_failures_total 1.0" in urlopen(f"{admin}/metrics").read().decode())
        assert [s["alias"] for s in get(f"{admin}/api/v1/servers")["servers"]] == ["s", "t"]
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=20)
        assert "did you mean" in stderr.lower()


def test_help_is_cheap_and_every_verb_has_an_example(tmp_path: Path) -> None:
    probe = (
        "import sys; from click.testing import CliRunner; from concento.cli.main import cli;"
        "CliRunner().invoke(cli, ['--help']);"
        "print([m for m in ('asyncio', 'yaml', 'starlette', 'aiohttp', 'uvloop', 'rich') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
    for verb in VERBS:
        shown = run(verb, "--help", cwd=tmp_path)
        assert shown.returncode == 0
        assert "Example" in shown.stdout


def test_the_sidecar_speaks_nothing_but_mcp_on_its_output(tmp_path: Path) -> None:
    write_config(tmp_path)
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    text = "".join(json.dumps(message) + "\n" for message in messages)
    answered = run("stdio", cwd=tmp_path, text=text)
    replies = {reply.get("id"): reply for reply in map(json.loads, answered.stdout.splitlines())}
    assert replies[1]["result"]["protocolVersion"] == "2025-11-25"
    assert [tool["name"] for tool in replies[2]["result"]["tools"]] == ["s__echo"]
    assert answered.returncode == 0


def test_schema_is_a_json_schema_that_the_example_fits() -> None:
    import jsonschema
    import yaml

    schema = json.loads(subprocess.run([CONCENTO, "schema"], capture_output=True, text=True, check=True).stdout)
    for example in (ROOT / "examples").glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(example.read_text()), schema)


@pytest.mark.parametrize("verb", ["call", "inspect"])
def test_verbs_say_that_the_server_of_a_tool_is_failing(tmp_path: Path, verb: str) -> None:
    (tmp_path / "concento.yaml").write_text("servers:\n  gone: {command: [no-such-command-here]}\n")
    of_it = run(verb, "gone__x", cwd=tmp_path)
    assert of_it.returncode == 1
    assert "the server 'gone' is failing: can't start: the command 'no-such-command-here'" in of_it.stderr
    other = run(verb, "x", cwd=tmp_path).stderr
    assert "there is no tool 'x'\n    gone is failing: can't start" in other


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("call", "s__echo", "text=a", "text=b"), "'text' is given twice"),
        (("call", "s__echo", "text=a", "--json", '{"text": "b"}'), "'text' is given twice"),
        (("call", "s__echo", "nokey"), "'nokey' is not KEY=VALUE"),
        (("tools", "--search", " "), "no words given"),
        (("frobnicate",), "Verbs: serve, stdio, add"),
    ],
)
def test_wrong_arguments_are_refused_before_a_hub_is_started(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    write_config(tmp_path)
    refused = run(*arguments, cwd=tmp_path)
    assert refused.returncode == 2
    assert told in refused.stderr
    assert "starting one" not in refused.stderr


def test_help_is_a_verb_too(tmp_path: Path) -> None:
    assert run("help", cwd=tmp_path).stdout == run("--help", cwd=tmp_path).stdout
    assert run("help", "call", cwd=tmp_path).stdout == run("call", "--help", cwd=tmp_path).stdout


def test_a_table_that_no_terminal_shows_has_a_line_for_each_server(tmp_path: Path) -> None:
    (tmp_path / "concento.yaml").write_text("servers:\n  gone: {command: [%s]}\n" % ("no-such-command" * 10))
    lines = run("servers", cwd=tmp_path).stdout.splitlines()
    assert len(lines) == 2
    assert "no-such-command" * 10 in lines[1]


def test_health_says_in_words_why_nothing_answers(tmp_path: Path) -> None:
    refused = run("health", f"127.0.0.1:{free_port()}", cwd=tmp_path)
    assert refused.returncode == 1
    assert "(Connection refused)" in refused.stderr
