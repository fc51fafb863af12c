"""Build the sdist and the wheel so that anybody who builds the same commit gets the same bytes.

The sources are exported to a folder of their own first, so what is not committed can't get in and no build sees
another's leavings. Times in the archives are the commit's (`SOURCE_DATE_EPOCH`); the build backend is the one that
`uv.lock` names.
"""

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from subprocess import check_output

from .common import BIN, ROOT, Refused, run


@dataclass(frozen=True)
class Built:
    """The two files of one version."""

    sdist: Path
    wheel: Path

    @property
    def version(self) -> str:
        return self.wheel.name.split("-")[1]


def committed(folder: Path) -> Path:
    """The sources as they are committed."""
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=BytesIO(check_output(["git", "archive", "HEAD"], cwd=ROOT))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def as_they_are(folder: Path) -> Path:
    """The sources of the working tree, changes and new files included: what would be committed now."""
    for name in _git("ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")[:-1]:
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def tracked_changes() -> list[str]:
    """What the working tree has and the commit has not."""
    return [line[3:] for line in _git("status", "--porcelain").splitlines()]


def commit_time_s() -> int:
    """When the commit was made: the time that everything in a release carries."""
    return int(_git("log", "-1", "--format=%ct"))


def build(source: Path, out: Path, **environment: str) -> Built:
    """An sdist and, straight from the sources, a wheel."""
    _uv_build(source, out, "--sdist", "--wheel", **environment)
    return _found(out)


def wheel_of(sdist: Path, out: Path) -> Path:
    """The wheel that somebody gets who builds from the sdist."""
    _uv_build(sdist, out, "--wheel")
    (wheel,) = out.glob("*.whl")
    return wheel


def build_and_compare(source: Path, out: Path) -> Built:
    """Build twice, in different folders, and a third wheel from the sdist. Errors: Refused if any byte differs."""
    built = build(source, out)
    with elsewhere() as folder:
        again = build(shutil.copytree(source, folder / "sources"), folder / "again", TZ="Asia/Kathmandu")
        for first, second in ((built.sdist, again.sdist), (built.wheel, again.wheel)):
            must_be_same(first, second, "a second build of the same sources")
        must_be_same(built.wheel, wheel_of(built.sdist, folder / "of-sdist"), "the wheel built from the sdist")
    return built


def must_be_same(first: Path, second: Path, what: str) -> None:
    """Errors: Refused."""
    if first.read_bytes() != second.read_bytes():
        raise Refused(f"{first.name} is not reproducible: {what} has other bytes; compare them with `diffoscope`")


@contextmanager
def elsewhere() -> Iterator[Path]:
    """A folder outside the checkout, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="concento-release-") as folder:
        yield Path(folder).resolve()


def _git(*arguments: str) -> str:
    return check_output(["git", *arguments], cwd=ROOT, text=True)


def _uv_build(source: Path, out: Path, *what: str, **environment: str) -> None:
    run(
        [BIN / "uv", "build", "--quiet", "--no-build-isolation", "--no-create-gitignore", *what, "-o", out, source],
        cwd=source.parent,
        env={"SOURCE_DATE_EPOCH": str(commit_time_s()), "VIRTUAL_ENV": str(BIN.parent), **environment},
    )


def _found(folder: Path) -> Built:
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Built(sdist, wheel)
