"""What a call costs through an MCP gateway, measured: every candidate in turns, on this machine, before one server.

    make bench                                             # everything; writes RESULTS.md, results.json, the charts
    make bench ARGS="--quick"                              # the same in about two minutes, for a first look
    make bench ARGS="--only calls --candidates nginx,concento --rounds 9"
    make bench ARGS="--gateway other=http://127.0.0.1:8000/mcp@4711"

Linux only: CPU and memory are read in /proc. How to read the figures: benchmarks/README.md.
"""

import argparse
import resource
import shlex
import signal
import sys
from pathlib import Path

from .candidates import Candidate, known
from .candidates.other import Other
from .process import HERE
from .refused import Refused
from .report import write
from .results import Results
from .run import Plan, run
from .scenarios import SCENARIOS

OTHERS_PORT = 7499
"""Where our server listens when a gateway that somebody else has configured is to be measured before it."""


def main(words: list[str]) -> int:
    """Exit codes: 0 measured, 1 refused, 2 usage."""
    parser = _parser()
    options = parser.parse_args(words)
    if options.report:
        write(Results.read(HERE / "results.json"), HERE, readme=HERE.parent / "README.md")
        return 0
    plan = _plan(parser, options, words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing we started outlives us
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    try:
        run(plan)
    except Refused as why:
        print(f"nothing is reported: {why}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own = shlex.quote(str(Path(sys.executable).with_name("concento")))
    parser.add_argument("--only", type=_list, metavar="SCENARIO,…", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--candidates", type=_list, metavar="NAME,…", help="of those that are measured by default")
    parser.add_argument("--rounds", type=_positive, help="rounds of each candidate (5; with --quick 1)")
    parser.add_argument(
        "--seconds", type=_positive, help="length of a round of load, whole seconds (2; with --quick 1)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer cases, one short round each: a look, not a result")
    parser.add_argument("--hub", default=f"{own} serve {{config}}", help="how to start Concento (%(default)s)")
    parser.add_argument(
        "--gateway", action="append", default=[], metavar="NAME=URL@PID", type=_other, help="one more, already running"
    )
    parser.add_argument("--server-port", type=_positive, help=f"our server's port ({OTHERS_PORT} with --gateway)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured to FILE, too")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the report of results.json anew")
    return parser


def _plan(parser: argparse.ArgumentParser, options: argparse.Namespace, words: list[str]) -> Plan:
    if "{config}" not in shlex.split(options.hub):
        parser.error("--hub needs {config} where the configuration's path belongs")
    candidates: list[Candidate] = known(options.hub)
    names = [candidate.name for candidate in candidates]
    _among(parser, "--only", options.only or [], list(SCENARIOS))
    _among(parser, "--candidates", options.candidates or [], names)
    if options.candidates:
        candidates = [candidate for candidate in candidates if candidate.name in options.candidates]
    shown = f"make bench{f' ARGS={shlex.quote(shlex.join(words))}' if words else ''}"
    return Plan(
        command=shown,
        scenarios=[name for name in SCENARIOS if not options.only or name in options.only],
        candidates=[*candidates, *options.gateway],
        rounds=options.rounds or (1 if options.quick else 5),
        seconds=options.seconds or (1 if options.quick else 2),
        quick=options.quick,
        whole=not (options.quick or options.only or options.candidates or options.gateway),
        server_port=options.server_port or (OTHERS_PORT if options.gateway else None),
        json=options.json,
    )


def _among(parser: argparse.ArgumentParser, option: str, given: list[str], known: list[str]) -> None:
    for name in given:
        if name not in known:
            parser.error(f"{option}: {name!r} is none of {', '.join(known)}")


def _list(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _other(text: str) -> Other:
    try:
        return Other.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
