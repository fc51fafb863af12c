"""Run the whole conformance suite and print what it found: `make conformance`, or

    python -m tests.conformance [--json]

Exit codes: 0, all is as expected; 1, a check fails that should not, or an expectation is stale; 2, usage.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence

import uvloop
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tests.conformance.runs import Run, client_run, server_runs
from tests.conformance.suite import REVISIONS
from tests.conformance.verdict import reasons


async def run_all(progress: Console) -> list[Run]:
    """Every run, one revision after the other."""
    runs: list[Run] = []
    for revision in REVISIONS:
        with progress.status(f"{revision}: the fixture directly and through the hub, some 20 s"):
            runs += await server_runs(revision)
        with progress.status(f"{revision}: the hub as a client, some 20 s"):
            runs.append(await client_run(revision))
    return runs


def cell(run: Run, scenario: str) -> str:
    """How many checks of a scenario passed, and how many fail; of which that is expected."""
    checks = run.found.scenarios.get(scenario)
    if checks is None:
        return ""
    failing = run.verdict.failing[scenario]
    expected = failing & run.expected.get(scenario, {}).keys()
    words = [str(sum("SUCCESS" in statuses for id, statuses in checks.items() if id not in failing))]
    if expected:
        words.append(f"[yellow]{len(expected)} expected[/yellow]")
    if failing - expected:
        words.append(f"[red]{len(failing - expected)} FAIL[/red]")
    return ", ".join(words)


def table(title: str, runs: Sequence[Run]) -> Table:
    """Scenarios by runs."""
    shown = Table(title=title, caption="checks passed; blank where the revision does not have the scenario")
    shown.add_column("scenario", no_wrap=True)
    for run in runs:
        shown.add_column(f"{run.revision}\n{run.target}")
    for scenario in dict.fromkeys(name for run in runs for name in run.found.scenarios):
        shown.add_row(scenario, *(cell(run, scenario) for run in runs))
    shown.add_section()
    shown.add_row("scenarios that pass whole", *(f"{whole(run)}/{len(run.found.scenarios)}" for run in runs))
    return shown


def whole(run: Run) -> int:
    """How many scenarios have no failing check."""
    return sum(not run.verdict.failing[name] for name in run.found.scenarios)


def show(runs: Sequence[Run]) -> None:
    """Everything, for a person."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table("Servers", [run for run in runs if run.side == "server"]))
    console.print(table("The hub as a client, without auth/*", [run for run in runs if run.side == "client"]))
    why = Counter(reason for run in runs for checks in run.expected.values() for reason in checks.values())
    for reason, text in reasons().items():
        console.print(f"[yellow]{why[reason]} expected[/yellow] {text}")
    for run in runs:
        for problem in run.verdict.problems:
            console.print(Text(f"{run.side} {run.revision} {run.target}: {problem}", style="red"))


def document(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Everything, for a program."""
    return [
        {
            "side": run.side,
            "target": run.target,
            "revision": run.revision,
            "scenarios": run.found.scenarios,
            "said": {" ".join(place): text for place, text in run.found.said.items()},
            "scenarios_passing": whole(run),
            "expected_failures": run.expected,
            "problems": run.verdict.problems,
        }
        for run in runs
    ]


def main() -> int:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description="Run the official conformance suite against the fixture server, the same through the hub, "
        "and the hub as a client.",
        epilog='Example: make conformance ARGS="--json"',
    )
    parser.add_argument("--json", action="store_true", help="print every finding as JSON")
    options = parser.parse_args()
    runs = uvloop.run(run_all(Console(stderr=True)))
    if options.json:
        print(json.dumps(document(runs), indent=2))
    else:
        show(runs)
    return 1 if any(run.verdict.problems for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
