"""The site of the documentation: `make docs`. A broken link or anchor, or a page in no menu, fails the build."""

import re
from pathlib import Path
from typing import Any, Final

from concento import __version__

HERE: Final = Path(__file__).parent

project = "Concento"
copyright = "the Concento contributors"
release = __version__
html_title = "Concento"

extensions = ["myst_parser"]
exclude_patterns = ["conf.py"]
nitpicky = True
myst_heading_anchors = 4

MENU: Final = {
    "Use": [
        "start",
        "connect",
        "servers",
        "servers-when-needed",
        "sandbox",
        "views",
        "logical-tools",
        "find-tools",
        "testing",
        "extensions",
        "keys",
        "sign-in",
        "accounts",
        "policies",
        "guards",
        "approve",
        "limits",
        "tenants",
        "admin-api",
        "alerts",
        "audit",
        "usage",
        "observe",
        "security",
        "deploy",
        "troubleshoot",
    ],
    "Look up": [
        *("reference/configuration", "reference/cli", "reference/api", "reference/errors"),
        *("reference/metrics", "reference/alerts", "reference/limits", "reference/meta"),
    ],
    "How it works": ["architecture", "compatibility", "conformance", "hardening", "decisions/README"],
}
"""Every page, in the order of the menu on each page; those that are there."""

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["concento.css"]
html_favicon = "_static/mark.svg"
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_use_index = False
html_theme_options: Final = {
    "light_logo": "mark.svg",
    "dark_logo": "mark.svg",
    "light_css_variables": {
        "color-brand-primary": "#8a3b12",
        "color-brand-content": "#8a3b12",
        "color-brand-visited": "#8a3b12",
        "color-background-primary": "#fffdfa",
        "color-background-secondary": "#faf5ee",
        "color-background-border": "#ebe3d8",
        "color-code-background": "#f7f2ea",
        "color-foreground-primary": "#2a2420",
    },
    "dark_css_variables": {
        "color-brand-primary": "#f0a878",
        "color-brand-content": "#f0a878",
        "color-brand-visited": "#f0a878",
        "color-background-primary": "#191614",
        "color-background-secondary": "#1f1b18",
        "color-background-border": "#35302b",
        "color-code-background": "#231f1c",
        "color-foreground-primary": "#e6dfd8",
    },
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"

_OUTWARD: Final = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(#[^)]*)?\)")


def keep_inside(page: str, text: str) -> str:
    """A page's text in which links to files outside the documentation are their words alone.

    The site has no such files; in the repository these links work, and a test follows each.
    """

    def inside(match: re.Match[str]) -> str:
        target = (HERE / page).parent.joinpath(match[2]).resolve()
        return match[0] if target.is_relative_to(HERE) else match[1]

    return _OUTWARD.sub(inside, text)


def menu_part(title: str, pages: list[str]) -> str:
    """The directive that puts pages into the menu, unseen on the page itself."""
    there = [page for page in pages if any(HERE.glob(f"**/{page}.md"))]
    return "\n\n```{toctree}\n:hidden:\n:caption: " + title + "\n\n" + "\n".join(there) + "\n```\n"


def setup(app: Any) -> None:
    """Sphinx calls this once."""

    def on_read(_: Any, name: str, content: list[str]) -> None:
        content[0] = keep_inside(f"{name}.md", content[0])
        if name == "index":
            content[0] += "".join(menu_part(title, pages) for title, pages in MENU.items())
        if name == "decisions/README":
            content[0] += menu_part("Decisions", sorted(page.stem for page in HERE.glob("decisions/0*.md")))

    app.connect("source-read", on_read)
