"""A small Debian made on the spot: the base that stands in for the image's, and the machine that the unit runs on."""

import shutil
from pathlib import Path
from typing import Final

from .common import ROOT, run

SUITE: Final = "trixie"
"""The one whose Python the image's own base has."""
PACKAGES: Final = "python3,python3-venv,ca-certificates,systemd"
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
MADE: Final = ROOT / f".tools/debian-{SUITE}"


def debian() -> Path:
    """Its root folder: made by the first who asks, and not to be written to. Errors: Refused."""
    if not MADE.exists():
        fresh = MADE.with_suffix(".part")
        shutil.rmtree(fresh, ignore_errors=True)
        run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, fresh])
        run(["chroot", fresh, "apt-get", "clean"])
        fresh.rename(MADE)
    return MADE


def copy(into: Path) -> Path:
    """A Debian of one's own, which reaches the network as this machine does."""
    run(["cp", "-a", "--reflink=auto", debian(), into])
    for path in (CERTIFICATES, "/etc/resolv.conf", "/etc/hosts"):
        shutil.copy(path, into / path.removeprefix("/"))
    return into
