"""The documentation builds as a site, strictly, and the site needs nothing from elsewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STRICT = ("--fail-on-warning", "--keep-going", "--nitpicky", "--quiet", "-E")


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", *STRICT, "-d", str(target / ".doctrees"), str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT / "docs", target)
    assert done.returncode == 0, done.stderr
    return target


def test_every_page_is_on_the_site(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        built = site / page.relative_to(ROOT / "docs").with_suffix(".html")
        assert built.is_file()
        assert 'class="sidebar-tree"' in built.read_text()


def test_site_loads_nothing_from_elsewhere_and_its_links_lead_to_pages(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert not re.findall(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)="(?:https?:)?//[^"]*""", text)
        for link in re.findall(r'<a [^>]*href="(?!https?:)([^"#]+)', text):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(?:https?:)?//|@import", sheet.read_text()), sheet


def test_mistakes_fail_the_build(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "docs" / "forgotten.md").write_text("# In no menu\n")
    with (tmp_path / "docs" / "views.md").open("a") as page:
        page.write("\n[a page](none.md), [an anchor](servers.md#none), [one here](#none)\n")
    done = build(tmp_path / "docs", tmp_path / "site")
    assert done.returncode != 0
    assert "forgotten.md: WARNING: document isn't included in any toctree" in done.stderr
    for target in ("'none.md'", "in doc 'servers': 'none'", "not found: 'none'"):
        assert re.search(rf"views\.md:\d+: WARNING: .*{re.escape(target)}", done.stderr), done.stderr
