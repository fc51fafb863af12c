"""The working tree, built once: what `make release` would build if it were committed now."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from scripts.release.build import Built, as_they_are, build_and_compare, elsewhere


@dataclass(frozen=True)
class Candidate:
    """Sources and what was built from them."""

    sources: Path
    built: Built


@pytest.fixture(scope="session")
def candidate() -> Iterator[Candidate]:
    with elsewhere() as folder:
        sources = as_they_are(folder / "sources")
        yield Candidate(sources, build_and_compare(sources, folder / "dist"))
