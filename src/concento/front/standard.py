"""Standard input and output as pipes, whatever they are: an event loop can wait for a pipe, and not for a file."""

import errno
import os
import stat
import threading
from typing import IO, Final

from ..model.errors import StartError

_PIECE_BYTES: Final = 65_536


class Relay:
    """Carries one of the two ends over a pipe, in a thread of its own, where it is a file, a device or a terminal."""

    def __init__(self, name: str, source: int, sink: int, *, reads: bool) -> None:
        self._name = name
        self._source, self._sink = source, sink
        self._reads = reads
        self._problem: OSError | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)  # nothing ends a read that blocks
        self._thread.start()

    def _run(self) -> None:
        try:
            while data := os.read(self._source, _PIECE_BYTES):
                left = memoryview(data)
                while left:
                    left = left[os.write(self._sink, left) :]
        except OSError as error:
            self._problem = error
        finally:
            os.close(self._source)
            os.close(self._sink)

    def finish(self, wait_s: float) -> None:
        """Wait until all of an output is written, or say why it can't be, or why an input can't. Errors: StartError."""
        if not self._reads:
            self._thread.join(wait_s)
        error = self._problem
        if error is not None and error.errno != errno.EPIPE:
            raise StartError(f"{self._name} can't be {'read' if self._reads else 'written'}: {error.strerror}")


def input_pipe() -> tuple[IO[bytes], Relay | None]:
    """Standard input, and what carries it if it is no pipe. Closing it leaves descriptor 0 open."""
    own = os.dup(0)
    if _is_pipe(own):
        return open(own, "rb", buffering=0), None
    reads, writes = os.pipe()
    return open(reads, "rb", buffering=0), Relay("standard input", own, writes, reads=True)


def output_pipe() -> tuple[IO[bytes], Relay | None]:
    """Standard output likewise. Whatever else prints goes to standard error from now on."""
    own = os.dup(1)
    os.dup2(2, 1)
    if _is_pipe(own):
        return open(own, "wb", buffering=0), None
    reads, writes = os.pipe()
    return open(writes, "wb", buffering=0), Relay("standard output", reads, own, reads=False)


def _is_pipe(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
