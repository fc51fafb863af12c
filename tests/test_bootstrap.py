"""Making `.venv` by `make`: an environment that is activated makes no difference."""

import subprocess
import sys
from pathlib import Path

from scripts import bootstrap


def test_an_activated_environment_changes_nothing_about_what_venv_should_hold() -> None:
    assert sys.prefix != sys.base_prefix, "these tests run in an environment"
    program = "from scripts.bootstrap import PYTHON, fingerprint; print(PYTHON, fingerprint('dev'))"
    bare = subprocess.run(
        [bootstrap.PYTHON, "-c", program], cwd=bootstrap.ROOT, capture_output=True, text=True, check=True
    )
    assert bare.stdout.split() == [bootstrap.PYTHON, bootstrap.fingerprint("dev")]
    assert not Path(bootstrap.PYTHON).is_relative_to(bootstrap.ROOT)
