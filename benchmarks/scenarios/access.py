"""What it costs to ask who calls, whether they may and how often, and to remember it: all on, beside all off."""

import contextlib
import itertools
import json
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..answers import whole_list
from ..bench import Bench, Figures, Started
from ..candidates import Candidate, Server
from ..candidates.concento import Concento
from ..issuer import AUDIENCE, Issuer, issuer
from ..process import Program, cpu_ns, gateway_pids, spent_ns
from ..refused import Refused
from ..route import Era, Route
from ..upstream import tool_names
from .calls import direct, turn
from .lists import Listing

CONNECTIONS = 4
TOOLS = 1000
SCOPES = 15
LISTS = 40
GUARDED = """\
auth:
  jwt: [{{name: bench, issuer: "{issuer}", audience: ["{audience}"]}}]
roles: {roles}
policies: {policies}
limits:
  each user: {{per: user, rate: 1000000/s, burst: 1000000, concurrency: 1000}}
  each tool: {{per: tool, rate: 1000000/s, burst: 1000000}}
  everybody: {{per: global, rate: 1000000/s, burst: 1000000}}
audit: {{mode: {mode}}}
"""
"""Limits that are counted and never reached."""


def access(bench: Bench) -> None:
    """The hub with nothing on, as it is by default, and with everything on; nginx as the reference."""
    hub = next((one for one in bench.candidates if isinstance(one, Concento)), None)
    if hub is not None:
        with issuer() as signs:
            _calls(bench, hub, signs)
            _lists(bench, hub, signs)


def rules(alias: str) -> tuple[dict[str, object], list[dict[str, object]]]:
    """A policy of 50 rules about one server: 25 roles that grant, 15 rules that grant and 10 that deny. One of these
    looks at the arguments of the tool that is called."""
    roles: dict[str, object] = {"user": {"allow": [f"{alias}.*"], "members": ["*"]}}
    for number in range(24):
        roles[f"team-{number}"] = {"allow": [f"{alias}.tool_{number}*"], "members": [f"*@team-{number}.example"]}
    policies: list[dict[str, object]] = [
        {"name": f"scope {number}", "allow": [f"{alias}.tool_{number}?"], "when": {"scopes": [f"part:{number}"]}}
        for number in range(SCOPES)
    ]
    policies += [
        {"name": "few", "deny": [f"{alias}.echo"], "unless": {"arguments": {"n": {"lt": 1000}}}},
        {"name": "near", "deny": [f"{alias}.big"], "unless": {"networks": ["127.0.0.0/8", "10.0.0.0/8"]}},
    ]
    policies += [
        {"name": f"closed {number}", "deny": [f"{alias}.tool_9{number}*"], "when": {"subjects": [f"guest-{number}-*"]}}
        for number in range(8)
    ]
    return roles, policies


class Bare(Concento):
    """The hub without any of it: not even the audit record and the check of arguments, which are on by default."""

    name = "nothing"
    about = "the hub with nothing on"
    more = "audit: off\nvalidate: off\n"

    def __init__(self, hub: Concento) -> None:
        super().__init__(hub.command)


class Guarded(Concento):
    """The hub with everything on. `proof`: what its agents prove themselves by."""

    about = "the hub with everything on"

    def __init__(self, hub: Concento, signs: Issuer, name: str, alias: str, mode: str = "batched") -> None:
        super().__init__(hub.command)
        self.name = name
        roles, policies = rules(alias)
        self.more = GUARDED.format(
            issuer=signs.url, audience=AUDIENCE, roles=json.dumps(roles), policies=json.dumps(policies), mode=mode
        )
        self.proof = signs.token("alice")

    def route(self, program: Program, server: Server, era: Era) -> Route:
        return Route(self.url(program, server), era, lambda tool: self.public(server, tool), self.proof)


class Keyed(Guarded):
    """The same, with an API key in place of a token."""

    @contextlib.contextmanager
    def up(self, room: Path, servers: Sequence[Server]) -> Iterator[Program]:
        with super().up(room, servers) as program:
            words = [shlex.split(self.command)[0], "key", "create", "--subject", "alice"]
            words += ["--config", str(room / "concento.yaml")]
            made = subprocess.run(words, cwd=room, capture_output=True, text=True, check=False)
            if made.returncode:
                raise Refused(f"no key: {made.stderr[-300:]}")
            self.proof = made.stdout.split()[-1]
            yield program


def _calls(bench: Bench, hub: Concento, signs: Issuer) -> None:
    """Small calls as in `calls`, modern on both sides."""
    candidates: list[Candidate] = [one for one in bench.candidates if one.is_reference]
    candidates += [
        Bare(hub),
        hub,
        Guarded(hub, signs, "all, token", "bench"),
        Keyed(hub, signs, "all, key", "bench"),
        Guarded(hub, signs, "all, strict", "bench", "strict"),
    ]
    case = f"a call, {CONNECTIONS} connections"
    with contextlib.ExitStack() as stack:
        ready = [stack.enter_context(bench.ready(one, "modern", bench.one("modern"))) for one in candidates]
        turns = {one.candidate: turn(bench, one, direct(one), "echo", CONNECTIONS) for one in ready}
        bench.alternate("access", case, turns)


def _lists(bench: Bench, hub: Concento, signs: Issuer) -> None:
    """A whole list of one server's tools: unfiltered, and filtered for somebody known, for somebody new each time, and
    for somebody new to whom other rules apply than to anybody before.
    """
    servers = bench.many("modern", 1, TOOLS)
    alias = servers[0].name
    case = f"a list of {TOOLS:,} tools"
    names = ("all, known user", "all, new user", "all, new rights")
    guarded = [Guarded(hub, signs, name, alias) for name in names]
    numbers = itertools.count(1)

    def known() -> str:
        return guarded[0].proof

    def new() -> str:
        return signs.token(f"user-{next(numbers)}@team-3.example")

    def other() -> str:
        number = next(numbers)
        scopes = [f"part:{bit}" for bit in range(SCOPES) if number >> bit & 1]
        return signs.token(f"user-{number}@team-3.example", " ".join(scopes))

    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(bench.ready(one, "modern", servers)) for one in (Bare(hub), *guarded)]
        tokens: list[Callable[[], str]] = [str, known, new, other]
        bench.alternate(
            "access", case, {one.candidate: _listing(one, token) for one, token in zip(started, tokens, strict=True)}
        )


def _listing(started: Started, token: Callable[[], str]) -> Callable[[], Figures]:
    pid, server = started.program.pid, started.servers[0]
    expected = {started.candidate.public(server, name) for name in tool_names(TOOLS)}

    def measure() -> Figures:
        took_ms: list[float] = []
        tokens = [token() for _ in range(LISTS)]
        with contextlib.closing(Listing(started.route)) as listing:
            whole_list(listing.fetch(), expected)
            before = cpu_ns(gateway_pids(pid))
            for listing.token in tokens:
                whole_list(listing.fetch(), expected)
                took_ms.append(listing.took_s * 1000)
        cpu_us = spent_ns(before, cpu_ns(gateway_pids(pid))) / LISTS / 1000
        return {"cpu_us": cpu_us, **listing.figures(took_ms)}

    return measure
