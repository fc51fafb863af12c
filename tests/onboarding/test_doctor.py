"""`concento doctor`: what is wrong is found, with what to do about it; what is right is said to be."""

import json
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from tests.cli.test_cli import serving
from tests.hub.conftest import free_port
from tests.peers import fast_command

from concento.testing.stdio_child import child_command

from .conftest import Home

CANARY = "canary-in-last-words-4242"


def examined(home: Home, *arguments: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Exit code, and findings by what they are about."""
    done = home.concento("doctor", "--json", *arguments)
    value = json.loads(done.stdout)
    assert value["ok"] == (done.exit_code == 0)
    findings: dict[str, list[dict[str, Any]]] = {}
    for one in value["findings"]:
        findings.setdefault(one["subject"], []).append(one)
    return done.exit_code, findings


def by_name(findings: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in findings}


def configure(home: Home, *servers: str, listen: int | None = None, admin: int | None = None) -> None:
    lines = "".join(f"  {server}\n" for server in servers)
    home.config.write_text(
        f"listen: 127.0.0.1:{listen or free_port()}\nadmin: {{listen: 127.0.0.1:{admin or free_port()}}}\n"
        f"servers:{' {}' if not servers else ''}\n{lines}"
    )


@contextmanager
def refusing() -> Iterator[str]:
    """A server that wants a token, as any that is behind a sign-in."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/mcp"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_every_way_a_server_fails_has_its_remedy(home: Home) -> None:
    dies = "import os, sys; sys.stderr.write('no use for ' + os.environ['TOKEN']); sys.exit(1)"
    (home.here / "token").write_text(CANARY)
    quoted = [sys.executable, "-c", "import sys; sys.exit('with spaces')"]
    with refusing() as url:
        configure(
            home,
            f"works: {{command: {json.dumps(fast_command())}}}",
            "missing: {command: [no-such-program-here]}",
            "launcher: {command: [dnx, Some.Server]}",
            f"dies: {{command: {json.dumps([sys.executable, '-c', dies])}, env: {{TOKEN: '${{file:token}}'}}}}",
            f"nobody: {{url: 'http://127.0.0.1:{free_port()}/mcp'}}",
            f"closed: {{url: '{url}'}}",
            f"wrong-key: {{url: '{url}', credentials: {{bearer: '${{file:token}}'}}}}",
            f"quoted: {{command: {json.dumps(quoted)}}}",
            f"referring: {{command: {json.dumps([*quoted, '${file:token}'])}}}",
            "folder: {command: [sh], cwd: no/such/folder}",
        )
        code, findings = examined(home)
    assert code == 1
    servers = by_name(findings["server"])
    assert list(servers) == [
        "works",
        "missing",
        "launcher",
        "dies",
        "nobody",
        "closed",
        "wrong-key",
        "quoted",
        "referring",
        "folder",
    ]
    assert [name for name, one in servers.items() if one["state"] == "ok"] == ["works"]
    assert "tools" in servers["works"]["text"]
    assert "no-such-program-here" in servers["missing"]["text"]
    assert "full path" in servers["missing"]["remedy"]
    assert ".NET" in servers["launcher"]["remedy"]
    assert "try it by itself" in servers["dies"]["remedy"]
    assert servers["dies"]["last_words"]
    assert shlex.split(servers["quoted"]["remedy"].partition("try it by itself: ")[2]) == quoted
    assert servers["referring"]["remedy"].endswith("'${file:token}' (with what the references stand for)")
    assert "start that server" in servers["nobody"]["remedy"]
    assert "wants a token" in servers["closed"]["remedy"]
    assert "valid" in servers["wrong-key"]["remedy"]
    assert "no/such/folder" in servers["folder"]["text"]
    assert CANARY not in json.dumps(findings)


def test_a_slow_server_is_told_after_the_wait(home: Home) -> None:
    configure(home, f"slow: {{command: {json.dumps([sys.executable, '-c', 'input(); input(); input()'])}}}")
    code, findings = examined(home, "--wait", "1.5")
    assert code == 1
    (slow,) = findings["server"]
    assert "1.5 s" in slow["text"]
    assert "--wait" in slow["remedy"]


def test_configuration_state_and_ports(home: Home) -> None:
    _, findings = examined(home)
    (nothing,) = findings["configuration"]
    assert nothing["state"] == "wrong"
    assert "concento import" in nothing["remedy"]
    home.config.write_text("servers:\n  a: {comand: [x]}\n  b: {url: nonsense}\n")
    code, findings = examined(home)
    assert code == 1
    assert [one["text"].partition(":")[0] for one in findings["configuration"]] == ["2", "3"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        configure(home, listen=other.getsockname()[1])
        code, findings = examined(home)
    assert code == 1
    ports = by_name(findings["port"])
    assert (ports["listen"]["state"], ports["admin"]["state"]) == ("wrong", "ok")
    assert "another program" in ports["listen"]["text"]
    (state,) = findings["state"]
    assert state["state"] == "ok"
    folder = Path(state["name"])
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    _, findings = examined(home)
    assert "chmod 700" in findings["state"][0]["remedy"]


def test_all_is_well_beside_a_hub_that_runs_and_is_asked(home: Home) -> None:
    configure(home, f"s: {{command: {json.dumps(child_command('plain'))}}}")
    (home.path / ".cursor/mcp.json").write_text('{"mcpServers": {"mine": {"command": "x"}}}')
    with serving(home.config) as (_, endpoint, _):
        (home.path / ".gemini/settings.json").write_text(
            json.dumps({"mcpServers": {"concento": {"httpUrl": endpoint}}})
        )
        code, findings = examined(home)
    assert code == 0
    assert [one["state"] for one in findings["port"]] == ["ok", "ok"]
    assert "in the hub" in findings["server"][0]["text"]
    clients = by_name(findings["client"])
    assert clients["Gemini CLI"]["state"] == "ok"
    assert clients["Cursor"]["state"] == "note"
    assert "--apply" in clients["Cursor"]["remedy"]
    code, findings = examined(home)  # it is stopped now
    assert code == 1
    gemini = by_name(findings["client"])["Gemini CLI"]
    assert (gemini["state"], gemini["remedy"]) == ("wrong", "concento serve")


def test_a_server_that_sleeps_is_well(home: Home) -> None:
    command = json.dumps(child_command("plain"))
    configure(home, f"s: {{command: {command}}}", f"known: {{command: {command}, start: lazy}}")
    home.config.write_text(f"state: sqlite:///kept/state.db\n{home.config.read_text()}")
    assert home.concento("tools").exit_code == 0  # lists it, and keeps the list
    home.config.write_text(f"{home.config.read_text()}  new: {{command: {command}, start: lazy}}\n")
    with serving(home.config):
        code, findings = examined(home)
    assert code == 0
    servers = by_name(findings["server"])
    assert servers["known"]["text"] == "asleep, 1 tool known; starts when needed"
    assert servers["new"]["text"] == "asleep, never listed yet; starts when needed"


def test_a_client_that_starts_the_hub_itself_needs_program_and_configuration(home: Home) -> None:
    configure(home)
    desktop = home.path / ".config/Claude/claude_desktop_config.json"
    program = str(Path(sys.executable).with_name("concento"))

    def points_to(program: str, config: Path) -> dict[str, Any]:
        entry = {"command": program, "args": ["stdio", str(config)]}
        desktop.write_text(json.dumps({"mcpServers": {"concento": entry}}))
        return by_name(examined(home)[1]["client"])["Claude Desktop"]

    assert points_to(program, home.config)["state"] == "ok"
    gone = points_to("/no/such/concento", home.config)
    assert (gone["state"], "--apply" in gone["remedy"]) == ("wrong", True)
    missing = points_to(program, home.here / "gone.yaml")
    assert (missing["state"], "concento check" in missing["remedy"]) == ("wrong", True)


def test_a_client_s_file_that_can_t_be_read_is_told_with_its_place(home: Home) -> None:
    configure(home)
    (home.path / ".cursor/mcp.json").write_text('{"mcpServers": {"a": }')
    (home.path / ".gemini/settings.json").unlink()
    (home.path / ".gemini").rmdir()
    (home.path / ".codeium/windsurf/mcp_config.json").unlink()
    code, findings = examined(home)
    clients = by_name(findings["client"])
    assert code == 1
    assert clients["Cursor"]["state"] == "wrong"
    assert "1:22" in clients["Cursor"]["text"]
    assert "not here" in clients["Gemini CLI"]["text"]
    assert "no servers" in clients["Windsurf"]["text"]


def test_a_person_gets_a_line_for_each(home: Home) -> None:
    configure(home, "missing: {command: [npx-no-such]}")
    shown = home.concento("doctor")
    assert shown.exit_code == 1
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("✓ configuration concento.yaml")
    (missing,) = [line for line in lines if line.startswith("✗ server missing: ")]
    assert " → install it or give its full path" in missing
    assert "need something" in shown.stderr


def test_a_trial_by_the_doctor_leaves_nothing_running(home: Home, tmp_path: Path) -> None:
    record = tmp_path / "record"
    configure(home, f"s: {{command: {json.dumps(child_command('ignore_eof_and_term', record=record))}}}")
    assert examined(home)[0] == 0
    assert subprocess.run(["pgrep", "-f", str(record)], capture_output=True).stdout == b""
