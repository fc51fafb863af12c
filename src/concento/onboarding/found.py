"""What clients keep: one file read, every server in it as its client wrote it.

Values only, nothing is judged: `translate.py` makes entries of ours of them. Nothing here changes a file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from .clients import CLIENTS, HUB_ENTRY, ClientFile, client_of
from .jsonc import TEXT_BYTES_MAX, NotJson, plain

SERVERS_MAX: Final = 500
"""Most servers taken from one file."""

_KEYS: Final = tuple(dict.fromkeys(client.key for client in CLIENTS))


@dataclass(frozen=True, slots=True)
class Input:
    """What a client asks its user for when it starts a server: VS Code's `inputs`."""

    id: str
    description: str = ""
    default: str | None = None
    is_secret: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """One server in a client's file. `section` is the path of keys to the object it stands in, under `name`."""

    name: str
    file: ClientFile
    section: tuple[str, ...]
    raw: Mapping[str, Any] = field(repr=False)
    inputs: Mapping[str, Input] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    folder: Path | None = None
    """The project's folder that the server belongs to; None for one of the user's."""

    @property
    def is_disabled(self) -> bool:
        """Whether the client has it switched off."""
        return self.raw.get("disabled") is True or self.raw.get("enabled") is False

    def leads_to(self, hub_url: str) -> bool:
        """Whether it is the hub itself, as `--apply` or a person wrote it there."""
        url = next((self.raw[key] for key in ("url", "serverUrl", "httpUrl") if key in self.raw), None)
        if isinstance(url, str):
            return url.rstrip("/") == hub_url or (self.name == HUB_ENTRY and "/mcp" in url)
        words = [self.raw.get("command"), *(self.raw.get("args") or ())]
        names = [Path(word).name for word in words if isinstance(word, str)]
        return "concento" in names and "stdio" in names


@dataclass(frozen=True, slots=True)
class Reading:
    """One file as it was read. `problem` is None if it could be; `content` the bytes, for whoever changes them."""

    file: ClientFile
    content: bytes = field(default=b"", repr=False)
    servers: tuple[Found, ...] = ()
    problem: str | None = None


def read_file(path: Path, known: list[ClientFile], file: ClientFile | None = None) -> Reading:
    """Read one client's file. Errors: none; what is wrong is in the reading, without content of the file."""
    file = file or client_of(path, known)
    try:
        with path.open("rb") as opened:
            content = opened.read(TEXT_BYTES_MAX + 1)
        if len(content) > TEXT_BYTES_MAX:
            return Reading(file, problem=f"it is larger than {TEXT_BYTES_MAX // 1024 // 1024} MiB")
        text = content.decode("utf-8-sig")
        document = plain(text) if text.strip() else {}
    except NotJson as error:
        return Reading(file, problem=str(error))
    except UnicodeDecodeError:
        return Reading(file, problem="it is not UTF-8; save it in that encoding")
    except OSError as error:
        return Reading(file, problem=f"it can't be read: {error.strerror}")
    if not isinstance(document, dict):
        return Reading(file, content, problem="it holds no object, so no servers")
    sections = list(_sections(document))
    if file.client.id == "other" and sections:
        file = client_of(path, known, sections[0][0][-1])
    servers = [found for section, members in sections for found in _servers(file, section, members, document)]
    if len(servers) > SERVERS_MAX:
        return Reading(file, content, problem=f"it has more than {SERVERS_MAX} servers")
    return Reading(file, content, tuple(servers))


def _sections(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Every object that may hold servers: at the top, below VS Code's `mcp`, and in Claude Code's projects."""
    for key in _KEYS:
        if isinstance(members := document.get(key), dict):
            yield (key,), members
    inner = document.get("mcp")
    if isinstance(inner, dict) and isinstance(members := inner.get("servers"), dict):
        yield ("mcp", "servers"), members
    projects = document.get("projects")
    for name, project in projects.items() if isinstance(projects, dict) else ():
        if isinstance(project, dict) and isinstance(members := project.get("mcpServers"), dict):
            yield ("projects", name, "mcpServers"), members


def _servers(
    file: ClientFile, section: tuple[str, ...], members: Mapping[str, Any], document: Mapping[str, Any]
) -> Iterator[Found]:
    holder = document.get("mcp", {}) if section[0] == "mcp" else document
    inputs = MappingProxyType({one.id: one for one in _inputs(holder.get("inputs"))})
    folder = file.folder if file.scope == "project" else None
    if section[0] == "projects":
        folder = Path(section[1])
    for name, raw in members.items():
        yield Found(name, file, section, raw if isinstance(raw, dict) else {"": raw}, inputs, folder)


def _inputs(value: Any) -> Iterator[Input]:
    for one in value if isinstance(value, list) else ():
        if isinstance(one, dict) and isinstance(id := one.get("id"), str):
            description, default = one.get("description"), one.get("default")
            yield Input(
                id,
                description if isinstance(description, str) else "",
                default if isinstance(default, str) else None,
                one.get("password") is True or one.get("type") == "command",
            )
