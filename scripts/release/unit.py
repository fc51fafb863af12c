"""Check the systemd unit with systemd's own judges: that it is understood in full, and how little it may reach."""

from pathlib import Path
from subprocess import run as start
from typing import Final

from .common import ROOT, Refused, run

UNIT: Final = ROOT / "packaging/concento.service"
INSTALLED: Final = "/opt/concento/current/bin/concento"
EXPOSURE_MAX: Final = 2.0
"""On systemd's scale from 0 (nothing left to take away) to 10."""


def verify(bin: Path, folder: Path) -> None:
    """The unit as it is installed, but for the place of the program. Errors: Refused."""
    text = UNIT.read_text()
    if INSTALLED not in text:
        raise Refused(f"{UNIT.name} does not start {INSTALLED}, as docs/deploy.md installs it")
    unit = folder / UNIT.name
    unit.write_text(text.replace(INSTALLED, str(bin / "concento")))
    # It ends with 0 even for a key that it doesn't know; then it says so.
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    told = start(command, capture_output=True, text=True, check=False)
    about_it = [line for line in (told.stdout + told.stderr).splitlines() if UNIT.name in line]
    if told.returncode or about_it:
        raise Refused("\n".join([f"`{' '.join(command)}` ended with {told.returncode}:", *about_it, told.stderr]))
    run(["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", unit])
