"""What the documentation shows is tried: every block of every page, and a list of what can't be."""

from pathlib import Path

import pytest

from .runner import ROOT, blocks, run_page

PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "docs/index.md",
        "docs/connect.md",
        "docs/servers.md",
        "docs/servers-when-needed.md",
        "docs/sandbox.md",
        "docs/views.md",
        "docs/logical-tools.md",
        "docs/find-tools.md",
        "docs/testing.md",
        "docs/keys.md",
        "docs/sign-in.md",
        "docs/accounts.md",
        "docs/policies.md",
        "docs/guards.md",
        "docs/approve.md",
        "docs/limits.md",
        "docs/tenants.md",
        "docs/admin-api.md",
        "docs/alerts.md",
        "docs/audit.md",
        "docs/usage.md",
        "docs/observe.md",
        "docs/deploy.md",
        "docs/troubleshoot.md",
    )
]

LONG = [ROOT / "docs" / "reference" / "cli.md"]
"""Its verbs have tests of their own; here they run as a reader would type them."""

ELSEWHERE = {"docs/reference/configuration.md": "test_reference.py loads each example at its place"}

WALKED = [ROOT / "docs/start.md"]
"""Run by `test_start.py`, beside the others: it starts real servers one after the other."""

NOT_RUN: dict[str, int] = {
    **{"README.md": 4, "docs/connect.md": 3, "docs/start.md": 3, "docs/deploy.md": 8},
    **{
        "docs/sign-in.md": 1,
        "docs/audit.md": 2,
        "docs/observe.md": 1,
        "docs/logical-tools.md": 2,
        "docs/find-tools.md": 1,
        "docs/accounts.md": 1,
        "docs/guards.md": 2,
    },
}
"""Blocks that no test tries, by page. Each says why in a comment above it; a new one has to be counted here."""


@pytest.mark.parametrize(
    "page",
    [*PAGES, *(pytest.param(page, marks=pytest.mark.long) for page in LONG)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_what_a_page_shows_works(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)


def test_no_page_with_blocks_is_left_out() -> None:
    tried = {*PAGES, *LONG, *WALKED, *(ROOT / page for page in ELSEWHERE)}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        assert page in tried or not blocks(page), f"add {page.relative_to(ROOT)} to PAGES"


def test_no_block_goes_untried_unnoticed() -> None:
    untried = [block for page in (*PAGES, *WALKED) for block in blocks(page) if "no-run" in block.notes]
    assert all(len(block.notes["no-run"]) > 10 for block in untried), "say why"
    counted: dict[str, int] = {}
    for block in untried:
        counted[block.page] = counted.get(block.page, 0) + 1
    told = "\n".join(f"{block.place}: {block.notes['no-run']}" for block in untried)
    assert counted == NOT_RUN, f"not tried are:\n{told}"
