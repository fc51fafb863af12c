"""What runs beside the hub so that no child outlives it: `watch` and `gate`. Read `watchdog.py` first.

`gate-ignoring-term` is a gate to a process that must outlive the SIGTERM which its group is sent.

Run as a file by itself, once before every child: it imports only what starts in a moment, and nothing of ours.
"""

import os
import resource
import signal
import sys
import time

GRACE_S = 0.5
"""Time between SIGTERM and SIGKILL for what is left when the hub is gone."""

_POLL_S = 0.02


def watch() -> None:
    """Read from standard input which groups live, `+GROUP` and `-GROUP` a line; at its end, end those that do."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    rest = b""
    while data := os.read(0, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
    groups = {group for group in groups if _reached(group, signal.SIGTERM)}
    end_s = time.monotonic() + GRACE_S
    while groups and time.monotonic() < end_s:
        time.sleep(_POLL_S)
        groups = {group for group in groups if _reached(group, 0)}
    for group in groups:
        _reached(group, signal.SIGKILL)


def gate(pipe: int, files_max: int, names: list[str], command: list[str]) -> None:
    """Tell the watchdog of the group that this process leads, then become the command with only the named variables."""
    try:
        os.write(pipe, b"+%d\n" % os.getpid())
    except OSError:
        _fail(126, "not started: the watchdog that would end it with the hub is gone")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would hand that on
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    os.closerange(3, 1 + max(map(int, os.listdir("/dev/fd"))))
    env = {name: os.environ[name] for name in names if name in os.environ}
    try:
        os.execve(command[0], command, env)
    except OSError as error:
        _fail(127, f"{command[0]}: {error.strerror}")


def _reached(group: int, number: int) -> bool:
    """Send a signal to a group; whether there is one."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS, where all that is left are zombies
        return False
    return True


def _fail(code: int, text: str) -> None:
    os.write(2, text.encode(errors="replace") + b"\n")
    os._exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        watch()
    else:
        if sys.argv[1] == "gate-ignoring-term":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        gate(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split("="), sys.argv[5:])
