"""What a call costs: CPU of the gateway's processes a call, against nginx as a plain reverse proxy in the same run.

    make bench                                        # everything, in about a minute and a half
    make bench ARGS="--only modern --rounds 9"
    make bench ARGS="--json results.json"

Gateways take turns in short rounds before one server. Around each round the answer through the gateway must equal the
server's own, and during it the server must have answered every call that wrk counted; else nothing is reported.
How to read the figures and how to add a gateway: benchmarks/README.md. Linux only: CPU and memory are read in /proc.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).resolve().parent
CONNECTIONS = 32
TOOLS_PER_SERVER = 20
STREAMS_WARM, STREAMS = 100, 1000
BIG_REPLIES = 16
STARTS = 5
START_S = 30.0
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
NGINX = """
{user} worker_processes 1; daemon off; pid nginx.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  access_log access.log; keepalive_requests 1000000000;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  upstream server {{ server 127.0.0.1:{server}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
HUB = """
listen: 127.0.0.1:{port}
admin: {{listen: "127.0.0.1:{admin}"}}
state: sqlite:///state.db
telemetry: {{access_log: access.log}}
servers: {servers}
"""

LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks without the proxy that the environment may name."""

Era = Literal["modern", "legacy"]


class Refused(SystemExit):
    """Something was not as it must be for a figure to mean anything."""

    def __init__(self, why: str) -> None:
        super().__init__(f"nothing is reported: {why}")


# ---- processes


@dataclass
class Program:
    """A process of our own, with the port where it serves."""

    pid: int
    port: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextlib.contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[Program]:
    """A process that accepts connections on `port` while the context is open. Errors: Refused, with its last words."""
    log = folder / "output.log"
    with log.open("wb") as output:
        env = os.environ | {"XDG_STATE_HOME": str(folder)}
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise Refused(f"{shlex.join(command)} does not start: {error}") from None
    try:
        deadline_s = time.monotonic() + START_S
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise Refused(f"{shlex.join(command)} does not listen\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.001)
        yield Program(process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children: list[str] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children += task.read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def is_server(pid: int) -> bool:
    """Whether this is a benchmark server, such as a gateway's child: what it spends is not the gateway's."""
    with contextlib.suppress(OSError):
        return str(HERE / "upstream.py").encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def cpu_ns(pids: Iterable[int]) -> dict[str, int]:
    """CPU time so far of each thread of these processes."""
    spent: dict[str, int] = {}
    for pid in pids:
        for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                spent[str(stat)] = int(stat.read_text().split()[0])
    return spent


def spent_ns(before: dict[str, int], after: dict[str, int]) -> int:
    """CPU time between two readings. Errors: Refused, if a thread has taken its share of it into the grave."""
    if before.keys() - after.keys():
        raise Refused("a thread or process of the gateway ended during a round")
    return sum(after.values()) - sum(before.values())


def memory_kib(pid: int, field: Literal["VmRSS", "VmHWM"] = "VmRSS") -> int:
    found = re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise Refused(f"process {pid} is gone")
    return int(found[1])


def settled_kib(pid: int) -> int:
    """Resident memory, as soon as it has kept still for a quarter of a second."""
    readings = [memory_kib(pid)]
    while len(readings) < 6 or (len(readings) < 200 and len(set(readings[-6:])) > 1):
        time.sleep(0.05)
        readings.append(memory_kib(pid))
    return readings[-1]


# ---- requests


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def request(method: str, params: dict[str, Any], era: Era, id: int = 1) -> bytes:
    more = {"_meta": META} if era == "modern" else {}
    return encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params | more})


def fields(method: str, era: Era, name: str = "", session: str = "") -> dict[str, str]:
    """The header fields of a request. `session` is empty before a legacy session has begun."""
    common = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if era == "modern":
        named = {"Mcp-Name": name} if name else {}
        return common | {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method} | named
    return common | ({"MCP-Protocol-Version": "2025-11-25", "Mcp-Session-Id": session} if session else {})


def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, str]:
    """The body of the answer, and the session that it begins."""
    try:
        with LOCAL.open(urllib.request.Request(url, body, headers), timeout=10) as reply:
            return reply.read(), reply.headers.get("Mcp-Session-Id", "")
    except urllib.error.HTTPError as error:
        raise Refused(f"{url} answers {error.code} {error.read()[:300]!r}") from None
    except OSError as error:
        raise Refused(f"{url} does not answer: {error}") from None


def open_session(url: str) -> str:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    _, session = post(url, request("initialize", hello, "legacy"), fields("initialize", "legacy"))
    done = encode({"jsonrpc": "2.0", "method": "notifications/initialized"})
    post(url, done, fields("notifications/initialized", "legacy", session=session))
    return session


class Route:
    """One way to a server's tools: an endpoint, the era spoken there, and what its tools are called."""

    def __init__(self, url: str, era: Era = "modern", prefix: str = "") -> None:
        self.url, self.era, self.prefix = url, era, prefix
        self.session = open_session(url) if era == "legacy" else ""

    def call(self, tool: str, text: str, id: int) -> bytes:
        return request("tools/call", {"name": self.prefix + tool, "arguments": {"text": text, "n": 3}}, self.era, id)

    def headers(self, tool: str) -> dict[str, str]:
        return fields("tools/call", self.era, self.prefix + tool, self.session)

    def ask(self, tool: str, text: str = "", id: int = 1) -> Any:
        return json.loads(post(self.url, self.call(tool, text, id), self.headers(tool))[0])

    def served(self) -> int:
        """How many calls the server has answered."""
        return int(self.ask("calls")["result"]["content"][0]["text"])


# ---- gateways


@dataclass
class Gateway:
    """What is measured: its process, and its route to the server of each scenario."""

    name: str
    program: Program
    routes: dict[str, Route]


def nginx(folder: Path, server: Program) -> AbstractContextManager[Gateway]:
    """The reference: forwards bytes. It can't speak to a child process, so there its modern figure stands."""

    @contextlib.contextmanager
    def up() -> Iterator[Gateway]:
        binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if binary is None:
            raise Refused("nginx is missing: apt-get install nginx-light")
        port = free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(NGINX.format(user=user, port=port, server=server.port))
        command = [binary, "-p", str(folder), "-c", "nginx.conf", "-e", "/dev/null"]
        with running(command, folder, port) as program:
            modern = Route(program.url("/mcp"))
            legacy = Route(program.url("/legacy"), "legacy")
            yield Gateway("nginx", program, {"modern": modern, "legacy": legacy, "stdio": modern})

    return up()


def hub(command: str, folder: Path, server: Program) -> AbstractContextManager[Gateway]:
    """Concento before the server, in both eras and as a child process."""

    @contextlib.contextmanager
    def up() -> Iterator[Gateway]:
        servers = {
            "modern": {"url": server.url("/mcp")},
            "legacy": {"url": server.url("/legacy")},
            "stdio": {"command": [sys.executable, str(HERE / "upstream.py"), "stdio"]},
        }
        with concento(command, folder, servers) as program:
            url = program.url("/mcp")
            routes = {name: Route(url, "legacy" if name == "legacy" else "modern", f"{name}__") for name in servers}
            yield Gateway("concento", program, routes)

    return up()


@contextlib.contextmanager
def concento(command: str, folder: Path, servers: dict[str, Any]) -> Iterator[Program]:
    """A hub that lists all the tools of its servers."""
    arguments, port = hub_command(command, folder, servers)
    with running(arguments, folder, port) as program:
        wait_for_tools(program, TOOLS_PER_SERVER * len(servers))
        yield program


def hub_command(command: str, folder: Path, servers: dict[str, Any]) -> tuple[list[str], int]:
    """How to start a hub with these servers, and the port it will listen on."""
    port = free_port()
    config = folder / "concento.yaml"
    config.write_text(HUB.format(port=port, admin=free_port(), servers=json.dumps(servers)))
    return [str(config) if word == "{config}" else word for word in shlex.split(command)], port


def wait_for_tools(program: Program, count: int) -> None:
    listed: object = "nothing"
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(Refused):
            with contextlib.suppress(OSError):
                LOCAL.open(program.url("/health/ready"), timeout=5).close()
            reply, _ = post(program.url("/mcp"), request("tools/list", {}, "modern"), fields("tools/list", "modern"))
            listed = len(json.loads(reply)["result"]["tools"])
            if listed == count:
                return
        time.sleep(0.05)
    raise Refused(f"the hub lists {listed} of its servers' {count} tools")


# ---- what is measured


@dataclass
class Bench:
    """What every scenario needs, and where it leaves its result."""

    folder: Path
    rounds: int
    seconds: int
    hub: str
    server: Program
    gateways: list[Gateway]
    results: dict[str, Any]

    def room(self) -> Path:
        """A folder of its own for a process."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def compare(self, scenario: str) -> None:
        """All gateways in turns, in alternating order; ratios to the first of them, round by round."""
        era: Era = "legacy" if scenario == "legacy" else "modern"
        direct = Route(self.server.url(f"/{'legacy' if era == 'legacy' else 'mcp'}"), era)
        rounds: dict[str, list[dict[str, float]]] = {gateway.name: [] for gateway in self.gateways}
        for number in range(self.rounds):
            for gateway in self.gateways[:: -1 if number % 2 else 1]:
                progress(f"{scenario}, round {number + 1} of {self.rounds}: {gateway.name}")
                rounds[gateway.name].append(self._round(gateway, gateway.routes[scenario], direct))
        reference = rounds[self.gateways[0].name]
        result: dict[str, Any] = {}
        for name, measured in rounds.items():
            ratios = [one["cpu_us"] / base["cpu_us"] for one, base in zip(measured, reference, strict=True)]
            summary: dict[str, Any] = {key: spread(one[key] for one in measured) for key in measured[0]}
            result[name] = summary | {"ratio": spread(ratios), "rounds": measured}
            row(scenario, name, result[name])
        self.results[scenario] = result

    def _round(self, gateway: Gateway, route: Route, direct: Route) -> dict[str, float]:
        """One round of load. Errors: Refused, if any answer was wrong or did not come from the server."""
        same_answers(gateway.name, route, direct)
        served = route.served()
        before = self._cpu_ns(gateway)
        load = wrk(route, self.seconds)
        after = self._cpu_ns(gateway)
        served = route.served() - served
        same_answers(gateway.name, route, direct)
        calls = int(load.pop("calls"))
        if not calls <= served <= calls + CONNECTIONS:
            raise Refused(f"{gateway.name} answered {calls} calls, and the server {served}")
        return {
            "cpu_us": spent_ns(before[0], after[0]) / calls / 1000,
            "server_us": spent_ns(before[1], after[1]) / calls / 1000,
            **load,
        }

    def _cpu_ns(self, gateway: Gateway) -> tuple[dict[str, int], dict[str, int]]:
        """CPU time so far of the gateway with all its children, and of the servers."""
        pids = [self.server.pid, *family(gateway.program.pid)]
        servers = {pid for pid in pids if is_server(pid)}
        return cpu_ns(set(pids) - servers), cpu_ns(servers)

    def modern(self) -> None:
        """A modern call to a modern server, over HTTP on both sides."""
        self.compare("modern")

    def legacy(self) -> None:
        """A call in a legacy session to a legacy server, over HTTP on both sides."""
        self.compare("legacy")

    def stdio(self) -> None:
        """A modern call to a child process, whose own CPU is left out as any server's is."""
        self.compare("stdio")

    def streams(self) -> None:
        """Memory of an idle listen stream: what a fresh hub grows by, once the first hundred are open."""
        progress(f"streams: opening {STREAMS_WARM + STREAMS}")
        body = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, "modern")
        message = raw_request("subscriptions/listen", body)
        with (
            concento(self.hub, self.room(), {"modern": {"url": self.server.url("/mcp")}}) as program,
            contextlib.ExitStack() as open_streams,
        ):

            def listen(count: int) -> list[socket.socket]:
                streams = []
                for _ in range(count):
                    stream = open_streams.enter_context(socket.create_connection(("127.0.0.1", program.port), 10))
                    stream.sendall(message)
                    read_until(stream, b"notifications/subscriptions/acknowledged")
                    streams.append(stream)
                return streams

            listen(STREAMS_WARM)
            before = settled_kib(program.pid)
            streams = listen(STREAMS)
            kib = (settled_kib(program.pid) - before) / STREAMS
            if any(is_closed(stream) for stream in streams):
                raise Refused("the hub closed idle listen streams")
        self.results["streams"] = {"count": STREAMS, "kib_each": kib}
        line(f"idle listen stream: {kib:.1f} KiB each ({STREAMS} of them)")

    def large(self) -> None:
        """Peak memory for replies of 1 MB that wait for slow readers: what a fresh hub grows by."""
        progress(f"large: {BIG_REPLIES} replies of 1 MB at a time")
        direct = Route(self.server.url("/mcp"))
        with (
            concento(self.hub, self.room(), {"modern": {"url": self.server.url("/mcp")}}) as program,
            contextlib.ExitStack() as open_sockets,
        ):
            route = Route(program.url("/mcp"), "modern", "modern__")
            if route.ask("big") != direct.ask("big"):
                raise Refused("the hub answers a call of `big` otherwise than the server")
            readers = []
            for _ in range(BIG_REPLIES):
                reader = open_sockets.enter_context(socket.socket())
                reader.settimeout(10)
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                reader.connect(("127.0.0.1", program.port))
                readers.append(reader)
            before = settled_kib(program.pid)
            Path(f"/proc/{program.pid}/clear_refs").write_text("5")  # the peak begins anew from here
            served = direct.served()
            for id, reader in enumerate(readers):
                reader.sendall(raw_request("tools/call", route.call("big", "", id), route.prefix + "big"))
            while direct.served() - served < BIG_REPLIES:
                time.sleep(0.01)
            settled_kib(program.pid)
            for id, reader in enumerate(readers):
                head, _, start = read_until(reader, b"\r\n\r\n").partition(b"\r\n\r\n")
                found = re.search(rb"(?i)content-length: *(\d+)", head)
                if found is None:
                    raise Refused("the hub sends a large reply without its length")
                if json.loads(read_exactly(reader, start, int(found[1]))) != direct.ask("big", id=id):
                    raise Refused("a large reply came otherwise than from the server")
            mib = (memory_kib(program.pid, "VmHWM") - before) / 1024 / BIG_REPLIES
        self.results["large"] = {"count": BIG_REPLIES, "mib_each": mib}
        line(f"reply of 1 MB in flight: {mib:.2f} MiB of peak memory each ({BIG_REPLIES} at a time)")

    def start(self) -> None:
        """CPU of `--help`, and the time until `serve` accepts connections, each time with no state."""
        help_command = [shlex.split(self.hub)[0], "--help"]
        helps, listens = [], []
        for number in range(STARTS):
            progress(f"start, {number + 1} of {STARTS}")
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            if subprocess.run(help_command, capture_output=True, check=False).returncode:
                raise Refused(f"{shlex.join(help_command)} fails")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            helps.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
            room = self.room()
            command, port = hub_command(self.hub, room, {"modern": {"url": self.server.url("/mcp")}})
            started_s = time.monotonic()
            with running(command, room, port):
                listens.append((time.monotonic() - started_s) * 1000)
        self.results["start"] = {"help_cpu_ms": spread(helps), "listen_ms": spread(listens)}
        line(f"--help: {told(spread(helps))} ms of CPU")
        line(f"serve: accepts connections {told(spread(listens))} ms after its start")


SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "modern": Bench.modern,
    "legacy": Bench.legacy,
    "stdio": Bench.stdio,
    "streams": Bench.streams,
    "large": Bench.large,
    "start": Bench.start,
}
AGAINST_NGINX = {"modern", "legacy", "stdio"}


