"""One run: the server, the candidates, the scenarios in turn, and the report at the end."""

import contextlib
import datetime
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .bench import Bench, line, progress
from .candidates import Candidate
from .machine import machine
from .process import HERE, Program, accepts, free_port, running
from .refused import Refused
from .report import write
from .results import Results
from .route import Route, text_of
from .scenarios import SCENARIOS

SCRATCH = HERE.parent / ".tools" / "bench" / "results"
"""Where results go as they come; those of a whole run are copied beside the benchmark at its end."""


@dataclass(frozen=True)
class Plan:
    """What a run measures, and whom. `command`: what was typed."""

    command: str
    scenarios: Sequence[str]
    candidates: Sequence[Candidate]
    rounds: int
    seconds: int
    quick: bool
    whole: bool
    server_port: int | None
    json: Path | None


def run(plan: Plan) -> None:
    """Measure and report. Errors: Refused, if one of our own gave a wrong answer: then nothing is reported."""
    if shutil.which("wrk") is None:
        raise Refused("wrk is missing: install it with this system's package manager (Debian: wrk)")
    SCRATCH.mkdir(parents=True, exist_ok=True)
    results = Results(_about(plan), path=SCRATCH / "results.json")
    results.write()
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="concento-bench-")))
        server = stack.enter_context(_server(scratch, plan.server_port))
        candidates = _prepared(plan, results)
        bench = Bench(scratch, plan.rounds, plan.seconds, plan.quick, server, candidates, results)
        for name in plan.scenarios:
            SCENARIOS[name](bench)
    results.about["machine"]["load_after"] = round(os.getloadavg()[0], 2)
    results.write()
    folder = HERE if plan.whole else SCRATCH
    for copy in [plan.json, *([HERE / "results.json"] if plan.whole else [])]:
        if copy is not None:
            shutil.copyfile(SCRATCH / "results.json", copy)
    write(results, folder, readme=HERE.parent / "README.md" if plan.whole else None)
    line(f"written: {(folder / 'RESULTS.md').relative_to(HERE.parent)}, results.json and charts beside it")


def _about(plan: Plan) -> dict[str, object]:
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": plan.command,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "whole": plan.whole,
        "machine": machine(),
        "candidates": {},
    }


def _prepared(plan: Plan, results: Results) -> list[Candidate]:
    """The candidates that are there to be measured. Of the others it is kept why not."""
    ready: list[Candidate] = []
    for candidate in plan.candidates:
        progress(f"preparing {candidate.name}")
        known: dict[str, object] = {"about": candidate.about}
        results.about["candidates"][candidate.name] = known
        try:
            candidate.prepare()
            known |= {"version": candidate.version(), "configuration": candidate.configuration()}
            ready.append(candidate)
        except Refused as why:
            if candidate.own:
                raise
            known["missing"] = str(why)
            line(f"{candidate.name} is not measured: {why}")
        results.write()
    return ready


@contextlib.contextmanager
def _server(scratch: Path, port: int | None) -> Iterator[Program]:
    """The server behind all candidates: ours, or the one that somebody started on that port for a gateway of theirs."""
    if port is not None and accepts(port):
        origin = f"http://127.0.0.1:{port}"
        yield Program(int(text_of(Route(f"{origin}/mcp", "modern").ask("pid"))), origin)
        return
    port = port or free_port()
    room = scratch / "server"
    room.mkdir()
    with running([sys.executable, str(HERE / "upstream.py"), str(port)], room, port) as program:
        yield program
