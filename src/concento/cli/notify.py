"""The service manager that started the hub, such as systemd with `Type=notify`: told when it is ready, alive, stopping.

Each message is one datagram to the socket that `NOTIFY_SOCKET` names. Where nobody asked, nothing is sent. A manager
that doesn't listen changes nothing for agents, so errors are left alone. Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class ServiceManager:
    """Where to tell, and how often it wants to hear that the event loop still turns."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._address = env.get("NOTIFY_SOCKET", "")
        self.beat_s: float | None = None
        """Half of what the manager waits before it takes the hub for hung; None if it doesn't watch."""
        within_us = env.get("WATCHDOG_USEC", "")
        if self._address and within_us.isdecimal() and env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            self.beat_s = int(within_us) / 2e6

    def ready(self, status: str) -> None:
        """The hub listens; `status` is a line for people, as in `systemctl status`."""
        self._tell("READY=1", f"STATUS={status}")

    def stopping(self) -> None:
        """The hub takes no more calls and finishes those that run."""
        self._tell("STOPPING=1", "STATUS=finishing calls")

    async def beat(self) -> None:
        """Tell again and again that the hub is alive, for as long as the manager watches."""
        while self.beat_s is not None:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self.beat_s)

    def _tell(self, *lines: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = self._address.replace("@", "\0", 1) if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), address)
