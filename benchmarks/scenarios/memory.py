"""Memory: what each idle stream takes, and what large replies take that wait for slow readers."""

import contextlib
import json
import re
import socket
import time
import urllib.parse
from pathlib import Path

from ..bench import Bench, Started, able, attempted
from ..candidates.concento import Concento
from ..process import memory_kib, resident_mib, settled_kib
from ..refused import Refused
from ..route import Route, is_closed, raw_post, read_exactly, read_until

WARM, STREAMS = 100, 2000
OPEN_S = 90.0
REPLIES = 16


def memory(bench: Bench) -> None:
    """Each candidate fresh, one after the other: memory is not given back evenly, so turns would tell less."""
    count = 500 if bench.quick else STREAMS
    for candidate in (known.fitted("memory") for known in bench.candidates):
        if not candidate.starts:
            continue
        case = f"{count} idle streams"
        try:
            era, behind = able(candidate, bench.any_one())
            with bench.ready(candidate, era, behind) as started:
                grown = attempted(_streams, started, count)
            bench.keep("memory", case, candidate, [grown])
        except Refused as why:
            if candidate.own:
                raise Refused(f"memory, {candidate.name}: {why}") from None
            bench.missing("memory", case, candidate, str(why))
    for candidate in bench.candidates:
        if isinstance(candidate, Concento):
            with bench.ready(candidate, "modern", bench.one("modern")) as started:
                direct = Route(bench.one("modern")[0].url, "modern")
                bench.keep("memory", f"{REPLIES} waiting replies of 1 MB", candidate, [_replies(started, direct)])


def _streams(started: Started, count: int) -> dict[str, float]:
    """Open streams on which an agent would be told of changes: a modern listen stream, or a session's own stream.

    The first hundred are not counted: they warm up what is shared.
    """
    pid, route = started.program.pid, started.route
    mark = b"notifications/subscriptions/acknowledged" if route.era == "modern" else b"\r\n\r\n"
    with contextlib.ExitStack() as open_streams:

        def listen(wanted: int) -> list[socket.socket]:
            streams: list[socket.socket] = []
            deadline_s = time.monotonic() + OPEN_S
            while len(streams) < wanted and time.monotonic() < deadline_s:
                asker = Route(route.url, "legacy") if route.era == "legacy" else route  # a session has one such stream
                stream = open_streams.enter_context(_connect(route.url))
                stream.sendall(asker.stream_head())
                head = read_until(stream, mark)
                status = head.partition(b"\r\n")[0]
                if b" 200 " not in status or b"text/event-stream" not in head.lower():
                    raise Refused(f"it offers no stream: {status.decode(errors='replace')}")
                streams.append(stream)
            return streams

        listen(WARM)
        before = settled_kib(pid)
        streams = listen(count)
        grown_kib = settled_kib(pid) - before
        if closed := sum(is_closed(stream) for stream in streams):
            raise Refused(f"{closed} of {len(streams)} idle streams were closed")
        return {"kib_each": grown_kib / len(streams), "rss_mib": resident_mib(pid), "streams": len(streams) + WARM}


def _replies(started: Started, direct: Route) -> dict[str, float]:
    """The peak for replies that wait for slow readers, beyond what a fresh hub has."""
    pid, route = started.program.pid, started.route
    if route.ask("big")["result"] != direct.ask("big")["result"]:
        raise Refused("a call of `big` is answered otherwise than by the server")
    with contextlib.ExitStack() as open_readers:
        readers = []
        for _ in range(REPLIES):
            reader = open_readers.enter_context(_connect(route.url, receive_bytes=4096))
            readers.append(reader)
        before = settled_kib(pid)
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew from here
        served = direct.served()
        for id, reader in enumerate(readers):
            reader.sendall(raw_post(route.url, route.headers("big"), route.call("big", "", id)))
        while direct.served() - served < REPLIES:
            time.sleep(0.01)
        settled_kib(pid)
        for id, reader in enumerate(readers):
            head, _, begun = read_until(reader, b"\r\n\r\n").partition(b"\r\n\r\n")
            found = re.search(rb"(?i)content-length: *(\d+)", head)
            if found is None:
                raise Refused("a large reply comes without its length")
            if json.loads(read_exactly(reader, begun, int(found[1]))) != direct.ask("big", id=id):
                raise Refused("a large reply came otherwise than from the server")
        return {"mib_each": (memory_kib(pid, "VmHWM") - before) / 1024 / REPLIES}


def _connect(url: str, receive_bytes: int | None = None) -> socket.socket:
    host = urllib.parse.urlsplit(url)
    connection = socket.socket()
    connection.settimeout(30)
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.connect((host.hostname, host.port))
    return connection
