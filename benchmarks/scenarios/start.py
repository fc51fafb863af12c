"""A cold start: from the start of the process to the first right answer of a tool behind it."""

import resource
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ..bench import Bench, Figures, able, attempted, first_answer
from ..candidates import Candidate
from ..candidates.concento import Concento
from ..process import cpu_ns, gateway_pids, resident_mib
from ..refused import Refused

CASE = "one server"


def start(bench: Bench) -> None:
    """With nothing kept from before; only what takes its servers through an API of its own knows them already."""
    turns: dict[Candidate, Callable[[], Figures]] = {}
    for candidate in bench.candidates:
        try:
            if candidate.starts:
                turns[candidate] = attempted(_turn, bench, candidate)
        except Refused as why:
            if candidate.own:
                raise
            bench.missing("start", CASE, candidate, str(why))
    bench.alternate("start", CASE, turns)
    hub = next((one for one in bench.candidates if isinstance(one, Concento)), None)
    if hub is not None:
        bench.alternate("start", "the command line's --help", {hub: lambda: _help(hub)})


def _turn(bench: Bench, candidate: Candidate) -> Callable[[], Figures]:
    era, behind = able(candidate, bench.any_one())
    kept: Path | None = None
    if candidate.keeps_servers:
        kept = bench.room()
        with bench.ready(candidate, era, behind, kept):
            pass

    def measure() -> Figures:
        began_s = time.monotonic()
        with candidate.up(kept or bench.room(), behind) as program:
            listens_s = time.monotonic() - began_s
            first_answer(candidate, program, behind[0], era)
            answers_s = time.monotonic() - began_s
            spent_ns = sum(cpu_ns(gateway_pids(program.pid)).values())
            return {
                "answer_ms": answers_s * 1000,
                "listen_ms": listens_s * 1000,
                "cpu_ms": spent_ns / 1e6,
                "rss_mib": resident_mib(program.pid),
            }

    return measure


def _help(hub: Concento) -> Figures:
    command = [shlex.split(hub.command)[0], "--help"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise Refused(f"{shlex.join(command)} fails")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu_ms": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000}