def same_answers(name: str, route: Route, direct: Route) -> None:
    """Errors: Refused, unless the answer through a gateway is the server's own, with the caller's id and text in it."""
    id, text = time.monotonic_ns() % 10**9, f"bench {time.monotonic_ns()}"
    expected, got = direct.ask("echo", text, id), route.ask("echo", text, id)
    if expected["id"] != id or expected["result"]["content"][0]["text"] != text:
        raise Refused(f"the server itself answers wrongly: {str(expected)[:300]}")
    if got != expected:
        raise Refused(f"{name} does not answer as the server does: {str(got)[:300]}, not {str(expected)[:300]}")


def wrk(route: Route, seconds: int) -> dict[str, float]:
    """One run of load. Errors: Refused, if a call failed."""
    headers = "".join(f"{name}: {value}\n" for name, value in route.headers("echo").items())
    body = route.call("echo", "hello world", 10_000_000).decode()
    env = os.environ | {"CALL_HEADERS": headers, "CALL_BODY": body}
    script = str(HERE / "call.lua")
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", script, route.url]
    text = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    done = re.search(r"(\d+) requests in ([\d.]+)s", text)
    latencies = dict(re.findall(r"(50|99)%\s+([\d.]+(?:us|ms|s))\n", text))
    if done is None or len(latencies) != 2 or "Non-2xx" in text or "Socket errors" in text:
        raise Refused(f"calls failed at {route.url}\n{text}")
    calls, duration_s = int(done[1]), float(done[2])
    if calls < 10 * CONNECTIONS:
        raise Refused(f"only {calls} calls in {duration_s} s at {route.url}: too few to divide by")
    return {
        "calls": calls,
        "calls_per_s": calls / duration_s,
        "p50_ms": milliseconds(latencies["50"]),
        "p99_ms": milliseconds(latencies["99"]),
    }


