"""`concento import` in a home where every client has servers, and what it does to the clients' files."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from concento.control.config import load
from concento.model.config import ChildReplica, Config, UrlReplica

from .conftest import Home
from .homes import ANSWER, BEARER, DB_PASSWORD, GITHUB_TOKEN, OPTION, QUERY_KEY, SECRETS, SENTRY_TOKEN


def imported(home: Home, *arguments: object) -> dict[str, Any]:
    """What `--json` tells of a run that went well."""
    done = home.concento("import", "--json", *arguments)
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


def config_of(home: Home, **env: str) -> Config:
    return load(home.config, {**home.env(), **env})


def child(config: Config, alias: str) -> ChildReplica:
    (replica,) = config.servers[alias].replicas
    assert isinstance(replica, ChildReplica)
    return replica


def url(config: Config, alias: str) -> UrlReplica:
    (replica,) = config.servers[alias].replicas
    assert isinstance(replica, UrlReplica)
    return replica


def test_every_client_s_servers_are_found_merged_and_named(home: Home) -> None:
    told = imported(home)
    assert {one["client"] for one in told["clients"]} == {
        *("Claude Desktop", "Claude Code", "VS Code", "Cursor", "Windsurf", "Zed", "Copilot", "Gemini CLI")
    }
    servers = {one["alias"]: one for one in told["servers"]}
    assert {alias for alias, one in servers.items() if one["active"]} == {
        *("filesystem", "github", "my-postgres-work", "remote-docs", "sentry", "local", "time", "tavily"),
        *("old-form", "new-form", "time-2"),
    }
    origins = {alias: [place["client"] for place in one["from"]] for alias, one in servers.items()}
    assert origins["filesystem"] == ["Claude Desktop", "Cursor"]
    assert origins["github"] == ["Claude Desktop", "Claude Code"]
    assert origins["sentry"] == ["Claude Code", "Windsurf"]
    assert origins["old-form"] == ["Zed", "Copilot"]
    assert "time-2" in servers
    assert "a different server is called 'time'" in servers["time-2"]["notes"][0]
    assert {alias: [need["name"] for need in one["needs"]] for alias, one in servers.items() if one["needs"]} == {
        "perplexity": ["perplexity-key"],
        "workspace": ["workspaceFolder"],
        "github-2": ["GH_TOKEN"],
    }
    assert [one["alias"] for one in told["servers"] if one["disabled"]] == ["home"]
    assert {one["name"] for one in told["left"]} == {"shell", "mcp-server-context7"}


def test_what_is_written_works_at_once_and_holds_no_secret(home: Home) -> None:
    done = home.concento("import")
    assert done.exit_code == 0
    assert done.stdout == ""
    config = config_of(home)
    assert home.concento("check").exit_code == 0
    assert child(config, "github").env == {"GITHUB_PERSONAL_ACCESS_TOKEN": GITHUB_TOKEN}
    assert child(config, "my-postgres-work").command[-1] == f"postgresql://ada:{DB_PASSWORD}@db.example.com/shop"
    remote = child(config, "remote-docs")
    assert remote.command[3:] == ("--header", "Authorization:${AUTH}", "--api-key", OPTION)
    assert remote.env == {"AUTH": f"Bearer {BEARER}"}
    assert url(config, "sentry").headers == {"x-sentry-token": SENTRY_TOKEN}
    assert url(config, "tavily").url.endswith(f"?tavilyApiKey={QUERY_KEY}")
    assert config.servers["tavily"].tools["map"].hide
    assert child(config, "local").cwd == Path("/home/ada/work/site")
    assert child(config, "time").command[-1] == "--local-timezone=Europe/Rome"
    for secret in SECRETS:
        assert secret not in home.config.read_text() + done.stdout + done.stderr
    folder = home.here / "concento.secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    kept = [file for file in folder.iterdir() if file.name != ".gitignore"]
    assert len(kept) >= len(SECRETS)
    assert {stat.S_IMODE(file.stat().st_mode) for file in kept} == {0o600}
    assert "*" in (folder / ".gitignore").read_text()


def test_a_second_import_changes_nothing(home: Home) -> None:
    imported(home)
    before = home.config.read_bytes()
    told = imported(home)
    assert not told["written"]
    assert home.config.read_bytes() == before
    assert {one["alias"] for one in told["known"]} >= {"filesystem", "github", "time-2"}
    assert not any(one["active"] for one in told["servers"])


def test_what_is_missing_can_be_said_later(home: Home) -> None:
    imported(home)
    before = home.config.read_text()
    told = imported(home, "--set", f"perplexity-key={ANSWER}", "--set", f"workspaceFolder={home.here}")
    assert {one["alias"] for one in told["servers"] if one["active"]} == {"perplexity", "workspace"}
    config = config_of(home)
    assert child(config, "perplexity").env == {"PERPLEXITY_API_KEY": ANSWER}
    assert child(config, "workspace").command[-1] == str(home.here)
    assert ANSWER not in home.config.read_text()
    assert home.concento("import", "--set", "nonsense").exit_code == 2
    misspelt = home.concento("import", "--set", "perplexity-kee=x")
    assert misspelt.exit_code == 2
    assert "no file leaves 'perplexity-kee' open" in misspelt.stderr
    assert "did you mean 'perplexity-key'?" in misspelt.stderr
    after = home.config.read_text()
    waited = [block for block in before.split("\n\n") if "# workspace:" in block or "# perplexity:" in block]
    assert len(waited) == 2
    assert not any(block in after for block in waited)
    assert "# github-2:" in after
    for block in waited:
        before = before.replace(f"\n{block.rstrip()}\n", "", 1)
    lines = iter(after.splitlines())
    assert all(line in lines for line in before.splitlines())  # the rest, in its order


def test_what_was_said_earlier_is_recognised_and_leaves_its_client(home: Home) -> None:
    imported(home)
    imported(home, "--set", f"perplexity-key={ANSWER}", "--set", f"workspaceFolder={home.here}")
    before = home.config.read_bytes()
    told = imported(home, "--apply")
    assert {one["alias"] for one in told["known"]} >= {"perplexity", "workspace"}
    assert [one["alias"] for one in told["servers"] if one["needs"]] == ["github-2"]
    assert home.config.read_bytes() == before
    editor = (home.path / ".config/Code/User/mcp.json").read_text()
    assert '"perplexity"' not in editor
    assert '"workspace"' not in editor


def test_another_account_of_a_server_that_is_there_still_waits_for_its_key(home: Home) -> None:
    client = home.here / "mcp.json"
    one = {"command": "ask", "env": {"KEY": "${input:key-of-ada}"}}
    client.write_text(json.dumps({"servers": {"ada": one}}))
    imported(home, client, "--set", f"key-of-ada={ANSWER}")
    client.write_text(json.dumps({"servers": {"ada": one, "bob": {"command": "ask", "env": {"KEY": "${input:bobs}"}}}}))
    told = imported(home, client)
    assert [known["alias"] for known in told["known"]] == ["ada"]
    assert [(taken["alias"], taken["active"]) for taken in told["servers"]] == [("bob", False)]


def test_a_variable_that_is_set_stays_a_reference(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GH_TOKEN", "canary-from-the-shell")
    told = imported(home)
    (server,) = [one for one in told["servers"] if one["alias"] == "github-2"]
    assert server["active"]
    assert any("reads GH_TOKEN" in note for note in server["notes"])
    assert 'bearer: "${env:GH_TOKEN}"' in home.config.read_text()
    assert url(config_of(home), "github-2").headers == {"authorization": "Bearer canary-from-the-shell"}


def test_a_configuration_that_is_there_keeps_every_line(home: Home) -> None:
    mine = "# mine\nservers:\n  github: {command: [mine]}   # not theirs\nviews:\n  v: {include: ['github.*']}\n"
    home.config.write_text(mine)
    told = imported(home)
    text = home.config.read_text()
    start, end = mine.split("views:")
    assert text.startswith(start)
    assert text.endswith(f"views:{end}")
    assert "github-2" in {one["alias"] for one in told["servers"]}
    assert child(config_of(home), "github").command == ("mine",)
    assert home.concento("import", "--force").exit_code == 0
    assert "mine" not in home.config.read_text()
    assert (home.here / "concento.yaml.before").read_text() == text


def test_a_wrong_configuration_is_not_touched(home: Home) -> None:
    home.config.write_text("servers: {a: {comand: [x]}}\n")
    refused = home.concento("import")
    assert refused.exit_code == 2
    assert "concento.yaml:1" in refused.stderr
    assert home.config.read_text() == "servers: {a: {comand: [x]}}\n"


def test_a_dry_run_prints_what_would_be_written_and_writes_nothing(home: Home) -> None:
    shown = home.concento("import", "--dry-run", "--apply")
    assert shown.exit_code == 0
    assert list(home.here.iterdir()) == []
    assert {path: path.read_bytes() for path in home.files} == home.files
    imported(home)
    assert home.config.read_text() == shown.stdout
    assert not any(secret in shown.output for secret in SECRETS)


def test_one_unreadable_file_keeps_nobody_else_s_servers_away(home: Home) -> None:
    broken = home.path / ".cursor/mcp.json"
    broken.write_text('{"mcpServers": {"a": }')
    (home.path / ".codeium/windsurf/mcp_config.json").write_bytes(b"\xff\xfe{")
    told = imported(home)
    problems = {one["client"]: one["problem"] for one in told["clients"] if one["problem"]}
    assert problems["Cursor"].startswith("1:")
    assert "UTF-8" in problems["Windsurf"]
    assert "github" in {one["alias"] for one in told["servers"]}
    shown = home.concento("import", "--dry-run").stderr.splitlines()
    assert [line.split(":")[0] for line in shown[-2:]] == [
        "✗ Cursor  ~/.cursor/mcp.json",
        "✗ Windsurf  ~/.codeium/windsurf/mcp_config.json",
    ]
    named = home.concento("import", broken)
    assert named.exit_code == 1
    assert str(broken) in named.stderr


def test_a_command_that_is_no_text_is_left_with_its_reason(home: Home) -> None:
    client = home.here / "mcp.json"
    client.write_text('{"mcpServers": {"bad": {"command": 5}, "worse": {"command": true}, "good": {"command": "x"}}}')
    told = imported(home, client)
    assert [one["alias"] for one in told["servers"]] == ["good"]
    assert {one["name"]: one["reason"] for one in told["left"]} == dict.fromkeys(
        ("bad", "worse"), "its 'command' is no text, so no program"
    )


def test_where_nobody_has_servers_the_person_is_told_how_to_begin(home: Home) -> None:
    for path in home.files:
        path.write_text('{"mcpServers": {"concento": {"url": "http://127.0.0.1:7400/mcp"}}}')
    only_the_hub = home.concento("import")
    for path in home.files:
        path.unlink()
    nothing = home.concento("import")
    for one in (only_the_hub, nothing):
        assert one.exit_code == 1
        assert "concento add" in one.stderr
    assert not home.config.exists()


# -- --apply and --undo


def test_apply_leaves_the_hub_in_the_place_of_what_it_runs_and_undo_gives_the_same_bytes_back(home: Home) -> None:
    told = imported(home, "--apply")
    assert len(told["applied"]) == len(home.files)
    for path, before in home.files.items():
        assert path.read_bytes() != before
    desktop = json.loads((home.path / ".config/Claude/claude_desktop_config.json").read_text())
    assert list(desktop["mcpServers"]) == ["concento"]
    assert desktop["mcpServers"]["concento"]["args"] == ["stdio", str(home.config)]
    assert desktop["globalShortcut"] == "Ctrl+Space"
    code = json.loads((home.path / ".claude.json").read_text())
    assert code["mcpServers"] == {"concento": {"type": "http", "url": "http://127.0.0.1:7400/mcp"}}
    assert code["projects"]["/home/ada/work/site"]["mcpServers"] == {}
    editor = (home.path / ".config/Code/User/mcp.json").read_text()
    assert "// What I use in VS Code." in editor
    assert '"workspace"' in editor  # it still needs something, so it still runs where it ran
    assert '"perplexity"' in editor
    assert '"time"' not in editor
    again = imported(home)
    assert again["written"] is False
    undone = home.concento("import", "--undo")
    assert undone.exit_code == 0
    assert {path: path.read_bytes() for path in home.files} == home.files
    assert home.concento("import", "--undo").exit_code == 1


def test_a_client_with_a_concento_of_another_make_keeps_its_file_and_the_others_change(home: Home) -> None:
    path = home.path / ".gemini/settings.json"
    path.write_text(
        '{"mcpServers": {"concento": {"command": "x", "disabled": true}, "time": {"command": "uvx", "args": ["x"]}}}'
    )
    before = path.read_bytes()
    told = imported(home, "--apply")
    assert path.read_bytes() == before
    assert len(told["applied"]) == len(home.files) - 1


def test_backups_are_for_their_owner_only_and_gone_after_the_undo(home: Home) -> None:
    imported(home, "--apply")
    folder = home.path / ".local/state/concento/clients"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == len(home.files) + 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, files[0].parent)} == {0o700}
    home.concento("import", "--undo")
    assert list(folder.iterdir()) == []


def test_a_file_that_changed_since_is_left_alone_unless_forced(home: Home) -> None:
    imported(home, "--apply")
    changed = home.path / ".claude.json"
    now = json.loads(changed.read_text())
    now["numStartups"] = 43
    now["mcpServers"]["new"] = {"command": "new"}
    changed.write_text(json.dumps(now))
    refused = home.concento("import", "--undo", "--json")
    assert refused.exit_code == 1
    problems = {one["client"]: one["problem"] for one in json.loads(refused.stdout)["files"]}
    assert [client for client, problem in problems.items() if problem] == ["Claude Code"]
    assert "changed since" in problems["Claude Code"]
    assert json.loads(changed.read_text()) == now
    assert "Claude Code: ~/.claude.json: it was changed since; " in refused.stderr
    others = {path: before for path, before in home.files.items() if path != changed}
    assert {path: path.read_bytes() for path in others} == others
    assert home.concento("import", "--undo", "--force").exit_code == 0
    before = json.loads(home.files[changed])
    after = json.loads(changed.read_text())
    assert after["numStartups"] == 43
    assert after["mcpServers"] == {**before["mcpServers"], "new": {"command": "new"}}
    assert after["projects"] == before["projects"]


def test_a_file_that_is_gone_comes_back_when_forced(home: Home) -> None:
    imported(home, "--apply")
    gone = home.path / ".gemini/settings.json"
    gone.unlink()
    assert home.concento("import", "--undo").exit_code == 1
    assert not gone.exists()
    assert home.concento("import", "--undo", "--force").exit_code == 0
    assert gone.read_bytes() == home.files[gone]


def test_a_symlink_stays_one_and_a_file_s_mode_its_own(home: Home) -> None:
    link, real = home.path / ".cursor/mcp.json", home.path / "dotfiles/cursor.json"
    real.parent.mkdir()
    link.rename(real)
    link.symlink_to(real)
    real.chmod(0o640)
    imported(home, "--apply")
    assert link.is_symlink()
    assert b"concento" in real.read_bytes()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    home.concento("import", "--undo")
    assert link.is_symlink()
    assert real.read_bytes() == home.files[link]


def test_a_project_s_file_is_changed_only_for_who_names_it(home: Home) -> None:
    project = home.here / ".mcp.json"
    project.write_text('{"mcpServers": {"ours": {"command": "python", "args": ["server.py"]}}}')
    told = imported(home, "--apply")
    assert "ours" in {one["alias"] for one in told["servers"]}
    assert child(config_of(home), "ours").cwd == home.here
    assert "concento" not in project.read_text()
    imported(home, project, "--apply")
    assert "concento" in project.read_text()
    assert home.concento("import", "--undo", project).exit_code == 0
    assert "ours" in project.read_text()


def test_a_folder_that_can_t_be_written_is_named_and_nothing_else_is_done(home: Home) -> None:
    blocked = home.here / "no/such"
    blocked.parent.write_text("a file stands where a folder has to be")
    refused: Result = home.concento("import", "--config", blocked / "concento.yaml", "--apply")
    assert refused.exit_code == 1
    assert "can't be" in refused.stderr
    assert {path: path.read_bytes() for path in home.files} == home.files
    assert not any(name.startswith("concento") for name in os.listdir(home.here))
