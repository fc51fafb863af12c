"""Run what a page of the documentation shows, in its order, as its reader would.

    run_page(Path("docs/servers.md"), folder)

Every fenced block of a page is something a reader may copy, so every one is tried, in a folder of the page's own:

- `sh`: run by bash, first failure ends it; `python`, `ts`: run as programs of their own, with the official SDKs.
- `yaml`: a configuration, or a part of one: it has to pass `concento check`.
- `json`, `toml`: have to parse, and where they name a URL of the hub or a verb of `concento`, that has to exist.
- `text`: what the block before it printed, line by line; `…` stands for anything, lines between may be left out.

Comments directly above a block say what else there is to know, unseen by the reader:

    <!-- file: concento.yaml -->   written under that name, `~/` is a home of the page's own; a later block uses it
    <!-- serve -->                 runs on beside what follows; a later `serve` block or the page's end stops it
    <!-- beside: listening on -->  runs on until the page's end; goes on when it has printed this
    <!-- await: taken over -->     afterwards, wait until the hub that runs has printed this anew
    <!-- await -->                 above `text`: wait until the hub that runs has printed that
    <!-- exit: 2 -->               ends with this code
    <!-- env: TOKEN=secret -->     set from here on
    <!-- no-run: needs root -->    not tried, and why; `test_pages.py` has the list of all that are not

Ports of the hub and of what runs beside it are replaced by free ones, and public servers by the versions that
`examples/quickstart.yaml` pins, so that pages show neither.
"""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests import node

from concento.cli.main import VERBS
from concento.control.config import read
from concento.front.agent import endpoint_of

ROOT: Final = Path(__file__).parents[2]
BIN: Final = Path(sys.executable).parent
COMMAND_S: Final = 90.0
STOP_S: Final = 40.0
SETTLED: Final = re.compile(r"\d+ of \d+ servers? ready")

_FENCE = re.compile(r"^```(\w*)\s*$")
_NOTE = re.compile(r"^<!-- (file|serve|beside|await|exit|env|no-run)(?:: (.*))? -->$")
_LOCAL_PORT = re.compile(r"(?:127\.0\.0\.1|localhost):(\d{2,5})\b")
_PINNED = re.compile(r"([a-z-]+)==([0-9.]+)")


@dataclass(frozen=True)
class Block:
    """One fenced block, with what the comments above it say."""

    page: str
    line: int
    language: str
    text: str
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    found: list[Block] = []
    notes: dict[str, str] = {}
    lines = iter(enumerate(page.read_text().splitlines(), start=1))
    for number, line in lines:
        if match := _FENCE.match(line):
            text = _until_fence(lines)
            name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
            found.append(Block(name, number, match[1], text, notes))
            notes = {}
        elif match := _NOTE.match(line):
            notes[match[1]] = match[2] or ""
        else:
            assert not notes, f"{page.name}:{number}: the comment above belongs directly above a block"
    return found


def _until_fence(lines: Iterator[tuple[int, str]]) -> str:
    taken: list[str] = []
    for _, line in lines:
        if line == "```":
            return "\n".join(taken) + "\n"
        taken.append(line)
    raise AssertionError("a block is not closed")


def run_page(page: Path, folder: Path) -> None:
    """Try every block of a page. Errors: AssertionError with the block's place and what was printed."""
    everything = blocks(page)
    run = _Run(folder, _free_ports("".join(block.text for block in everything)))
    try:
        for block in everything:
            if "no-run" in block.notes:
                run.printed = None
            else:
                run.block(block)
        run.stop()
    finally:
        run.abandon()


