"""Processes that own children as the hub does, to be killed or measured. The first argument says what to do."""

import asyncio
import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from concento.model.config import ChildReplica, Sandbox
from concento.transport.stdio import Child, ExitNotice
from concento.transport.watchdog import Watchdog

ACTOR = (sys.executable, "-I", "-S", str(Path(__file__).with_name("actor.py")))


def hold() -> None:
    """Start one child, pass on what it says, and wait to be killed. `sandboxed`: the child is, and takes the mark."""

    async def main() -> None:
        watchdog = Watchdog()
        child = await start(
            watchdog,
            sys.argv[2],
            lambda line: print(line.decode(), flush=True),
            *sys.argv[3:],
            sandboxed="sandboxed" in sys.argv,
        )
        await asyncio.Event().wait()
        await child.close()

    uvloop.run(main())


def race() -> None:
    """Be killed again and again, at any moment around the start of children that are marked with the second argument.

    A fork of this process plays the hub, so that no round waits for imports.
    """
    mark, rounds, sandboxed = sys.argv[2], int(sys.argv[3]), "sandboxed" in sys.argv
    for _ in range(rounds):
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            uvloop.run(start_many(mark, write_end, sandboxed))
        os.close(write_end)
        os.read(read_end, 1)
        time.sleep(random.random() * 0.08)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read_end)


async def start_many(mark: str, write_end: int, sandboxed: bool) -> None:
    watchdog = Watchdog()
    os.write(write_end, b".")
    children = [await start(watchdog, "family", ignore, mark, sandboxed=sandboxed) for _ in range(3)]
    await asyncio.Event().wait()
    print(children)


def flood() -> None:
    """Take the flood of a child and say by how many bytes this process grew at most."""

    async def main() -> None:
        watchdog = Watchdog()
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        ended: asyncio.Queue[ExitNotice] = asyncio.Queue()
        quiet = await start(watchdog, "echo", lines.put_nowait)
        quiet.write(b"ready")
        await lines.get()
        before = peak_bytes()
        child = await start(watchdog, sys.argv[2], lines.put_nowait, *sys.argv[3:], on_exit=ended.put_nowait)
        if sys.argv[2] == "stderr_flood":
            child.write(b"done")
            await lines.get()
            reason, tail = None, child.stderr_tail()
        else:
            notice = await ended.get()
            reason, tail = notice.reason, notice.stderr
        print(json.dumps({"grown_bytes": peak_bytes() - before, "reason": reason, "lines": len(tail)}), flush=True)
        await child.close()
        await quiet.close()
        watchdog.close()

    uvloop.run(main())


async def start(
    watchdog: Watchdog, verb: str, on_line: Any, *more: str, on_exit: Any = None, sandboxed: bool = False
) -> Child:
    sandbox = Sandbox(read_only=(Path(__file__).parent,)) if sandboxed else None
    replica = ChildReplica(command=(*ACTOR, verb, *more), sandbox=sandbox)
    return await Child.start(replica, watchdog=watchdog, on_line=on_line, on_exit=on_exit or ignore)


def ignore(_: object) -> None:
    pass


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    globals()[sys.argv[1]]()
