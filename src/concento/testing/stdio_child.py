"""A small MCP server on standard streams whose fault is chosen by name: `child_command("hang_on:tools/call")`.

It is run as a file by itself with nothing but the standard library, so that it starts in a moment.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

BEHAVIOURS = {
    "plain": "no fault",
    "modern": "no fault; the same as era='modern'",
    "legacy": "no fault; the same as era='legacy'",
    "exit_at_once": "ends with `code` before it reads anything",
    "garbage_lines": "writes lines that are no JSON before every answer",
    "wrong_id": "answers tools/call under another id",
    "twice": "answers tools/call twice",
    "hang_on:METHOD": "never answers that method, but all others",
    "ignore_eof_and_term": "goes on when its input ends and when it gets SIGTERM or SIGINT; only SIGKILL ends it",
    "stderr_flood": "writes `bytes` to standard error before every answer",
    "huge_line": "answers tools/call with a text of `bytes`",
    "crash_on_call": "ends with `code` when it gets tools/call, before it answers",
    "asks_sampling": "tools/call asks the client for sampling first (legacy) or returns input_required (modern)",
    "unasked": "writes a log notification and a ping request before every answer",
}

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
INFO = {"name": "stdio-child", "version": "1"}
CACHEABLE = ("server/discover", "tools/list")
TOOL = {
    "name": "echo",
    "description": "Says it again",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
}
SAMPLING = {"messages": [{"role": "user", "content": {"type": "text", "text": "Say yes"}}], "maxTokens": 10}


def child_command(behaviour: str = "plain", **options: object) -> list[str]:
    """The command that starts such a server.

    Options: `era` ("dual" by default, "modern", "legacy"); `record`, a file to which every received message is appended
    as one JSON line; `tools`, a file with what tools/list answers, read each time; `code`, the exit code of those that
    end (1); `bytes`, the size of what is large (32 MiB).
    """
    known = behaviour.partition(":")[0]
    if known not in {name.partition(":")[0] for name in BEHAVIOURS}:
        raise ValueError(f"no behaviour {behaviour!r}; there are {', '.join(BEHAVIOURS)}")
    if unknown := options.keys() - {"era", "record", "tools", "code", "bytes"}:
        raise ValueError(f"no options {', '.join(sorted(unknown))}; there are era, record, tools, code, bytes")
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), behaviour, *flags]


def recorded(path: str | Path, method: str | None = None) -> list[dict[str, Any]]:
    """The messages in a child's record, all or those of a method. A file that is not there has none."""
    try:
        lines = Path(path).read_text().splitlines()
    except FileNotFoundError:
        return []
    messages = [json.loads(line) for line in lines]
    return [message for message in messages if method is None or message.get("method") == method]


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("behaviour")
    parser.add_argument("--era", choices=["dual", "modern", "legacy"], default="dual")
    parser.add_argument("--record")
    parser.add_argument("--tools", type=Path)
    parser.add_argument("--code", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=32 * 1024 * 1024)
    options = parser.parse_args()
    behaviour, _, subject = options.behaviour.partition(":")
    if behaviour == "exit_at_once":
        print("stdio-child: nothing to do here", file=sys.stderr)
        sys.exit(options.code)
    if behaviour == "ignore_eof_and_term":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    era = behaviour if behaviour in ("modern", "legacy") else options.era
    child = Child(behaviour, subject, era, options.record, options.code, options.bytes)
    child.tools = options.tools
    for line in sys.stdin.buffer:
        child.take(line)
    while behaviour == "ignore_eof_and_term":
        signal.pause()


