"""Servers that sleep and servers in a sandbox, as the command line shows them."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.cli.test_cli import CONCENTO, free_port, run, serving

from concento.testing.stdio_child import child_command, recorded


def write_config(folder: Path, **keys: object) -> Path:
    path = folder / "concento.yaml"
    server = {"command": child_command("plain", record=folder / "record"), **keys}
    listeners = "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}\n"
    path.write_text(f"{listeners}servers: {json.dumps({'s': server})}\n")
    return path


def starts(folder: Path) -> int:
    return len(recorded(folder / "record", "server/discover"))


def states(cwd: Path, *verb: str) -> list[str]:
    return [server["state"] for server in json.loads(run(*verb, "--json", cwd=cwd).stdout)["servers"]]


def test_verbs_start_a_lazy_server_once_to_learn_of_it_and_then_only_to_call(tmp_path: Path) -> None:
    write_config(tmp_path, start="lazy")
    assert states(tmp_path, "servers") == ["ready"], "never listed before"
    assert states(tmp_path, "servers") == ["asleep"]
    listed = json.loads(run("tools", "--json", cwd=tmp_path).stdout)["tools"]
    assert [tool["name"] for tool in listed] == ["s__echo"]
    assert starts(tmp_path) == 1

    assert "hello" in run("call", "s__echo", "text=hello", cwd=tmp_path).stdout

    assert starts(tmp_path) == 2
    assert states(tmp_path, "check", "--connect") == ["ready"], "whether it starts is what was asked"


def test_first_call_of_all_reaches_a_lazy_server(tmp_path: Path) -> None:
    write_config(tmp_path, start="lazy")
    assert "hello" in run("call", "s__echo", "text=hello", cwd=tmp_path).stdout


def test_serve_and_the_sidecar_show_a_sleeping_server_as_such(tmp_path: Path) -> None:
    config = write_config(tmp_path, start="lazy")
    assert run("tools", cwd=tmp_path).returncode == 0

    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    command = [CONCENTO, "serve", str(config)]
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line.strip())
            if "Stop with" in line:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert "z s: asleep, 1 tool known; starts when needed" in told
    assert "0 of 1 server ready, 1 asleep, 1 tool" in told

    asked = '{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}\n'
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    first = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello})
    assert "s__echo" in run("stdio", cwd=tmp_path, text=f"{first}\n{asked}").stdout
    assert starts(tmp_path) == 1


def test_check_says_what_a_sandbox_needs_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(tmp_path, sandbox="bubblewrap")
    assert json.loads(run("check", "--json", cwd=tmp_path).stdout)["notes"] == []

    monkeypatch.setenv("PATH", "/nowhere")
    checked = run("check", "--json", cwd=tmp_path)

    assert checked.returncode == 0
    assert "apt-get install bubblewrap" in checked.stderr
    assert len(json.loads(checked.stdout)["notes"]) == 1


@pytest.mark.parametrize("verb", [("tools",), ("inspect", "s__echo"), ("call", "s__echo", "text=s__echo")])
def test_verbs_wake_a_server_that_the_running_hub_never_listed(tmp_path: Path, verb: tuple[str, ...]) -> None:
    config = tmp_path / "concento.yaml"
    server = {"command": child_command("plain"), "start": "lazy"}
    config.write_text(
        f"listen: 127.0.0.1:{free_port()}\nadmin: {{listen: 127.0.0.1:{free_port()}}}\n"
        f"defaults: {{start_wait_s: 30}}\nservers: {json.dumps({'s': server})}\n"
    )
    with serving(config, "asleep"):
        asked = run(*verb, cwd=tmp_path)
        assert "asking the hub" in asked.stderr
        assert "s__echo" in asked.stdout
        assert asked.returncode == 0
