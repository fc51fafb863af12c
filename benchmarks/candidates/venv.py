"""Gateways from the package index, each in a virtual environment of its own with the versions that `pins/` names."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ..process import HERE
from ..refused import Refused

PINS = HERE / "candidates" / "pins"
HOME = HERE.parent / ".tools" / "bench"
INSTALL_S = 600


class Venv:
    """The environment of one package. `prepare` makes it when it isn't there yet, or when its pins have changed."""

    def __init__(self, package: str) -> None:
        self.package = package
        self._pins = PINS / f"{package}.txt"
        seen = hashlib.sha256(self._pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
        self._folder = HOME / f"{package}-{seen}"

    @property
    def version(self) -> str:
        """The version that is pinned."""
        pins = (line.partition(";")[0].strip() for line in self._pins.read_text().splitlines())
        return next(pin.partition("==")[2] for pin in pins if pin.startswith(f"{self.package}=="))

    def program(self, name: str) -> str:
        """A program that is installed there."""
        return str(self._folder / "bin" / name)

    def prepare(self) -> None:
        """Errors: Refused, with the installer's own words."""
        if self._folder.exists():
            return
        HOME.mkdir(parents=True, exist_ok=True)
        half = HOME / f"{self._folder.name}.{os.getpid()}"
        uv = str(Path(sys.executable).with_name("uv"))
        try:
            _run([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(half)])
            _run([uv, "pip", "install", "--quiet", "--python", str(half / "bin" / "python"), "-r", str(self._pins)])
            half.rename(self._folder)  # only a finished one is ever found
        finally:
            shutil.rmtree(half, ignore_errors=True)


def _run(command: list[str]) -> None:
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired:
        raise Refused(f"it could not be installed within {INSTALL_S} s") from None
    if done.returncode:
        raise Refused(f"it could not be installed: {' '.join(done.stderr.split())[-400:]}")
