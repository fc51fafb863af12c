"""One rig of real processes for all tests of a file."""

from collections.abc import Iterator

import pytest
from tests.hostile.rig import Rig

from concento.transport import open_files

open_files.take_all()  # thousands of agents live in one test process


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A hub as a process, with its server."""
    rig = Rig(tmp_path_factory.mktemp("rig"))
    try:
        yield rig
    finally:
        rig.end()
