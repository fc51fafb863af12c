"""Assemble CHANGELOG.md from the fragments in changelog.d/.

    scripts/changelog.py            print what the next release's section would be
    scripts/changelog.py 0.2.0      make that release: write the section, delete the fragments, set the version

Needs nothing but Python. Commit what the second form changed, then `make release`.
"""

import argparse
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
KINDS: Final = ("added", "changed", "removed", "fixed", "security")
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
_FIRST_SECTION: Final = re.compile(r"^## ", re.MULTILINE)


class Unfit(Exception):
    """Why there can be no section: names the file or the version, and the remedy."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?", help="the version to release, such as 0.2.0 or 0.2.0rc1")
    version = parser.parse_args().version
    try:
        if version is None:
            print(section("Unreleased", fragments(ROOT)), end="")
        else:
            release(ROOT, version, f"{datetime.now(UTC):%Y-%m-%d}")
            print(f"CHANGELOG.md has a section for {version}: read it, commit, then `make release`", file=sys.stderr)
    except Unfit as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def release(root: Path, version: str, day: str) -> None:
    """Turn the fragments into a version's section. Nothing is changed if anything is wrong. Errors: Unfit."""
    if not _VERSION.fullmatch(version):
        raise Unfit(
            f"{version} is no version to release: it is MAJOR.MINOR.PATCH, with aN, bN or rcN behind it if early"
        )
    changelog, package = root / "CHANGELOG.md", root / "src/concento/__init__.py"
    text = changelog.read_text()
    if has_section(text, version):
        raise Unfit(f"CHANGELOG.md has a section for {version} already; releases are not made twice")
    found = fragments(root)
    if not found:
        raise Unfit("changelog.d/ holds no fragments: there is nothing that a user would notice to release")
    first = _FIRST_SECTION.search(text)
    place = first.start() if first else len(text)
    before = text[:place].rstrip() + "\n\n"
    changelog.write_text(f"{before}{section(f'{version} ({day})', found)}\n{text[place:]}".rstrip() + "\n")
    package.write_text(re.sub(r'(?m)^__version__ = ".*"$', f'__version__ = "{version}"', package.read_text()))
    for path in found:
        path.unlink()


def fragments(root: Path) -> dict[Path, str]:
    """The kind of every fragment. Errors: Unfit for a name that `changelog.d/README.md` does not allow, or no text."""
    found: dict[Path, str] = {}
    for path in sorted((root / "changelog.d").iterdir()):
        if path.name == "README.md":
            continue
        kind = path.name.removesuffix(".md").rpartition(".")[2]
        if kind not in KINDS or path.suffix != ".md" or path.name.count(".") != 2:
            raise Unfit(f"changelog.d/{path.name}: a fragment is named WHAT.KIND.md, KIND one of {', '.join(KINDS)}")
        if not path.read_text().strip():
            raise Unfit(f"changelog.d/{path.name} is empty: write one to five lines for whoever runs Concento")
        found[path] = kind
    return found


def section(title: str, found: dict[Path, str]) -> str:
    """A section, kinds in the order of `KINDS`, fragments in that of their names, each a bullet."""
    parts = [f"## {title}\n"]
    for kind in KINDS:
        texts = [_bullet(path.read_text().strip()) for path, its_kind in found.items() if its_kind == kind]
        if texts:
            parts.append(f"### {kind.capitalize()}\n\n" + "\n".join(texts) + "\n")
    return "\n".join(parts)


def has_section(changelog: str, version: str) -> bool:
    """Whether a changelog tells of a version."""
    return re.search(rf"(?m)^## {re.escape(version)} ", changelog) is not None


def _bullet(text: str) -> str:
    return text if text.startswith("- ") else "- " + text.replace("\n", "\n  ")


if __name__ == "__main__":
    main()