class _Run:
    """A page being read: its folder, what was printed last, the hub that runs."""

    def __init__(self, folder: Path, ports: Mapping[str, str]) -> None:
        self.folder = folder
        self.printed: str | None = None
        self._ports = ports
        self._hub: _Hub | None = None
        # A block that shows only another part of the file is read with the servers shown last.
        self._servers = "servers: {}\n"
        self._beside: list[_Hub] = []
        self._home = _home(folder.with_name(f"{folder.name}-home"))
        self._env = {
            **os.environ,
            "HOME": str(self._home),
            "PATH": f"{BIN}:{os.environ['PATH']}:/usr/sbin",
            "XDG_STATE_HOME": str(folder / ".state"),
            "COLUMNS": "200",
        }

    def block(self, block: Block) -> None:
        if "env" in block.notes:
            variable, _, value = block.notes["env"].partition("=")
            self._env[variable] = value
        text = self._local(block.text)
        if name := block.notes.get("file"):
            target = self._home / name[2:] if name.startswith("~/") else self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(self._on_own_ports(text) if name.endswith(".yaml") else text)
        match block.language:
            case "sh":
                self._shell(block, text)
            case "text" if "file" not in block.notes:
                if "await" in block.notes:
                    self._await(block, lines_in(text.splitlines()))
                elif self.printed is not None:
                    expect(block, text, self.printed)
            case "yaml" if "exit" not in block.notes:
                if servers := re.search(r"^servers:.*\n(?:[ #].*\n|\n)*", text, re.MULTILINE):
                    self._servers = servers[0]
                whole = text if servers else f"{text}\n{self._servers}"
                read(whole.encode(), self.folder / "concento.yaml", self._env)
            case "json":
                check_client(block, json.loads(block.text))
            case "toml":
                check_client(block, tomllib.loads(block.text))
            case "python" if "file" not in block.notes:
                self._command(block, [sys.executable, "-c", text])
            case "ts":
                script = self.folder / "page.mts"
                script.write_text(text)
                modules = self.folder / "node_modules"
                if not modules.exists():
                    modules.symlink_to(node.installed(Path(__file__).parent / "node", "docs"))
                self._command(block, [str(BIN / "node"), str(script)])
            case _:
                assert "file" in block.notes or "exit" in block.notes, (
                    f"{block.place}: nobody tries {block.language or 'untyped'} blocks; say why with <!-- no-run: … -->"
                )

    def _local(self, text: str) -> str:
        """The text with free ports and pinned servers."""
        for documented, free in self._ports.items():
            text = re.sub(rf"\b{documented}\b", free, text)
        for name, version in pinned().items():
            text = re.sub(rf"\b{name}\b(?!==)(?=[\],\s\"'])", f"{name}=={version}", text)
        return text

    def _on_own_ports(self, text: str) -> str:
        """A configuration that says nothing of ports listens on the page's all the same."""
        for key, port, value in (("listen", "7400", "{}"), ("admin", "7401", "{{listen: {}}}")):
            if not re.search(f"^{key}:", text, re.MULTILINE):
                text += f"{key}: {value.format('127.0.0.1:' + self._ports[port])}\n"
        return text

    def _shell(self, block: Block, text: str) -> None:
        if "serve" in block.notes:
            self.stop()
            self._hub = _Hub(block, text, self.folder, self._env)
            self.printed = self._hub.wait(SETTLED)
            return
        if ready := block.notes.get("beside"):
            self._beside.append(_Hub(block, text, self.folder, self._env))
            self._beside[-1].wait(re.compile(re.escape(ready)))
            return
        self._command(block, ["bash", "-euo", "pipefail", "-c", text])
        written = self.folder / "concento.yaml"
        if self._hub is None and written.is_file():  # by the block itself, for the ports that it documents
            written.write_text(self._on_own_ports(self._local(written.read_text())))

    def _command(self, block: Block, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S,
        )
        self.printed = done.stdout
        wanted = int(block.notes.get("exit", "0"))
        assert done.returncode == wanted, f"{block.place}: ended with {done.returncode}, not {wanted}:\n{done.stdout}"
        if awaited := block.notes.get("await"):
            self._await(block, re.compile(re.escape(awaited)))

    def _await(self, block: Block, awaited: re.Pattern[str]) -> None:
        assert self._hub is not None, f"{block.place}: no hub runs that could print {awaited.pattern!r}"
        self.printed = (self.printed or "") + self._hub.wait(awaited)

    def stop(self) -> None:
        """Stop the hub, as Ctrl-C does."""
        if self._hub is not None:
            self._hub.stop()
            self._hub = None

    def abandon(self) -> None:
        """Leave nothing behind where the page was left early."""
        for one in (self._hub, *self._beside):
            if one is not None:
                one.kill()


