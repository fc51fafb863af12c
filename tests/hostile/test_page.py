"""The page on hardening says what the tests do."""

import re
from collections import Counter
from pathlib import Path

from tests.hostile.corpus import CORPUS
from tests.hostile.test_drips import DRIPS
from tests.hostile.test_leaks import SESSIONS
from tests.hostile.test_rebinding import FOREIGN

from concento.model.limits import BODIES_BYTES_MAX, CONNECTIONS_PER_ADDRESS_MAX, MIB

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "hardening.md").read_text()


def test_the_page_counts_the_corpus_as_it_is() -> None:
    told = {threat: int(count) for threat, count in re.findall(r"^\| (T\d+) \|.*\| (\d+) \|$", PAGE, re.MULTILINE)}
    assert told == Counter(hostile.threat for hostile in CORPUS)


def test_the_page_names_every_file_that_attacks() -> None:
    files = [*Path(__file__).parent.glob("test_*.py"), ROOT / "tests" / "fuzz" / "test_node.py"]
    assert {path.name for path in files} - {Path(__file__).name} == set(re.findall(r"/(test_\w+\.py)\)", PAGE))


def test_the_pages_numbers_are_those_of_the_tests() -> None:
    assert f"{SESSIONS:,} sessions of each kind" in PAGE
    assert f"{len(FOREIGN)} forms of Host and Origin" in PAGE
    assert f"more than {CONNECTIONS_PER_ADDRESS_MAX:,} connections" in PAGE
    assert len(DRIPS) == 11
    assert "in eleven parts of a request" in PAGE
    assert f"{BODIES_BYTES_MAX // MIB} MiB in all" in PAGE
