"""A first-time user gets from nothing to six servers in one endpoint: docs/start.md, walked as it is written."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .runner import ROOT, run_page


@pytest.mark.timeout(600)
def test_the_walk_from_nothing_to_six_servers_works(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """How long it takes is told, not judged: it depends on the machine, and on what was downloaded before."""
    started_s = time.monotonic()
    run_page(ROOT / "docs" / "start.md", tmp_path)
    record_property("told", f"the walk of docs/start.md took {time.monotonic() - started_s:.0f} s")
