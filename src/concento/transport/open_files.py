"""How many files may be open: the hub takes what the system allows, its children get what the hub was given.

Each agent and each server's connection is a file. The usual soft limit of 1,024, kept for programs on `select`, is less
than one address may hold connections. Source: hardening T27.
"""

import resource
from contextlib import suppress
from typing import Final

GIVEN: Final = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
"""The soft limit this process was started with."""

_WANTED: Final = 65536


def take_all() -> None:
    """Raise the soft limit as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has bounds that the hard limit does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
