"""The runs that the gate and `make conformance` consist of, each with servers, a hub and a verdict of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.conformance import suite
from tests.conformance.suite import ROOT, Findings
from tests.conformance.verdict import Expected, Verdict, expectations, judge
from tests.hub.conftest import Running, config, running
from tests.peers import PORT, listening

from concento.model.config import Server, UrlReplica
from concento.model.showing import OAuthClient

ALIAS = "everything"
CLIENT = [sys.executable, "-m", "tests.conformance.client"]
SIDE_BY_SIDE = 2
"""Client scenarios at a time: each is a process of the suite and one of ours."""


@dataclass(frozen=True)
class Run:
    """One run and what it means."""

    side: str
    target: str
    revision: str
    found: Findings
    expected: Expected
    verdict: Verdict


@asynccontextmanager
async def fixture() -> AsyncIterator[str]:
    """The fixture server; gives its URL."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    async with listening([sys.executable, "-m", "tests.conformance.everything"], PORT, environment) as port:
        yield f"http://127.0.0.1:{port}/mcp"


@asynccontextmanager
async def hub_before(url: str, client: OAuthClient | None = None) -> AsyncIterator[Running]:
    """A hub whose only server is at this URL; `client`: what it gets tokens for it as."""
    async with running(config(Server(ALIAS, (UrlReplica(url, oauth=client),)))) as hub:
        await hub.ready(ALIAS)
        yield hub


async def server_runs(revision: str) -> tuple[Run, Run]:
    """The fixture judged directly, and through a hub."""

    async def directly() -> Findings:
        async with fixture() as url:
            return await suite.judge_server(url, revision)

    async def through_the_hub() -> Findings:
        async with fixture() as url, hub_before(url) as hub:
            return await suite.judge_server(f"{hub.url}/servers/{ALIAS}/mcp", revision)

    async with asyncio.TaskGroup() as both:
        direct_task, hub_task = both.create_task(directly()), both.create_task(through_the_hub())
    direct, hub = direct_task.result(), hub_task.result()
    expected = expectations("server", revision)
    return (
        Run("server", "direct", revision, direct, {}, judge(direct, {})),
        Run("server", "hub", revision, hub, expected, judge(hub, expected, direct)),
    )


async def client_run(revision: str) -> Run:
    """The hub judged as a client of the suite's servers."""
    turns = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(scenario: str) -> Findings:
        async with turns:
            return await suite.judge_client(CLIENT, scenario, revision)

    names = await suite.scenarios("client", revision)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(scenario)) for scenario in names]
    found = Findings({}, {})
    for task in tasks:
        one_found = task.result()
        found = Findings({**found.scenarios, **one_found.scenarios}, {**found.said, **one_found.said})
    expected = expectations("client", revision)
    return Run("client", "hub", revision, found, expected, judge(found, expected))
