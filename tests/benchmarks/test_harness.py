"""The benchmark refuses what is wrong and keeps what is right, whoever fails. No figure is judged here."""

import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from benchmarks.answers import same_answers, served_as_counted, whole_list
from benchmarks.bench import Bench
from benchmarks.candidates import Candidate, Server
from benchmarks.candidates.concento import Concento
from benchmarks.candidates.direct import Direct
from benchmarks.candidates.other import Other
from benchmarks.issuer import issuer
from benchmarks.load import load
from benchmarks.process import HERE, Program, free_port, running
from benchmarks.refused import Disturbed, Refused
from benchmarks.results import Results
from benchmarks.route import Route
from benchmarks.scenarios.calls import direct, turn
from benchmarks.scenarios.lists import Listing
from benchmarks.upstream import tool_names

from concento.control.config.load import read

RELAY = Path(__file__).with_name("relay.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    port = free_port()
    with running(
        [sys.executable, str(HERE / "upstream.py"), str(port)], tmp_path_factory.mktemp("server"), port
    ) as program:
        yield program


@contextlib.contextmanager
def relay(server: Program, room: Path, every: int = 1, old: str = "", new: str = "") -> Iterator[Program]:
    """A gateway that replaces some bytes in one reply of so many."""
    port = free_port()
    words = [str(RELAY), str(port), server.origin.rpartition(":")[2], str(every), old, new]
    with running([sys.executable, *words], room, port) as program:
        yield program


def test_right_answers_are_counted(server: Program, tmp_path: Path) -> None:
    with relay(server, tmp_path) as gateway:
        done = load(Route(gateway.url("/mcp"), "modern"), "echo", 4, 1)
    assert done.calls > 10


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param('"text":"hello 1', '"text":"hello 2', id="another call's text"),
        pytest.param('"id":1', '"id":2', id="another call's id"),
        pytest.param("200 OK", "202 OK", id="another status"),
    ],
)
def test_one_wrong_answer_of_many_is_refused(server: Program, tmp_path: Path, old: str, new: str) -> None:
    with relay(server, tmp_path, 5, old, new) as gateway, pytest.raises(Refused, match="answers were wrong"):
        load(Route(gateway.url("/mcp"), "modern"), "echo", 4, 1)


def test_a_lost_event_is_refused(server: Program, tmp_path: Path) -> None:
    with relay(server, tmp_path, 1, "notifications/progress", "notifications/progres5") as gateway:
        route = Route(gateway.url("/mcp"), "modern")
        with pytest.raises(Refused, match="answers were wrong"):
            load(route, "events", 1, 1)
        with pytest.raises(Refused, match="of the 100 progress notifications"):
            same_answers(route, Route(server.url("/mcp"), "modern"), "events")


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("tool", ["echo", "events", "big"])
def test_the_server_answers_itself_alike_in_both_eras(server: Program, era: str, tool: str) -> None:
    url = server.url("/mcp" if era == "modern" else "/legacy")
    route = Route(url, "modern" if era == "modern" else "legacy")
    same_answers(route, route, tool)
    assert load(route, tool, 1, 1).calls > 3


def test_an_answer_that_is_not_the_servers_is_refused(server: Program, tmp_path: Path) -> None:
    with relay(server, tmp_path, 1, '"isError":false', '"isError":true ') as gateway:
        route, server_route = (Route(one.url("/mcp"), "modern") for one in (gateway, server))
        with pytest.raises(Refused, match="does not answer as the server does"):
            same_answers(route, server_route, "echo")


def test_calls_that_never_reached_the_server_are_refused() -> None:
    served_as_counted(100, 104, 4)
    for served in (99, 105):
        with pytest.raises(Refused, match="not its own"):
            served_as_counted(100, served, 4)


def test_a_list_must_be_whole(server: Program) -> None:
    with contextlib.closing(Listing(Route(server.url("/many/3/50/mcp"), "modern"))) as listing:
        names = listing.fetch()
    whole_list(names, set(tool_names(50)))
    for wrong in (names[1:], [*names, names[0]], [*names, "more"]):
        with pytest.raises(Refused):
            whole_list(wrong, set(tool_names(50)))


# ---- a failing candidate


class Broken(Candidate):
    """Another's gateway that does not come up, or comes up and is what it is."""

    name, about = "broken", "fails"

    def __init__(self, program: Program | None) -> None:
        self._program = program

    @contextlib.contextmanager
    def up(self, room: Path, servers: Sequence[Server]) -> Iterator[Program]:
        if self._program is None:
            raise Refused("it does not start")
        yield self._program


