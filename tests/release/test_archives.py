"""Wheel and sdist: the same bytes each time, whole, and nothing in them that doesn't belong there."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from scripts.release import contents, venv
from scripts.release.build import must_be_same
from scripts.release.common import ROOT, Refused
from tests.release.conftest import Candidate

Files = dict[str, bytes]

KEY = b"-----BEGIN PRIVATE KEY-----\n" + b"QUJDREVGR0hJSktM" * 4 + b"\n-----END PRIVATE KEY-----\n"


def test_archives_hold_exactly_what_they_should(candidate: Candidate) -> None:
    contents.check(candidate.built, candidate.sources)


def test_the_wheel_has_the_package_and_the_sdist_what_its_tests_need(candidate: Candidate) -> None:
    wheel, sdist = contents.wheel_files(candidate.built.wheel), contents.sdist_files(candidate.built.sdist)
    assert {"concento/py.typed", "concento/cli/main.py", "concento/transport/guard.py"} <= wheel.keys()
    assert {"CHANGELOG.md", "uv.lock", "tests/conftest.py", "packaging/Containerfile", "PKG-INFO"} <= sdist.keys()
    assert not any(name.startswith(("tests/", "scripts/")) for name in wheel)


def test_another_byte_is_not_the_same_build(tmp_path: Path) -> None:
    for name in ("a.whl", "b.whl"):
        (tmp_path / name).write_bytes(name.encode())
    with pytest.raises(Refused, match=r"a\.whl is not reproducible"):
        must_be_same(tmp_path / "a.whl", tmp_path / "b.whl", "a second build")


def without(name: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        del files[name]

    return change


def with_file(name: str, data: bytes) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files[name] = data

    return change


def info(files: Iterable[str], name: str) -> str:
    return next(found for found in files if found.endswith(f".dist-info/{name}"))


def with_info(name: str, old: bytes, new: bytes) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        assert old in files[info(files, name)]
        files[info(files, name)] = files[info(files, name)].replace(old, new)

    return change


WHEEL_FAULTS = {
    "concento/py.typed is missing": without("concento/py.typed"),
    "concento/stray.log does not belong there": with_file("concento/stray.log", b""),
    "concento/app.py has other bytes": with_file("concento/app.py", b"pass\n"),
    "RECORD does not vouch for concento/app.py": with_file("concento/app.py", b"pass\n"),
    "holds a private key": with_file("concento/key.pem", KEY),
    "its licence is not LICENSE": with_info("licenses/LICENSE", b"Apache", b"Apathy"),
    "it is tagged cp311-none-any": with_info("WHEEL", b"py3-none-any", b"cp311-none-any"),
    "its metadata 9!": with_info("METADATA", b"\nVersion: ", b"\nVersion: 9!"),
    "metadata: 'description-content-type' must be": with_info("METADATA", b"text/markdown", b"mess/y"),
    "the licence or the README's type is missing": with_info("METADATA", b"License-Expression: Apache-2.0\n", b""),
}


@pytest.mark.parametrize("complaint", WHEEL_FAULTS)
def test_a_fault_of_a_wheel_is_named(candidate: Candidate, complaint: str) -> None:
    source, wheel = contents.files_of(candidate.sources), contents.wheel_files(candidate.built.wheel)
    WHEEL_FAULTS[complaint](wheel)
    assert any(complaint in problem for problem in contents.wheel_problems(wheel, source))


SDIST_FAULTS = {
    "uv.lock is missing": without("uv.lock"),
    ".env does not belong there": with_file(".env", b"TOKEN=1"),
    "PKG-INFO is missing": without("PKG-INFO"),
    "notes.md holds an access token": with_file("notes.md", b"see gh" + b"p_" + b"a1" * 18),
    "notes.md holds an API key": with_file("notes.md", b"s" + b"k-proj-" + b"a1" * 18),
    "holds a folder of the machine": with_file("notes.md", str(ROOT).encode()),
}


@pytest.mark.parametrize("complaint", SDIST_FAULTS)
def test_a_fault_of_an_sdist_is_named(candidate: Candidate, complaint: str) -> None:
    source, sdist = contents.files_of(candidate.sources), contents.sdist_files(candidate.built.sdist)
    SDIST_FAULTS[complaint](sdist)
    assert any(complaint in problem for problem in contents.sdist_problems(sdist, source))


def test_the_wheel_runs_without_the_checkout_behind_a_real_client(candidate: Candidate, tmp_path: Path) -> None:
    bin = venv.fresh(tmp_path / "core", candidate.built.wheel)
    venv.try_core(bin, candidate.built, tmp_path / "core")
