"""What goes out beside the archives: locked requirements, SBOM, licence list, checksums."""

import json
from pathlib import Path

from .build import Built
from .contents import sha256_of
from .licences import as_json, as_text, licences
from .lock import EXTRAS, requirements, runtime
from .sbom import sbom

SUMS = "SHA256SUMS"


def write(built: Built, out: Path, site_packages: Path) -> list[Path]:
    """Write them all into `out`; the licences are those of what is installed in `site_packages`. Errors: Refused."""
    locked = runtime()
    found = licences(locked, site_packages)
    texts = {
        "requirements.txt": requirements(),
        "requirements-uvx.txt": requirements(*EXTRAS),
        "sbom.cdx.json": sbom(built, locked, {licence.name: licence for licence in found}),
        "licences.json": json.dumps(as_json(found), indent=2) + "\n",
        "THIRD-PARTY-LICENCES.txt": as_text(found),
    }
    for name, text in texts.items():
        (out / name).write_text(text)
    return [out / name for name in texts]


def sum_up(out: Path) -> None:
    """Checksums of everything in `out`, for `sha256sum --check`."""
    files = sorted(path for path in out.iterdir() if path.is_file() and path.name != SUMS)
    (out / SUMS).write_text("".join(f"{sha256_of(path)}  {path.name}\n" for path in files))
