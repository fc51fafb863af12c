"""What a run means: which checks fail that should not, and which expectations are stale.

Pure, so that the guard is itself tested. A check fails if the suite says so, or if it does not come out as it did for
the server reached directly: a check that the suite left out through the hub is one that the hub did not pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from tests.conformance.suite import Findings, Scenario, Statuses

FILE = Path(__file__).with_name("expected-failures.yaml")
NOTHING = "nothing-checked"
"""Said of a scenario in which no check was made."""

SKIPS: Mapping[str, int] = {
    "tasks-status-notifications": 1,  # the suite has no check for them yet
    "sep-2243-client-includes-standard-headers": 2,  # on initialize and initialized, which the modern era does not have
    "sep-2575-client-declares-roots-capability": 1,  # a probe is the hub's own: it declares nothing
    "sep-2575-client-declares-sampling-capability": 1,
    "sep-2575-client-declares-elicitation-capability": 1,
}
"""Checks that the suite rightly skips, and how often."""

OF_STREAMS = frozenset({"server-sse-streams-functional", "server-sse-disconnect-resume"})
"""Checks that exist only where a server streams what it could say at once, or lets go of a stream in the middle: the
hub, rightly, does neither. That an agent can come back to a stream that broke is proved in `tests/front`."""

Expected = Mapping[str, Mapping[str, str]]
"""Scenario → check → why it fails."""


@dataclass(frozen=True)
class Verdict:
    """One run, judged: the failing checks of each scenario, and what has to be put right, one line each."""

    failing: Mapping[str, frozenset[str]]
    problems: tuple[str, ...]


def judge(found: Findings, expected: Expected, direct: Findings | None = None) -> Verdict:
    """Judge a run; `direct` is the run that it should equal."""
    reference = {} if direct is None else direct.scenarios
    names = sorted({*found.scenarios, *reference, *expected})
    failing = {name: failures(found.scenarios.get(name, {}), reference.get(name)) for name in names}
    problems = []
    for name in names:
        listed = expected.get(name, {}).keys()
        for id in sorted(failing[name] - listed):
            problems.append(f"{name} {id}: {found.said.get((name, id), 'does not come out as it does directly')}")
        for id in sorted(listed - failing[name]):
            problems.append(f"{name} {id}: is expected to fail and does not: delete it from {FILE.name}")
    return Verdict(failing, tuple(problems))


def failures(checks: Scenario, direct: Scenario | None) -> frozenset[str]:
    """The checks of a scenario that fail."""
    failing = {id for id, statuses in checks.items() if not passed(id, statuses)}
    if direct is not None:
        failing |= {id for id in {**direct, **checks} if checks.get(id) != direct.get(id)} - OF_STREAMS
    if not checks:
        failing.add(NOTHING)
    return frozenset(failing)


def passed(id: str, statuses: Statuses) -> bool:
    """Whether a check passed each time it was made, and was left out no more often than it may."""
    skips = statuses.count("SKIPPED")
    return set(statuses) <= {"SUCCESS", "SKIPPED"} and skips <= SKIPS.get(id, 0)


def reasons() -> dict[str, str]:
    """The reasons that the file gives, by their short names."""
    return {name: str(text) for name, text in yaml.safe_load(FILE.read_text())["reasons"].items()}


def expectations(side: str, revision: str) -> Expected:
    """What the file says of a run of the hub: `side` is server or client."""
    known = reasons()
    scenarios: dict[str, dict[str, list[str]]] = yaml.safe_load(FILE.read_text()).get(side, {}).get(revision, {})
    for name, kinds in scenarios.items():
        if unknown := kinds.keys() - known.keys():
            raise ValueError(f"{FILE.name}: {name} fails for {sorted(unknown)}; the reasons are {sorted(known)}")
    return {
        name: {check: kind for kind, checks in kinds.items() for check in checks} for name, kinds in scenarios.items()
    }
