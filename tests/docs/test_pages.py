"""What the documentation shows is tried: every block of every page, and a list of what can't be."""

from pathlib import Path

import pytest

from .runner import ROOT, blocks, run_page

PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "docs/connect.md",
        "docs/servers.md",
        "docs/views.md",
        "docs/troubleshoot.md",
        "docs/reference/cli.md",
    )
]

NOT_RUN: dict[str, int] = {"README.md": 4, "docs/connect.md": 3}
"""Blocks that no test tries, by page. Each says why in a comment above it; a new one has to be counted here."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_works(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)


def test_no_block_goes_untried_unnoticed() -> None:
    untried = [block for page in PAGES for block in blocks(page) if "no-run" in block.notes]
    assert all(len(block.notes["no-run"]) > 10 for block in untried), "say why"
    counted: dict[str, int] = {}
    for block in untried:
        counted[block.page] = counted.get(block.page, 0) + 1
    told = "\n".join(f"{block.place}: {block.notes['no-run']}" for block in untried)
    assert counted == NOT_RUN, f"not tried are:\n{told}"