def milliseconds(text: str) -> float:
    number, unit = re.findall(r"([\d.]+)(\w+)", text)[0]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def raw_request(method: str, body: bytes, name: str = "") -> bytes:
    head = "".join(f"{field}: {value}\r\n" for field, value in fields(method, "modern", name).items())
    return f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


def read_until(source: socket.socket, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        if not (data := source.recv(4096)):
            raise Refused(f"the hub closed a connection after {received[:300]!r}")
        received += data
    return received


def read_exactly(source: socket.socket, start: bytes, count: int) -> bytes:
    received = bytearray(start)
    while len(received) < count:
        if not (data := source.recv(65536)):
            raise Refused(f"the hub closed a connection after {len(received)} of {count} bytes")
        received += data
    return bytes(received)


def is_closed(source: socket.socket) -> bool:
    source.setblocking(False)
    try:
        return source.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


# ---- telling


def spread(values: Iterable[float]) -> dict[str, float]:
    known = list(values)
    return {"median": statistics.median(known), "min": min(known), "max": max(known)}


def told(values: dict[str, float]) -> str:
    return f"{values['median']:.0f} ({values['min']:.0f} to {values['max']:.0f})"


def progress(text: str) -> None:
    start, end = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
    print(f"{start}{text}", end=end, file=sys.stderr, flush=True)


def line(text: str) -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(text, flush=True)


def cells(*columns: str) -> None:
    widths = (-8, -10, 9, 8, 8, 9, 14, 9, 9, 9, 11)
    line("".join(text.rjust(at) if at > 0 else text.ljust(-at) for text, at in zip(columns, widths, strict=True)))


def heading() -> None:
    cells("call", "gateway", "CPU µs", "min", "max", "x nginx", "min-max", "calls/s", "p50 ms", "p99 ms", "server µs")


def row(scenario: str, name: str, result: dict[str, Any]) -> None:
    cpu, ratio = result["cpu_us"], result["ratio"]
    medians = [result[key]["median"] for key in ("calls_per_s", "p50_ms", "p99_ms", "server_us")]
    cells(
        scenario,
        name,
        *(f"{cpu[key]:.1f}" for key in ("median", "min", "max")),
        f"{ratio['median']:.2f}",
        f"{ratio['min']:.2f}-{ratio['max']:.2f}",
        f"{medians[0]:.0f}",
        f"{medians[1]:.2f}",
        f"{medians[2]:.2f}",
        f"{medians[3]:.1f}",
    )


def machine() -> dict[str, Any]:
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


# ---- the run


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing we started outlives us
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    if shutil.which("wrk") is None:
        raise Refused("wrk is missing: apt-get install wrk")
    about = machine()
    line(
        f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, Python {about['python']}, "
        f"load {about['load_before']:.2f}; {options.rounds} rounds of {options.seconds} s, {CONNECTIONS} connections"
    )
    results: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="concento-bench-")))
        rooms = (Path(tempfile.mkdtemp(dir=folder)) for _ in iter(int, 1))
        port = free_port()
        upstream = [sys.executable, str(HERE / "upstream.py"), str(port)]
        server = stack.enter_context(running(upstream, next(rooms), port))
        wanted = [name for name in SCENARIOS if not options.only or name in options.only]
        gateways = []
        if not AGAINST_NGINX.isdisjoint(wanted):
            gateways.append(stack.enter_context(nginx(next(rooms), server)))
            gateways.append(stack.enter_context(hub(options.hub, next(rooms), server)))
            heading()
        bench = Bench(folder, options.rounds, options.seconds, options.hub, server, gateways, results)
        for name in wanted:
            SCENARIOS[name](bench)
    if options.json:
        about["load_after"] = os.getloadavg()[0]
        run = {"rounds": options.rounds, "seconds": options.seconds, "connections": CONNECTIONS, "hub": options.hub}
        options.json.write_text(json.dumps({"machine": about, "run": run, "results": results}, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own = shlex.quote(str(Path(sys.executable).with_name("concento")))
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="a scenario; may be given several times")
    parser.add_argument("--rounds", type=positive, default=5, help="rounds of each gateway (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=2, help="length of a round, whole seconds (%(default)s)")
    parser.add_argument("--hub", default=f"{own} serve {{config}}", help="how to start a hub (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured, round by round, to FILE")
    options = parser.parse_args()
    if "{config}" not in shlex.split(options.hub):
        parser.error("--hub needs {config} where the configuration's path belongs")
    return options


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
