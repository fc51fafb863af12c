"""`make release` itself: everything built, installed, booted and run, from a checkout to a folder that can go out."""

import os
import subprocess
from pathlib import Path

import pytest
from scripts.release.common import ROOT


@pytest.mark.long
def test_a_release_is_made_and_tried_in_full(tmp_path: Path) -> None:
    options = f"--out {tmp_path / 'dist'}" + ("" if os.geteuid() == 0 else " --without-root")
    subprocess.run(["make", "release", f"ARGS={options}"], cwd=ROOT, check=True)
    names = {path.name for path in (tmp_path / "dist").iterdir()}
    assert {"SHA256SUMS", "sbom.cdx.json", "licences.json", "Containerfile", "concento.service", "pod.yaml"} <= names
    assert len(names & {name for name in names if name.endswith((".whl", ".tar.gz"))}) == 2