class Child:
    """Answers one message after the other."""

    def __init__(self, behaviour: str, subject: str, era: str, record: str | None, code: int, size: int) -> None:
        self.behaviour = behaviour
        self.subject = subject
        self.era = era
        self.record = record
        self.code = code
        self.size = size
        self.tools: Path | None = None
        self.asked: dict[str, Any] = {}
        """Requests to the client that wait for its answer, with the id of the call they were asked for."""

    def take(self, line: bytes) -> None:
        """Record a message and answer it."""
        if self.record:
            with Path(self.record).open("ab") as file:
                file.write(line if line.endswith(b"\n") else line + b"\n")
        message = json.loads(line)
        if "method" not in message:
            call = self.asked.pop(message.get("id"), None)
            if call is not None:
                self.result(call, False, {"content": [{"type": "text", "text": json.dumps(message)}]})
        elif "id" in message:
            self.answer(message["id"], message["method"], message.get("params") or {})

    def answer(self, id: Any, method: str, params: dict[str, Any]) -> None:
        """Answer a request, or commit the fault that was chosen."""
        modern = VERSION_KEY in (params.get("_meta") or {})
        call = method == "tools/call"
        if self.behaviour == "hang_on" and method == self.subject:
            return
        if self.behaviour == "crash_on_call" and call:
            print("stdio-child: crashing as told", file=sys.stderr, flush=True)
            os._exit(self.code)
        if self.behaviour == "garbage_lines":
            write(b"Listening on nothing\n\n{]\n[1, 2]\n\xff\xfe\n")
        if self.behaviour == "stderr_flood":
            self.flood()
        if self.behaviour == "unasked":
            send({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "unasked"}})
            send({"jsonrpc": "2.0", "id": "unasked", "method": "ping"})
        if self.refused(id, method, params, modern):
            return
        if method == "server/discover":
            versions = [MODERN] if self.era == "modern" else [MODERN, *VERSIONS]
            self.result(id, modern, {"supportedVersions": versions, "capabilities": {"tools": {}}}, method)
        elif method == "initialize":
            asked = params.get("protocolVersion")
            version = asked if asked in VERSIONS else VERSIONS[-1]
            self.result(id, False, {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": INFO})
        elif method == "ping":
            self.result(id, modern, {})
        elif method == "tools/list":
            tools = [TOOL] if self.tools is None else json.loads(self.tools.read_text())
            self.result(id, modern, {"tools": tools}, method)
        elif call:
            self.call(id, modern, params)
        else:
            error(id, -32601, "Method not found", method)

    def refused(self, id: Any, method: str, params: dict[str, Any], modern: bool) -> bool:
        """Refuse what is of the other era."""
        if self.era == "legacy" and (modern or method == "server/discover"):
            error(id, -32601, "Method not found", method)
        elif self.era == "modern" and method == "initialize":
            data = {"supported": [MODERN], "requested": params.get("protocolVersion")}
            error(id, -32022, "Unsupported protocol version", data)
        elif self.era == "modern" and not modern:
            error(id, -32602, f"_meta lacks {VERSION_KEY}")
        else:
            return False
        return True

    def call(self, id: Any, modern: bool, params: dict[str, Any]) -> None:
        """The one tool."""
        arguments = params.get("arguments") or {}
        if self.behaviour == "asks_sampling" and "inputResponses" not in params:
            if modern:
                asked = {"method": "sampling/createMessage", "params": SAMPLING}
                wanted = {"resultType": "input_required", "inputRequests": {"say": asked}, "requestState": "state-1"}
                self.result(id, True, wanted)
            else:
                number = f"ask-{id}"
                self.asked[number] = id
                send({"jsonrpc": "2.0", "id": number, "method": "sampling/createMessage", "params": SAMPLING})
            return
        text = json.dumps({**arguments, **{key: params[key] for key in ("inputResponses",) if key in params}})
        if self.behaviour == "huge_line":
            text = "x" * self.size
        number = f"not-{id}" if self.behaviour == "wrong_id" else id
        for _ in range(2 if self.behaviour == "twice" else 1):
            self.result(number, modern, {"content": [{"type": "text", "text": text}]})

    def result(self, id: Any, modern: bool, result: dict[str, Any], method: str = "") -> None:
        """Send a result in the shape of the era."""
        if modern:
            caching = {"ttlMs": 0, "cacheScope": "private"} if method in CACHEABLE else {}
            meta = {"_meta": {"io.modelcontextprotocol/serverInfo": INFO}}
            result = {"resultType": "complete", **caching, **meta, **result}
        send({"jsonrpc": "2.0", "id": id, "result": result})

    def flood(self) -> None:
        """Standard error, line by line."""
        line = b"stderr " + b"e" * 992 + b"\n"
        for _ in range(self.size // len(line)):
            sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()


def error(id: Any, code: int, message: str, data: object = None) -> None:
    """Send an error."""
    body = {"code": code, "message": message} if data is None else {"code": code, "message": message, "data": data}
    send({"jsonrpc": "2.0", "id": id, "error": body})


def send(message: dict[str, Any]) -> None:
    """Write one message."""
    write(json.dumps(message).encode() + b"\n")


def write(data: bytes) -> None:
    """Write bytes to standard output at once; a reader that has gone is the end."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
