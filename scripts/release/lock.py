"""What a user of the wheel gets beside it, exactly: the runtime dependencies that `uv.lock` names."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from packaging.utils import canonicalize_name

from .common import BIN, ROOT, run

EXTRAS: Final = ("uvx",)
_LINE: Final = re.compile(r"^([a-z0-9-]+)==([^\s;\\]+)")


@dataclass(frozen=True)
class Locked:
    """One dependency: where its files come from with their SHA-256, and what it needs itself."""

    name: str
    version: str
    optional: bool
    """Only with one of `EXTRAS`."""
    files: tuple[tuple[str, str], ...]
    needs: tuple[str, ...]


@cache
def requirements(*extras: str) -> str:
    """A requirements file with the locked versions and their hashes, for `pip install --require-hashes -r`."""
    options = ["--quiet", "--frozen", "--no-default-groups", "--no-emit-project", "--no-header"]
    return run([BIN / "uv", "export", *options, *(f"--extra={extra}" for extra in extras)])


def runtime() -> list[Locked]:
    """All of them, by name."""
    core, everything = _versions(requirements()), _versions(requirements(*EXTRAS))
    packages = {package["name"]: package for package in lock()["package"]}
    return [_locked(packages[name], name not in core, everything.keys()) for name in sorted(everything)]


def direct() -> list[str]:
    """The names that `pyproject.toml` asks for, extras included."""
    ours = next(package for package in lock()["package"] if package["name"] == "concento")
    optional = [needed for extra in EXTRAS for needed in ours["optional-dependencies"][extra]]
    return sorted(canonicalize_name(needed["name"]) for needed in [*ours["dependencies"], *optional])


@cache
def lock() -> dict[str, Any]:
    """`uv.lock`."""
    return tomllib.loads((ROOT / "uv.lock").read_text())


def _versions(text: str) -> dict[str, str]:
    return {match[1]: match[2] for line in text.splitlines() if (match := _LINE.match(line))}


def _locked(package: dict[str, Any], optional: bool, others: Any) -> Locked:
    archives = [*([package["sdist"]] if "sdist" in package else []), *package.get("wheels", [])]
    needs = sorted({needed["name"] for needed in package.get("dependencies", ()) if needed["name"] in others})
    files = tuple((archive["url"], archive["hash"].removeprefix("sha256:")) for archive in archives)
    return Locked(package["name"], package["version"], optional, files, tuple(needs))
