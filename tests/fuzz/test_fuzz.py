"""Every parser against any bytes: the seeds, then hypothesis, then libFuzzer under coverage guidance.

`make test` does a fixed number of rounds from a fixed seed, `make test-long` as many as a minute takes, from a new one.
Source: hardening T11, T12, T26; scoreboard S16.
"""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
RUNS = 30_000
HAS_WHEELS = sys.platform == "linux" and (3, 11) <= sys.version_info < (3, 15)
coverage_guided = pytest.mark.skipif(
    find_spec("atheris") is None and not HAS_WHEELS, reason="atheris has no wheel for this system or Python"
)


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_holds(target: str) -> None:
    for data in seeds.of(target):
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_any_bytes_and_any_words_of_the_format_hold(target: str) -> None:
    words = st.sampled_from(seeds.WORDS[target]) | st.sampled_from(seeds.of(target)) | st.binary(max_size=8)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(words, max_size=30).map(b"".join))
    def hold(data: bytes) -> None:
        TARGETS[target](data)

    hold()


def fuzz(target: str, *options: str) -> int:
    """Run libFuzzer on a target, in a process of its own since it ends the one it runs in; how many inputs it tried."""
    command = [sys.executable, "-m", "tests.fuzz.run", target, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    (runs,) = re.findall(r"Done (\d+) runs", done.stderr)
    return int(runs)


@coverage_guided
def test_a_short_search_for_new_paths_in_all_of_them_finds_no_defect() -> None:
    assert list(TARGETS) == list(seeds.EXAMPLES) == list(seeds.WORDS)
    assert fuzz("every", "-seed=1", f"-runs={RUNS}") >= RUNS


@coverage_guided
def test_a_defect_would_be_found() -> None:
    command = [sys.executable, "-m", "tests.fuzz.run", "flawed", "-seed=1", "-runs=200000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "FOUND ('flawed', b'" in done.stderr


@coverage_guided
@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_a_minutes_search_for_new_paths_finds_no_defect(target: str) -> None:
    print(f"{target}: {fuzz(target, '-max_total_time=60')} inputs")
