"""What a call costs, in CPU of the gateway's process, against nginx as a plain reverse proxy in the same run.

    make bench                              # everything, about a minute and a half
    make bench ARGS="--only modern --rounds 5"
    make bench ARGS="--json results.json"

Candidates alternate in short rounds; each figure is CPU time over all threads and children of the process (from
/proc/PID/task/*/schedstat) divided by the calls that were answered. Before and after each round the answer through the
candidate is compared with the server's own, and a run with a wrong answer is not reported.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CONNECTIONS = 32
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
SCRIPT = """
wrk.method = "POST"
%s
local before, after = %s, %s
local id = 0
request = function()
  id = id + 1
  return wrk.format(nil, nil, nil, before .. id .. after)
end
"""
"""Every request has an id of its own, as an agent's would."""
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/nginx-access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream behind {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""


# ---- processes


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int | None = None, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process, up (accepting on `port`) while the context is open."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        deadline = time.monotonic() + 30
        while port is not None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command)} did not start")
            time.sleep(0.005)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    pids = [pid]
    for child in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split():
        pids += family(int(child))
    return pids


def cpu_ns(pids: list[int]) -> int:
    """CPU time of these processes over all their threads."""
    total = 0
    for pid in pids:
        for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(stat.read_text().split()[0])
    return total


def memory_kib(pid: int, field: str = "VmRSS") -> int:
    match = re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) if match else 0


# ---- requests


def call_body(tool: str, modern: bool) -> bytes:
    params: dict[str, Any] = {"name": tool, "arguments": {"text": "hello world", "n": 3}}
    if modern:
        params["_meta"] = META
    message = {"jsonrpc": "2.0", "id": 17, "method": "tools/call", "params": params}
    return json.dumps(message, separators=(",", ":")).encode()


def call_headers(tool: str, modern: bool, session: str | None = None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if modern:
        headers |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool}
    elif session is not None:
        headers |= {"MCP-Protocol-Version": "2025-11-25", "Mcp-Session-Id": session}
    return headers


def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as reply:
        return reply.read(), dict(reply.headers)


def open_session(url: str) -> str:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).encode()
    _, headers = post(url, body, call_headers("", False))
    return {name.lower(): value for name, value in headers.items()}["mcp-session-id"]


class Candidate:
    """One way to the same tool."""

    def __init__(self, name: str, url: str, pid: int, tool: str, modern: bool, session: str | None = None) -> None:
        self.name, self.url, self.pid = name, url, pid
        self.body = call_body(tool, modern)
        self.headers = call_headers(tool, modern, session)

    def check(self, expected: Any) -> None:
        """Errors: SystemExit, if the answer is not the server's own."""
        got = json.loads(post(self.url, self.body, self.headers)[0])
        if got.get("result") != expected:
            raise SystemExit(f"{self.name} answers wrongly, so nothing is reported: {str(got)[:300]}")


def load(candidate: Candidate, seconds: float, folder: Path) -> dict[str, float]:
    """One round: CPU µs a call, calls a second, latencies."""
    lines = "\n".join(f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in candidate.headers.items())
    script = folder / "post.lua"
    opening, rest = candidate.body.decode().split("17,", 1)
    script.write_text(SCRIPT % (lines, json.dumps(opening), json.dumps("," + rest)))
    pids = family(candidate.pid)
    before = cpu_ns(pids)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script), candidate.url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = cpu_ns(pids) - before
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"{candidate.name} failed calls, so nothing is reported:\n{text}")
    calls = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    return {"us": spent / calls / 1000, "rate": calls / seconds, **_latencies(text)}


def _latencies(text: str) -> dict[str, float]:
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    found = re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", text)
    return {f"p{percent}_ms": float(number) * units[unit] for percent, number, unit in found}


# ---- scenarios


