"""The documents keep up with the code: links lead somewhere, the README's configuration is one."""

import os
import re
from pathlib import Path

import pytest

from concento.control.config import load

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files(document: Path) -> None:
    for link in LINK.findall(document.read_text()):
        assert (document.parent / link).exists(), f"{document.name} links to {link}, which is not there"


def test_the_configuration_in_the_readme_is_right(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        config = load(path, {**os.environ, "DOCS_TOKEN": "x"})
        assert config.servers
        assert len(block.splitlines()) <= 25


def test_every_verb_in_the_readme_exists() -> None:
    from concento.cli.main import VERBS

    for verb in re.findall(r"^concento (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert verb in VERBS
