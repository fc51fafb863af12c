"""The known clients: where each keeps its MCP servers, how it names them there, and how the hub is written for it.

One table, `CLIENTS`; everything else reads it. Nothing here opens a file.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, Literal

HUB_ENTRY: Final = "concento"
"""The name under which the hub stands among a client's servers."""

Scope = Literal["user", "project"]
Platform = Literal["linux", "darwin", "wsl"]


@dataclass(frozen=True, slots=True)
class Client:
    """One program that uses MCP servers.

    `user`: places of its own file; several where it has several editions. `project`: the file in a project's folder.
    `{config}` is the folder of settings of the platform; with `wsl`, the same file of Windows is looked for, too.
    `url_key` is the key of a URL in an entry, None for a client that only starts programs; `url_type` the `type` it
    wants beside.
    """

    id: str
    name: str
    key: str
    user: tuple[str, ...]
    project: str | None
    url_key: str | None = "url"
    url_type: str | None = None
    windows: tuple[str, ...] = ()
    after: str = ""
    """What a person does for a change of the file to take effect."""

    def entry(self, url: str, command: tuple[str, ...]) -> dict[str, object]:
        """The hub as this client writes a server: its URL, or for a client without URLs the command that runs it."""
        if self.url_key is None:
            return {"command": command[0], "args": [*command[1:]]}
        beside: dict[str, object] = {"type": self.url_type} if self.url_type is not None else {}
        return {**beside, self.url_key: url}


CLIENTS: Final = (
    Client(
        "claude-desktop",
        "Claude Desktop",
        "mcpServers",
        ("{config}/Claude/claude_desktop_config.json",),
        None,
        url_key=None,
        windows=("AppData/Roaming/Claude/claude_desktop_config.json",),
        after="quit Claude Desktop and start it again",
    ),
    Client(
        "claude-code",
        "Claude Code",
        "mcpServers",
        ("{claude}/.claude.json",),
        ".mcp.json",
        url_type="http",
        windows=(".claude.json",),
        after="start a new session of Claude Code, /mcp shows its servers",
    ),
    Client(
        "vscode",
        "VS Code",
        "servers",
        ("{config}/Code/User/mcp.json", "{config}/Code - Insiders/User/mcp.json"),
        ".vscode/mcp.json",
        url_type="http",
        windows=("AppData/Roaming/Code/User/mcp.json", "AppData/Roaming/Code - Insiders/User/mcp.json"),
        after="in VS Code run the command `MCP: List Servers` and start concento",
    ),
    Client(
        "cursor",
        "Cursor",
        "mcpServers",
        ("~/.cursor/mcp.json",),
        ".cursor/mcp.json",
        windows=(".cursor/mcp.json",),
        after="switch concento on in Cursor's settings, under MCP",
    ),
    Client(
        "windsurf",
        "Windsurf",
        "mcpServers",
        ("~/.codeium/windsurf/mcp_config.json", "~/.codeium/mcp_config.json"),
        None,
        url_key="serverUrl",
        windows=(".codeium/windsurf/mcp_config.json",),
        after="press refresh in Windsurf's list of MCP servers",
    ),
    Client(
        "zed",
        "Zed",
        "context_servers",
        ("{xdg}/zed/settings.json",),
        ".zed/settings.json",
        windows=("AppData/Roaming/Zed/settings.json",),
        after="nothing: Zed takes its settings over by itself",
    ),
    Client(
        "copilot",
        "Copilot",
        "mcpServers",
        ("{copilot}/mcp-config.json",),
        None,
        url_type="http",
        windows=(".copilot/mcp-config.json",),
        after="start a new session of Copilot",
    ),
    Client(
        "gemini",
        "Gemini CLI",
        "mcpServers",
        ("~/.gemini/settings.json",),
        ".gemini/settings.json",
        url_key="httpUrl",
        windows=(".gemini/settings.json",),
        after="start Gemini CLI again",
    ),
)

OTHER: Final = Client("other", "a client", "mcpServers", (), None, url_key=None, after="start the client again")
"""Whoever else has a file with `mcpServers`: any client can start a program, not every one knows URLs."""


@dataclass(frozen=True, slots=True)
class ClientFile:
    """A file in which a client may keep servers. `windows`: the client runs on the Windows side of this machine."""

    client: Client
    path: Path
    scope: Scope
    windows: bool = False

    @property
    def folder(self) -> Path:
        """The folder that servers of this file are started in: a project's, where the file belongs to one."""
        depth = len(PurePath(self.client.project).parts) if self.scope == "project" and self.client.project else 1
        return self.path.parents[depth - 1]