class Bench:
    """The processes that all scenarios share."""

    def __init__(self, folder: Path, seconds: float, rounds: int, hub_command: list[str]) -> None:
        self.folder, self.seconds, self.rounds, self.hub_command = folder, seconds, rounds, hub_command
        self.upstream, self.nginx, self.hub, self.admin = (free_port() for _ in range(4))
        self.hub_pid = self.nginx_pid = 0
        self.results: dict[str, Any] = {}

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Upstream, nginx and hub, running."""
        nginx = self.folder / "nginx.conf"
        nginx.write_text(NGINX.format(folder=self.folder, upstream=self.upstream, port=self.nginx))
        config = self.folder / "concento.yaml"
        stdio = json.dumps([sys.executable, str(HERE / "upstream.py"), "stdio"])
        config.write_text(
            f"listen: 127.0.0.1:{self.hub}\nadmin: {{listen: 127.0.0.1:{self.admin}}}\n"
            f"state: sqlite:///{self.folder}/state/concento.db\n"
            f"telemetry: {{access_log: {self.folder}/hub-access.log}}\n"
            "servers:\n"
            f"  modern: {{url: http://127.0.0.1:{self.upstream}/mcp}}\n"
            f"  legacy: {{url: http://127.0.0.1:{self.upstream}/legacy}}\n"
            f"  child: {{command: {stdio}}}\n"
        )
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        binary = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if binary is None or shutil.which("wrk") is None:
            raise SystemExit("nginx and wrk are needed: apt-get install nginx-light wrk")
        hub = [*self.hub_command, str(config)]
        with (
            running([sys.executable, str(HERE / "upstream.py"), str(self.upstream)], self.upstream, **quiet),
            running([binary, "-c", str(nginx)], self.nginx, **quiet) as proxy,
            running(hub, self.hub, **quiet) as process,
        ):
            self.nginx_pid, self.hub_pid = proxy.pid, process.pid
            self._wait_for_tools()
            yield

    def _wait_for_tools(self) -> None:
        deadline = time.monotonic() + 30
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
        headers = {**call_headers("", True), "Mcp-Method": "tools/list"}
        del headers["Mcp-Name"]
        while time.monotonic() < deadline:
            reply, _ = post(f"http://127.0.0.1:{self.hub}/mcp", json.dumps(body).encode(), headers)
            if len(json.loads(reply)["result"]["tools"]) == 60:
                return
            time.sleep(0.05)
        raise SystemExit("the hub does not list the servers' tools")

    def against_nginx(self, name: str, tool: str, modern: bool) -> None:
        """The hub and nginx in front of the same server, in turns."""
        path = "/mcp" if modern else "/legacy"
        session = None if modern else open_session(f"http://127.0.0.1:{self.hub}/mcp")
        direct = f"http://127.0.0.1:{self.upstream}{path}"
        expected = json.loads(post(direct, call_body("echo", modern), call_headers("echo", modern, "s"))[0])["result"]
        candidates = [
            Candidate("nginx", f"http://127.0.0.1:{self.nginx}{path}", self.nginx_pid, "echo", modern, "s"),
            Candidate("hub", f"http://127.0.0.1:{self.hub}/mcp", self.hub_pid, tool, modern, session),
        ]
        rounds: dict[str, list[dict[str, float]]] = {candidate.name: [] for candidate in candidates}
        for number in range(self.rounds):
            for candidate in candidates:
                say(f"{name}: round {number + 1} of {self.rounds}, {candidate.name}")
                candidate.check(expected)
                rounds[candidate.name].append(load(candidate, self.seconds, self.folder))
                candidate.check(expected)
        ratios = [hub["us"] / nginx["us"] for hub, nginx in zip(rounds["hub"], rounds["nginx"], strict=True)]
        self.results[name] = {"rounds": rounds, "ratio": spread(ratios)}
        for candidate_name, measured in rounds.items():
            us = spread([one["us"] for one in measured])
            row = [f"{us[key]:.1f}" for key in ("median", "min", "max")]
            median = {key: statistics.median(one[key] for one in measured) for key in ("rate", "p50_ms", "p99_ms")}
            ratio = f"{spread(ratios)['median']:.2f}" if candidate_name == "hub" else "1"
            report(
                name,
                candidate_name,
                *row,
                ratio,
                f"{median['rate']:.0f}",
                f"{median['p50_ms']:.2f}",
                f"{median['p99_ms']:.2f}",
            )

    def modern(self) -> None:
        self.against_nginx("modern", "modern__echo", True)

    def legacy(self) -> None:
        self.against_nginx("legacy", "legacy__echo", False)

    def stdio(self) -> None:
        """A call to a child process; its own CPU is not the hub's."""
        candidate = Candidate("hub", f"http://127.0.0.1:{self.hub}/mcp", self.hub_pid, "child__echo", True)
        expected = json.loads(
            post(f"http://127.0.0.1:{self.upstream}/mcp", call_body("echo", True), call_headers("echo", True))[0]
        )["result"]
        measured = []
        for number in range(self.rounds):
            say(f"stdio: round {number + 1} of {self.rounds}")
            candidate.check(expected)
            before = cpu_ns([self.hub_pid])
            spent = load(candidate, self.seconds, self.folder)
            alone = (cpu_ns([self.hub_pid]) - before) / (spent["rate"] * self.seconds) / 1000
            measured.append({**spent, "us": alone})
            candidate.check(expected)
        us = spread([one["us"] for one in measured])
        self.results["stdio"] = {"rounds": measured, "us": us}
        report(
            "stdio", "hub", *(f"{us[key]:.1f}" for key in ("median", "min", "max")), "", f"{measured[0]['rate']:.0f}"
        )

    def streams(self, count: int = 1000) -> None:
        """Memory of an idle listen stream."""
        say(f"streams: opening {count}")
        before = memory_kib(self.hub_pid)
        body = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen"}
        body["params"] = {"notifications": {"toolsListChanged": True}, "_meta": META}  # type: ignore[assignment]
        text = json.dumps(body).encode()
        head = (
            f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
            "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n"
            "Mcp-Method: subscriptions/listen\r\n\r\n"
        )
        sockets = []
        try:
            for _ in range(count):
                stream = socket.create_connection(("127.0.0.1", self.hub))
                stream.sendall(head.encode() + text)
                sockets.append(stream)
            for stream in sockets:
                received = b""
                while b"acknowledged" not in received:
                    received += stream.recv(4096)
            kib = (memory_kib(self.hub_pid) - before) / count
        finally:
            for stream in sockets:
                stream.close()
        self.results["streams"] = {"count": count, "kib": kib}
        line(f"idle listen stream: {kib:.1f} KiB each ({count} streams)")

    def large(self, count: int = 16) -> None:
        """Growth of the peak memory with replies of 1 MB in flight at a time."""
        say("large replies")
        expected = 1_000_000
        url = f"http://127.0.0.1:{self.hub}/mcp"
        Path(f"/proc/{self.hub_pid}/clear_refs").write_text("5")
        before = memory_kib(self.hub_pid, "VmHWM")

        def ask(_: int) -> int:
            reply, _headers = post(url, call_body("modern__big", True), call_headers("modern__big", True))
            return len(json.loads(reply)["result"]["content"][0]["text"])

        with ThreadPoolExecutor(count) as threads:
            if set(threads.map(ask, range(count))) != {expected}:
                raise SystemExit("a large reply came wrong, so nothing is reported")
        mib = (memory_kib(self.hub_pid, "VmHWM") - before) / 1024 / count
        self.results["large"] = {"count": count, "mib": mib}
        line(f"peak memory: {mib:.2f} MiB more for each 1 MB reply in flight ({count} at a time)")

    def start(self) -> None:
        """CPU of `--help`, and the time until `serve` listens."""
        say("start")
        concento = str(Path(sys.executable).with_name("concento"))
        helps = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([concento, "--help"], capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            helps.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
        listens = []
        for _ in range(5):
            port = free_port()
            config = self.folder / "start.yaml"
            config.write_text(
                f"listen: 127.0.0.1:{port}\nadmin: off\nservers: {{s: {{url: http://127.0.0.1:{self.upstream}/mcp}}}}\n"
            )
            started = time.monotonic()
            with running([*self.hub_command, str(config)], port, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
                listens.append((time.monotonic() - started) * 1000)
        self.results["start"] = {"help_cpu_ms": spread(helps), "listen_ms": spread(listens)}
        line(
            f"concento --help: {spread(helps)['median']:.0f} ms of CPU; serve listens after {spread(listens)['median']:.0f} ms"
        )


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


# ---- telling


def say(text: str) -> None:
    print(
        f"\r\x1b[K{text}" if sys.stderr.isatty() else text,
        end="" if sys.stderr.isatty() else "\n",
        file=sys.stderr,
        flush=True,
    )


def line(text: str) -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(text, flush=True)


def report(*cells: str) -> None:
    widths = (9, 7, 9, 9, 9, 9, 9, 9, 9)
    line(
        "".join(
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=False))
        )
    )


def machine() -> dict[str, Any]:
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
    }


SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "modern": Bench.modern,
    "legacy": Bench.legacy,
    "stdio": Bench.stdio,
    "streams": Bench.streams,
    "large": Bench.large,
    "start": Bench.start,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="a scenario; may be given several times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument(
        "--hub", default=f"{Path(sys.executable).with_name('concento')} serve", help="how to start a hub"
    )
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    about = machine()
    line(
        f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, Python {about['python']}, load {about['load'][0]:.2f}"
    )
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.seconds, options.rounds, options.hub.split())
        with bench.up():
            report("", "", "CPU µs", "min", "max", "× nginx", "calls/s", "p50 ms", "p99 ms")
            for name in options.only or SCENARIOS:
                SCENARIOS[name](bench)
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "results": bench.results}, indent=2))


if __name__ == "__main__":
    main()
