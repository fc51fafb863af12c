"""What every scenario needs: the server, candidates ready before it, turns that alternate, a place for results."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from .candidates import Candidate, Server
from .process import HERE, Program
from .refused import Disturbed, Lacking, Refused
from .results import Results, summarize
from .route import Era, Route, text_of

READY_S = 90.0
TRIES = 3
ERAS: tuple[Era, ...] = ("modern", "legacy")

P = ParamSpec("P")
T = TypeVar("T")
Figures = dict[str, float]
Choices = Iterable[tuple[Era, list[Server]]]


@dataclass
class Started:
    """A candidate that is ready, and the way to the first of its servers."""

    candidate: Candidate
    program: Program
    servers: list[Server]
    route: Route


@dataclass
class Bench:
    """One run."""

    folder: Path
    rounds: int
    seconds: int
    quick: bool
    server: Program
    candidates: list[Candidate]
    results: Results

    def room(self) -> Path:
        """A folder of its own for a process."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def one(self, era: Era, *, child: bool = False) -> list[Server]:
        """The one server that candidates are compared before: over HTTP, or as a child process."""
        command = (sys.executable, str(HERE / "upstream.py"), "stdio") if child else ()
        return [Server("bench", self.server.url("/mcp" if era == "modern" else "/legacy"), command)]

    def any_one(self) -> Choices:
        """The one server, in the newest era and over HTTP where a candidate can."""
        return [(era, self.one(era, child=child)) for child in (False, True) for era in ERAS]

    def any_many(self, candidate: Candidate, servers: int, tools: int) -> Choices:
        """Many servers, in the newest era; for the reference one server with as many tools."""
        if candidate.is_reference:
            return [(era, self.many(era, 1, servers * tools)) for era in ERAS]
        return [(era, self.many(era, servers, tools)) for era in ERAS]

    def many(self, era: Era, servers: int, tools: int) -> list[Server]:
        """That many servers with that many tools each."""
        path = "mcp" if era == "modern" else "legacy"
        return [
            Server(f"s{number}", self.server.url(f"/many/{number}/{tools}/{path}"), alone=servers == 1)
            for number in range(servers)
        ]

    @contextlib.contextmanager
    def started(
        self, scenario: str, cases: Sequence[str], choices: Callable[[Candidate], Choices]
    ) -> Iterator[list[Started]]:
        """All candidates that can be measured, each ready before the first of its choices that it can serve.

        Of the others it is kept why not. Errors: Refused, if one of our own does not come up.
        """
        with contextlib.ExitStack() as open_gateways:
            ready: list[Started] = []
            for candidate in (known.fitted(scenario) for known in self.candidates):
                progress(f"{scenario}: starting {candidate.name}")
                try:
                    era, servers = able(candidate, choices(candidate))
                    up = self.ready(candidate, era, servers)
                    ready.append(attempted(open_gateways.enter_context, up))
                except Refused as why:
                    if candidate.own and not isinstance(why, Lacking):
                        raise Refused(f"{scenario}, {candidate.name}: {why}") from None
                    for case in cases:
                        self.missing(scenario, case, candidate, str(why))
            yield ready

    @contextlib.contextmanager
    def ready(
        self, candidate: Candidate, era: Era, servers: list[Server], room: Path | None = None
    ) -> Iterator[Started]:
        """A candidate that has given its first right answer."""
        with candidate.up(room or self.room(), servers) as program:
            yield Started(candidate, program, servers, first_answer(candidate, program, servers[0], era))

    def alternate(self, scenario: str, case: str, turns: Mapping[Candidate, Callable[[], Figures]]) -> None:
        """Let candidates take turns, in an order that alternates, and keep what comes of it.

        Errors: Refused, if one of our own fails; another's failure is kept in place of its figures.
        """
        rounds: dict[Candidate, list[Figures]] = {candidate: [] for candidate in turns}
        failed: dict[Candidate, str] = {}
        for number in range(self.rounds):
            for candidate in list(turns)[:: -1 if number % 2 else 1]:
                if candidate in failed:
                    continue
                progress(f"{scenario} {case}, round {number + 1} of {self.rounds}: {candidate.name}")
                try:
                    rounds[candidate].append(settled(turns[candidate]))
                except Refused as why:
                    if candidate.own:
                        raise Refused(f"{scenario} {case}, {candidate.name}: {why}") from None
                    failed[candidate] = str(why)
        reference = next((done for candidate, done in rounds.items() if candidate.is_reference), [])
        for candidate, done in rounds.items():
            if candidate in failed:
                self.missing(scenario, case, candidate, failed[candidate])
            else:
                self.keep(scenario, case, candidate, done, reference)

    def keep(
        self, scenario: str, case: str, candidate: Candidate, rounds: list[Figures], reference: Sequence[Figures] = ()
    ) -> None:
        """Keep what was measured."""
        figures = summarize(rounds, reference)
        self.results.add(scenario, case, candidate.name, figures=figures, rounds=rounds)
        tell(scenario, case, candidate.name, figures)

    def missing(self, scenario: str, case: str, candidate: Candidate, why: str) -> None:
        """Keep why there is no figure."""
        self.results.add(scenario, case, candidate.name, missing=why)
        line(f"{scenario:<8} {case:<24} {candidate.name:<13} none: {why[:200]}")


def able(candidate: Candidate, choices: Choices) -> tuple[Era, list[Server]]:
    """The first of several eras and servers that a candidate can do. Errors: Lacking, with the reason for the last."""
    why = ""
    for era, servers in choices:
        reason = candidate.lacks(era, servers)
        if reason is None:
            return era, servers
        why = reason
    raise Lacking(why)


def settled(turn: Callable[[], Figures]) -> Figures:
    """A round, measured anew if it was disturbed. Errors: Refused."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(Disturbed):
            return attempted(turn)
    return attempted(turn)


def attempted(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What comes of some work with a candidate. Errors: Refused, whatever went wrong."""
    try:
        return work(*args, **named)
    except Refused:
        raise
    except Exception as error:  # another's program may break any assumption, and must cost only its own figures
        raise Refused(f"{type(error).__name__}: {error}") from error


def first_answer(candidate: Candidate, program: Program, server: Server, era: Era) -> Route:
    """The way to a server, once a call of its `echo` is answered. Errors: Refused, if that takes too long."""
    deadline_s = time.monotonic() + READY_S
    while True:
        try:
            route = candidate.route(program, server, era)
            if text_of(route.ask("echo", "ready?")) == "ready?":
                return route
            why: Refused | None = Refused("it answers with another text")
        except Refused as error:
            why = error
        if time.monotonic() > deadline_s:
            raise Refused(f"it gives no right answer within {READY_S:g} s of its start: {why}")
        time.sleep(0.005)


# ---- telling


def tell(scenario: str, case: str, name: str, figures: Mapping[str, Mapping[str, float]]) -> None:
    """One line of figures: medians, with the range of the first."""
    first, *rest = figures
    range_ = f"({figures[first]['min']:.4g} to {figures[first]['max']:.4g})" if figures else ""
    told = [f"{first} {figures[first]['median']:.4g} {range_}", *(f"{n} {figures[n]['median']:.4g}" for n in rest)]
    line(f"{scenario:<8} {case:<24} {name:<13} {'  '.join(told)}")


def progress(text: str) -> None:
    start, end = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
    print(f"{start}{text}", end=end, file=sys.stderr, flush=True)


def line(text: str) -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(text, flush=True)
