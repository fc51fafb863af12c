"""What a whole attack needs, as real processes: an SDK server, `concento serve` before it, nginx before that.

The server is `a`; its tools are public as they are named, but for `echo`, which is `t`, and `nonce`, `delete_all`.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.front.corpus import CAPABILITIES, NOW, VERSION
from tests.hostile.wire import WAIT_S, Reply, ask
from tests.peers import sdk_command

CONCENTO = str(Path(sys.executable).with_name("concento"))
START_WAIT_S = 60.0
REACHING = frozenset({"tools/call", "prompts/get", "resources/read", "completion/complete"})
"""Methods that run something at the server; the hub asks the others of itself."""

LISTENERS = """
listen: 127.0.0.1:{port}
admin: {{listen: "127.0.0.1:{admin}"}}
state: sqlite:///state.db
telemetry: {{access_log: off}}
"""

SERVERS = """
servers:
  a: {{url: "{url}", prefix: never, tools: {{echo: {{rename: t}}, nonce: {{rename: delete_all}}}}}}
views:
  a: {{include: ["a.*"]}}
"""

NGINX = """
{user} worker_processes 1; daemon off; pid nginx.pid; error_log error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_max_body_size 0; client_header_timeout 1s; client_body_timeout 1s; send_timeout 1s;
  underscores_in_headers on; ignore_invalid_headers off;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  upstream hub {{ server 127.0.0.1:{hub}; keepalive 1; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port}; keepalive_requests 1000000000;
    location / {{
      proxy_pass http://hub; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_request_buffering {buffering}; proxy_buffering off; proxy_next_upstream off;
    }}
  }}
}}
"""
"""One connection to the hub that all agents share, and every header passed on: what a desync needs."""


class Process:
    """A program that runs, and the last lines it said."""

    def __init__(self, command: list[str], folder: Path, **environment: str) -> None:
        self.said: deque[str] = deque(maxlen=500)
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid
        assert self._process.stderr is not None
        self._reader = threading.Thread(target=self.said.extend, args=[self._process.stderr], daemon=True)
        self._reader.start()

    def line(self) -> str:
        """The next line of its output."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"ended before it said anything: {''.join(self.said)}"
        return line

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def complaints(self) -> list[str]:
        """What it said of failures of its own."""
        return [line for line in self.said if re.search(r"Traceback|[Ee]rror|failed|exception|never retrieved", line)]

    def end(self) -> None:
        """Kill it with all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._process.stdout.close()
        self._process.stderr.close()


class Upstream(Process):
    """The server, which records each request that reaches it."""

    def __init__(self, folder: Path) -> None:
        self._record = folder / "upstream.jsonl"
        self._record.touch()
        self._read = self._record.open()
        self._hits: Counter[str] = Counter()
        self.names: Counter[str] = Counter()
        """How often each tool, by its own name, was called."""
        self.last: dict[str, Any] = {}
        """The last such request: its params, and the header fields it came with."""
        super().__init__(
            sdk_command("dual", "--transport", "http", "--port", "0", "--record", str(self._record)), folder
        )
        self.url = f"http://127.0.0.1:{int(self.line().split()[1])}/mcp"

    def hits(self) -> int:
        """Requests so far that ran something."""
        for line in self._read:
            fact = json.loads(line)
            if fact.get("method") in REACHING:
                self._hits[fact["method"]] += 1
                self.last = {**fact, "headers": dict(fact["headers"])}
                self.names[(fact["params"] or {}).get("name", "")] += 1
        return self._hits.total()

    def end(self) -> None:
        super().end()
        self._read.close()


class HubProcess(Process):
    """`concento serve`, for these servers; it listens when this returns."""

    def __init__(self, folder: Path, servers: str, files_max: str = "") -> None:
        self.address = ("127.0.0.1", free_port())
        self.admin = ("127.0.0.1", free_port())
        config = folder / "concento.yaml"
        config.write_text(LISTENERS.format(port=self.address[1], admin=self.admin[1]) + servers)
        command = [CONCENTO, "serve", str(config), "--json"]
        if files_max:
            command = ["sh", "-c", f'ulimit {files_max}; exec "$@"', "sh", *command]
        super().__init__(command, folder)
        self.line()

    def is_ready(self) -> bool:
        """Whether all servers are."""
        reply = ask(self.admin, b"GET /api/v1/servers HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return all(server["state"] == "ready" for server in json.loads(reply.body)["servers"])

    def gauge(self, name: str) -> float:
        """The value of a metric without labels."""
        text = ask(self.admin, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").body.decode()
        return float(re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)[0])


class Rig:
    """The hub as a process, its server, and where to reach them. `files_max`: arguments of `ulimit` for the hub."""

    def __init__(self, folder: Path, files_max: str = "") -> None:
        self.folder = folder
        self.healthy = 0
        """Healthy calls that were answered: no more may ever have reached the server."""
        self.server = Upstream(folder)
        self.hub = HubProcess(folder, SERVERS.format(url=self.server.url), files_max)
        self.address, self.admin = self.hub.address, self.hub.admin
        wait_for(self.hub.is_ready, "the server is ready")

    def answered(self, reply: Reply | None, nonce: str) -> bool:
        """Whether a reply is that of the healthy call with this nonce, which then has reached the server."""
        own = answers(reply, nonce)
        self.healthy += own
        return own

    def end(self) -> None:
        """End them all."""
        self.hub.end()
        self.server.end()


def healthy(nonce: str, id: str = "healthy") -> bytes:
    """A call that must be answered at any time, by its own nonce."""
    meta = {VERSION: NOW, CAPABILITIES: {}}
    params = {"name": "t", "arguments": {"text": nonce}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    return (
        f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nMCP-Protocol-Version: {NOW}\r\n"
        f"Mcp-Method: tools/call\r\nMcp-Name: t\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def answers(reply: Reply | None, nonce: str, id: str = "healthy") -> bool:
    """Whether a reply is that call's own."""
    if reply is None or reply.status != 200:
        return False
    message = reply.message
    return bool(message["id"] == id and message["result"]["content"][0]["text"] == nonce)


@contextmanager
def nginx(hub: tuple[str, int], folder: Path, buffering: str) -> Iterator[tuple[str, int]]:
    """nginx as a reverse proxy before the hub; `buffering` on: it reads a request whole before it passes it on."""
    binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert binary is not None, "nginx is missing: run scripts/system-packages nginx"
    folder.mkdir()
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(user=user, port=port, hub=hub[1], buffering=buffering))
    process = Process([binary, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"], folder)
    try:
        wait_for(lambda: answers(ask(("127.0.0.1", port), healthy("up")), "up"), "nginx is up")
        yield "127.0.0.1", port
    finally:
        process.end()


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object], what: str, wait_s: float = WAIT_S) -> None:
    """Return as soon as the condition holds; a refused connection is not yet."""
    end_s = time.monotonic() + wait_s
    while True:
        with suppress(OSError):
            if condition():
                return
        assert time.monotonic() < end_s, f"waited {wait_s:g} s in vain: {what}"
        time.sleep(0.005)
