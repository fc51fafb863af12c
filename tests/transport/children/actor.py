"""A child process that misbehaves as its first argument says. Standard library only, so that it starts in a moment."""

import json
import os
import resource
import signal
import sys
import time
from typing import Any


def say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def echo() -> None:
    """Answer every line with itself until the input ends."""
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def last_words() -> None:
    """Fail at once, with a reply of many lines and a reason."""
    for number in range(5000):
        print(f"line {number}")
    print("\x1b[31mno token given\x1b[0m", file=sys.stderr)
    sys.stdout.flush()
    os._exit(3)


def told() -> None:
    """Say what it was given: arguments, folder, descriptors beyond the three."""
    descriptors = [fd for fd in range(3, 1024) if is_open(fd)]
    files_max, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    fact = {"arguments": sys.argv[2:], "folder": os.getcwd(), "group": os.getpgrp()}
    say({**fact, "descriptors": descriptors, "files_max": files_max})
    echo()


def stubborn() -> None:
    """Ignore the end of its input and SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say(os.getpid())
    time.sleep(600)


def polite() -> None:
    """Ignore the end of its input; end well at SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    say(os.getpid())
    time.sleep(600)


def family() -> None:
    """Start two children as stubborn as itself, then echo. Says all three ids."""
    pids = [os.getpid()]
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        pids.append(pid)
    say(pids)
    echo()


def daemon() -> None:
    """Start a child that leaves the group and its parent, as daemons do, then echo."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            say("left")
            time.sleep(600)
        os._exit(0)
    echo()


def deaf() -> None:
    """Close its output and live on."""
    say(os.getpid())
    os.close(1)
    stay()


def unread() -> None:
    """Read nothing."""
    say(os.getpid())
    stay()


def stay() -> None:
    time.sleep(600)


def stderr_flood() -> None:
    """Write so many bytes to standard error, then echo."""
    block = (b"x" * 99 + b"\n") * 10_000
    for _ in range(int(sys.argv[2]) // len(block)):
        os.write(2, block) == len(block) or sys.exit("short write")
    os.write(2, b"the end")
    echo()


def endless_line() -> None:
    """Write without end and without a newline."""
    block = b"x" * 1_000_000
    while True:
        os.write(1, block)


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    globals()[sys.argv[1]]()
