"""The reference pages of the documentation, written from the code, so that the two can't disagree.

    .venv/bin/python -m scripts.reference     # writes docs/reference/, as `make docs` does

What a page says of a key, verb, error, metric or limit is written where that is defined; here is only what holds a page
together. One file for each page; `source.py` reads the code, `markdown.py` writes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from . import alerts, api, bounds, command_line, configuration, errors, metrics

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "reference"
NOTICE: Final = "<!-- Written from the code by scripts/reference. Change the code, then run `make docs`. -->"

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "configuration.md": configuration.page,
    "cli.md": command_line.page,
    "api.md": api.page,
    "errors.md": errors.page,
    "metrics.md": metrics.page,
    "limits.md": bounds.limits_page,
    "meta.md": bounds.meta_page,
    "alerts.md": alerts.page,
}


def pages() -> dict[str, str]:
    """Every page by name, as the code has it now."""
    return {name: f"{NOTICE}\n\n{make()}" for name, make in PAGES.items()}


def read(name: str) -> str:
    """A page as it was last written; empty if it never was."""
    path = FOLDER / name
    return path.read_text() if path.exists() else ""
