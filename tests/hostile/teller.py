"""A server on standard streams that tells what it was given: words, variables, descriptors, and each call to the byte.

Run as a file by itself; after its own words come any others. `$TOLD` names a file for its words, `$TOOLS` one with its
tools.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

PLACE = Path(__file__).parents[2] / "src/concento/testing/stdio_child.py"


def teller(*words: str) -> list[str]:
    """The command that starts it."""
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), *words]


def given() -> dict[str, Any]:
    """What it was started with. Where there is a /proc, variables as the kernel keeps them: Python may add its own."""
    kept = Path("/proc/self/environ")
    variables = [one for one in kept.read_bytes().split(b"\0") if one] if kept.exists() else []
    descriptors = {name: target for name in os.listdir("/dev/fd") if (target := _target(name)) is not None}
    return {
        "words": [os.fsencode(word).decode(errors="replace") for word in sys.argv[1:]],
        "variables": dict(one.decode(errors="replace").split("=", 1) for one in variables) or dict(os.environ),
        "descriptors": descriptors,
    }


def _target(descriptor: str) -> str | None:
    try:
        return os.readlink(f"/dev/fd/{descriptor}")
    except OSError:  # that of the folder which was listed; elsewhere than on Linux each
        return None


def main() -> None:
    """Serve until the input ends."""
    told = given()
    if place := os.environ.get("TOLD"):
        Path(place).write_text(json.dumps(told))
    spec = importlib.util.spec_from_file_location("stdio_child", PLACE)
    assert spec is not None
    assert spec.loader is not None
    kit: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kit)
    calls: list[str] = []

    class Teller(kit.Child):  # type: ignore[misc]
        def take(self, line: bytes) -> None:
            self.line = line.decode()
            super().take(line)

        def call(self, id: Any, modern: bool, params: dict[str, Any]) -> None:
            calls.append(params["name"])
            text = json.dumps({**told, "line": self.line, "calls": calls})
            self.result(id, modern, {"content": [{"type": "text", "text": text}]})

    child = Teller("plain", "", "dual", None, 1, 0)
    if tools := os.environ.get("TOOLS"):
        child.tools = Path(tools)
    for line in sys.stdin.buffer:
        child.take(line)


if __name__ == "__main__":
    main()
