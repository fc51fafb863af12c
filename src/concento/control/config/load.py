"""Find a configuration file and load it: all of it, or every problem it has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ...model.config import Config
from ...model.errors import ConfigError
from ...model.limits import MIB
from .build import build
from .clients import as_configuration, is_client_file
from .document import START, json_as_yaml, parse
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
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "bad path"
        raise ConfigError([f"{path}: the configuration can't be read: {reason}"]) from None
    return read(content, path, env)


def read(content: bytes, path: Path, env: Mapping[str, str]) -> Config:
    """Check a configuration that was read already; `path` is where it is, or would be. Errors: as `load`."""
    problems = Problems()
    references = References(env, path.absolute().parent)
    try:
        return _checked(_decoded(content), path, env, Reader(problems, references))
    except Refused as refused:
        problems.add(*refused.problem)
        raise problems.error(str(path)) from None


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


def _checked(text: str, path: Path, env: Mapping[str, str], reader: Reader) -> Config:
    is_json = path.suffix in (".json", ".jsonc") or text.lstrip().startswith("{")
    node = parse(json_as_yaml(text) if is_json else text, reader.problems)
    if node is None:
        if not reader.problems:
            raise Refused(START, "the file is empty; begin with `servers:`")
        raise reader.problems.error(str(path))
    if is_json and is_client_file(node):
        node = as_configuration(node, path.absolute().parent, reader.problems)
    config = build(ROOT.read(node, reader), path, env, reader)
    if reader.problems:
        raise reader.problems.error(str(path))
    return config
