"""A release's section is made of the fragments, or nothing is changed."""

from pathlib import Path

import pytest
from scripts.changelog import ROOT, Unfit, fragments, has_section, release, section

START = "# Changelog\n\nWhat changed.\n"
VERSION = '"""Doc."""\n\n__version__ = "0.1.0.dev0"\n'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "src/concento").mkdir(parents=True)
    (tmp_path / "src/concento/__init__.py").write_text(VERSION)
    (tmp_path / "CHANGELOG.md").write_text(START)
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "changelog.d/README.md").write_text("How to.\n")
    (tmp_path / "changelog.d/hub.added.md").write_text("- One.\n- Two.\n")
    (tmp_path / "changelog.d/leak.fixed.md").write_text("A leak\nis closed.\n")
    (tmp_path / "changelog.d/cli.added.md").write_text("A verb.\n")
    return tmp_path


def test_a_release_takes_the_fragments_and_the_next_goes_above_it(repository: Path) -> None:
    release(repository, "0.1.0", "2026-12-01")
    first = "## 0.1.0 (2026-12-01)\n\n### Added\n\n- A verb.\n- One.\n- Two.\n\n### Fixed\n\n- A leak\n  is closed.\n"
    assert (repository / "CHANGELOG.md").read_text() == f"{START}\n{first}"
    assert [path.name for path in (repository / "changelog.d").iterdir()] == ["README.md"]
    assert (repository / "src/concento/__init__.py").read_text() == VERSION.replace("0.1.0.dev0", "0.1.0")

    (repository / "changelog.d/x.removed.md").write_text("**Breaking:** gone.\n")
    release(repository, "0.2.0rc1", "2026-12-02")
    text = (repository / "CHANGELOG.md").read_text()
    assert text == f"{START}\n## 0.2.0rc1 (2026-12-02)\n\n### Removed\n\n- **Breaking:** gone.\n\n{first}"
    assert has_section(text, "0.1.0")
    assert not has_section(text, "0.2.0")


@pytest.mark.parametrize("version", ["0.1", "v0.1.0", "0.1.0.dev1", "latest"])
def test_what_is_no_version_changes_nothing(repository: Path, version: str) -> None:
    with pytest.raises(Unfit, match=r"MAJOR\.MINOR\.PATCH"):
        release(repository, version, "2026-12-01")
    assert (repository / "CHANGELOG.md").read_text() == START


def test_no_release_is_made_twice_or_of_nothing(repository: Path) -> None:
    release(repository, "0.1.0", "2026-12-01")
    with pytest.raises(Unfit, match="already"):
        release(repository, "0.1.0", "2026-12-02")
    with pytest.raises(Unfit, match="no fragments"):
        release(repository, "0.1.1", "2026-12-02")


@pytest.mark.parametrize("name", ["hub.md", "hub.new.md", "hub.added.txt", "a.b.added.md"])
def test_a_misnamed_fragment_is_told_with_the_kinds(repository: Path, name: str) -> None:
    (repository / "changelog.d" / name).write_text("Text.\n")
    with pytest.raises(Unfit, match="added, changed, removed, fixed, security"):
        release(repository, "0.1.0", "2026-12-01")
    assert (repository / "CHANGELOG.md").read_text() == START


def test_an_empty_fragment_is_told(repository: Path) -> None:
    (repository / "changelog.d/empty.added.md").write_text("\n")
    with pytest.raises(Unfit, match=r"empty\.added\.md is empty"):
        fragments(repository)


def test_the_fragments_that_wait_here_are_fit() -> None:
    waiting = fragments(ROOT)
    assert not waiting or section("Unreleased", waiting).startswith("## Unreleased\n\n### ")
