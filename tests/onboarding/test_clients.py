"""The table of clients: where each keeps its servers on each system, and how it writes the hub."""

from pathlib import Path

import pytest

from concento.onboarding.clients import CLIENTS, Platform, client_of, hub_command, known_files

HOME = Path("/home/ada")
CWD = HOME / "work/site"
URL, COMMAND = "http://127.0.0.1:7400/mcp", ("/opt/bin/concento", "stdio", "/x/concento.yaml")


def places(platform: Platform, env: dict[str, str] | None = None) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in known_files(HOME, CWD, env or {}, platform):
        found.setdefault(file.client.id, []).append(str(file.path))
    return found


def test_places_on_linux() -> None:
    found = places("linux")
    assert found["claude-desktop"] == ["/home/ada/.config/Claude/claude_desktop_config.json"]
    assert found["claude-code"] == ["/home/ada/.claude.json", "/home/ada/work/site/.mcp.json"]
    assert found["vscode"][0] == "/home/ada/.config/Code/User/mcp.json"
    assert found["vscode"][-1] == "/home/ada/work/site/.vscode/mcp.json"
    assert found["cursor"] == ["/home/ada/.cursor/mcp.json", "/home/ada/work/site/.cursor/mcp.json"]
    assert found["windsurf"][0] == "/home/ada/.codeium/windsurf/mcp_config.json"
    assert found["zed"] == ["/home/ada/.config/zed/settings.json", "/home/ada/work/site/.zed/settings.json"]


def test_places_on_macos_and_where_variables_move_them() -> None:
    found = places("darwin")
    assert found["claude-desktop"] == [
        "/home/ada/Library/Application Support/Claude/claude_desktop_config.json",
    ]
    assert found["vscode"][0] == "/home/ada/Library/Application Support/Code/User/mcp.json"
    assert found["zed"][0] == "/home/ada/.config/zed/settings.json"
    moved = places("linux", {"XDG_CONFIG_HOME": "/c", "CLAUDE_CONFIG_DIR": "/d", "COPILOT_HOME": "/e"})
    assert moved["zed"][0] == "/c/zed/settings.json"
    assert moved["claude-code"][0] == "/d/.claude.json"
    assert moved["copilot"] == ["/e/mcp-config.json"]


def test_the_project_is_the_nearest_folder_upward_that_has_the_file(tmp_path: Path) -> None:
    deep = tmp_path / "project/src/deep"
    deep.mkdir(parents=True)
    (tmp_path / "project/.vscode").mkdir()
    (tmp_path / "project/.vscode/mcp.json").write_text("{}")
    (file,) = [f for f in known_files(HOME, deep, {}, "linux") if f.client.id == "vscode" and f.scope == "project"]
    assert file.path == tmp_path / "project/.vscode/mcp.json"
    assert file.folder == tmp_path / "project"


@pytest.mark.parametrize(
    ("path", "key", "client", "scope"),
    [
        ("/home/ada/.cursor/mcp.json", None, "cursor", "user"),
        ("/x/p/.vscode/mcp.json", "servers", "vscode", "project"),
        ("/x/p/.mcp.json", None, "claude-code", "project"),
        ("/backup/claude_desktop_config.json", None, "claude-desktop", "user"),
        ("/mnt/c/Users/ada/AppData/Roaming/Claude/claude_desktop_config.json", None, "claude-desktop", "user"),
        ("/x/settings.json", "context_servers", "zed", "user"),
        ("/x/settings.json", "mcpServers", "other", "user"),
        ("/x/some.json", "servers", "vscode", "user"),
    ],
)
def test_a_file_s_client_is_known_by_place_name_or_key(path: str, key: str | None, client: str, scope: str) -> None:
    file = client_of(Path(path), known_files(HOME, CWD, {}, "linux"), key)
    assert (file.client.id, file.scope, file.windows) == (client, scope, path.startswith("/mnt"))


def test_each_client_gets_the_hub_in_its_own_words() -> None:
    entries = {client.id: client.entry(URL, COMMAND) for client in CLIENTS}
    assert entries == {
        "claude-desktop": {"command": "/opt/bin/concento", "args": ["stdio", "/x/concento.yaml"]},
        "claude-code": {"type": "http", "url": URL},
        "vscode": {"type": "http", "url": URL},
        "cursor": {"url": URL},
        "windsurf": {"serverUrl": URL},
        "zed": {"url": URL},
        "copilot": {"type": "http", "url": URL},
        "gemini": {"httpUrl": URL},
    }


def test_the_command_of_the_hub_needs_no_path_and_no_folder(tmp_path: Path) -> None:
    program, verb, config = hub_command(tmp_path / "concento.yaml")
    assert Path(program).is_absolute()
    assert Path(program).is_file()
    assert (verb, config) == ("stdio", str(tmp_path / "concento.yaml"))
    outside = hub_command(tmp_path / "concento.yaml", windows=True, env={"WSL_DISTRO_NAME": "Debian"})
    assert outside[:4] == ("wsl.exe", "-d", "Debian", "-e")
