"""`${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}`: how a configuration names what it must not contain.

`$${` stands for a literal `${`. References don't nest, and the text a default gives is no secret.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FILE_BYTES_MAX: Final = 64 * 1024
"""Largest file that a `${file:…}` may stand for."""

SECRET_CHARS_MIN: Final = 6
"""Shorter values (`true`, `8080`, `/root`) are not redacted: too much that is no secret reads like them."""

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_ENV = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KNOWN: Final = "${env:NAME}, ${env:NAME:-default} and ${file:PATH}"


def references_in(text: str) -> list[str]:
    """The references of a text, without their defaults; one that is none of ours as it is written."""
    found = []
    for match in _REFERENCE.finditer(text):
        if match[0] != "$${":
            env = _ENV.fullmatch(match[1] or "")
            found.append(match[1] or "" if env is None else f"env:{env[1]}")
    return found


class Unresolved(Exception):
    """A reference can't be resolved; the message names it and the remedy, no value."""


class References:
    """Resolves the references of one configuration, and remembers what they named and stood for."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self._env = env
        self._folder = folder
        self.names: set[str] = set()
        """Environment variables that were named, set or not."""
        self.written: set[str] = set()
        """The references themselves, without their defaults: `env:NAME`, `file:PATH`."""
        self.secrets: set[str] = set()

    def resolve(self, text: str) -> str:
        """The text with every reference replaced. Errors: Unresolved."""
        return _REFERENCE.sub(self._replacement, text) if "${" in text else text

    def keep_secret(self, value: str) -> None:
        """Have a value redacted, though it may be written in the file itself."""
        if len(value) >= SECRET_CHARS_MIN:
            self.secrets.add(value)

    def path(self, text: str) -> Path:
        """A path of the file, relative to the file's folder; `~/` is the home folder."""
        home = self._env.get("HOME")
        if home and text.startswith("~/"):
            return Path(home, text[2:])
        return self._folder / text

    def _replacement(self, match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        body = match[1]
        if body is None:
            raise Unresolved("a reference that is not closed, or has another inside; for a literal ${ write $${")
        if env := _ENV.fullmatch(body):
            return self._variable(env[1], env[2])
        if body.startswith("file:") and len(body) > len("file:"):
            return self._content(body.removeprefix("file:"))
        hint = f"write ${{env:{body}}}" if _NAME.fullmatch(body) else f"there are {KNOWN}"
        kind = body.partition(":")[0][:20]
        raise Unresolved(f"unknown reference ${{{kind}…}}; {hint}; for a literal ${{ write $${{")

    def _variable(self, name: str, default: str | None) -> str:
        self.names.add(name)
        self.written.add(f"env:{name}")
        value = self._env.get(name)
        if value:
            self.keep_secret(value)
            return value
        if default is not None:
            return default
        if value is None:
            raise Unresolved(
                f"the environment variable {name} is not set; "
                f"set it where Concento starts, or give a default: ${{env:{name}:-default}}"
            )
        return value

    def _content(self, name: str) -> str:
        path = self.path(name)
        self.written.add(f"file:{name}")
        try:
            if not path.is_file():
                raise Unresolved(f"there is no file {name}; paths are relative to the configuration file")
            with path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
            value = content.decode().rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = "it is not UTF-8" if isinstance(error, UnicodeError) else getattr(error, "strerror", None)
            raise Unresolved(f"the file {name} can't be read: {reason or 'bad path'}") from None
        if len(content) > FILE_BYTES_MAX:
            raise Unresolved(f"the file {name} is larger than {FILE_BYTES_MAX // 1024} KiB")
        self.keep_secret(value)
        return value