def _home(home: Path) -> Path:
    """A home of the page's own; what launchers have downloaded before is there."""
    own = Path.home()
    for cache in (".cache/uv", ".npm", ".local/share/uv"):
        (home / cache).parent.mkdir(parents=True, exist_ok=True)
        (own / cache).mkdir(parents=True, exist_ok=True)
        (home / cache).symlink_to(own / cache)
    return home


class _Hub:
    """A command that runs on, and all it has printed so far."""

    def __init__(self, block: Block, text: str, folder: Path, env: Mapping[str, str]) -> None:
        self._place = block.place
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {text}"],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._printed = ""
        self._seen = 0
        self._more = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self._printed += line
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def wait(self, wanted: re.Pattern[str]) -> str:
        """What was printed since the last time, once it has what is wanted."""
        end_s = time.monotonic() + COMMAND_S
        with self._more:
            while not (found := wanted.search(self._printed, self._seen)):
                assert not self._ended, f"{self._place}: ended without {wanted.pattern!r}:\n{self._printed}"
                assert time.monotonic() < end_s, f"{self._place}: no {wanted.pattern!r} came:\n{self._printed}"
                self._more.wait(1.0)
            before, self._seen = self._seen, found.end()
            return self._printed[before:]

    def stop(self) -> None:
        """End it in order; what does not end is killed and told."""
        self._process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        code = self._process.poll()
        self.kill()
        assert code == 0, f"{self._place}: stopped with {code}:\n{self._printed}"

    def kill(self) -> None:
        """End it and all it started, at once."""
        if self._process.stdout is None or self._process.stdout.closed:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()


# -- what is compared


def expect(block: Block, shown: str, printed: str) -> None:
    """The lines that the page shows were printed, in this order."""
    lines = shown.splitlines()
    for count in range(1, len(lines) + 1):
        assert lines_in(lines[:count]).search(printed), (
            f"{block.place}: {lines[count - 1]!r} was not printed; it was\n{printed}"
        )


def lines_in(shown: Sequence[str]) -> re.Pattern[str]:
    """Finds these lines in their order, others between; white space is as good as any, `…` is anything."""
    lines = [".*".join(map(_spaced, line.strip().split("…"))) for line in shown if line.strip()]
    return re.compile(r".*(?:\n.*)*?\n.*".join(lines))


def _spaced(text: str) -> str:
    return r"[^\S\n]+".join(map(re.escape, re.split(r"\s+", text)))


def check_client(block: Block, value: Any) -> None:
    """What a client is configured with leads to an endpoint or a verb that there is."""
    if isinstance(value, list):
        for item in value:
            check_client(block, item)
        return
    if not isinstance(value, dict):
        return
    if value.get("command") == "concento":
        assert value["args"][0] in VERBS, f"{block.place}: there is no verb {value['args'][0]!r}"
    for name, item in value.items():
        if isinstance(item, str) and item.startswith(("http://127.0.0.1", "http://localhost")):
            path = urlsplit(item).path
            is_there = path == "/sse" or endpoint_of(path) is not None
            assert is_there, f"{block.place}: {name} leads to {path}, where nothing is"
        check_client(block, item)


# -- what stands in for what pages name


def pinned() -> dict[str, str]:
    """Public servers and their versions, from the example that is tested with them."""
    text = (ROOT / "examples" / "quickstart.yaml").read_text()
    return {match[1]: match[2] for match in _PINNED.finditer(text)}


def _free_ports(text: str) -> dict[str, str]:
    """A free port for each one of this machine's that the page names, and for the hub's two.

    They are used much later: so they are none that the system hands out to whoever wants any.
    """
    documented = sorted({"7400", "7401", *_LOCAL_PORT.findall(text)})
    found: list[str] = []
    while len(found) < len(documented):
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if str(port) not in found:
                found.append(str(port))
    return dict(zip(documented, found, strict=True))
