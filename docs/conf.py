"""The site of the documentation, built by `make docs`. A broken link or anchor, or a page in no menu, fails the build."""

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
suppress_warnings = ["toc.empty_glob"]  # pages named by a pattern in index.md need not be there

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["concento.css"]
html_favicon = "_static/mark.svg"
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_theme_options: Final = {
    "light_logo": "mark.svg",
    "dark_logo": "mark.svg",
    "light_css_variables": {
        "color-brand-primary": "#8a3b12",
        "color-brand-content": "#8a3b12",
        "color-brand-visited": "#8a3b12",
    },
    "dark_css_variables": {
        "color-brand-primary": "#f0a878",
        "color-brand-content": "#f0a878",
        "color-brand-visited": "#f0a878",
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


def setup(app: Any) -> None:
    """Sphinx calls this once."""

    def on_read(_: Any, name: str, content: list[str]) -> None:
        content[0] = keep_inside(f"{name}.md", content[0])

    app.connect("source-read", on_read)
