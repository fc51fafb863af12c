"""`python -m scripts.release`: the steps in order; see the package's docstring."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from scripts.changelog import Unfit, fragments, has_section

from . import __doc__ as purpose
from . import boot, image, papers, unit, venv
from .build import build_and_compare, committed, elsewhere, tracked_changes
from .common import ROOT, Refused, say
from .contents import check


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make release", description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where the files go; by default dist/")
    parser.add_argument("--without-root", action="store_true", help="don't run image and unit, which only root can")
    arguments = parser.parse_args()
    try:
        release(arguments.out.resolve(), as_root=not arguments.without_root)
    except (Refused, Unfit) as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def release(out: Path, *, as_root: bool) -> None:
    """Everything; `out` has the files of this release alone, and only if all is well. Errors: Refused, Unfit."""
    if as_root and os.geteuid() != 0:
        raise Refused("image and unit are run by root only: `sudo make release`, or leave them out with --without-root")
    if out.exists() and any(out.iterdir()) and not (out / papers.SUMS).exists():
        raise Refused(f"{out} holds something else than a release: name an empty folder with --out")
    if changed := tracked_changes():
        say(f"not in this release, for it is not committed: {', '.join(changed)}")
    with elsewhere() as folder:
        sources, dist = committed(folder / "sources"), folder / "dist"
        built = build_and_compare(sources, dist)
        check(built, sources)
        changelog(sources, built.version)
        say(f"{built.sdist.name} and {built.wheel.name}: the same bytes from a second build, and from the sdist")

        bin = venv.fresh(folder / "core", built.wheel)
        venv.try_core(bin, built, folder / "core")
        say("the wheel runs without the checkout: all verbs, serve and stdio with a real server and client")

        with_uvx = venv.fresh(folder / "uvx", built.sdist, "uvx")
        venv.try_quickstart(with_uvx, folder / "uvx")
        say("the sdist installs too, and runs examples/quickstart.yaml with concento[uvx]")

        papers.write(built, dist, venv.site_packages(with_uvx))
        say("SBOM and licence list: every locked dependency has an allowed licence")

        unit.verify(bin, folder)
        say(f"systemd understands {unit.UNIT.name}, and finds little that it may reach")

        for source in (ROOT / "packaging").iterdir():
            shutil.copy(source, dist)
        if as_root:
            boot.try_it(dist, built.version, folder)
            say("the unit runs under systemd, installed as docs/deploy.md says: confined, watched, stopped in order")
            image.try_it(dist, built.version, folder)
            say("the image builds, and runs without rights on a read-only root file system")

        papers.sum_up(dist)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(dist, out)
    say(f"concento {built.version} is in {out}; nothing was uploaded")


def changelog(sources: Path, version: str) -> None:
    """A version that goes out has its section, and its fragments are in it. Errors: Refused, Unfit."""
    waiting = [path.name for path in fragments(sources)]
    if "dev" not in version and (waiting or not has_section((sources / "CHANGELOG.md").read_text(), version)):
        raise Refused(f"CHANGELOG.md lacks {version} or changelog.d/ still holds fragments: run scripts/changelog.py")


if __name__ == "__main__":
    main()
