"""Find a configuration file and load it: all of it, or every problem it has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ...model.config import Config
from ...model.errors import ConfigError
from ...model.limits import MIB
from .build import build
from .clients import as_configuration, is_client_file
from .document import START, Node, json_as_yaml, parse
from .kinds import Reader
from .problems import Place, Problems, Refused
from .references import References
from .root import ROOT

FILE_BYTES_MAX: Final = MIB
"""Largest configuration file."""

FILE_NAME: Final = "concento.yaml"


def find_config(argument: str | None, cwd: Path, env: Mapping[str, str]) -> Path:
    """The configuration to use: the one named, else the folder's, else the user's. Errors: ConfigError."""
    if argument is not None:
        return cwd / argument
    home = Path(env.get("HOME") or "/")
    base = env.get("XDG_CONFIG_HOME", "")
    places = [cwd / FILE_NAME, (Path(base) if base.startswith("/") else home / ".config") / "concento" / FILE_NAME]
    for path in places:
        if path.is_file():
            return path
    raise ConfigError(
        [
            f"There is no configuration: neither {places[0]} nor {places[1]}.\n"
            "Name one, bring in what MCP clients have with `concento import`, add a server with `concento add NAME`,\n"
            f"or begin {FILE_NAME} with:\n"
            "  servers:\n"
            "    time: {command: [uvx, mcp-server-time]}"
        ]
    )


def load(path: Path, env: Mapping[str, str]) -> Config:
    """Read and check a configuration file. Errors: ConfigError with all problems, each as file:line:column."""
    return read(content_of(path), path, env)


def content_of(path: Path) -> bytes:
    """What is in a configuration file, and one byte more than may be, if there is. Errors: ConfigError."""
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "bad path"
        raise ConfigError([f"{path}: the configuration can't be read: {reason}"]) from None


def read(content: bytes, path: Path, env: Mapping[str, str]) -> Config:
    """Check a configuration that was read already; `path` is where it is, or would be. Errors: as `load`."""
    problems = Problems()
    return checked(parsed(content, path, problems), path, env, problems)


def parsed(content: bytes, path: Path, problems: Problems) -> Node:
    """The nodes of a configuration, its keys not checked yet; those of a client's file as ours.

    Errors: as `load`, if nothing can be made of the text; what else is wrong is noted.
    """
    try:
        return _parsed(_decoded(content), path, problems)
    except Refused as refused:
        problems.add(*refused.problem)
        raise problems.error(str(path)) from None


def checked(root: Node, path: Path, env: Mapping[str, str], problems: Problems) -> Config:
    """The configuration that nodes say, if nothing was and is wrong with them. Errors: as `load`."""
    reader = Reader(problems, References(env, path.absolute().parent))
    try:
        config = build(ROOT.read(root, reader), path, env, reader)
    except Refused as refused:
        problems.add(*refused.problem)
        raise problems.error(str(path)) from None
    if problems:
        raise problems.error(str(path))
    return config


def _decoded(content: bytes) -> str:
    if len(content) > FILE_BYTES_MAX:
        raise Refused(START, f"the configuration is larger than {FILE_BYTES_MAX // MIB} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
        place = Place(before.count(b"\n") + 1, column)
        raise Refused(place, "this is not UTF-8; save the file in that encoding") from None


def _parsed(text: str, path: Path, problems: Problems) -> Node:
    is_json = path.suffix in (".json", ".jsonc") or text.lstrip().startswith("{")
    node = parse(json_as_yaml(text) if is_json else text, problems)
    if node is None:
        if not problems:
            raise Refused(START, "the file is empty; begin with `servers:`")
        raise problems.error(str(path))
    if is_json and is_client_file(node):
        node = as_configuration(node, path.absolute().parent, problems)
    return node