def known_files(home: Path, cwd: Path, env: Mapping[str, str], platform: Platform | None = None) -> list[ClientFile]:
    """Every place where a known client would keep servers, whether a file is there or not: the user's, then the
    project's around `cwd` (the nearest folder upward that has the file, below the home folder)."""
    platform = platform or this_platform(env)
    files = [
        ClientFile(client, _place(place, home, env, platform), "user") for client in CLIENTS for place in client.user
    ]
    if platform == "wsl":
        for profile in _windows_profiles(Path("/mnt/c/Users")):
            files += [
                ClientFile(client, profile / place, "user", windows=True)
                for client in CLIENTS
                for place in client.windows
            ]
    for client in CLIENTS:
        if client.project is not None:
            project = _project(client.project, home, cwd)
            if all(project != file.path for file in files):
                files.append(ClientFile(client, project, "project"))
    return files


def client_of(path: Path, known: list[ClientFile], key: str | None = None) -> ClientFile:
    """Whose file this is: a known place's, else the client whose files are called so, else the one with that `key`."""
    for file in known:
        if file.path == path or (file.path.exists() and path.exists() and file.path.samefile(path)):
            return file
    windows = path.is_relative_to("/mnt")
    for client in CLIENTS:
        if (
            client.project is not None
            and path.parts[-len(PurePath(client.project).parts) :] == PurePath(client.project).parts
        ):
            return ClientFile(client, path, "project", windows)
    for client in CLIENTS:
        if any(PurePath(place).name == path.name not in _SHARED_NAMES for place in client.user):
            return ClientFile(client, path, "user", windows)
    for client in CLIENTS:
        if key is not None and client.key == key != OTHER.key:
            return ClientFile(client, path, "user", windows)
    return ClientFile(OTHER, path, "user", windows)


_SHARED_NAMES: Final = ("mcp.json", "settings.json")
"""Names that say nothing of whose file it is."""


def hub_command(config: Path, *, windows: bool = False, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The command line by which a client starts `concento stdio` with this configuration, all paths in full: a desktop
    program has neither a shell's PATH nor its folder. `windows`: for a client outside WSL."""
    env = os.environ if env is None else env
    command = ("stdio", str(config.absolute()))
    beside = Path(sys.executable).with_name("concento")
    if "archive-v0" in beside.parts:  # run by uvx: this folder is a cache and may go
        program: tuple[str, ...] = (shutil.which("uvx") or "uvx", "concento")
    else:
        program = (str(beside) if beside.is_file() else shutil.which("concento") or "concento",)
    if windows:
        distribution = env.get("WSL_DISTRO_NAME")
        return ("wsl.exe", *(("-d", distribution) if distribution else ()), "-e", *program, *command)
    return (*program, *command)


def this_platform(env: Mapping[str, str]) -> Platform:
    """Linux, macOS or Linux below Windows."""
    if sys.platform == "darwin":
        return "darwin"
    return "wsl" if env.get("WSL_DISTRO_NAME") else "linux"


def _place(place: str, home: Path, env: Mapping[str, str], platform: Platform) -> Path:
    xdg = Path(_absolute(env, "XDG_CONFIG_HOME") or home / ".config")
    folders = {
        "{config}": home / "Library/Application Support" if platform == "darwin" else xdg,
        "{xdg}": home / ".config" if platform == "darwin" else xdg,
        "{claude}": Path(_absolute(env, "CLAUDE_CONFIG_DIR") or home),
        "{copilot}": Path(_absolute(env, "COPILOT_HOME") or home / ".copilot"),
        "~": home,
    }
    base, _, rest = place.partition("/")
    return folders[base] / rest


def _absolute(env: Mapping[str, str], name: str) -> str | None:
    value = env.get(name, "")
    return value if value.startswith("/") else None


def _project(place: str, home: Path, cwd: Path) -> Path:
    for folder in (cwd, *cwd.parents):
        if folder in (home, Path("/")):
            break
        if (folder / place).is_file():
            return folder / place
    return cwd / place


def _windows_profiles(users: Path) -> list[Path]:
    """The folders of those who use this machine's Windows; others' can't be read and are no business of ours."""
    try:
        return sorted(folder for folder in users.iterdir() if os.access(folder / "AppData", os.R_OK | os.X_OK))
    except OSError:
        return []
