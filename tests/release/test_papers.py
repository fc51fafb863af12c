"""Requirements, SBOM, licences: exactly what the lock names, in the form that others read."""

import json
import re
import subprocess
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest
from scripts.release import papers, sbom
from scripts.release.common import Refused
from scripts.release.licences import licences
from scripts.release.lock import Locked, direct, requirements, runtime
from tests.release.conftest import Candidate

HERE = Path(sysconfig.get_path("purelib"))


@pytest.fixture(scope="module")
def out(candidate: Candidate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    papers.write(candidate.built, folder, HERE)
    papers.sum_up(folder)
    return folder


def test_every_requirement_is_pinned_with_hashes_and_uv_only_an_extra() -> None:
    packages = re.split(r"\n(?=[a-z])", requirements())
    assert len(packages) == len(runtime()) - 1
    assert all("==" in package and "--hash=sha256:" in package for package in packages)
    assert [package.name for package in runtime() if package.optional] == ["uv"]


def test_the_sbom_names_what_is_locked_and_resolves_every_reference(out: Path) -> None:
    document = json.loads((out / "sbom.cdx.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert {part["purl"] for part in document["components"]} == {
        f"pkg:pypi/{package.name}@{package.version}" for package in runtime()
    }
    assert all(part["licenses"] and part["externalReferences"] for part in document["components"])
    refs = {part["bom-ref"] for part in document["components"]} | {document["metadata"]["component"]["bom-ref"]}
    graph = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    assert graph.keys() == refs
    assert set().union(*graph.values()) <= refs
    assert len(graph[document["metadata"]["component"]["bom-ref"]]) == len(direct())


def test_every_package_is_reached_from_concento(out: Path) -> None:
    document = json.loads((out / "sbom.cdx.json").read_text())
    graph = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    reached, waiting = set(), [document["metadata"]["component"]["bom-ref"]]
    while waiting:
        reached.add(ref := waiting.pop())
        waiting += [needed for needed in graph[ref] if needed not in reached]
    assert reached == graph.keys()


def test_papers_are_the_same_bytes_each_time(candidate: Candidate, out: Path, tmp_path: Path) -> None:
    for again in papers.write(candidate.built, tmp_path, HERE):
        assert again.read_bytes() == (out / again.name).read_bytes()


def test_an_sbom_that_breaks_the_schema_is_refused(candidate: Candidate) -> None:
    locked = runtime()
    found = {licence.name: licence for licence in licences(locked, HERE)}
    crooked = replace(locked[0], files=(("https://x.example/x.whl", "no digest"),))
    with pytest.raises(Refused, match=r"CycloneDX 1\.6"):
        sbom.sbom(candidate.built, [crooked, *locked[1:]], found)


def test_the_licence_list_has_a_text_for_every_package(out: Path) -> None:
    listed = json.loads((out / "licences.json").read_text())
    text = (out / "THIRD-PARTY-LICENCES.txt").read_text()
    assert [entry["name"] for entry in listed] == [package.name for package in runtime()]
    for entry in listed:
        assert entry["texts"], entry
        assert f"{entry['name']} {entry['version']}: {entry['licence']}\n" in text
    assert "Permission is hereby granted, free of charge" in text


def installed(folder: Path, metadata: str, version: str = "1") -> Path:
    """A package that states a licence so."""
    info = folder / f"pack-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: pack\nVersion: {version}\n{metadata}\n")
    return folder


PACK = [Locked("pack", "1", False, (), ())]

ALLOWED = {
    "License-Expression: MIT": "MIT",
    "License-Expression: GPL-3.0-only OR BSD-3-Clause": "GPL-3.0-only OR BSD-3-Clause",
    "License: Apache 2.0": "Apache-2.0",
    "Classifier: License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License: BSD-3-Clause\nClassifier: License :: OSI Approved :: BSD License": "BSD-3-Clause",
}


@pytest.mark.parametrize("metadata", ALLOWED)
def test_an_allowed_licence_is_read_in_whatever_way_it_is_stated(tmp_path: Path, metadata: str) -> None:
    (licence,) = licences(PACK, installed(tmp_path, metadata))
    assert licence.expression == ALLOWED[metadata]


REFUSED = {
    "License-Expression: GPL-3.0-only": "GPL-3.0-only is not among the allowed",
    "License-Expression: MIT AND LGPL-2.1-only": "not among the allowed",
    "License-Expression: LicenseRef-Proprietary": "no SPDX expression",
    "Classifier: License :: OSI Approved :: BSD License": "no SPDX expression",
    "License: MIT\nClassifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)": "no SPDX expression",
    "License: MIT\nClassifier: License :: OSI Approved :: BSD License": "no SPDX expression",
    "License: see the file": "no SPDX expression",
    "Summary: nothing said": "states no licence",
}


@pytest.mark.parametrize("metadata", REFUSED)
def test_another_licence_or_an_unclear_one_refuses_the_release(tmp_path: Path, metadata: str) -> None:
    with pytest.raises(Refused, match=REFUSED[metadata]):
        licences(PACK, installed(tmp_path, metadata))


def test_what_is_installed_has_to_be_what_is_locked(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"uv\.lock has 1, installed is 2"):
        licences(PACK, installed(tmp_path / "other", "License: MIT", "2"))
    with pytest.raises(Refused, match="installed is not there"):
        licences(PACK, tmp_path)


def test_checksums_vouch_for_every_file(out: Path) -> None:
    lines = (out / "SHA256SUMS").read_text().splitlines()
    assert {path.name for path in out.iterdir()} == {"SHA256SUMS", *(line.split()[1] for line in lines)}
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=out, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