class Unable(Broken):
    """One of ours that does not do what is measured."""

    name, own = "unable", True

    def lacks(self, era: str, servers: Sequence[Server]) -> str | None:
        return "it never does"


@pytest.fixture
def bench(server: Program, tmp_path: Path) -> Bench:
    return Bench(tmp_path, 2, 1, True, server, [], Results({}, path=tmp_path / "results.json"))


def measure(bench: Bench, candidates: list[Candidate]) -> None:
    bench.candidates = candidates
    with bench.started("calls", ["case"], lambda _: [("modern", bench.one("modern"))]) as ready:
        bench.alternate("calls", "case", {one.candidate: turn(bench, one, direct(one), "echo", 1) for one in ready})


@pytest.mark.parametrize("starts", [False, True])
def test_a_candidate_that_fails_loses_only_its_own_figures(
    bench: Bench, server: Program, tmp_path: Path, starts: bool
) -> None:
    with relay(server, tmp_path, 5, '"text":"hello 1', '"text":"hello 2') as gateway:
        measure(bench, [Broken(gateway if starts else None), Unable(None), Direct()])
    kept = {entry["candidate"]: entry for entry in Results.read(bench.folder / "results.json").entries}
    assert ("answers were wrong" if starts else "does not start") in kept["broken"]["missing"]
    assert kept["unable"]["missing"] == "it never does"
    assert kept["no hub"]["figures"]["calls_per_s"]["min"] > 0
    assert len(kept["no hub"]["rounds"]) == 2


def test_a_wrong_answer_of_our_own_ends_the_run(bench: Bench, server: Program, tmp_path: Path) -> None:
    with relay(server, tmp_path, 1, '"isError":false', '"isError":true ') as gateway:
        broken = Broken(gateway)
        broken.own = True
        with pytest.raises(Refused, match="does not answer as the server does"):
            measure(bench, [broken])
    assert not bench.results.entries


def test_a_disturbed_round_is_measured_anew(bench: Bench) -> None:
    figures = iter([None, None, 1.0, 2.0])

    def turn() -> dict[str, float]:
        cpu_us = next(figures)
        if cpu_us is None:
            raise Disturbed("a thread ended")
        return {"cpu_us": cpu_us}

    bench.alternate("calls", "case", {Direct(): turn})
    assert bench.results.figure("calls", "case", "no hub", "cpu_us") == {"median": 1.5, "min": 1.0, "max": 2.0}


# ---- a gateway from outside


def test_a_gateway_is_named_by_url_and_pid(bench: Bench, server: Program) -> None:
    other = Other.parse(f"mine={server.url('/mcp')}@{server.pid}")
    assert (other.name, other.lacks("modern", bench.one("modern"))) == ("mine", None)
    assert other.lacks("modern", bench.many("modern", 1, 1000)) is not None
    other.prepare()
    measure(bench, [other])
    assert bench.results.figure("calls", "case", "mine", "cpu_us") is not None


@pytest.mark.parametrize(
    "text",
    [
        "mine",
        "mine=http://127.0.0.1:1/mcp",
        "=http://127.0.0.1:1/mcp@7",
        "a=http://127.0.0.1:1/mcp@x",
        "a=http://b:1/@7",
    ],
)
def test_what_names_no_gateway_here_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"NAME=URL@PID|on this machine"):
        Other.parse(text)


def test_the_policy_that_is_measured_has_fifty_rules_and_loads(tmp_path: Path) -> None:
    scenario = importlib.import_module("benchmarks.scenarios.access")
    with issuer() as signs:
        guarded = scenario.Guarded(Concento("concento serve {config}"), signs, "all", "bench")
        text = f"servers: {{bench: {{url: 'http://127.0.0.1:9/mcp'}}}}\n{guarded.more}"
        config = read(text.encode(), tmp_path / "concento.yaml", {"HOME": str(tmp_path)})
    assert len(config.roles) + len(config.policies) == 50
    assert len(config.limits) == 3
    assert config.audit.mode == "batched"


def test_the_tool_of_several_servers_that_is_measured_loads(tmp_path: Path) -> None:
    scenario = importlib.import_module("benchmarks.scenarios.routing")
    made = scenario.Logical(Concento("concento serve {config}"), "of 3", 3, dead=True)
    known = made.sources([Server("s0", scenario.DEAD), Server("s1", scenario.DEAD)])
    servers = ", ".join(f"{one.name}: {{url: '{one.url}'}}" for one in known)
    config = read(f"servers: {{{servers}}}\n{made.more}".encode(), tmp_path / "concento.yaml", {"HOME": str(tmp_path)})
    assert [bound.alias for bound in config.tools["say"].bind] == ["down", "s0", "s1"]
