"""A program at a terminal: what is typed goes in, what it shows comes out."""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

WAIT_S = 60.0


class Terminal:
    """A shell at a terminal: what is typed goes in, what it shows comes out."""

    def __init__(self, file: int) -> None:
        self._file = file
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def wait(self, pattern: str) -> str:
        """All that is shown, once it has this."""
        end_s = time.monotonic() + WAIT_S
        while not re.search(pattern, self.shown):
            left_s = end_s - time.monotonic()
            assert left_s > 0, f"no {pattern!r} in {self.shown!r}"
            if select.select([self._file], [], [], left_s)[0]:
                self.shown += os.read(self._file, 65536).decode(errors="replace")
        return self.shown


@contextmanager
def terminal(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a program at a terminal of its own, and end it."""
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    )
    os.close(inner)
    try:
        yield Terminal(outer)
    finally:
        process.kill()
        process.wait()
        os.close(outer)
