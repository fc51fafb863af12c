"""An MCP server whose one tool tries what its caller names, and says what came of it: `{"try": "read", "with": [...]}`.

The protocol is that of `concento.testing.stdio_child`, whose folder is the first argument.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])
Child: Any = importlib.import_module("stdio_child").Child


def connect(host: str, port: int) -> str:
    socket.create_connection((host, port), timeout=10).close()
    return "connected"


def read(path: str) -> str:
    return Path(path).read_text()


def folder(path: str) -> list[str]:
    return sorted(os.listdir(path))


def write(path: str) -> str:
    Path(path).write_text("mine")
    return "written"


def open_to_write(path: str) -> str:
    os.close(os.open(path, os.O_WRONLY))
    return "opened"


def fill(path: str, count: int) -> str:
    Path(path).write_bytes(b"x" * count)
    return "filled"


def processes() -> list[str]:
    return [
        Path("/proc", name, "cmdline").read_bytes().split(b"\0")[0].decode().rsplit("/")[-1]
        for name in os.listdir("/proc")
        if name.isdigit()
    ]


def kill(pid: int) -> str:
    os.kill(pid, signal.SIGKILL)
    return "killed"


def allocate(count: int) -> int:
    return len(bytearray(count))


def open_files(count: int) -> str:
    files: list[int] = []
    try:
        for _ in range(count):
            files.append(os.open("/dev/null", os.O_RDONLY))
        return "opened"
    finally:
        for file in files:
            os.close(file)


def run(*command: str) -> int:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode


def status() -> dict[str, str]:
    return dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)


def environment() -> dict[str, str]:
    return dict(os.environ)


def descriptors() -> list[int]:
    return [fd for fd in range(3, 1000) if os.path.exists(f"/proc/self/fd/{fd}")]


def where() -> str:
    return os.getcwd()


class Hostile(Child):  # type: ignore[misc]
    def call(self, id: Any, modern: bool, params: dict[str, Any]) -> None:
        wanted = params["arguments"]
        try:
            found = globals()[wanted["try"]](*wanted.get("with", []))
        except (OSError, MemoryError) as error:
            found = {"refused": type(error).__name__}
        self.result(id, modern, {"content": [{"type": "text", "text": json.dumps(found)}]})


if __name__ == "__main__":
    child = Hostile("plain", "", "dual", None, 1, 0)
    for line in sys.stdin.buffer:
        child.take(line)
